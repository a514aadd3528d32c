//! The `pi-region` binary.

fn main() {}
