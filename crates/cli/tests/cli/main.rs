//! The built `pi`, run as users run it: without a server (`offline`) and against a gateway in memory (`service`).

mod fake;
mod home;
mod offline;
mod service;
