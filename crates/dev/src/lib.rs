//! A whole multi-region cluster of real processes on one machine: what `pi-dev` starts, and what every end-to-end
//! test, chaos test and benchmark starts its cluster with.
//!
//! Responsible for files, ports, processes and waiting until they serve. Nothing here is part of a production
//! deployment, and nothing but `up` ever restarts a process: a test that kills a node finds it dead until it says
//! otherwise.

pub mod cli;
mod cluster;
mod demo;
mod files;
mod process;
mod spec;

pub use cluster::{Cluster, ProcessStatus};
pub use process::{Process, Role, bin_dir};
pub use spec::Spec;
