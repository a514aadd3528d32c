//! A load whose every outcome is known in the end, so that what the store holds can be compared exactly.
//!
//! Each writer has a tenant of its own and does one thing at a time: create, update, read back, delete every other one.
//! Where the client says that an outcome is unknown, the writer repeats under the same request id until it is told, as
//! the service promises that it may. A write that was lost, done twice or answered wrongly then shows: as a refusal no
//! correct store gives, or as a difference between the model and the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pi_client::{CallOptions, Client, Error, admin, new_request_id, regions, secrets};
use pi_dev::Cluster;
use tokio::task::JoinSet;

use crate::{eventually, payload, tenant};

/// How long one outcome is chased: longer than any outage the tests make.
const RESOLVE_WITHIN: Duration = Duration::from_secs(60);

/// Writers at work.
pub struct Load {
    region: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writers: JoinSet<Result<Writer>>,
}

/// What writers did and were told.
pub struct History {
    region: String,
    writers: Vec<Writer>,
}

/// What the model holds of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    uid: String,
    revision: u64,
    generation: u64,
    payload: Vec<u8>,
}

struct Writer {
    tenant: String,
    client: Client,
    model: BTreeMap<String, Expected>,
    /// When each write was acknowledged, and its revision.
    acknowledged: Vec<(Instant, u64)>,
    /// How often the client did not know an outcome.
    unknown: u64,
    total: Arc<AtomicU64>,
}

impl Load {
    /// Starts writers in one region, through all gateways.
    ///
    /// # Errors
    /// The quotas cannot be raised.
    pub async fn start(cluster: &Cluster, region: &str, writers: usize) -> Result<Self> {
        let (stop, total) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut load = Self {
            region: region.to_owned(),
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&total),
            writers: JoinSet::new(),
        };
        let operator = cluster.operator(region)?;
        for _ in 0..writers {
            let tenant = tenant("load");
            let request = admin::SetQuotaRequest {
                region: region.to_owned(),
                tenant: tenant.clone(),
                secrets_max: 1_000_000,
            };
            operator.set_quota(request, CallOptions::default()).await?;
            let writer = Writer {
                client: cluster.client(&tenant, region)?,
                tenant,
                model: BTreeMap::new(),
                acknowledged: Vec::new(),
                unknown: 0,
                total: Arc::clone(&total),
            };
            load.writers.spawn(writer.run(Arc::clone(&stop)));
        }
        Ok(load)
    }

    /// Waits until so many writes more were acknowledged.
    ///
    /// # Errors
    /// That takes longer than [`crate::PATIENCE`].
    pub async fn progress(&self, writes: u64) -> Result<()> {
        let from = self.acknowledged.load(Ordering::Relaxed);
        let far = || async { (self.acknowledged.load(Ordering::Relaxed) >= from + writes).then_some(()) };
        eventually(&format!("{writes} more writes after {from}"), far).await
    }

    /// Ends the load; every writer first learns the outcome of what it is at.
    ///
    /// # Errors
    /// A writer was refused what it must not be, read what it did not write, or never learned an outcome.
    pub async fn stop(mut self) -> Result<History> {
        self.stop.store(true, Ordering::Relaxed);
        let mut writers = Vec::new();
        while let Some(writer) = self.writers.join_next().await {
            writers.push(writer.context("a writer panicked")??);
        }
        Ok(History { region: self.region, writers })
    }
}

impl Writer {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Result<Self> {
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let name = format!("s-{number}");
            self.create(&name).await.with_context(|| format!("create {} {name}", self.tenant))?;
            self.update(&name, number).await.with_context(|| format!("update {} {name}", self.tenant))?;
            self.read_back(&name).await.with_context(|| format!("access {} {name}", self.tenant))?;
            if number.is_multiple_of(2) {
                self.delete(&name).await.with_context(|| format!("delete {} {name}", self.tenant))?;
            }
        }
        Ok(self)
    }

    async fn create(&mut self, name: &str) -> Result<()> {
        let payload = payload(&format!("{name}-created"));
        let request = secrets::CreateRequest {
            name: name.to_owned(),
            payload: payload.clone(),
            ..secrets::CreateRequest::default()
        };
        let client = self.client.clone();
        let answer = self.outcome(|options| client.create(request.clone(), options)).await?;
        let secret = answer.secret.context("a creation is answered with the secret")?;
        ensure!(secret.generation == 1, "a new secret has generation {}", secret.generation);
        let expected = Expected { uid: secret.uid, revision: secret.revision, generation: 1, payload };
        self.acknowledge(secret.revision)?;
        ensure!(self.model.insert(name.to_owned(), expected).is_none(), "{name} was created twice");
        Ok(())
    }

    async fn update(&mut self, name: &str, number: u64) -> Result<()> {
        let payload = payload(&format!("{name}-updated-{number}"));
        let request = secrets::UpdateRequest {
            name: name.to_owned(),
            payload: Some(payload.clone()),
            ..secrets::UpdateRequest::default()
        };
        let client = self.client.clone();
        let answer = self.outcome(|options| client.update(request.clone(), options)).await?;
        let secret = answer.secret.context("an update is answered with the secret")?;
        self.acknowledge(secret.revision)?;
        let expected = self.model.get_mut(name).context("only what is there is updated")?;
        expected.generation += 1;
        ensure!(
            answer.changed && secret.uid == expected.uid && secret.generation == expected.generation,
            "expected {expected:?}, was told {secret:?}"
        );
        (expected.revision, expected.payload) = (secret.revision, payload);
        Ok(())
    }

    async fn read_back(&mut self, name: &str) -> Result<()> {
        let request = secrets::AccessRequest { name: name.to_owned(), ..secrets::AccessRequest::default() };
        match self.client.access(request, CallOptions::default()).await {
            Ok(answer) => {
                let expected = &self.model[name];
                ensure!(answer.payload == expected.payload, "read another payload than was written last");
                ensure!(
                    answer.revision >= expected.revision,
                    "read a state older than an acknowledged write"
                );
                Ok(())
            }
            Err(Error::Unavailable { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&mut self, name: &str) -> Result<()> {
        let request = secrets::DeleteRequest { name: name.to_owned(), ..secrets::DeleteRequest::default() };
        let client = self.client.clone();
        let answer = self.outcome(|options| client.delete(request.clone(), options)).await?;
        self.acknowledge(answer.revision)?;
        self.model.remove(name).context("only what is there is deleted")?;
        Ok(())
    }

    /// Repeats a call under one request id until its outcome is known.
    async fn outcome<T, F>(&mut self, call: impl Fn(CallOptions) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let options = CallOptions { request_id: Some(new_request_id()), ..CallOptions::default() };
        let until = Instant::now() + RESOLVE_WITHIN;
        loop {
            match call(options.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Error::Unknown { .. }) => self.unknown += 1,
                Err(Error::Unavailable { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            ensure!(Instant::now() < until, "no outcome within {RESOLVE_WITHIN:?}");
        }
    }

    fn acknowledge(&mut self, revision: u64) -> Result<()> {
        if let Some((_, last)) = self.acknowledged.last() {
            ensure!(revision > *last, "revision {revision} was told after {last}");
        }
        self.acknowledged.push((Instant::now(), revision));
        self.total.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl History {
    /// Writes that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.writers.iter().map(|w| w.acknowledged.len()).sum()
    }

    /// How often a client did not know an outcome (and then asked again).
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.writers.iter().map(|w| w.unknown).sum()
    }

    /// The longest time without an acknowledged write.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let times: BTreeSet<Instant> =
            self.writers.iter().flat_map(|w| &w.acknowledged).map(|a| a.0).collect();
        times.iter().zip(times.iter().skip(1)).map(|(a, b)| *b - *a).max().unwrap_or_default()
    }

    /// Compares the store with the model, exactly: names, uids, revisions, generations, payloads, use. Hence nothing
    /// acknowledged is lost, nothing was done twice, and nothing is there that nobody wrote.
    ///
    /// # Errors
    /// The first difference.
    pub async fn verify(&self) -> Result<()> {
        let mut revisions = BTreeSet::new();
        for (_, revision) in self.writers.iter().flat_map(|w| &w.acknowledged) {
            ensure!(revisions.insert(*revision), "revision {revision} was given to two writes");
        }
        for writer in &self.writers {
            writer.verify(&self.region).await.with_context(|| format!("tenant {}", writer.tenant))?;
        }
        Ok(())
    }
}

impl Writer {
    async fn verify(&self, region: &str) -> Result<()> {
        let mut listed = BTreeMap::new();
        let mut request = secrets::ListRequest { page_size: 500, ..secrets::ListRequest::default() };
        loop {
            let page = self.client.list(request.clone(), CallOptions::default()).await?;
            for secret in page.secrets {
                ensure!(listed.insert(secret.name.clone(), secret).is_none(), "a name is listed twice");
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        for name in listed.keys() {
            ensure!(self.model.contains_key(name), "{name} is there, but was deleted or never created");
        }
        for (name, expected) in &self.model {
            let Some(secret) = listed.get(name) else {
                bail!("{name} was acknowledged and is lost: {expected:?}")
            };
            let request = secrets::AccessRequest { name: name.clone(), ..secrets::AccessRequest::default() };
            let payload = self.client.access(request, CallOptions::default()).await?.payload.to_vec();
            let found = Expected {
                uid: secret.uid.clone(),
                revision: secret.revision,
                generation: secret.generation,
                payload,
            };
            ensure!(found == *expected, "{name}: expected {expected:?}, found {found:?}");
        }
        let request = regions::GetRegionRequest { region: region.to_owned(), ..Default::default() };
        let used = self.client.get_region(request, CallOptions::default()).await?.secrets_used;
        ensure!(used as usize == self.model.len(), "{used} are counted, {} are there", self.model.len());
        Ok(())
    }
}
