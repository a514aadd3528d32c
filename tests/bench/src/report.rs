//! Figures: what was measured, medians and ratios of it, and the one table.

use std::fmt::Write;

use serde::Serialize;

use crate::args::{Api, Load, Operation};
use crate::load::Measured;
use crate::machine::Machine;

/// Above this share of one core, the load process may have been what limited the result.
const LOAD_SHARE_MAX: f64 = 0.9;
/// Above this share of the machine, what else was running may have.
const FOREIGN_SHARE_MAX: f64 = 0.05;

/// Everything measured in one run.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub cases: Vec<Case>,
}

/// One operation with one number of clients.
#[derive(Serialize)]
pub struct Case {
    pub operation: Operation,
    pub clients: usize,
    /// The rounds of each system; ours is the first.
    pub systems: Vec<(Api, Vec<Round>)>,
}

/// One round of one system.
#[derive(Serialize)]
pub struct Round {
    pub measured: Measured,
    pub parts: Vec<Part>,
    /// CPU time of processes that are neither the system's nor the load: the other, idle, system, and strangers.
    pub foreign_cpu_seconds: f64,
}

/// One server process in one round.
#[derive(Serialize)]
pub struct Part {
    pub part: String,
    /// False for a gateway, which keeps no data.
    pub node: bool,
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
}

impl Round {
    /// CPU seconds of all server processes for 1,000 operations.
    fn cpu_per_thousand(&self) -> f64 {
        let cpu: f64 = self.parts.iter().map(|part| part.cpu_seconds).sum();
        cpu * 1_000.0 / self.measured.operations as f64
    }

    /// Resident memory of a node, averaged over the nodes, in units of 10^6 bytes.
    fn node_megabytes(&self) -> f64 {
        let nodes: Vec<f64> =
            self.parts.iter().filter(|part| part.node).map(|part| part.resident_bytes as f64).collect();
        nodes.iter().sum::<f64>() / nodes.len() as f64 / 1e6
    }

    /// What is shown while the run goes on: with CPU time per process, in microseconds an operation.
    pub fn line(&self, load: &Load, round: usize) -> String {
        let m = &self.measured;
        let mut line = format!(
            "{} {} clients, round {}: {:<4} {:>8.0} ops/s  p50 {:.2}  p99 {:.2} ms  CPU µs/op:",
            load.operation.as_str(),
            load.clients,
            round + 1,
            load.api.as_str(),
            m.per_second,
            m.p50_ms,
            m.p99_ms,
        );
        for part in &self.parts {
            let us = part.cpu_seconds * 1e6 / m.operations as f64;
            let _ = write!(line, " {} {us:.0}", part.part);
        }
        let _ = write!(
            line,
            "  load {:.0}  others {:.0} %",
            m.load_cpu_seconds * 1e6 / m.operations as f64,
            self.foreign_cpu_seconds / m.seconds * 100.0
        );
        if m.failures > 0 {
            let _ = write!(line, "  {} FAILED: {}", m.failures, m.first_failure.as_deref().unwrap_or("?"));
        }
        line
    }
}

/// The medians of a system's rounds, or how ours compare with etcd's.
#[derive(Clone, Copy)]
struct Figures([f64; FIGURES]);

const FIGURES: usize = 5;
const COLUMNS: [&str; FIGURES] = ["ops/s", "p50 ms", "p99 ms", "CPU s/1k", "MB/node"];
const DECIMALS: [usize; FIGURES] = [0, 2, 2, 3, 0];

impl Figures {
    fn of(round: &Round) -> Self {
        let m = &round.measured;
        Self([m.per_second, m.p50_ms, m.p99_ms, round.cpu_per_thousand(), round.node_megabytes()])
    }

    /// Ours divided by theirs.
    fn ratio(ours: Self, theirs: Self) -> Self {
        Self(std::array::from_fn(|at| ours.0[at] / theirs.0[at]))
    }

    fn median(all: &[Self]) -> Self {
        Self(std::array::from_fn(|at| median(all.iter().map(|figures| figures.0[at]).collect())))
    }

    fn row(&self, decimals: [usize; FIGURES]) -> String {
        let cells = self.0.iter().zip(decimals).map(|(value, decimals)| format!(" {value:>8.decimals$} |"));
        cells.collect()
    }
}

/// The middle value; of an even number, the mean of the two in the middle. NaN of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

impl Case {
    /// Operations that failed, and what the first of them failed of.
    fn failures(&self) -> Option<String> {
        let rounds =
            || self.systems.iter().flat_map(|(api, rounds)| rounds.iter().map(move |round| (api, round)));
        let count: u64 = rounds().map(|(_, round)| round.measured.failures).sum();
        let first = rounds().find_map(|(api, round)| Some((api, round.measured.first_failure.as_ref()?)));
        first.map(|(api, first)| {
            format!("{count} operations failed; the first of them, {}: {first}", api.as_str())
        })
    }

    /// Each ratio is that of two neighbours in time; the median is taken of them, not of the two systems' medians.
    fn ratio(&self) -> Option<Figures> {
        let [(_, ours), (_, theirs)] = self.systems.as_slice() else { return None };
        let pairs = ours.iter().zip(theirs);
        let ratios: Vec<Figures> =
            pairs.map(|(ours, theirs)| Figures::ratio(Figures::of(ours), Figures::of(theirs))).collect();
        Some(Figures::median(&ratios))
    }
}

impl Report {
    /// Whether every operation succeeded and something was measured.
    pub fn valid(&self) -> bool {
        let something =
            |(_, rounds): &(Api, Vec<Round>)| rounds.iter().all(|round| round.measured.operations > 0);
        self.cases.iter().all(|case| case.failures().is_none() && case.systems.iter().all(something))
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let mut table = format!("| {:<8} | {:>7} | {:<6} |", "case", "clients", "system");
        for column in COLUMNS {
            let _ = write!(table, " {column:>8} |");
        }
        table.push_str("\n|----------|--------:|--------|");
        table.push_str(&"---------:|".repeat(FIGURES));
        for case in &self.cases {
            let head = |system: &str| {
                format!("\n| {:<8} | {:>7} | {system:<6} |", case.operation.as_str(), case.clients)
            };
            if let Some(failures) = case.failures() {
                let _ = write!(table, "{} INVALID: {failures} |", head("all"));
                continue;
            }
            for (api, rounds) in &case.systems {
                let figures: Vec<Figures> = rounds.iter().map(Figures::of).collect();
                let _ = write!(table, "{}{}", head(api.as_str()), Figures::median(&figures).row(DECIMALS));
            }
            if let Some(ratio) = case.ratio() {
                let _ = write!(table, "{}{}", head("ratio"), ratio.row([2; FIGURES]));
            }
        }
        table
    }

    /// What a reader must know about this run before believing it.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.valid() {
            remarks
                .push("INVALID: operations failed, or none was done. The figures mean nothing.".to_owned());
        }
        let rounds: Vec<&Round> =
            self.cases.iter().flat_map(|case| &case.systems).flat_map(|(_, rounds)| rounds).collect();
        let cores = self.machine.cores as f64;
        let foreign = rounds.iter().map(|round| round.foreign_cpu_seconds / round.measured.seconds / cores);
        let foreign = median(foreign.collect());
        if foreign > FOREIGN_SHARE_MAX {
            remarks.push(format!(
                "NOISY: other processes took {:.0} % of the machine (median of rounds); believe ratios only.",
                foreign * 100.0
            ));
        }
        for case in &self.cases {
            for (api, rounds) in &case.systems {
                let share =
                    median(rounds.iter().map(|r| r.measured.load_cpu_seconds / r.measured.seconds).collect());
                if share > LOAD_SHARE_MAX {
                    remarks.push(format!(
                        "{} {} clients, {}: the load process took {:.0} % of a core; the server may do more.",
                        case.operation.as_str(),
                        case.clients,
                        api.as_str(),
                        share * 100.0
                    ));
                }
            }
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(per_second: f64, failures: u64) -> Round {
        let measured = Measured {
            operations: per_second as u64,
            failures,
            first_failure: (failures > 0).then(|| "status: UNAVAILABLE".to_owned()),
            seconds: 1.0,
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            ..Measured::default()
        };
        let part = |part: &str, node, megabytes: u64| Part {
            part: part.to_owned(),
            node,
            cpu_seconds: 0.1,
            resident_bytes: megabytes * 1_000_000,
        };
        let parts = vec![part("gateway", false, 999), part("leader", true, 30), part("follower", true, 10)];
        Round { measured, parts, foreign_cpu_seconds: 0.0 }
    }

    fn report(ours: Vec<Round>, theirs: Vec<Round>) -> Report {
        let machine = Machine {
            cpu: String::new(),
            cores: 2,
            memory_bytes: 0,
            kernel: String::new(),
            sync_p50_ms: 0.0,
            sync_p99_ms: 0.0,
            load_before: 0.0,
            began_unix_s: 0,
        };
        let systems = vec![(Api::Pi, ours), (Api::Etcd, theirs)];
        Report { machine, cases: vec![Case { operation: Operation::Create, clients: 64, systems }] }
    }

    #[test]
    fn ratios_are_of_neighbouring_rounds() {
        // A disturbed second round: the medians' ratio would be 1.0.
        let ours = vec![round(200.0, 0), round(50.0, 0), round(100.0, 0)];
        let theirs = vec![round(100.0, 0), round(25.0, 0), round(100.0, 0)];
        let ratio = report(ours, theirs).cases[0].ratio().expect("two systems");
        assert_eq!(ratio.0[0], 2.0);
    }

    #[test]
    fn memory_is_a_nodes_and_cpu_is_everybodys() {
        let figures = Figures::of(&round(1_000.0, 0));
        assert_eq!(figures.0[4], 20.0);
        assert!((figures.0[3] - 0.3).abs() < 1e-9);
    }

    #[test]
    fn one_failed_operation_makes_the_case_invalid() {
        let bad = report(vec![round(100.0, 1)], vec![round(100.0, 0)]);
        assert!(!bad.valid());
        assert!(
            bad.table().contains("INVALID: 1 operations failed; the first of them, pi: status: UNAVAILABLE")
        );
        assert!(report(vec![round(100.0, 0)], vec![round(100.0, 0)]).valid());
        assert!(!report(vec![round(0.0, 0)], vec![round(100.0, 0)]).valid(), "nothing was measured");
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}
