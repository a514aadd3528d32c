//! Measures what the gateway costs a request: CPU time and latency, against a node that only answers.
//!
//! `hop node PORT` is that node; `hop load PORT CLIENTS SECONDS [PID]` calls whatever listens there (node or gateway)
//! and prints calls per second, latencies, and the CPU time per call of process PID. Each is a process of its own.

use std::time::{Duration, Instant};

use pi_proto::raft::v1 as raft;
use pi_proto::raft::v1::routing_server::{Routing, RoutingServer};
use pi_proto::secrets::v1::secrets_client::SecretsClient;
use pi_proto::secrets::v1::secrets_server::{Secrets, SecretsServer};
use pi_proto::secrets::v1::*;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

const CONNECTIONS: usize = 4;
/// Linux reports CPU times in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

struct Node {
    port: u16,
}

#[tonic::async_trait]
impl Routing for Node {
    async fn get_members(
        &self,
        request: Request<raft::GetMembersRequest>,
    ) -> Result<Response<raft::GetMembersResponse>, Status> {
        let client_address = format!("127.0.0.1:{}", self.port);
        let node = raft::Node { id: 1, raft_address: String::new(), client_address };
        Ok(Response::new(raft::GetMembersResponse {
            cluster: "hop".to_owned(),
            region: request.into_inner().region,
            nodes: vec![node],
            leader_id: 1,
            term: 1,
            membership_index: 1,
        }))
    }
}

#[tonic::async_trait]
impl Secrets for Node {
    type WatchStream = tokio_stream::Empty<Result<WatchResponse, Status>>;

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let request = request.into_inner();
        let secret = Secret { name: request.name, region: request.region, ..Secret::default() };
        Ok(Response::new(CreateResponse { secret: Some(secret), ..CreateResponse::default() }))
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn access(&self, _: Request<AccessRequest>) -> Result<Response<AccessResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn update(&self, _: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// User and system time of a process so far.
fn cpu_time(pid: &str) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    Ok(TICK * ticks)
}

async fn load(port: u16, clients: usize, seconds: u64, pid: Option<&str>) -> anyhow::Result<()> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS.min(clients) {
        channels.push(Channel::from_shared(format!("http://127.0.0.1:{port}"))?.connect().await?);
    }
    let cpu_before = pid.map(cpu_time).transpose()?;
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let tasks = (0..clients).map(|index| {
        let mut client = SecretsClient::new(channels[index % channels.len()].clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                let mut request = Request::new(CreateRequest {
                    region: "eu".to_owned(),
                    name: "secret".to_owned(),
                    payload: vec![b'x'; 256],
                    ..CreateRequest::default()
                });
                let id = "0190163d-8694-739b-aea5-966c26f8ad91";
                request
                    .metadata_mut()
                    .insert("pi-request-id", tonic::metadata::MetadataValue::from_static(id));
                client.create(request).await?;
                latencies.push(began.elapsed());
            }
            anyhow::Ok(latencies)
        })
    });
    let mut latencies = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    let calls = latencies.len();
    let rate = calls as f64 / started.elapsed().as_secs_f64();
    print!(
        "{clients} clients: {rate:.0}/s p50 {:?} p99 {:?}",
        latencies[calls / 2],
        latencies[calls * 99 / 100]
    );
    if let (Some(before), Some(pid)) = (cpu_before, pid) {
        let used = cpu_time(pid)? - before;
        print!(" cpu of {pid}: {:.1} us/call", used.as_secs_f64() * 1e6 / calls as f64);
    }
    println!();
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.get(1).map(|port| port.parse()).transpose()?.unwrap_or(7001);
    pi_runtime::build(Some(1))?.block_on(async {
        match arguments.first().map(String::as_str) {
            Some("node") => Ok(Server::builder()
                .add_service(SecretsServer::new(Node { port }))
                .add_service(RoutingServer::new(Node { port }))
                .serve(([127, 0, 0, 1], port).into())
                .await?),
            Some("load") if arguments.len() >= 4 => {
                load(port, arguments[2].parse()?, arguments[3].parse()?, arguments.get(4).map(String::as_str))
                    .await
            }
            _ => anyhow::bail!("usage: hop node PORT | hop load PORT CLIENTS SECONDS [PID]"),
        }
    })
}
