//! The replicated state on RocksDB: commits, and snapshots as pinned views.
//!
//! A snapshot is a pinned moment of the database, not a directory: taking one costs microseconds, and vote and log
//! cannot travel because a view sees the state's column family only. A pin ends with the process, but the state it
//! showed does not: at open the state itself, which covers all that was purged, becomes the current snapshot.
//! (`docs/adr/0003-snapshots-are-pinned-views.md`.)

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::{Mutex, RwLock};
use pi_raft::codec;
use pi_raft::store::{ReceivedSnapshot, StateReceiver, StateView};
use pi_raft::types::{LogId, SnapshotMeta, StoredMembership};
use pi_state::Ops;
use rocksdb::{IngestExternalFileOptions, SstFileWriter, WriteBatch};

use crate::digest::{PairsDigest, StreamCheck};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::files::{at, remove_dir, sync_dir, sync_file};
use crate::position::{check_advances, check_install, supersedes};
use crate::rocks::database::{Database, Durability, between, key};
use crate::rocks::options::{self, state_name};
use crate::rocks::pinned::PinnedState;

/// The state's part of the store.
pub(crate) struct State {
    /// Held through a commit or install, and while a view is frozen: a view is between two commits.
    writer: Mutex<()>,
    applied: RwLock<Applied>,
    current: Mutex<Option<Arc<dyn StateView>>>,
    incoming: AtomicU64,
}

/// The applied position and the membership that goes with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied {
    pub(crate) position: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl Applied {
    fn from_meta(meta: &SnapshotMeta) -> Self {
        Applied { position: meta.last_log_id, membership: meta.last_membership.clone() }
    }

    fn read(read: impl Fn(&'static str) -> Result<Option<Vec<u8>>>) -> Result<Self> {
        let damaged =
            |key: &str, error: codec::Error| Error::corrupt(format!("meta record {key}"), error.to_string());
        let position = read(key::APPLIED)?.map(|value| codec::decode_log_id(&value)).transpose();
        let membership =
            read(key::MEMBERSHIP)?.map(|value| codec::decode_stored_membership(&value)).transpose();
        Ok(Applied {
            position: position.map_err(|error| damaged(key::APPLIED, error))?,
            membership: membership.map_err(|error| damaged(key::MEMBERSHIP, error))?.unwrap_or_default(),
        })
    }

    /// Puts the parts that differ from `before` into a batch.
    fn put(&self, database: &Database, batch: &mut WriteBatch, before: &Applied) -> Result<()> {
        let position = self.position.as_ref().map(codec::encode_log_id);
        database.put_meta(batch, key::APPLIED, position.as_deref())?;
        if self.membership != before.membership {
            // An absent value stands for the membership of a node that has none yet.
            let known = self.membership != StoredMembership::default();
            let membership = known.then(|| codec::encode_stored_membership(&self.membership));
            database.put_meta(batch, key::MEMBERSHIP, membership.as_deref())?;
        }
        Ok(())
    }
}

impl State {
    /// Reads the applied position, and makes what is there the current snapshot.
    pub(crate) fn open(database: &Arc<Database>) -> Result<Self> {
        let applied = Applied::read(|key| database.meta(key))?;
        let current = match applied.position {
            Some(_) => Some(Arc::new(View::pin(database)?) as Arc<dyn StateView>),
            None => None,
        };
        let (applied, current) = (RwLock::new(applied), Mutex::new(current));
        Ok(State { writer: Mutex::new(()), applied, current, incoming: AtomicU64::new(0) })
    }

    pub(crate) fn applied(&self) -> Applied {
        self.applied.read().clone()
    }

    /// [`State::applied`], never behind what a reader sees: waits for a commit under way, whose batch is visible
    /// before its position is set here. Not for callers that hold `writer`.
    pub(crate) fn settled(&self) -> Applied {
        let _writer = self.writer.lock();
        self.applied()
    }

    pub(crate) fn commit(&self, database: &Database, ops: &Ops, applied: Applied) -> Result<()> {
        let _writer = self.writer.lock();
        let before = self.applied();
        if let Some(position) = &applied.position {
            check_advances(before.position.as_ref(), position)?;
        }
        let family = database.state_family()?;
        let mut batch = WriteBatch::default();
        for (key, value) in ops {
            match value {
                Some(value) => batch.put_cf(&family, key, value),
                None => batch.delete_cf(&family, key),
            }
        }
        applied.put(database, &mut batch, &before)?;
        between("commit.before", "commit.written", || {
            database.write("commit to the state", batch, Durability::Buffered)
        })?;
        *self.applied.write() = applied;
        Ok(())
    }

    pub(crate) fn freeze(&self, database: &Arc<Database>) -> Result<View> {
        let _writer = self.writer.lock();
        let view = View::pin(database)?;
        assert_eq!(view.meta.last_log_id, self.applied().position, "a view is between two commits");
        Ok(view)
    }

    /// Makes the state that `view` shows durable, then `view` the current snapshot.
    pub(crate) fn publish(&self, database: &Database, view: Box<dyn StateView>) -> Result<()> {
        between("publish.before", "publish.synced", || database.sync())?;
        let mut current = self.current.lock();
        if supersedes(current.as_deref(), &*view) {
            *current = Some(Arc::from(view));
        }
        Ok(())
    }

    pub(crate) fn current(&self) -> Option<Arc<dyn StateView>> {
        self.current.lock().clone()
    }

    pub(crate) fn receive(&self, database: &Arc<Database>) -> Result<Receiver> {
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        let dir = database.layout.incoming.join(number.to_string());
        remove_dir(&dir)?;
        fs::create_dir_all(&dir).map_err(at("create", &dir))?;
        sync_dir(&database.layout.incoming)?;
        Ok(Receiver {
            check: StreamCheck::new(),
            writer: None,
            file_bytes: 0,
            files: 0,
            file_bytes_max: database.options.snapshot_file_bytes,
            staging: Staging(Some(dir)),
        })
    }

    /// Ingests the received files into a fresh column family, then moves pointer, applied position and membership
    /// to it in one synced batch, then drops the old one. A crash before the batch leaves a family that the next open
    /// drops; a crash after it leaves the old one, which the next open drops.
    pub(crate) fn install(&self, database: &Arc<Database>, mut snapshot: ReceivedSnapshot) -> Result<()> {
        let _writer = self.writer.lock();
        let before = self.applied();
        check_install(before.position.as_ref(), &snapshot.meta)?;
        let Some(dir) = snapshot.dir.take() else {
            return Err(Error::refused("this snapshot was not received by this store"));
        };
        let staging = Staging(Some(dir));
        let old = database.state_number();
        let new = old + 1;
        database.poison_on_error(ingest(database, &staging, new))?;

        let applied = Applied::from_meta(&snapshot.meta);
        let mut batch = WriteBatch::default();
        database.put_meta(&mut batch, key::STATE, Some(&new.to_be_bytes()))?;
        applied.put(database, &mut batch, &before)?;
        failpoint::reach("install.ingested");
        database
            .move_state(new, || database.write("switch to the installed state", batch, Durability::Synced))?;
        failpoint::reach("install.switched");

        *self.applied.write() = applied;
        *self.current.lock() = Some(Arc::new(View::pin(database)?));
        let dropped =
            database.db.drop_cf(&state_name(old)).map_err(database.rocks("drop the replaced state"));
        database.poison_on_error(dropped)?;
        failpoint::reach("install.dropped");
        Ok(())
    }
}

/// Makes state number `number` from the staged files.
fn ingest(database: &Database, staging: &Staging, number: u64) -> Result<()> {
    let name = state_name(number);
    let family =
        options::state(&database.options, &database.cache).map_err(database.rocks("set up a state"))?;
    failpoint::reach("install.before");
    database.db.create_cf(&name, &family).map_err(database.rocks("create a state"))?;
    failpoint::reach("install.created");
    let files = staging.files()?;
    if files.is_empty() {
        return Ok(());
    }
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    let family = database.family(&name)?;
    database
        .db
        .ingest_external_file_cf_opts(&family, &options, files)
        .map_err(database.rocks("ingest a received snapshot"))
}

/// A frozen view.
pub(crate) struct View {
    meta: SnapshotMeta,
    pinned: PinnedState,
}

impl View {
    /// Pins the state; its position and membership are read from the pinned moment itself.
    fn pin(database: &Arc<Database>) -> Result<Self> {
        let pinned = database.pin()?;
        let Applied { position, membership } = Applied::read(|key| pinned.meta(key))?;
        Ok(View { meta: SnapshotMeta { last_log_id: position, last_membership: membership }, pinned })
    }
}

impl StateView for View {
    fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    fn totals(&self) -> io::Result<(u64, [u8; 16])> {
        let mut digest = PairsDigest::new();
        self.pinned.visit(&mut |key, value| {
            digest.add(key, value);
            Ok(())
        })?;
        Ok(digest.totals())
    }

    fn visit(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.pinned.visit(visit)
    }
}

/// A directory of received files, removed unless it is handed on.
#[derive(Debug)]
struct Staging(Option<PathBuf>);

impl Staging {
    fn dir(&self) -> &Path {
        self.0.as_deref().expect("only `keep` takes it, and consumes self")
    }

    fn keep(mut self) -> PathBuf {
        self.0.take().expect("only `keep` takes it, and consumes self")
    }

    fn file(&self, number: u64) -> PathBuf {
        self.dir().join(format!("{number:08}.sst"))
    }

    /// The staged files in key order.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let dir = self.dir();
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(at("list", dir))? {
            files.push(entry.map_err(at("list", dir))?.path());
        }
        files.sort();
        Ok(files)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(dir) = &self.0
            && let Err(error) = remove_dir(dir)
        {
            tracing::warn!(%error, "a received snapshot stays until the next start");
        }
    }
}

/// The options of received files; a writer borrows them for as long as it lives.
static FILE_OPTIONS: LazyLock<rocksdb::Options> = LazyLock::new(options::snapshot_file);

/// Receives a snapshot into files on the side; holds one block of it in memory.
pub(crate) struct Receiver {
    check: StreamCheck,
    writer: Option<SstFileWriter<'static>>,
    file_bytes: usize,
    files: u64,
    file_bytes_max: usize,
    staging: Staging,
}

impl Receiver {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.check.add(key, value)?;
        if self.file_bytes >= self.file_bytes_max {
            self.close_file()?;
        }
        let path = self.staging.file(self.files);
        let rocks = |source| Error::Rocks { action: "write a received snapshot", path: path.clone(), source };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let writer = SstFileWriter::create(&FILE_OPTIONS);
                writer.open(&path).map_err(rocks)?;
                self.writer.insert(writer)
            }
        };
        writer.put(key, value).map_err(rocks)?;
        self.file_bytes += key.len() + value.len();
        Ok(())
    }

    fn close_file(&mut self) -> Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let path = self.staging.file(self.files);
        writer.finish().map_err(|source| Error::Rocks {
            action: "finish a received snapshot",
            path: path.clone(),
            source,
        })?;
        sync_file(&path)?;
        self.files += 1;
        self.file_bytes = 0;
        Ok(())
    }

    fn complete(mut self, meta: SnapshotMeta, keys: u64, digest: [u8; 16]) -> Result<ReceivedSnapshot> {
        self.close_file()?;
        self.check.finish(keys, digest)?;
        sync_dir(self.staging.dir())?;
        Ok(ReceivedSnapshot { meta, dir: Some(self.staging.keep()), pairs: Vec::new() })
    }
}

impl StateReceiver for Receiver {
    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(self.add(key, value)?)
    }

    fn finish(
        self: Box<Self>,
        meta: SnapshotMeta,
        keys: u64,
        digest: [u8; 16],
    ) -> io::Result<ReceivedSnapshot> {
        Ok(self.complete(meta, keys, digest)?)
    }
}
