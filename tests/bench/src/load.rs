//! The load process: clients that each have one operation under way (a closed loop) for a set time.
//!
//! It speaks to its parent by lines on standard output: `begin` and `end` when the measured time does (the parent then
//! looks at the servers' CPU time), and last the result as JSON.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::join_all;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::args::{Api, Load, Operation};
use crate::proc;
use crate::target::{CONNECTIONS, Etcd, Name, PREPARED, Pi, Target};

/// The line that opens the measured time.
pub const BEGIN: &str = "begin";
/// The line that closes it.
pub const END: &str = "end";
/// How long a client waits after a failed operation, so that a dead server is not asked in a tight loop.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);
/// In a mixed load, one operation of this many is a create.
const MIXED_CREATE_EVERY: usize = 10;

/// What a load process measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Operations that ended well within the measured time.
    pub operations: u64,
    /// Operations that failed, at any time: one is enough to make the measurement invalid.
    pub failures: u64,
    /// What the first of them failed of.
    pub first_failure: Option<String>,
    /// Length of the measured time.
    pub seconds: f64,
    /// Operations per second.
    pub per_second: f64,
    /// Latencies, in milliseconds.
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// CPU time that the load process itself took, in seconds: near `seconds`, it is the load that is measured.
    pub load_cpu_seconds: f64,
}

/// One client's share of it.
struct Tally {
    latencies_us: Histogram<u64>,
    failures: u64,
    first_failure: Option<String>,
}

impl Tally {
    fn new() -> Result<Self> {
        // Three digits, up to a minute: no operation lives longer than its deadline.
        Ok(Self {
            latencies_us: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            failures: 0,
            first_failure: None,
        })
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.failures += 1;
        self.first_failure.get_or_insert_with(|| format!("{error:#}"));
    }

    fn add(&mut self, other: &Self) -> Result<()> {
        self.latencies_us.add(&other.latencies_us)?;
        self.failures += other.failures;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
        Ok(())
    }
}

/// Runs the load process.
pub async fn run(load: &Load) -> Result<()> {
    match load.api {
        Api::Pi => with(load, Pi::connect(load).await?).await,
        Api::Etcd => with(load, Etcd::connect(load).await?).await,
    }
}

async fn with<T: Target + 'static>(load: &Load, target: T) -> Result<()> {
    if load.operation == Operation::Prepare {
        return prepare(load, &target).await;
    }
    let begin = Instant::now() + Duration::from_secs_f64(load.warmup);
    let end = begin + Duration::from_secs_f64(load.seconds);
    let target = Rc::new(target);
    let here = tokio::task::LocalSet::new();
    let clients: Vec<_> = (0..load.clients)
        .map(|client| {
            let client = Client { client, operation: load.operation, serial: load.serial, begin, end };
            here.spawn_local(client.run(target.clone()))
        })
        .collect();
    let tallies = async {
        tokio::time::sleep_until(begin.into()).await;
        let cpu = proc::cpu_seconds(std::process::id());
        println!("{BEGIN}");
        tokio::time::sleep_until(end.into()).await;
        println!("{END}");
        let cpu = proc::cpu_seconds(std::process::id())? - cpu?;
        anyhow::Ok((join_all(clients).await, cpu))
    };
    let (tallies, cpu) = here.run_until(tallies).await?;
    let mut total = Tally::new()?;
    for tally in tallies {
        total.add(&tally.context("a client panicked")??)?;
    }
    println!("{}", serde_json::to_string(&measured(&total, load.seconds, cpu))?);
    Ok(())
}

fn measured(total: &Tally, seconds: f64, load_cpu_seconds: f64) -> Measured {
    let latencies = &total.latencies_us;
    let ms = |us: u64| us as f64 / 1_000.0;
    Measured {
        operations: latencies.len(),
        failures: total.failures,
        first_failure: total.first_failure.clone(),
        seconds,
        per_second: latencies.len() as f64 / seconds,
        p50_ms: ms(latencies.value_at_quantile(0.5)),
        p90_ms: ms(latencies.value_at_quantile(0.9)),
        p99_ms: ms(latencies.value_at_quantile(0.99)),
        p999_ms: ms(latencies.value_at_quantile(0.999)),
        max_ms: ms(latencies.max()),
        load_cpu_seconds,
    }
}

/// One client: an operation, then the next.
struct Client {
    client: usize,
    operation: Operation,
    serial: u32,
    begin: Instant,
    end: Instant,
}

impl Client {
    async fn run<T: Target>(self, target: Rc<T>) -> Result<Tally> {
        let mut tally = Tally::new()?;
        let mut random = u64::from(self.serial) << 32 | (self.client as u64 + 1);
        for number in 0.. {
            let began = Instant::now();
            if began >= self.end {
                break;
            }
            // In turn, so that a single client meets every server too.
            let connection = (self.client + number) % CONNECTIONS;
            let create = match self.operation {
                Operation::Create | Operation::Prepare => true,
                Operation::Access => false,
                // Not all clients at once.
                Operation::Mixed => (self.client + number).is_multiple_of(MIXED_CREATE_EVERY),
            };
            let done = if create {
                target.create(connection, Name::new(self.serial, self.client, number)).await
            } else {
                let number = (next_random(&mut random) % PREPARED as u64) as usize;
                target.access(connection, Name::prepared(number)).await
            };
            let ended = Instant::now();
            match done {
                Ok(()) if ended >= self.begin && ended < self.end => {
                    tally.latencies_us.saturating_record((ended - began).as_micros() as u64);
                }
                Ok(()) => {}
                Err(error) => {
                    tally.fail(&error);
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        }
        Ok(tally)
    }
}

/// Creates what accesses will read. Any failure ends it.
async fn prepare(load: &Load, target: &impl Target) -> Result<()> {
    let next = Cell::new(0);
    let results = join_all((0..load.clients).map(async |client| {
        while next.get() < PREPARED {
            let number = next.replace(next.get() + 1);
            target.create(client % CONNECTIONS, Name::prepared(number)).await?;
        }
        anyhow::Ok(())
    }))
    .await;
    results.into_iter().collect::<Result<Vec<()>>>().context("preparing what is to be read")?;
    Ok(())
}

/// xorshift64: which secret is read next needs no better randomness, and the load shall cost little.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
