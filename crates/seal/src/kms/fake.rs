//! A KMS v2 plugin for tests: a real gRPC server on a real unix socket, which misbehaves on request.
//!
//! It "encrypts" by XOR with a hash of the key's id: enough to need the right key, and no protection whatever.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use parking_lot::Mutex;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

use super::wire::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};
use super::wire::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};

/// What the plugin answers. Change it while the plugin runs with [`FakePlugin::behave`].
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Ids of the keys it holds; the first wraps.
    pub keys: Vec<String>,
    /// Of a status: its version.
    pub version: String,
    /// Of a status: its health.
    pub healthz: String,
    /// Waited before each answer.
    pub delay: Duration,
    /// Every call fails with this code and message.
    pub refuse: Option<(Code, String)>,
    /// Of Encrypt: this ciphertext, whatever the plaintext is.
    pub ciphertext: Option<Vec<u8>>,
    /// Of Encrypt: its annotations.
    pub annotations: BTreeMap<String, Vec<u8>>,
    /// Of Encrypt: the ciphertext is the plaintext.
    pub leak: Leak,
    /// Of Decrypt: this plaintext, whatever the ciphertext is.
    pub plaintext: Option<Vec<u8>>,
}

/// Whether the plugin encrypts at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leak {
    /// It does.
    #[default]
    None,
    /// It answers with what it was given.
    Ciphertext,
    /// It refuses, and quotes what it was given in the message.
    Message,
}

/// Well, with one key `key-1`.
impl Default for Behaviour {
    fn default() -> Self {
        Self {
            keys: vec!["key-1".to_owned()],
            version: "v2".to_owned(),
            healthz: "ok".to_owned(),
            delay: Duration::ZERO,
            refuse: None,
            ciphertext: None,
            annotations: BTreeMap::new(),
            leak: Leak::None,
            plaintext: None,
        }
    }
}

/// A running plugin. It ends when dropped or stopped.
pub struct FakePlugin {
    path: PathBuf,
    behaviour: Arc<Mutex<Behaviour>>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl FakePlugin {
    /// Listens on `path`, in place of whatever is there.
    ///
    /// # Panics
    /// When the socket cannot be made: a test cannot go on then.
    pub fn start(path: &Path) -> Self {
        _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("the test's directory takes a socket");
        let behaviour = Arc::new(Mutex::new(Behaviour::default()));
        let service = KeyManagementServiceServer::new(Service(behaviour.clone()));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async move {
            let incoming = UnixListenerStream::new(listener);
            let stopped = async { _ = stopped.await };
            _ = Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, stopped).await;
        });
        Self { path: path.to_owned(), behaviour, stop: Some(stop), server }
    }

    /// As a configuration names it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Changes what it answers from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock());
    }

    /// Ends it, its connections and its socket.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        _ = (&mut self.server).await;
        _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for FakePlugin {
    fn drop(&mut self) {
        // Dropping `stop` would end the server as well; aborting does not wait for open calls.
        self.server.abort();
    }
}

struct Service(Arc<Mutex<Behaviour>>);

impl Service {
    async fn behaviour(&self) -> Result<Behaviour, Status> {
        let behaviour = self.0.lock().clone();
        tokio::time::sleep(behaviour.delay).await;
        match behaviour.refuse {
            Some((code, message)) => Err(Status::new(code, message)),
            None => Ok(behaviour),
        }
    }
}

#[tonic::async_trait]
impl KeyManagementService for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let Behaviour { version, healthz, keys, .. } = self.behaviour().await?;
        let key_id = keys.into_iter().next().unwrap_or_default();
        Ok(Response::new(StatusResponse { version, healthz, key_id }))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Result<Response<EncryptResponse>, Status> {
        let behaviour = self.behaviour().await?;
        let plaintext = request.into_inner().plaintext;
        let key_id = behaviour.keys.first().cloned().unwrap_or_default();
        let ciphertext = match behaviour.leak {
            Leak::None => behaviour.ciphertext.unwrap_or_else(|| mask(&key_id, &plaintext)),
            Leak::Ciphertext => plaintext,
            Leak::Message => {
                return Err(Status::internal(
                    plaintext.iter().map(|b| format!("{b:02x}")).collect::<String>(),
                ));
            }
        };
        Ok(Response::new(EncryptResponse { ciphertext, key_id, annotations: behaviour.annotations }))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Result<Response<DecryptResponse>, Status> {
        let behaviour = self.behaviour().await?;
        let request = request.into_inner();
        if !behaviour.keys.contains(&request.key_id) {
            return Err(Status::not_found("no such key"));
        }
        if request.annotations != behaviour.annotations {
            return Err(Status::invalid_argument("other annotations than Encrypt gave"));
        }
        let plaintext = behaviour.plaintext.unwrap_or_else(|| mask(&request.key_id, &request.ciphertext));
        Ok(Response::new(DecryptResponse { plaintext }))
    }
}

fn mask(key_id: &str, bytes: &[u8]) -> Vec<u8> {
    let digest = digest::digest(&digest::SHA256, key_id.as_bytes());
    bytes.iter().zip(digest.as_ref().iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}
