//! What several tests need: a context that owns its names, randomness that repeats itself, golden files.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};

use pi_seal::{NoRandomness, Random, SealContext};
use pi_types::{ClusterName, Namespace, RegionName, SecretName, TenantId, Uid};

/// A [`SealContext`] that owns its names.
#[derive(Clone)]
pub struct Owned {
    pub cluster: ClusterName,
    pub region: RegionName,
    pub tenant: TenantId,
    pub namespace: Namespace,
    pub name: SecretName,
    pub uid: Uid,
    pub generation: u64,
}

impl Owned {
    pub fn new() -> Self {
        Self {
            cluster: "pi".parse().unwrap(),
            region: "us-central1".parse().unwrap(),
            tenant: "acme".parse().unwrap(),
            namespace: Namespace::default(),
            name: "registry-credentials".parse().unwrap(),
            uid: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
            generation: 7,
        }
    }

    pub fn context(&self) -> SealContext<'_> {
        SealContext {
            cluster: &self.cluster,
            region: &self.region,
            tenant: &self.tenant,
            namespace: &self.namespace,
            name: &self.name,
            uid: self.uid,
            generation: self.generation,
        }
    }
}

/// Gives 0x40, 0x41, … from the first byte asked for.
pub struct Counting(AtomicU8);

impl Counting {
    pub fn new() -> Self {
        Self(AtomicU8::new(0x40))
    }
}

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

/// The `key = value` lines of a golden file.
pub fn golden(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once(" = ").unwrap()).collect()
}

pub fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
