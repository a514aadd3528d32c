//! Client connections: accepting them, bounding them, ending them in order.
//!
//! Responsible for sockets and HTTP/2 settings. What a request means is `service.rs`'s. This uses hyper's server without
//! tonic's above it, because nothing of the latter's router and codecs would be used by bytes that only pass through.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pi_runtime::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::config::Limits;
use crate::service::Gateway;

/// A client that connects must begin to speak within this time.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How a client that has silently gone is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// One largest request fits into its stream's window; a connection takes several at once.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Buffered per stream towards a client that reads slowly; then the node's data waits at the node.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Streams that a client reset while they waited to be accepted: the defence against reset floods.
const PENDING_RESETS_MAX: usize = 32;
/// After a failure to accept, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until shutdown, then until the open requests have ended or the drain time is over.
pub(crate) async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    limits: Limits,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let builder = builder(&limits);
    let mut connections = JoinSet::new();
    let stopped = shutdown.requested();
    tokio::pin!(stopped);
    loop {
        let stream = tokio::select! {
            () = &mut stopped => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Closing at once tells a client more than silence does.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(limit = limits.connections_max, "too many client connections, closing one");
            continue;
        };
        connections.spawn(connection(stream, builder.clone(), Arc::clone(&gateway), shutdown.clone(), slot));
    }
    drop(listener);
    let drain = Duration::from_millis(limits.drain_ms);
    let drained =
        tokio::time::timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), ?drain, "closing connections with open requests");
    }
    Ok(())
}

fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(limits.header_bytes_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .auto_date_header(false);
    builder
}

async fn connection(
    stream: TcpStream,
    builder: http2::Builder<TokioExecutor>,
    gateway: Arc<Gateway>,
    shutdown: Shutdown,
    _slot: OwnedSemaphorePermit,
) {
    let stopped = shutdown.requested();
    tokio::pin!(stopped);
    let first_byte = async {
        stream.set_nodelay(true)?;
        stream.peek(&mut [0]).await
    };
    tokio::select! {
        () = &mut stopped => return,
        first = tokio::time::timeout(FIRST_BYTE_TIMEOUT, first_byte) => {
            if !matches!(first, Ok(Ok(1..))) {
                return;
            }
        }
    }
    let service = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move { gateway.answer(request).await }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = &mut stopped => {
            // Tells the client to open no more requests here, and lets the open ones end.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "client connection ended");
    }
}
