//! The files of a cluster: `cluster.json`, each process's configuration, and the user's `config` for `pi`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::process::{Process, Role};
use crate::spec::Spec;

/// The cluster's name in every configuration.
pub(crate) const CLUSTER: &str = "pi-dev";
/// The tenant of the context that `pi` uses.
pub(crate) const TENANT: &str = "acme";

/// What `cluster.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) spec: Spec,
    pub(crate) processes: Vec<Process>,
    /// Whether each region's Raft group was formed. Never done twice: on lost data that would make a second cluster.
    pub(crate) bootstrapped: bool,
}

impl State {
    /// Reads what an earlier `up` left, if there was one.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("cluster.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut state: Self = serde_json::from_slice(&text).with_context(|| {
            format!("{} does not look like pi-dev's; remove the directory", path.display())
        })?;
        state.spec.dir = dir.to_path_buf();
        Ok(Some(state))
    }

    pub(crate) fn save(&self) -> Result<()> {
        let path = self.spec.dir.join("cluster.json");
        let next = self.spec.dir.join("cluster.json.next");
        fs::write(&next, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&next, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Lays out the processes of a new cluster and writes their configuration.
    pub(crate) fn create(spec: Spec) -> Result<Self> {
        let mut processes = Vec::new();
        for (at, region) in spec.regions.iter().enumerate() {
            for node in 1..=spec.nodes {
                let (client, raft) = spec.node_ports(at, node);
                processes.push(Process {
                    role: Role::Region,
                    region: region.to_string(),
                    node,
                    address: format!("127.0.0.1:{client}"),
                    raft_address: format!("127.0.0.1:{raft}"),
                    dir: spec.dir.join(region.as_str()).join(node.to_string()),
                    pid: None,
                    started: None,
                });
            }
        }
        for gateway in 0..spec.gateways {
            let number = gateway + 1;
            processes.push(Process {
                role: Role::Gateway,
                region: String::new(),
                node: number as u64,
                address: format!("127.0.0.1:{}", spec.gateway_port(gateway)),
                raft_address: String::new(),
                dir: spec.dir.join("gateway").join(number.to_string()),
                pid: None,
                started: None,
            });
        }
        let state = Self { spec, processes, bootstrapped: false };
        for process in &state.processes {
            fs::create_dir_all(&process.dir)?;
            let text = match process.role {
                Role::Region => region_config(process),
                Role::Gateway => state.gateway_config(process),
            };
            fs::write(process.config(), text)?;
        }
        state.write_user_config()?;
        Ok(state)
    }

    fn gateway_config(&self, gateway: &Process) -> String {
        let mut text = format!("listen = \"{}\"\n", gateway.address);
        for region in &self.spec.regions {
            let seeds: Vec<String> = self
                .processes
                .iter()
                .filter(|process| process.region == region.as_str())
                .map(|process| format!("\"{}\"", process.address))
                .collect();
            let _ = write!(text, "\n[[regions]]\nname = \"{region}\"\nseeds = [{}]\n", seeds.join(", "));
        }
        text
    }

    /// `DIR/config`, which `PI_CONFIG` may name: context `tenant`, current, and context `operator`.
    fn write_user_config(&self) -> Result<()> {
        let gateways: Vec<&str> =
            self.processes.iter().filter(|p| p.role == Role::Gateway).map(|p| p.address.as_str()).collect();
        let server = gateways.join(",");
        let region = &self.spec.regions[0];
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: tenant\n\
             clusters:\n- name: {CLUSTER}\n  cluster:\n    server: \"{server}\"\n\
             contexts:\n\
             - name: tenant\n  context:\n    cluster: {CLUSTER}\n    user: tenant\n    region: {region}\n\
             - name: operator\n  context:\n    cluster: {CLUSTER}\n    user: operator\n    region: {region}\n\
             users:\n\
             - name: tenant\n  user:\n    token: \"insecure:{TENANT}\"\n\
             - name: operator\n  user:\n    token: \"insecure-operator:pi-dev\"\n"
        );
        let path = self.spec.dir.join("config");
        let _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn region_config(node: &Process) -> String {
    format!(
        "cluster = \"{CLUSTER}\"\nregion = \"{region}\"\nnode_id = {id}\ndata_dir = \"{data}\"\n\
         client_listen = \"{client}\"\nraft_listen = \"{raft}\"\ninsecure_tokens = \"loopback-only\"\n",
        region = node.region,
        id = node.node,
        data = node.dir.join("data").display(),
        client = node.address,
        raft = node.raft_address,
    )
}
