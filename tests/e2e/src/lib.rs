//! End-to-end tests: real binaries, real sockets, real RocksDB.
