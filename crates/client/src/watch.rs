//! A stream of changes that mends itself.
//!
//! Responsible for resuming behind the last answer that was handed out. What a caller does when history is gone
//! (OUT_OF_RANGE) is its own business: it must look at the whole state again.

use std::time::{Duration, Instant};

use pi_proto::secrets::v1::secrets_client::SecretsClient;
use pi_proto::secrets::v1::{WatchRequest, WatchResponse};
use pi_runtime::backoff::Delays;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tonic::{Status, Streaming};

use crate::call::{Ended, judge};
use crate::{ANSWER_BYTES_MAX, CallOptions, Client, Error};

/// See [`Client::watch`].
pub struct Watch {
    client: Client,
    request: WatchRequest,
    /// How long connecting and its retries may take.
    patience: Duration,
    delays: Delays<SmallRng>,
    stream: Option<Streaming<WatchResponse>>,
    /// A refusal is final.
    ended: bool,
}

impl Watch {
    pub(crate) fn new(
        client: Client,
        mut request: WatchRequest,
        options: CallOptions,
    ) -> Result<Self, Error> {
        client.fill_region(&mut request, &options)?;
        let patience = options.deadline.unwrap_or(client.inner.deadline);
        let delays = client.inner.backoff.iter(SmallRng::from_os_rng());
        Ok(Self { client, request, patience, delays, stream: None, ended: false })
    }

    /// Continue behind the last answer handed out; empty before the first that had a token.
    #[must_use]
    pub fn resume_token(&self) -> &str {
        &self.request.resume_token
    }

    /// The next answer, or `None` after a refusal.
    ///
    /// A broken stream is resumed behind the last answer. If it broke before the first answer with a resume token, the
    /// present state comes again from its beginning.
    ///
    /// # Errors
    /// [`Error::Refused`] ends the watch; with the reason WATCH_TOO_OLD (OUT_OF_RANGE) the changes in between are no
    /// longer kept. [`Error::Unavailable`]: nobody answered within the deadline; calling again tries again.
    pub async fn next(&mut self) -> Option<Result<WatchResponse, Error>> {
        if self.ended {
            return None;
        }
        let mut down = Down { since: Instant::now(), attempts: 0 };
        loop {
            let ended = match &mut self.stream {
                Some(stream) => match stream.message().await {
                    Ok(Some(answer)) => return Some(Ok(self.accept(answer))),
                    // An orderly end without our asking: the node is stopping.
                    Ok(None) => Ended::Again {
                        cause: "the stream ended".to_owned(),
                        may_have_happened: false,
                        after: None,
                    },
                    Err(status) => judge(&status),
                },
                None => {
                    down.attempts += 1;
                    match self.connect(self.patience.saturating_sub(down.since.elapsed())).await {
                        Ok(stream) => {
                            self.stream = Some(stream);
                            continue;
                        }
                        Err(status) => judge(&status),
                    }
                }
            };
            if self.stream.take().is_some() {
                // The time during which it worked does not count.
                down = Down { since: Instant::now(), attempts: 0 };
            }
            if let Some(error) = self.pause(ended, down).await {
                return Some(Err(error));
            }
        }
    }

    fn accept(&mut self, answer: WatchResponse) -> WatchResponse {
        self.delays.reset();
        if !answer.resume_token.is_empty() {
            self.request.resume_token.clone_from(&answer.resume_token);
        }
        answer
    }

    async fn connect(&self, timeout: Duration) -> Result<Streaming<WatchResponse>, Status> {
        let mut client =
            SecretsClient::new(self.client.channel()).max_decoding_message_size(ANSWER_BYTES_MAX);
        // No grpc-timeout: it would bound the stream's life.
        let request = self.client.prepare(self.request.clone(), None, None);
        match tokio::time::timeout(timeout, client.watch(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::unavailable("no answer")),
        }
    }

    /// Waits before the next attempt, or says what to hand out instead.
    async fn pause(&mut self, ended: Ended, down: Down) -> Option<Error> {
        let (cause, after) = match ended {
            Ended::Refused(details) => {
                self.ended = true;
                return Some(Error::Refused(details));
            }
            Ended::Again { cause, after, .. } => (cause, after),
        };
        let delay = self.delays.next_delay().max(after.unwrap_or_default());
        let elapsed = down.since.elapsed();
        if elapsed + delay >= self.patience {
            return Some(Error::Unavailable {
                operation: "watch secrets",
                region: self.request.region.clone(),
                cause,
                attempts: down.attempts,
                elapsed,
                retry_after: after,
            });
        }
        tokio::time::sleep(delay).await;
        None
    }
}

/// Since when, and after how many attempts to connect, there has been no stream.
#[derive(Clone, Copy)]
struct Down {
    since: Instant,
    attempts: u32,
}
