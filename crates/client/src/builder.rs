//! Putting a client together.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use pi_auth::Token;
use pi_runtime::backoff::Backoff;
use pi_types::RegionName;
use tonic::transport::{Channel, Endpoint};

use crate::{Client, Error, Inner};

/// How long a call may take when nothing else is said: long enough for an election (0.3 to 0.6 s) and several retries.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
/// A connection that takes longer will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How a connection that has silently gone is noticed: a ping when nothing was received for the interval.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// More connections to one endpoint have never helped.
const CONNECTIONS_MAX: usize = 64;

/// See [`Client::builder`].
#[derive(Default)]
pub struct Builder {
    endpoints: Vec<String>,
    token: Option<Token>,
    region: Option<RegionName>,
    deadline: Option<Duration>,
    backoff: Option<Backoff>,
    connections: Option<usize>,
}

impl Builder {
    /// Where to: `host:port` or `http://host:port` of gateways, or of a node. Several are used in turn.
    #[must_use]
    pub fn endpoints(mut self, endpoints: Vec<String>) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// The credential. Without one only public calls succeed.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// The region of calls that name none.
    #[must_use]
    pub fn region(mut self, region: RegionName) -> Self {
        self.region = Some(region);
        self
    }

    /// How long a call may take, retries included. Default 10 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How long to wait between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Connections to each endpoint, 1 to 64. Default 1.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = Some(connections);
        self
    }

    /// The finished client. Connects when first used. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// No endpoint, or one that is not `host:port`.
    pub fn connect_lazy(self) -> Result<Client, Error> {
        if self.endpoints.is_empty() {
            return Err(Error::invalid(
                "no server address: give `--server host:port` or set one in the configuration",
            ));
        }
        let connections = self.connections.unwrap_or(1).clamp(1, CONNECTIONS_MAX);
        let endpoints = self.endpoints.iter().map(|text| endpoint(text)).collect::<Result<Vec<_>, _>>()?;
        // In turn over endpoints first, so that consecutive calls spread over gateways.
        let channels: Vec<Channel> =
            (0..connections).flat_map(|_| endpoints.iter().map(Endpoint::connect_lazy)).collect();
        let authorization = self.token.as_ref().map(pi_auth::bearer).map(|value| {
            tonic::metadata::AsciiMetadataValue::try_from(value.as_bytes())
                .map(|mut value| {
                    value.set_sensitive(true);
                    value
                })
                .map_err(|_| Error::invalid("the token holds characters that a header cannot carry"))
        });
        Ok(Client {
            inner: Arc::new(Inner {
                channels,
                endpoints: self.endpoints,
                next: AtomicUsize::new(0),
                authorization: authorization.transpose()?,
                region: self.region,
                deadline: self.deadline.unwrap_or(DEADLINE_DEFAULT),
                backoff: self.backoff.unwrap_or_default(),
            }),
        })
    }
}

fn endpoint(text: &str) -> Result<Endpoint, Error> {
    let fail = || Error::invalid(format!("server address `{text}`: expected host:port or http://host:port"));
    if text.starts_with("https://") {
        return Err(Error::invalid(format!(
            "server address `{text}`: TLS is not supported yet, use http://"
        )));
    }
    let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let uri: tonic::codegen::http::Uri = format!("http://{authority}").parse().map_err(|_| fail())?;
    if uri.port_u16().is_none() || uri.path() != "/" {
        return Err(fail());
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_without_a_port_and_tls_are_refused_with_the_expected_form() {
        for text in ["localhost", "http://", "localhost:1/path", "https://localhost:1", "a b:1"] {
            let client = Client::builder().endpoints(vec![text.to_owned()]).connect_lazy();
            let error = client.expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("http://"), "{error}");
        }
        for text in ["localhost:1", "http://[::1]:2", "http://127.0.0.1:3/"] {
            Client::builder().endpoints(vec![text.to_owned()]).connect_lazy().expect(text);
        }
        assert!(Client::builder().connect_lazy().is_err());
    }

    #[tokio::test]
    async fn debug_shows_no_token() {
        let token = Token::new("insecure:acme-hidden".to_owned()).unwrap();
        let client =
            Client::builder().endpoints(vec!["localhost:1".to_owned()]).token(token).connect_lazy().unwrap();
        assert!(!format!("{client:?}").contains("hidden"));
    }
}
