//! The whole of Pi Secrets as real processes: one test binary, so that it links once and its tests share a cluster.

mod deploy;
mod faults;
mod lifecycle;
mod limits;
mod malformed;
mod program;
mod python;
mod regions;
mod retries;
mod snapshots;
mod usage;
