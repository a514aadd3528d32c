//! What a cluster consists of. Fixed by the first `up` in a directory and kept in its `cluster.json`.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use pi_types::RegionName;
use serde::{Deserialize, Serialize};

/// Nodes a region may have here; Raft wants an odd number.
const NODES_MAX: u64 = 7;
/// Gateways and regions a port range has room for.
const GATEWAYS_MAX: usize = 10;
const REGIONS_MAX: usize = 16;

/// What a cluster consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Holds everything: configuration, data, logs. Not written to `cluster.json`: a directory may be moved.
    #[serde(skip)]
    pub dir: PathBuf,
    /// The regions' names.
    pub regions: Vec<RegionName>,
    /// Nodes of each region, 1 to 7.
    pub nodes: u64,
    /// Gateways, 1 to 10.
    pub gateways: usize,
    /// First of the ports used, all on 127.0.0.1; 0 looks for a free range.
    pub base_port: u16,
    /// Settings for every region node, as in `pi-region --set KEY=VALUE`.
    pub region_settings: Vec<(String, String)>,
    /// Settings for every gateway, as in `pi-gateway --set KEY=VALUE`.
    pub gateway_settings: Vec<(String, String)>,
}

impl Spec {
    /// Two regions of three nodes and one gateway in `dir`, on a free range of ports.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            regions: ["us-central1", "eu-west1"].map(|name| name.parse().expect("a valid label")).to_vec(),
            nodes: 3,
            gateways: 1,
            base_port: 0,
            region_settings: Vec::new(),
            gateway_settings: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            (1..=NODES_MAX).contains(&self.nodes),
            "--nodes is {}, expected 1 to {NODES_MAX}",
            self.nodes
        );
        ensure!(
            (1..=GATEWAYS_MAX).contains(&self.gateways),
            "{} gateways asked for, expected 1 to {GATEWAYS_MAX}",
            self.gateways
        );
        ensure!(
            (1..=REGIONS_MAX).contains(&self.regions.len()),
            "{} regions asked for, expected 1 to {REGIONS_MAX}",
            self.regions.len()
        );
        for (at, region) in self.regions.iter().enumerate() {
            if self.regions[..at].contains(region) {
                bail!("region {region} is named twice");
            }
        }
        Ok(())
    }

    /// The port of a gateway, counted from 0.
    pub(crate) fn gateway_port(&self, gateway: usize) -> u16 {
        self.base_port + u16::try_from(gateway).unwrap_or(0)
    }

    /// The ports of a node: for clients, for the other nodes. Regions count from 0, nodes from 1.
    pub(crate) fn node_ports(&self, region: usize, node: u64) -> (u16, u16) {
        let region = u16::try_from(region).unwrap_or(0);
        let node = u16::try_from(node).unwrap_or(0);
        let client = self.base_port + 10 + region * 16 + (node - 1) * 2;
        (client, client + 1)
    }

    /// Every port the cluster listens on.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let gateways = (0..self.gateways).map(|gateway| self.gateway_port(gateway));
        let nodes = (0..self.regions.len()).flat_map(|region| {
            (1..=self.nodes).flat_map(move |node| {
                let (client, raft) = self.node_ports(region, node);
                [client, raft]
            })
        });
        gateways.chain(nodes).collect()
    }
}
