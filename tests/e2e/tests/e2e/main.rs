//! The whole of Pi Secrets as real processes: one test binary, so that it links once and its tests share a cluster.

mod usage;
