//! A node that does as it is told, for tests of the client and (through `#[path]`) of the gateway.
//!
//! It sits behind a small TCP relay, so that a test can cut its connections at a chosen moment, as a dying process does.

#![expect(dead_code, reason = "each test binary uses its own part of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pi_proto::raft::v1 as raft;
use pi_proto::raft::v1::routing_server::{Routing, RoutingServer};
use pi_proto::reason;
use pi_proto::secrets::v1::secrets_server::{Secrets, SecretsServer};
use pi_proto::secrets::v1::*;
use pi_proto::status::status;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status};

/// What the node does with the next call; without one it answers well.
#[derive(Clone, Debug)]
pub enum Act {
    /// Not the leader; it knows who is, or not.
    NotLeader(Option<u64>),
    /// Refuses with this code and reason.
    Refuse(Code, &'static str),
    /// A status that is not ours.
    Foreign(Code),
    /// Does the thing, and dies before it answers.
    ApplyThenCut,
    /// Dies before it does the thing.
    Cut,
    /// Never answers.
    Hang,
    /// Answers after this time.
    Slow(Duration),
    /// A watch hands out these revisions (their resume tokens are the numbers), then dies.
    StreamThenCut(Vec<u64>),
    /// A watch hands out these revisions, then stays open.
    Stream(Vec<u64>),
}

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: &'static str,
    pub region: String,
    pub name: String,
    pub resume_token: String,
    pub metadata: BTreeMap<String, String>,
}

impl Seen {
    pub fn request_id(&self) -> &str {
        self.metadata.get("pi-request-id").map_or("", String::as_str)
    }
}

#[derive(Default)]
struct State {
    acts: VecDeque<Act>,
    seen: Vec<Seen>,
    applied: BTreeSet<String>,
    members: raft::GetMembersResponse,
}

/// The node. Cheap to clone; it lives as long as the test's runtime.
#[derive(Clone)]
pub struct Fake {
    pub id: u64,
    pub region: String,
    /// The relay's address.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    cut: Arc<watch::Sender<u64>>,
}

/// An address at which nobody listens.
pub async fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl Fake {
    pub async fn start(id: u64, region: &str) -> Fake {
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Fake {
            id,
            region: region.to_owned(),
            address: relay.local_addr().unwrap(),
            state: Arc::default(),
            cut: Arc::new(watch::channel(0).0),
        };
        tokio::spawn(relay_to(relay, behind.local_addr().unwrap(), fake.cut.subscribe()));
        let server = tonic::transport::Server::builder()
            .add_service(SecretsServer::new(fake.clone()))
            .add_service(RoutingServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(behind)));
        fake.lead(&[&fake], id);
        fake
    }

    /// What the node will do next, call by call.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.lock().unwrap().acts.extend(acts);
    }

    /// What the node says of its region from now on.
    pub fn lead(&self, members: &[&Fake], leader: u64) {
        let mut state = self.state.lock().unwrap();
        let index = state.members.membership_index + 1;
        state.members = raft::GetMembersResponse {
            cluster: "test".to_owned(),
            region: self.region.clone(),
            nodes: members
                .iter()
                .map(|fake| raft::Node {
                    id: fake.id,
                    raft_address: String::new(),
                    client_address: fake.address.to_string(),
                })
                .collect(),
            leader_id: leader,
            term: index,
            membership_index: index,
        };
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// The request ids of what was done.
    pub fn applied(&self) -> Vec<String> {
        self.state.lock().unwrap().applied.iter().cloned().collect()
    }

    /// Ends all its connections.
    pub fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    fn arrive<T>(
        &self,
        method: &'static str,
        request: &Request<T>,
        region: &str,
        name: &str,
    ) -> (Seen, Option<Act>) {
        let metadata = request.metadata().iter().map(|entry| match entry {
            tonic::metadata::KeyAndValueRef::Ascii(key, value) => {
                (key.to_string(), value.to_str().unwrap_or("?").to_owned())
            }
            tonic::metadata::KeyAndValueRef::Binary(key, _) => (key.to_string(), "binary".to_owned()),
        });
        let seen = Seen {
            method,
            region: region.to_owned(),
            name: name.to_owned(),
            resume_token: String::new(),
            metadata: metadata.collect(),
        };
        let mut state = self.state.lock().unwrap();
        state.seen.push(seen.clone());
        (seen, state.acts.pop_front())
    }

    async fn act(&self, act: Option<Act>, seen: &Seen) -> Result<(), Status> {
        let apply = || self.state.lock().unwrap().applied.insert(seen.request_id().to_owned());
        match act {
            None | Some(Act::Stream(_) | Act::StreamThenCut(_)) => drop(apply()),
            Some(Act::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                apply();
            }
            Some(Act::NotLeader(leader)) => {
                return Err(status(Code::Unavailable, reason::NO_LEADER, "not the leader", &[])
                    .retry_after(Duration::from_millis(1))
                    .not_proposed(leader)
                    .build());
            }
            Some(Act::Refuse(code, reason)) => {
                return Err(status(code, reason, "refused by the fake", &[]).build());
            }
            Some(Act::Foreign(code)) => return Err(Status::new(code, "not ours")),
            Some(Act::ApplyThenCut) => {
                apply();
                self.cut();
                std::future::pending::<()>().await;
            }
            Some(Act::Cut) => {
                self.cut();
                std::future::pending::<()>().await;
            }
            Some(Act::Hang) => std::future::pending::<()>().await,
        }
        Ok(())
    }

    fn secret(&self, name: String) -> Option<Secret> {
        Some(Secret { name, region: self.region.clone(), ..Secret::default() })
    }
}

async fn relay_to(listener: TcpListener, to: SocketAddr, cut: watch::Receiver<u64>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut cut = cut.clone();
        cut.mark_unchanged();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(to).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

#[tonic::async_trait]
impl Routing for Fake {
    async fn get_members(
        &self,
        _: Request<raft::GetMembersRequest>,
    ) -> Result<Response<raft::GetMembersResponse>, Status> {
        Ok(Response::new(self.state.lock().unwrap().members.clone()))
    }
}

#[tonic::async_trait]
impl Secrets for Fake {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let (seen, act) = self.arrive("create", &request, &request.get_ref().region, &request.get_ref().name);
        self.act(act, &seen).await?;
        let secret = self.secret(seen.name);
        Ok(Response::new(CreateResponse { secret, ..CreateResponse::default() }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let (seen, act) = self.arrive("get", &request, &request.get_ref().region, &request.get_ref().name);
        self.act(act, &seen).await?;
        Ok(Response::new(GetResponse { secret: self.secret(seen.name), ..GetResponse::default() }))
    }

    async fn access(&self, _: Request<AccessRequest>) -> Result<Response<AccessResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let (seen, act) = self.arrive("list", &request, &request.get_ref().region, "");
        self.act(act, &seen).await?;
        Ok(Response::new(ListResponse::default()))
    }

    async fn update(&self, _: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (seen, act) = self.arrive("watch", &request, &request.get_ref().region, &request.get_ref().name);
        let token = request.into_inner().resume_token;
        self.state.lock().unwrap().seen.last_mut().unwrap().resume_token = token;
        self.act(act.clone(), &seen).await?;
        let (sender, receiver) = mpsc::channel(16);
        let fake = self.clone();
        tokio::spawn(async move {
            let (revisions, then_cut) = match act {
                Some(Act::StreamThenCut(revisions)) => (revisions, true),
                Some(Act::Stream(revisions)) => (revisions, false),
                _ => (Vec::new(), false),
            };
            for revision in revisions {
                let answer = WatchResponse {
                    revision,
                    resume_token: revision.to_string(),
                    ..WatchResponse::default()
                };
                let _ = sender.send(Ok(answer)).await;
            }
            if then_cut {
                tokio::time::sleep(Duration::from_millis(50)).await;
                fake.cut();
            }
            sender.closed().await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
