//! Formatting and opening a data directory.
//!
//! Order matters. Format: `FORMATTING`, database and high-water file, marker, `FORMATTING` removed. Open: lock, marker,
//! high-water file, database, its identity, then what a crash left half done is removed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rocksdb::{Cache, WriteBatch, WriteOptions};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::failpoint;
use crate::files::{Layout, at, lock, remove_dir, remove_file, sync_dir, write_atomically};
use crate::high_water::HighWater;
use crate::marker::{self, Expect, Marker};
use crate::record::{decode_u64, encode_meta};
use crate::rocks::database::{Database, Db, Opened, family, key, read_meta};
use crate::rocks::options::{self, LOG, META, Options, Presence, state_name};

/// The number of the state that a new store begins with.
const FIRST_STATE: u64 = 1;

/// See [`super::RocksStore::format`].
pub(crate) fn format(data_dir: &Path, marker: &Marker) -> Result<()> {
    fs::create_dir_all(data_dir).map_err(at("create", data_dir))?;
    let layout = Layout::of(data_dir);
    // Before the lock, so that a directory that is not ours is left exactly as it was.
    check_empty(&layout)?;
    let _lock = lock(&layout)?;
    check_empty(&layout)?;

    write_atomically(&layout.formatting, b"pi-region init has not finished; repeat it\n")?;
    failpoint::reach("format.begun");
    // An interrupted format never wrote a marker, so what it left was never a node's data.
    remove_dir(&layout.db)?;
    remove_file(&layout.high_water)?;
    create_database(&layout, marker.store_uuid)?;
    HighWater::create(&layout, marker.store_uuid)?;
    failpoint::reach("format.filled");
    marker.write(&layout)?;
    failpoint::reach("format.marked");
    remove_file(&layout.formatting)?;
    sync_dir(&layout.root)
}

/// Refuses a directory with anything in it but what an interrupted format, or a new file system, leaves.
fn check_empty(layout: &Layout) -> Result<()> {
    let root = &layout.root;
    let interrupted = layout.formatting.exists() && !layout.marker.exists();
    for entry in fs::read_dir(root).map_err(at("list", root))? {
        let entry = entry.map_err(at("list", root))?.file_name();
        let harmless = ["LOCK", "FORMATTING.tmp", "lost+found"].iter().any(|name| entry == *name);
        let ours = ["FORMATTING", "db", "high-water", "marker.tmp"].iter().any(|name| entry == *name);
        if !(harmless || interrupted && ours) {
            let entry = entry.to_string_lossy().into_owned();
            return Err(marker::Error::NotEmpty { path: root.clone(), entry }.into());
        }
    }
    Ok(())
}

fn create_database(layout: &Layout, store: Uuid) -> Result<()> {
    let rocks = |source| Error::Rocks { action: "create the database", path: layout.db.clone(), source };
    let options = Options::default();
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    let names = [LOG.to_owned(), META.to_owned(), state_name(FIRST_STATE)];
    let families = options::families(&options, &cache, names).map_err(rocks)?;
    let db_options = options::database(&options, Presence::Create).map_err(rocks)?;
    let db = Db::open_cf_descriptors(&db_options, &layout.db, families).map_err(rocks)?;

    let mut batch = WriteBatch::default();
    let meta = family(&db, layout, META)?;
    batch.put_cf(&meta, key::STORE, encode_meta(key::STORE, store.as_bytes()));
    batch.put_cf(&meta, key::STATE, encode_meta(key::STATE, &FIRST_STATE.to_be_bytes()));
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    db.write_opt(batch, &synced).map_err(rocks)
}

/// Opens everything but the log and the state's parts.
pub(crate) fn open(data_dir: &Path, expect: &Expect, options: Options) -> Result<(Arc<Database>, HighWater)> {
    let layout = Layout::of(data_dir);
    // The marker first: not even a lock file may appear in a directory that is not ours.
    Marker::check(data_dir, expect)?;
    let lock = lock(&layout)?;
    let marker = Marker::check(data_dir, expect)?;
    remove_file(&layout.formatting)?;
    let high_water = HighWater::open(&layout, marker.store_uuid)?;

    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    let (db, db_options) = open_database(&layout, &options, &cache)?;
    check_store(&db, &layout, marker.store_uuid)?;
    let state = read_meta(&db, &layout, key::STATE)?;
    let state = state.ok_or_else(|| Error::corrupt("meta record state", "it is missing"))?;
    let state = decode_u64(key::STATE, &state)?;
    remove_leftovers(&db, &layout, state)?;
    Ok((Database::new(Opened { db, db_options, layout, options, cache, state, lock }), high_water))
}

fn open_database(layout: &Layout, options: &Options, cache: &Cache) -> Result<(Db, rocksdb::Options)> {
    let rocks = |source| Error::Rocks { action: "open the database", path: layout.db.clone(), source };
    let db_options = options::database(options, Presence::Existing).map_err(rocks)?;
    let names = Db::list_cf(&db_options, &layout.db).map_err(rocks)?;
    let families = options::families(options, cache, names).map_err(rocks)?;
    let db = Db::open_cf_descriptors(&db_options, &layout.db, families).map_err(rocks)?;
    Ok((db, db_options))
}

fn check_store(db: &Db, layout: &Layout, expected: Uuid) -> Result<()> {
    let found = read_meta(db, layout, key::STORE)?
        .ok_or_else(|| Error::corrupt("meta record store", "it is missing"))?;
    if found != expected.as_bytes() {
        let found =
            Uuid::from_slice(&found).map_or_else(|error| error.to_string(), |found| found.to_string());
        let path = layout.db.clone();
        return Err(marker::Error::Mixed { path, found, expected: expected.to_string() }.into());
    }
    Ok(())
}

/// Drops states that are not the current one, and received snapshots that were never installed.
fn remove_leftovers(db: &Db, layout: &Layout, state: u64) -> Result<()> {
    let rocks = |source| Error::Rocks { action: "drop a leftover state", path: layout.db.clone(), source };
    let current = state_name(state);
    family(db, layout, &current)?;
    let names = Db::list_cf(&rocksdb::Options::default(), &layout.db).map_err(rocks)?;
    for name in names {
        let keep = [LOG, META, "default", current.as_str()].contains(&name.as_str());
        if !keep {
            tracing::info!(state = name, "dropping a state that a crash left behind");
            db.drop_cf(&name).map_err(rocks)?;
        }
    }
    remove_dir(&layout.incoming)
}
