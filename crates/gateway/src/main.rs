//! The `pi-gateway` binary.

fn main() {}
