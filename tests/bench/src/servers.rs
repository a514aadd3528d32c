//! The servers under test: a region of three nodes behind a gateway, and three members of etcd.
//!
//! Everything listens on loopback and keeps its data below one directory.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use pi_client::{CallOptions, admin};
use pi_dev::{Cluster, Role, Spec};
use tokio::process::{Child, Command};

use crate::args::{Api, Run};
use crate::etcd;
use crate::target::{self, REGION};

/// Nodes of each system.
pub const NODES: usize = 3;
/// Quota of each tenant: more than any run creates.
const QUOTA: u32 = 1_000_000;
/// Quotas that are set at the same time.
const QUOTAS_AT_ONCE: usize = 64;
/// How long etcd may take to have a leader, and to end.
const ETCD_WITHIN: Duration = Duration::from_secs(30);

/// One server process.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it is: `gateway`, `leader`, `follower`, `member`.
    pub part: &'static str,
    pub pid: u32,
}

impl Server {
    /// Whether it keeps data: memory is counted per node.
    pub fn is_node(&self) -> bool {
        self.part != GATEWAY
    }
}

const GATEWAY: &str = "gateway";
/// Our cluster's directory within the run's.
const PI_DIR: &str = "pi";

/// A system under test, running.
pub enum System {
    Pi(Box<Pi>),
    Etcd(Etcd),
}

impl System {
    pub fn api(&self) -> Api {
        match self {
            Self::Pi(_) => Api::Pi,
            Self::Etcd(_) => Api::Etcd,
        }
    }

    /// Where the load connects.
    pub fn endpoints(&self) -> Vec<String> {
        match self {
            Self::Pi(pi) => pi.cluster.gateways(),
            Self::Etcd(etcd) => etcd.members.iter().map(|member| member.client.clone()).collect(),
        }
    }

    /// Its processes, as they are now: leadership may have moved.
    pub async fn servers(&self) -> Result<Vec<Server>> {
        match self {
            Self::Pi(pi) => pi.servers().await,
            Self::Etcd(etcd) => etcd.servers(),
        }
    }
}

/// Our side.
pub struct Pi {
    cluster: Cluster,
}

impl Pi {
    pub async fn start(dir: &Path, run: &Run) -> Result<Self> {
        let spec = Spec {
            regions: vec![REGION.parse()?],
            nodes: NODES as u64,
            region_settings: run.region_settings.clone(),
            gateway_settings: run.gateway_settings.clone(),
            ..Spec::new(dir.join(PI_DIR))
        };
        let cluster =
            Cluster::up(spec, &mut |what| eprintln!("  {what}")).await.context("starting Pi Secrets")?;
        Ok(Self { cluster })
    }

    /// Ends every process of the cluster below `dir`, also of one that was interrupted while it started.
    pub async fn stop(dir: &Path) -> Result<()> {
        match Cluster::open(&dir.join(PI_DIR)) {
            Ok(mut cluster) => cluster.down().await,
            // None was started.
            Err(_) => Ok(()),
        }
    }

    /// Lets every tenant of the load have as many secrets as it makes.
    pub async fn raise_quotas(&self, tenants: usize) -> Result<()> {
        let operator = self.cluster.operator(REGION)?;
        let began = Instant::now();
        stream::iter((0..tenants).map(|number| {
            let operator = operator.clone();
            async move {
                let request = admin::SetQuotaRequest {
                    region: REGION.to_owned(),
                    tenant: target::tenant(number),
                    secrets_max: QUOTA,
                };
                operator.set_quota(request, CallOptions::default()).await.map(drop)
            }
        }))
        .buffer_unordered(QUOTAS_AT_ONCE)
        .try_collect::<()>()
        .await
        .context("raising quotas")?;
        eprintln!("  quotas of {tenants} tenants raised in {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    async fn servers(&self) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        for process in self.cluster.status().await {
            let part = match (process.role, process.leader) {
                (Role::Gateway, _) => GATEWAY,
                (Role::Region, true) => "leader",
                (Role::Region, false) => "follower",
            };
            let pid = process.pid.with_context(|| format!("{part} {} is not running", process.node))?;
            servers.push(Server { part, pid });
        }
        Ok(servers)
    }
}

/// The other side.
pub struct Etcd {
    members: Vec<Member>,
}

struct Member {
    child: Child,
    client: String,
}

impl Etcd {
    pub async fn start(binary: &Path, dir: &Path) -> Result<Self> {
        eprintln!("  starting {} × {NODES}", etcd::version(binary)?);
        let dir = dir.join("etcd");
        std::fs::create_dir(&dir)?;
        let ports = free_ports(2 * NODES)?;
        let (clients, peers) = ports.split_at(NODES);
        let cluster: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(member, port)| format!("member{member}=http://127.0.0.1:{port}"))
            .collect();
        let mut members = Vec::with_capacity(NODES);
        for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let log = std::fs::File::create(dir.join(format!("member{number}.log")))?;
            let child = Command::new(binary)
                .args(["--name", &format!("member{number}")])
                .arg("--data-dir")
                .arg(dir.join(format!("member{number}")))
                .args(["--listen-client-urls", &format!("http://127.0.0.1:{client}")])
                .args(["--advertise-client-urls", &format!("http://127.0.0.1:{client}")])
                .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")])
                .args(["--initial-advertise-peer-urls", &format!("http://127.0.0.1:{peer}")])
                .args(["--initial-cluster", &cluster.join(",")])
                .args(["--log-level", "warn"])
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                // A Ctrl-C in the terminal reaches us, and we end it.
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
                .context("starting etcd")?;
            members.push(Member { child, client: format!("127.0.0.1:{client}") });
        }
        let mut etcd = Self { members };
        etcd.ready().await?;
        Ok(etcd)
    }

    /// Waits until every member answers a linearizable read.
    async fn ready(&mut self) -> Result<()> {
        let until = Instant::now() + ETCD_WITHIN;
        for member in &mut self.members {
            while let Err(error) = probe(&member.client).await {
                if let Some(status) = member.child.try_wait()? {
                    bail!("etcd ended ({status}); --keep keeps its logs");
                }
                ensure!(Instant::now() < until, "etcd at {} does not serve: {error:#}", member.client);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn servers(&self) -> Result<Vec<Server>> {
        let pid = |member: &Member| member.child.id().context("a member of etcd ended");
        self.members.iter().map(|member| Ok(Server { part: "member", pid: pid(member)? })).collect()
    }

    /// Ends every member.
    pub async fn stop(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.child.start_kill()?;
        }
        for member in &mut self.members {
            tokio::time::timeout(ETCD_WITHIN, member.child.wait()).await.context("etcd does not die")??;
        }
        Ok(())
    }
}

async fn probe(address: &str) -> Result<()> {
    let mut client = etcd::pb::kv_client::KvClient::connect(format!("http://{address}")).await?;
    let mut request =
        tonic::Request::new(etcd::pb::RangeRequest { key: b"probe".to_vec(), serializable: false });
    request.set_timeout(Duration::from_secs(2));
    client.range(request).await?;
    Ok(())
}

/// Ports of loopback that were free a moment ago; held all at once, so that they differ.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<std::io::Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
