//! How many creates a second one core applies, on a state in memory:
//! `cargo run --release -p pi-state --example apply_speed`.
//!
//! 1,000 tenants with raised quotas, sealed payloads of 284 bytes (256 of plaintext), one entry a transaction and 64.
//! *window filling*: nothing is old yet. *window full*: every create also makes an earlier request old, which is the
//! steady state of a busy region. Counted is the time on the CPU, so that a busy machine does not distort it much; the
//! share of `apply` leaves out the writing of the ops into the ordered map, which is storage's part.

use std::error::Error;
use std::time::Instant;

use pi_state::memory::MemoryState;
use pi_state::{Command, CommandKind, Outcome, SealedPayload, Txn};
use pi_types::{Annotations, Labels, Namespace, RequestId, TenantId, Uid};

const TENANTS: u64 = 1_000;
const CREATES: u64 = 200_000;
const START_MS: i64 = 1_700_000_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    for (what, step_ms_per_100) in [("window filling", 1), ("window full", 1_000)] {
        for batch in [1, 64] {
            let (total, applying) = run(step_ms_per_100, batch)?;
            let creates = CREATES as f64;
            println!(
                "{what:>14}, {batch:>2} a transaction: {:>7.0} creates per CPU second, {:.2} us each, {:.0} % of it apply",
                creates / total.cpu,
                1e6 * total.cpu / creates,
                100.0 * applying / total.wall,
            );
        }
    }
    Ok(())
}

/// Seconds.
struct Took {
    wall: f64,
    cpu: f64,
}

/// Applies the creates: what it took altogether, and the seconds by the clock in `apply`.
fn run(step_ms_per_100: i64, batch: usize) -> Result<(Took, f64), Box<dyn Error>> {
    let mut state = MemoryState::new();
    let mut commands = Vec::new();
    for tenant in 0..TENANTS {
        commands.push(command(tenant, tenant, START_MS, CommandKind::SetQuota { secrets_max: 1_000_000 })?);
    }
    apply(&mut state, 1, &commands, batch)?;
    let mut creates = Vec::new();
    for number in 0..CREATES {
        let time_ms = START_MS + number as i64 * step_ms_per_100 / 100;
        let kind = CommandKind::CreateSecret {
            namespace: Namespace::default(),
            name: format!("registry-{number}").parse()?,
            labels: Labels::from_map([("app".to_owned(), "shop".to_owned())].into())?,
            annotations: Annotations::default(),
            payload: SealedPayload {
                sealed: vec![7; 284],
                plaintext_bytes: 256,
                uid: uid(number),
                generation: 1,
            },
        };
        creates.push(command(number % TENANTS, TENANTS + number, time_ms, kind)?);
    }
    let (start, cpu_start) = (Instant::now(), cpu_seconds()?);
    let (created, applying) = apply(&mut state, TENANTS + 1, &creates, batch)?;
    let total = Took { wall: start.elapsed().as_secs_f64(), cpu: cpu_seconds()? - cpu_start };
    assert_eq!(created, CREATES, "every create succeeds");
    Ok((total, applying))
}

/// Applies commands from `first` on; how many created something, and the seconds without the storing.
fn apply(
    state: &mut MemoryState,
    first: u64,
    commands: &[Command],
    batch: usize,
) -> Result<(u64, f64), Box<dyn Error>> {
    let mut applying = 0.0;
    let mut index = first;
    let mut created = 0;
    for chunk in commands.chunks(batch) {
        let start = Instant::now();
        let mut txn = Txn::begin(state)?;
        for command in chunk {
            let response = txn.apply(index, command)?;
            created += u64::from(matches!(response.outcome, Outcome::Created { .. }));
            index += 1;
        }
        let applied = txn.finish()?;
        applying += start.elapsed().as_secs_f64();
        state.absorb(applied.ops);
    }
    Ok((created, applying))
}

fn command(tenant: u64, number: u64, time_ms: i64, kind: CommandKind) -> Result<Command, Box<dyn Error>> {
    let tenant: TenantId = format!("tenant-{tenant}").parse()?;
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    id[6] = 0x70;
    id[8..].copy_from_slice(&number.to_be_bytes());
    id[8] = 0x80;
    Ok(Command {
        time_ms,
        tenant,
        principal: "bench".parse()?,
        request_id: RequestId::from_bytes(&id)?,
        kind,
    })
}

/// How long this thread was on a CPU (Linux).
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: u64 = schedstat.split(' ').next().ok_or("an empty schedstat")?.parse()?;
    Ok(nanoseconds as f64 / 1e9)
}

fn uid(number: u64) -> Uid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Uid::from_bytes(bytes)
}
