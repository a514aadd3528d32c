//! The provider for a KMS: a Kubernetes KMS v2 plugin on a unix socket of this machine.
//!
//! Any plugin written for the Kubernetes API server serves. Its answers are untrusted until checked: sizes as the API
//! server checks them, and in [`super::unwrap_seed`] that a seed is the one that was wrapped.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response};
use zeroize::Zeroizing;

use super::wire::key_management_service_client::KeyManagementServiceClient;
use super::wire::{DecryptRequest, EncryptRequest, StatusRequest};
use super::{Error, Kms, Status, Wrapped};
use crate::seed::{ANNOTATIONS_BYTES_MAX, CIPHERTEXT_BYTES_MAX, KEY_ID_BYTES_MAX, Seed, WrappedSeed};

/// [`Kms::name`] of this provider.
pub const NAME: &str = "kms-v2";

/// How long a call may take unless configured otherwise: the API server's default.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);

/// The largest answer read: annotations, ciphertext and key id at their limits fit twice.
const MESSAGE_BYTES_MAX: usize = 2 * (ANNOTATIONS_BYTES_MAX + CIPHERTEXT_BYTES_MAX + KEY_ID_BYTES_MAX);
/// Versions of the protocol that are the same to us.
const VERSIONS: [&str; 2] = ["v2", "v2beta1"];
/// So much of a plugin's own words is passed on, in characters.
const WORDS_MAX: usize = 200;

/// A plugin's socket. Connected when first needed, and again after it broke.
pub struct Plugin {
    endpoint: String,
    client: KeyManagementServiceClient<Channel>,
    timeout: Duration,
}

impl Plugin {
    /// For an endpoint `unix:///absolute/path`. Nothing is connected yet, but a tokio runtime must be present.
    ///
    /// Abstract sockets (`unix:///@name`) are refused: they have no permissions, so that any program on the machine
    /// could be the plugin.
    ///
    /// # Errors
    /// [`Error::Endpoint`].
    pub fn new(endpoint: &str, timeout: Duration) -> Result<Self, Error> {
        let wrong = |why| Error::Endpoint { endpoint: endpoint.to_owned(), why };
        check_endpoint(endpoint).map_err(wrong)?;
        let channel = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|_| wrong("is not an endpoint"))?
            .connect_timeout(timeout)
            .connect_lazy();
        let client = KeyManagementServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { endpoint: endpoint.to_owned(), client, timeout })
    }

    /// The timeout goes along, so that the plugin too can give up.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// One call under the timeout, which covers connecting too.
    async fn call<T>(
        &self,
        words: Words,
        call: impl Future<Output = Result<Response<T>, tonic::Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.unavailable(refusal(words, &status))),
            Err(_) => Err(self.unavailable(format!("no answer within {} ms", self.timeout.as_millis()))),
        }
    }

    fn unavailable(&self, why: String) -> Error {
        Error::Unavailable { provider: NAME, endpoint: self.endpoint.clone(), why }
    }

    fn invalid(&self, why: impl Into<String>) -> Error {
        Error::Invalid { provider: NAME, endpoint: self.endpoint.clone(), why: why.into() }
    }
}

#[tonic::async_trait]
impl Kms for Plugin {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn status(&self) -> Result<Status, Error> {
        let mut client = self.client.clone();
        let answer = self.call(Words::Quoted, client.status(self.request(StatusRequest {}))).await?;
        if !VERSIONS.contains(&answer.version.as_str()) {
            let found = words(&answer.version);
            return Err(self.invalid(format!("version is {found:?}, expected \"v2\" or \"v2beta1\"")));
        }
        if answer.healthz != "ok" {
            let why = format!("healthz is {:?}, expected \"ok\"", words(&answer.healthz));
            return Err(Error::Unhealthy { provider: NAME, endpoint: self.endpoint.clone(), why });
        }
        check_key_id(&answer.key_id).map_err(|why| self.invalid(why))?;
        Ok(Status { key_id: answer.key_id, version: answer.version })
    }

    async fn wrap(&self, seed: &Seed) -> Result<Wrapped, Error> {
        let mut client = self.client.clone();
        let request = EncryptRequest { plaintext: seed.expose().to_vec(), uid: call_id() };
        let answer = self.call(Words::Withheld, client.encrypt(self.request(request))).await?;
        let wrapped =
            Wrapped { key_id: answer.key_id, ciphertext: answer.ciphertext, annotations: answer.annotations };
        check_wrapped(&wrapped, seed).map_err(|why| self.invalid(why))?;
        Ok(wrapped)
    }

    async fn unwrap(&self, wrapped: &WrappedSeed) -> Result<Seed, Error> {
        let mut client = self.client.clone();
        let request = DecryptRequest {
            ciphertext: wrapped.ciphertext.clone(),
            uid: call_id(),
            key_id: wrapped.key_id.clone(),
            annotations: wrapped.annotations.clone(),
        };
        let answer = self.call(Words::Quoted, client.decrypt(self.request(request))).await?;
        let plaintext = Zeroizing::new(answer.plaintext);
        let bytes = plaintext.len();
        Seed::from_bytes(&plaintext)
            .ok_or_else(|| self.invalid(format!("it unwrapped a seed to {bytes} bytes, a seed has 32")))
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    let Some(path) = endpoint.strip_prefix("unix://") else {
        return Err("is not a unix socket");
    };
    if path.starts_with("/@") || path.starts_with('@') {
        return Err(
            "is an abstract socket, which any program on this machine can open in the plugin's place",
        );
    }
    if !path.starts_with('/') || path == "/" {
        return Err("has no absolute path");
    }
    Ok(())
}

fn check_key_id(key_id: &str) -> Result<(), String> {
    match key_id.len() {
        0 => Err("key_id is empty".to_owned()),
        bytes if bytes > KEY_ID_BYTES_MAX => {
            Err(format!("key_id has {bytes} bytes, the limit is {KEY_ID_BYTES_MAX}"))
        }
        _ => Ok(()),
    }
}

fn check_wrapped(wrapped: &Wrapped, seed: &Seed) -> Result<(), String> {
    check_key_id(&wrapped.key_id)?;
    match wrapped.ciphertext.len() {
        0 => return Err("ciphertext is empty".to_owned()),
        bytes if bytes > CIPHERTEXT_BYTES_MAX => {
            return Err(format!("ciphertext has {bytes} bytes, the limit is {CIPHERTEXT_BYTES_MAX}"));
        }
        _ => {}
    }
    // Not in the API server's checks: a plugin that does not encrypt would put the seed into log, snapshots and backups.
    let parts = [wrapped.ciphertext.as_slice(), wrapped.key_id.as_bytes()];
    let mut clear = parts.into_iter().chain(wrapped.annotations.values().map(Vec::as_slice));
    if clear.any(|bytes| bytes.windows(seed.expose().len()).any(|window| window == seed.expose())) {
        return Err("it holds the seed in the clear".to_owned());
    }
    check_annotations(&wrapped.annotations)
}

fn check_annotations(annotations: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ANNOTATIONS_BYTES_MAX {
        return Err(format!("annotations have {bytes} bytes, the limit is {ANNOTATIONS_BYTES_MAX}"));
    }
    match annotations.keys().find(|key| !is_domain_name(key)) {
        Some(key) => Err(format!(
            "annotation {:?} is not a fully qualified domain name such as version.kms.example.com",
            words(key)
        )),
        None => Ok(()),
    }
}

/// A fully qualified domain name as Kubernetes checks it: at least two DNS labels; a dot may end it.
fn is_domain_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

/// Whether a plugin's own words may be passed on. One that was handed a seed could quote it.
#[derive(Clone, Copy)]
enum Words {
    Quoted,
    Withheld,
}

fn refusal(passed_on: Words, status: &tonic::Status) -> String {
    let code = status.code();
    match passed_on {
        // The transport's own message says no more than "transport error"; its cause says what to do.
        _ if cause(status).is_some() => cause(status).unwrap_or_default(),
        Words::Quoted if !status.message().is_empty() => format!("{code:?}: {}", words(status.message())),
        Words::Quoted => format!("{code:?}"),
        Words::Withheld => format!("{code:?}; the plugin's log may say why"),
    }
}

/// The operating system's error at the end of a transport error, for instance that the socket does not exist.
fn cause(status: &tonic::Status) -> Option<String> {
    let mut at: &dyn std::error::Error = status;
    while let Some(source) = at.source() {
        at = source;
    }
    let io = at.downcast_ref::<std::io::Error>()?;
    (status.code() == Code::Unavailable).then(|| io.to_string())
}

/// A plugin's own words, on one line and of bounded length.
fn words(text: &str) -> String {
    text.chars().take(WORDS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Names one call in the plugin's log.
fn call_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests;
