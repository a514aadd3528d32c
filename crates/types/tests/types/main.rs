//! The behaviour of pi-types from outside: one module per part, tables of cases first, properties in `properties`.

mod check;
mod ids;
mod keyring;
mod labels;
mod limits;
mod names;
mod properties;
mod secrecy;
mod selector;
mod write;

use pi_types::docker_config::Credential;

/// A credential for tests.
fn credential(server: &str, username: &str, password: &str, email: Option<&str>) -> Credential {
    Credential {
        server: server.to_owned(),
        username: username.to_owned(),
        password: password.to_owned().into(),
        email: email.map(str::to_owned),
    }
}
