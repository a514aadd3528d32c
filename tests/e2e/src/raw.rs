//! gRPC by hand over HTTP/2, for input that no gRPC library would send, and answers looked at byte for byte.

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request};
use pi_proto::status::Details;
use tokio::net::TcpStream;
use tonic::Status;

/// One call to be sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// `/package.Service/Method`.
    pub path: String,
    /// Headers beside those that every call has; one of the same name replaces those.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body, frames included: see [`frame`].
    pub body: Bytes,
    /// Whether the request ends behind the body, or is left open.
    pub end: End,
}

/// See [`Call::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The usual.
    BehindBody,
    /// The caller never says that this was all.
    Never,
}

impl Call {
    /// A call with one well-framed message, as one tenant.
    #[must_use]
    pub fn new(path: &str, tenant: &str, message: &[u8]) -> Self {
        let headers = vec![("authorization", format!("Bearer insecure:{tenant}"))];
        Self { path: path.to_owned(), headers, body: frame(message), end: End::BehindBody }
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }
}

/// How a call ended.
#[derive(Debug)]
pub enum Answer {
    /// With a gRPC status.
    Status(Status),
    /// With an HTTP response that is no gRPC.
    Http(u16),
    /// With a message and no end yet: a stream.
    Streaming,
    /// The stream or the connection broke.
    Broken(String),
}

impl Answer {
    /// The status, read as ours.
    #[must_use]
    pub fn details(&self) -> Option<Details> {
        match self {
            Self::Status(status) => Some(pi_proto::status::decode(status)),
            Self::Http(_) | Self::Streaming | Self::Broken(_) => None,
        }
    }
}

/// A message behind gRPC's five bytes: not compressed, length.
#[must_use]
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// One HTTP/2 connection.
#[derive(Clone)]
pub struct Connection {
    send: h2::client::SendRequest<Bytes>,
}

impl Connection {
    /// Connects to a gateway or a node.
    ///
    /// # Errors
    /// Nobody listens, or it does not speak HTTP/2.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { send })
    }

    /// Sends a call and waits for its status, or for the first message of a stream.
    pub async fn call(&self, call: &Call) -> Answer {
        match self.exchange(call).await {
            Ok(answer) => answer,
            Err(error) => Answer::Broken(error.to_string()),
        }
    }

    async fn exchange(&self, call: &Call) -> Result<Answer> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://pi.test{}", call.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        for (name, value) in &call.headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value)?);
        }
        let mut send = self.send.clone().ready().await?;
        let ends = call.end == End::BehindBody;
        let (response, mut stream) = send.send_request(request, ends && call.body.is_empty())?;
        if !call.body.is_empty() {
            // The whole body at once: h2 queues it and sends as the window opens. A refusal may come before the end.
            stream.send_data(call.body.clone(), ends)?;
        }
        let response = response.await?;
        if response.status() != http::StatusCode::OK {
            return Ok(Answer::Http(response.status().as_u16()));
        }
        if let Some(status) = status_of(response.headers()) {
            return Ok(Answer::Status(status));
        }
        let mut body = response.into_body();
        let mut received = 0;
        while let Some(data) = body.data().await {
            let data = data?;
            received += data.len();
            body.flow_control().release_capacity(data.len())?;
            // A stream's first answer comes without an end; a unary answer's end comes with it.
            if received >= 5 && call.path.ends_with("/Watch") {
                return Ok(Answer::Streaming);
            }
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        Ok(status_of(&trailers).map_or_else(|| Answer::Broken("no grpc-status".to_owned()), Answer::Status))
    }
}

fn status_of(headers: &HeaderMap) -> Option<Status> {
    headers.contains_key("grpc-status").then(|| Status::from_header_map(headers)).flatten()
}
