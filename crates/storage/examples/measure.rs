//! Measures what the design depends on: synced appends, commits, freeze, snapshot transfer, open.
//!
//! `cargo run -p pi-storage --example measure [DIRECTORY]`; figures go to `OVERVIEW.md`. The directory should lie on the
//! disk that a node would use; it is made, filled with about 300 MB and removed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pi_raft::store::{LogRecord, Store};
use pi_raft::types::{LogId, StoredMembership};
use pi_state::Ops;
use pi_storage::marker::{Expect, Marker};
use pi_storage::rocks::{Options, RocksStore};

const ENTRY_BYTES: usize = 600;

fn at(index: u64) -> LogId {
    LogId::new(1.into(), index)
}

fn ops(index: u64, keys: u64) -> Ops {
    (0..keys)
        .map(|key| (format!("tenant{:05}/{index:09}/{key}", index % 1_000).into_bytes(), Some(vec![7; 300])))
        .collect()
}

/// Runs `work` for a second; prints calls a second and percentiles.
fn timed(what: &str, per_call: u64, mut work: impl FnMut()) {
    let (mut took, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        let call = Instant::now();
        work();
        took.push(call.elapsed());
    }
    took.sort();
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64() * per_call as f64;
    println!(
        "{what:<34} {rate:>9.0}/s  p50 {:>9.1?}  p99 {:>9.1?}",
        took[took.len() / 2],
        took[took.len() * 99 / 100]
    );
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1_024
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into).join("pi-storage-measure");
    let (cluster, region) = ("c1".parse()?, "r1".parse()?);
    for side in ["a", "b"] {
        RocksStore::format(&root.join(side), &Marker::new(&cluster, &region, 1))?;
    }
    let open =
        |side| RocksStore::open(&root.join(side), &Expect::new(&cluster, &region, 1), Options::default());
    let store = open("a")?;
    let (mut next, mut applied) = (0, 0);
    for batch in [1, 8, 64] {
        timed(&format!("entries appended, {batch} a sync"), batch, || {
            let records: Vec<LogRecord> = (next..next + batch)
                .map(|index| LogRecord { index, term: 1, bytes: Bytes::from(vec![1; ENTRY_BYTES]) })
                .collect();
            store.append(&records).expect("append");
            next += batch;
        });
    }
    let members = StoredMembership::default();
    timed("commits of 6 keys", 1, || {
        applied += 1;
        store.commit(&ops(applied, 6), at(applied), &members).expect("commit");
    });
    let mut frozen = Vec::new();
    timed("freezes, each behind a commit", 1, || {
        applied += 1;
        store.commit(&ops(applied, 6), at(applied), &members).expect("commit");
        frozen.push(store.freeze().expect("freeze"));
        if frozen.len() > 4 {
            frozen.remove(0);
        }
    });
    drop(frozen);
    let reader = store.reader();
    timed("reads of a key that is there", 1, || {
        applied += 1;
        let key =
            format!("tenant{:05}/{:09}/3", (applied * 7_919 % 50_000) % 1_000, applied * 7_919 % 50_000);
        reader.get(key.as_bytes()).expect("get");
    });
    drop(reader);
    println!("resident {} MiB, {:?}", resident_mib(), store.stats()?);

    let begun = Instant::now();
    let view = store.freeze()?;
    let (keys, digest) = view.totals()?;
    println!("totals of {keys} keys: {:.1?}", begun.elapsed());
    let other = open("b")?;
    let begun = Instant::now();
    let mut receiver = other.receive()?;
    view.visit(&mut |key, value| receiver.put(key, value))?;
    let received = receiver.finish(view.meta().clone(), keys, digest)?;
    println!("sent and received: {:.1?}", begun.elapsed());
    let begun = Instant::now();
    other.install(received)?;
    println!("installed: {:.1?}", begun.elapsed());
    drop((view, store));
    let begun = Instant::now();
    let store = open("a")?;
    println!("opened with {next} log entries: {:.1?}", begun.elapsed());
    drop((store, other));
    std::fs::remove_dir_all(&root)?;
    Ok(())
}
