//! The Raft listener: limits, keepalive and an end that does not wait for peers.

use std::future::Future;
use std::time::Duration;

use pi_proto::raft::v1::raft_server::RaftServer;
use pi_raft::store::Store;
use pi_runtime::shutdown::Shutdown;
use pi_types::limits::{APPEND_BYTES_MAX, PEER_MESSAGE_BYTES_MAX};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::channel::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use crate::{Error, RaftService};

/// Streams of one connection. A peer needs one append stream and a few unary calls.
const STREAMS_MAX: u32 = 64;
/// Calls of one connection that are worked on at the same time.
const CONCURRENCY_MAX: usize = 64;
/// Metadata of one call.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// What a peer may send ahead: a whole append without waiting for a window update.
const STREAM_WINDOW_BYTES: u32 = APPEND_BYTES_MAX as u32;
const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;
/// How long connections may take to end once asked.
const DRAIN: Duration = Duration::from_secs(2);

/// The one place where the Raft listener is opened.
///
/// # Errors
/// The address is taken or not this machine's.
pub async fn listen(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address: address.to_owned(), source })
}

/// Serves peers until `shutdown` resolves, then ends within two seconds, whatever peers do.
///
/// # Errors
/// The server ended by itself.
pub async fn serve<S: Store>(
    listener: TcpListener,
    service: RaftService<S>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let closing = Shutdown::new();
    let stop = {
        let (service, closing) = (service.clone(), closing.clone());
        async move {
            shutdown.await;
            // Streams live as long as the leader does; connections end only behind their streams.
            service.close();
            closing.trigger();
        }
    };
    let raft = RaftServer::new(service)
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .concurrency_limit_per_connection(CONCURRENCY_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(raft)
        .serve_with_incoming_shutdown(incoming, stop);
    let drained = async move {
        closing.requested().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server => ended.map_err(Error::Serve),
        () = drained => {
            tracing::debug!("some peers kept their connections beyond the drain time");
            Ok(())
        }
    }
}
