//! Clusters that end with their tests.
//!
//! Two things end a cluster: the drop of [`TestCluster`], which a panicking test reaches too, and, should the whole
//! test process die (a signal, an abort), a small shell that waits for this to happen. The shell is also what ends the
//! shared cluster, because Rust never drops statics.

use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pi_dev::{Cluster, Spec, bin_dir};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// The first of the two regions.
pub const US: &str = "us-central1";
/// The second.
pub const EU: &str = "eu-west1";

/// Clusters at once, the shared one among them: each is three or six processes that fsync.
static SLOTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// Waits for its standard input to end, which happens when the test process does, however it does.
const WATCHDOG: &str = r#"cat >/dev/null; "$1" down --dir "$2" && { [ -e "$2/keep" ] || rm -rf "$2"; }"#;

/// A cluster that ends with this value. Its directory stays when the test failed.
pub struct TestCluster {
    cluster: Cluster,
    dir: PathBuf,
    watchdog: Child,
    _slot: OwnedSemaphorePermit,
}

impl TestCluster {
    /// Starts a cluster: two regions of three nodes and one gateway, unless `shape` says otherwise.
    ///
    /// # Errors
    /// It does not come up; the error holds the last words of what failed.
    pub async fn start(name: &str, shape: impl FnOnce(&mut Spec)) -> Result<Self> {
        let slot = Arc::clone(&SLOTS).acquire_owned().await.context("the semaphore is never closed")?;
        let started = Instant::now();
        let dir = tempfile::Builder::new().prefix(&format!("pi-e2e-{name}-")).tempdir()?.keep();
        let mut spec = Spec::new(&dir);
        shape(&mut spec);
        let watchdog = watch_over(&dir)?;
        let mut progress = |_: &str| {};
        match Cluster::up(spec, &mut progress).await {
            Ok(cluster) => {
                println!("{name}: cluster in {} serves after {:.1?}", dir.display(), started.elapsed());
                Ok(Self { cluster, dir, watchdog, _slot: slot })
            }
            Err(error) => {
                // The watchdog ends what was started.
                std::fs::write(dir.join("keep"), "")?;
                Err(error.context(format!("{name}: the cluster did not come up; see {}", dir.display())))
            }
        }
    }

    /// Where everything of it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Deref for TestCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for TestCluster {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        kill(&self.cluster);
        // What another `pi-dev` started in the meantime.
        if let Ok(again) = Cluster::open(&self.dir) {
            kill(&again);
        }
        if std::thread::panicking() {
            eprintln!("the cluster's directory is kept: {}", self.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Kills all processes and waits until they are gone.
fn kill(cluster: &Cluster) {
    cluster.kill_all();
    let until = Instant::now() + Duration::from_secs(10);
    while cluster.processes().iter().any(pi_dev::Process::alive) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn watch_over(dir: &Path) -> Result<Child> {
    Command::new("sh")
        .args(["-c", WATCHDOG, "sh"])
        .arg(bin_dir()?.join("pi-dev"))
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C in the terminal must not end it before it did its work.
        .process_group(0)
        .spawn()
        .context("cannot start sh")
}

/// Shapes a cluster of one region, for tests that need no second one.
pub fn one_region(spec: &mut Spec) {
    spec.regions.truncate(1);
}

/// Shapes a cluster whose snapshots come so often that a short test sees several.
pub fn small_snapshots(spec: &mut Spec) {
    for (key, value) in [("raft.snapshot_every", "200"), ("raft.keep_logs", "50")] {
        spec.region_settings.push((key.to_owned(), value.to_owned()));
    }
}

/// The shared cluster, borrowed by one test.
pub struct Shared(&'static TestCluster);

/// The cluster that all tests share that break nothing: two regions of three nodes, two gateways. Tests tell their
/// tenants apart ([`crate::tenant`]).
///
/// # Errors
/// It did not come up; every test that wanted it gets the same error.
pub async fn shared() -> Result<Shared> {
    static CLUSTER: OnceCell<Result<TestCluster, String>> = OnceCell::const_new();
    let cluster = CLUSTER
        .get_or_init(|| async {
            let shape = |spec: &mut Spec| spec.gateways = 2;
            TestCluster::start("shared", shape).await.map_err(|error| format!("{error:#}"))
        })
        .await;
    cluster.as_ref().map(Shared).map_err(|error| anyhow::anyhow!("{error}"))
}

impl Deref for Shared {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            match std::fs::write(self.0.dir.join("keep"), "") {
                Err(error) if error.kind() != ErrorKind::NotFound => eprintln!("{error}"),
                _ => eprintln!("the cluster's directory is kept: {}", self.0.dir.display()),
            }
        }
    }
}
