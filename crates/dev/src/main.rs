//! The `pi-dev` binary.

fn main() {}
