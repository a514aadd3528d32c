//! A running cluster: start, wait until it serves, look at it, end it, and what tests do to single processes.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use pi_auth::Token;
use pi_client::{CallOptions, Client, admin};
use pi_types::RegionName;
use rustix::process::Signal;
use serde::Serialize;

use crate::files::State;
use crate::process::{Lock, Process, Role, binary};
use crate::spec::Spec;

/// How long a cluster may take to serve; the machine may be slow and busy compiling.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a process may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(15);
/// How long between two looks at something that is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// A cluster of processes on this machine. Dropping it leaves them running.
pub struct Cluster {
    state: State,
}

/// What `pi-dev status -o json` says of one process.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessStatus {
    /// `region` or `gateway`.
    pub role: Role,
    /// Its region; empty for a gateway.
    pub region: String,
    /// A node's id, or a gateway's number.
    pub node: u64,
    /// Its process id; null when it is not running.
    pub pid: Option<u32>,
    /// Where clients reach it.
    pub address: String,
    /// Whether it leads its region.
    pub leader: bool,
}

impl Cluster {
    /// Starts a cluster, or what died of one that was started in this directory before, and waits until every region
    /// serves through every gateway. `progress` is told what happens.
    ///
    /// # Errors
    /// The directory holds another cluster, a port is taken, or a process ends instead of serving.
    pub async fn up(spec: Spec, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Self> {
        spec.check()?;
        std::fs::create_dir_all(&spec.dir).with_context(|| format!("cannot make {}", spec.dir.display()))?;
        let mut spec = spec;
        spec.dir = spec.dir.canonicalize()?;
        let _lock = Lock::take(&spec.dir)?;
        let mut cluster = Self { state: load_or_create(spec, progress)? };
        for at in 0..cluster.state.processes.len() {
            if !cluster.state.processes[at].alive() {
                progress(&format!("starting {}", cluster.state.processes[at].name()));
                cluster.start_at(at)?;
            }
        }
        if !cluster.state.bootstrapped {
            for region in cluster.state.spec.regions.clone() {
                progress(&format!("forming {region}"));
                cluster.bootstrap(&region).await?;
            }
            cluster.state.bootstrapped = true;
            cluster.state.save()?;
        }
        progress("waiting until every region serves");
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Takes up a cluster that `up` started, running or not.
    ///
    /// # Errors
    /// There is none in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        let missing = || anyhow!("no cluster in {}; start one with: pi-dev up --dir {0}", dir.display());
        let dir = dir.canonicalize().map_err(|_| missing())?;
        Ok(Self { state: State::load(&dir)?.ok_or_else(missing)? })
    }

    /// What the cluster consists of.
    pub fn spec(&self) -> &Spec {
        &self.state.spec
    }

    /// All processes, running or not.
    pub fn processes(&self) -> &[Process] {
        &self.state.processes
    }

    /// The addresses of all gateways.
    pub fn gateways(&self) -> Vec<String> {
        self.state.processes.iter().filter(|p| p.role == Role::Gateway).map(|p| p.address.clone()).collect()
    }

    /// One process.
    ///
    /// # Panics
    /// There is no such process.
    pub fn process(&self, role: Role, region: &str, node: u64) -> &Process {
        &self.state.processes[self.find(role, region, node)]
    }

    fn find(&self, role: Role, region: &str, node: u64) -> usize {
        let wanted = |p: &Process| p.role == role && p.region == region && p.node == node;
        let found = self.state.processes.iter().position(wanted);
        found.unwrap_or_else(|| panic!("the cluster has no {role:?} {region:?} {node}"))
    }

    /// A client for one tenant through all gateways.
    ///
    /// # Errors
    /// An address does not parse.
    pub fn client(&self, tenant: &str, region: &str) -> Result<Client> {
        client(self.gateways(), &format!("insecure:{tenant}"), region)
    }

    /// An operator's client through all gateways.
    ///
    /// # Errors
    /// An address does not parse.
    pub fn operator(&self, region: &str) -> Result<Client> {
        client(self.gateways(), "insecure-operator:pi-dev", region)
    }

    /// What one node says of itself.
    ///
    /// # Errors
    /// It does not answer within a second.
    pub async fn node_status(&self, region: &str, node: u64) -> Result<admin::StatusResponse> {
        let address = self.process(Role::Region, region, node).address.clone();
        let client = client(vec![address], "insecure-operator:pi-dev", region)?;
        let options = CallOptions { deadline: Some(Duration::from_secs(1)), ..CallOptions::default() };
        Ok(client.status(admin::StatusRequest { region: region.to_owned() }, options).await?)
    }

    /// The id of a region's leader: a node that says so of itself, in the highest term.
    pub async fn leader(&self, region: &str) -> Option<u64> {
        let mut best: Option<(u64, u64)> = None;
        for process in self.state.processes.iter().filter(|p| p.region == region && p.alive()) {
            if let Ok(status) = self.node_status(region, process.node).await
                && status.role == "leader"
                && best.is_none_or(|(term, _)| status.term > term)
            {
                best = Some((status.term, status.node_id));
            }
        }
        best.map(|(_, id)| id)
    }

    /// Waits for a region to have a leader.
    ///
    /// # Errors
    /// It has none within the time a cluster may take to serve.
    pub async fn await_leader(&self, region: &str) -> Result<u64> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(leader) = self.leader(region).await {
                return Ok(leader);
            }
            ensure!(Instant::now() < until, "{region} has no leader after {READY_WITHIN:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What is running, and who leads.
    pub async fn status(&self) -> Vec<ProcessStatus> {
        let mut all = Vec::new();
        for process in &self.state.processes {
            let alive = process.alive();
            let leader = alive
                && process.role == Role::Region
                && self.node_status(&process.region, process.node).await.is_ok_and(|s| s.role == "leader");
            all.push(ProcessStatus {
                role: process.role,
                region: process.region.clone(),
                node: process.node,
                pid: process.pid.filter(|_| alive),
                address: process.address.clone(),
                leader,
            });
        }
        all
    }

    /// Kills a process (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn kill(&mut self, role: Role, region: &str, node: u64) -> Result<()> {
        let process = self.process(role, region, node);
        process.signal(Signal::KILL)?;
        ensure!(process.gone(END_WITHIN).await, "{} does not die", process.name());
        Ok(())
    }

    /// Asks a process to end (SIGTERM) and waits until it is gone.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(&mut self, role: Role, region: &str, node: u64) -> Result<()> {
        let process = self.process(role, region, node);
        process.signal(Signal::TERM)?;
        ensure!(process.gone(END_WITHIN).await, "{} does not end: {}", process.name(), process.last_words());
        Ok(())
    }

    /// Starts a process that is not running.
    ///
    /// # Errors
    /// It is running, or cannot be started.
    pub fn start(&mut self, role: Role, region: &str, node: u64) -> Result<()> {
        let at = self.find(role, region, node);
        ensure!(!self.state.processes[at].alive(), "{} is running", self.state.processes[at].name());
        self.start_at(at)
    }

    fn start_at(&mut self, at: usize) -> Result<()> {
        let settings = match self.state.processes[at].role {
            Role::Region => self.state.spec.region_settings.clone(),
            Role::Gateway => self.state.spec.gateway_settings.clone(),
        };
        self.state.processes[at].spawn(&settings)?;
        self.state.save()
    }

    /// Ends every process, gateways first, so that nothing is refused by a half-stopped region. Data stays.
    ///
    /// # Errors
    /// A process outlives SIGKILL, or another `pi-dev` is starting or stopping the cluster.
    pub async fn down(&mut self) -> Result<()> {
        let _lock = Lock::take(&self.state.spec.dir)?;
        for role in [Role::Gateway, Role::Region] {
            let running: Vec<&Process> =
                self.state.processes.iter().filter(|p| p.role == role && p.alive()).collect();
            for process in &running {
                process.signal(Signal::TERM)?;
            }
            for process in &running {
                if !process.gone(END_WITHIN).await {
                    process.signal(Signal::KILL)?;
                    ensure!(process.gone(END_WITHIN).await, "{} does not die", process.name());
                }
            }
        }
        Ok(())
    }

    /// Kills every process at once, without ceremony; for tests that end.
    pub fn kill_all(&self) {
        for process in &self.state.processes {
            let _ = process.signal(Signal::KILL);
        }
    }

    async fn bootstrap(&self, region: &RegionName) -> Result<()> {
        let members: Vec<admin::Member> = self
            .state
            .processes
            .iter()
            .filter(|p| p.region == region.as_str())
            .map(|p| admin::Member {
                id: p.node,
                raft_address: p.raft_address.clone(),
                client_address: p.address.clone(),
            })
            .collect();
        let until = Instant::now() + READY_WITHIN;
        let first = self.process(Role::Region, region.as_str(), 1);
        let operator = client(vec![first.address.clone()], "insecure-operator:pi-dev", region.as_str())?;
        loop {
            let request = admin::BootstrapRequest { region: region.to_string(), members: members.clone() };
            match operator.bootstrap(request, CallOptions::default()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.reason() == Some(pi_client::reason::ALREADY_BOOTSTRAPPED) => {
                    return Ok(());
                }
                Err(error) => self.still_waiting(until, &format!("{region} cannot be formed: {error}"))?,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until every gateway answers a linearizable read of every region.
    ///
    /// # Errors
    /// A process ended, or time is up.
    pub async fn ready(&self) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        for gateway in self.gateways() {
            for region in &self.state.spec.regions {
                let probe = client(vec![gateway.clone()], "insecure:pi-dev-probe", region.as_str())?;
                loop {
                    let request = pi_client::secrets::ListRequest::default();
                    let options =
                        CallOptions { deadline: Some(Duration::from_secs(2)), ..CallOptions::default() };
                    match probe.list(request, options).await {
                        Ok(_) => break,
                        Err(error) => {
                            self.still_waiting(until, &format!("{region} does not serve: {error}"))?
                        }
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
        Ok(())
    }

    fn still_waiting(&self, until: Instant, why: &str) -> Result<()> {
        if let Some(dead) = self.state.processes.iter().find(|p| p.pid.is_some() && !p.alive()) {
            bail!("{} ended. Its last words ({}):\n{}", dead.name(), dead.log().display(), dead.last_words());
        }
        ensure!(
            Instant::now() < until,
            "{why} (after {READY_WITHIN:?}; logs are in {})",
            self.spec().dir.display()
        );
        Ok(())
    }
}

fn client(endpoints: Vec<String>, token: &str, region: &str) -> Result<Client> {
    Ok(Client::builder()
        .endpoints(endpoints)
        .token(Token::new(token.to_owned())?)
        .region(region.parse()?)
        .deadline(Duration::from_secs(10))
        .connect_lazy()?)
}

fn load_or_create(mut spec: Spec, progress: &mut (dyn FnMut(&str) + Send)) -> Result<State> {
    if let Some(state) = State::load(&spec.dir)? {
        let before = &state.spec;
        ensure!(
            before.regions == spec.regions && before.nodes == spec.nodes && before.gateways == spec.gateways,
            "{} holds a cluster of {} node(s) in each of {} with {} gateway(s); use another --dir for another one",
            spec.dir.display(),
            before.nodes,
            before.regions.iter().map(RegionName::as_str).collect::<Vec<_>>().join(", "),
            before.gateways
        );
        if spec.base_port != 0 && spec.base_port != before.base_port {
            progress(&format!("the cluster keeps its ports, from {} on", before.base_port));
        }
        return Ok(state);
    }
    choose_ports(&mut spec)?;
    let state = State::create(spec)?;
    for process in state.processes.iter().filter(|p| p.role == Role::Region) {
        // Without `cluster.json`, which is written last, no node has ever run here: what lies there is what an
        // interrupted first `up` left half done.
        let data = process.dir.join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).with_context(|| format!("cannot clear {}", data.display()))?;
        }
        progress(&format!("formatting {}", process.name()));
        let output =
            Command::new(binary("pi-region")?).arg("init").arg("--config").arg(process.config()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "pi-region init failed for {}: {said}", process.name());
    }
    state.save()?;
    Ok(state)
}

/// Checks the ports of a fixed base, or finds a base whose ports are all free. Bases lie below the range the kernel
/// takes outgoing ports from (32768 on), so that a connection cannot take one before its process does.
fn choose_ports(spec: &mut Spec) -> Result<()> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    if spec.base_port != 0 {
        return match spec.ports().into_iter().find(|port| !free(*port)) {
            Some(port) => bail!("port {port} is taken; choose another range with --port"),
            None => Ok(()),
        };
    }
    // Clusters that one process starts at the same time, as tests do, must not look at the same block.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..200 {
        // Blocks of 300 ports: 10 gateways, 16 regions of up to 7 nodes with two ports each.
        let block = (std::process::id() * 7 + NEXT.fetch_add(1, Ordering::Relaxed)) % 40;
        spec.base_port = 20_000 + u16::try_from(block).unwrap_or(0) * 300;
        if spec.ports().into_iter().all(free) {
            return Ok(());
        }
    }
    bail!("no free range of ports between 20000 and 32000")
}
