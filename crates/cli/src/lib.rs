//! pi-cli.
