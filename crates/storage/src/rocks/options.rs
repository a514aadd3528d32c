//! What can be set on a RocksDB store, and how RocksDB is set up.
//!
//! Three settings are not for tuning, because data depends on them (`OVERVIEW.md`, "What RocksDB must be told"):
//! the recovery mode, the tracking of write-ahead logs in the manifest, and that nothing resumes by itself after a
//! failed write.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompactionStyle,
    DBCompressionType, DBRecoveryMode, UniversalCompactOptions,
};

use crate::position::PurgeLimit;

/// Bytes in a mebibyte.
const MIB: usize = 1 << 20;

/// The column family of the log.
pub(crate) const LOG: &str = "log";
/// The column family of vote, positions, membership and the pointer to the state.
pub(crate) const META: &str = "meta";
/// RocksDB insists on this one; it stays empty.
const DEFAULT: &str = "default";
/// The column families of states are called this and a number.
const STATE_PREFIX: &str = "state-";

/// The name of the column family of state number `number`.
pub(crate) fn state_name(number: u64) -> String {
    format!("{STATE_PREFIX}{number}")
}

/// What can be set. The default suits a region node: with it the store takes at most about 110 MiB of memory
/// (`block_cache_bytes + memtables_bytes_max`, and what RocksDB needs beside them).
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory for blocks, indexes and filters of files, in bytes. More saves reads of the state.
    pub block_cache_bytes: usize,
    /// Memory of all memtables together, in bytes: what is written and not flushed to files yet.
    pub memtables_bytes_max: usize,
    /// The size at which the log's memtable is flushed, in bytes.
    pub log_memtable_bytes: usize,
    /// The size at which the state's memtable is flushed, in bytes.
    pub state_memtable_bytes: usize,
    /// The size of the write-ahead logs together at which the oldest is flushed out of use, in bytes. Bounds the time
    /// of an open after a crash: about 1 s for 100 MiB.
    pub wal_bytes_max: u64,
    /// Threads for flushes and compactions.
    pub background_threads: i32,
    /// The size at which a received snapshot goes on in a new file, in bytes.
    pub snapshot_file_bytes: usize,
    /// How far the log may be purged.
    pub purge_limit: PurgeLimit,
    /// Whether RocksDB counts what it does, for [`super::RocksStore::wal_syncs`]; costs a few per cent.
    pub statistics: Statistics,
}

/// Whether RocksDB counts what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statistics {
    /// It does not.
    #[default]
    Off,
    /// It does.
    On,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            block_cache_bytes: 32 * MIB,
            memtables_bytes_max: 64 * MIB,
            log_memtable_bytes: 16 * MIB,
            state_memtable_bytes: 16 * MIB,
            wal_bytes_max: 96 << 20,
            background_threads: 2,
            snapshot_file_bytes: 64 * MIB,
            purge_limit: PurgeLimit::Applied,
            statistics: Statistics::Off,
        }
    }
}

/// Whether the database is to be made or must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Create,
    Existing,
}

/// The options of the database as a whole.
pub(crate) fn database(options: &Options, presence: Presence) -> Result<rocksdb::Options, rocksdb::Error> {
    // First, because it makes a new value. A write that failed stays failed: RocksDB must not resume by itself, for
    // after a failed sync nobody knows what reached the disk.
    let mut db = rocksdb::Options::default().get_options_from_string("max_bgerror_resume_count=0")?;
    db.create_if_missing(presence == Presence::Create);
    db.create_missing_column_families(presence == Presence::Create);
    db.set_error_if_exists(presence == Presence::Create);

    // The default mode drops everything behind a damaged record without a word, synced votes included; this one
    // refuses to open, and still accepts the torn tail that a kill leaves.
    db.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_paranoid_checks(true);

    db.set_db_write_buffer_size(options.memtables_bytes_max);
    db.set_max_total_wal_size(options.wal_bytes_max);
    db.set_max_background_jobs(options.background_threads);
    // Written-back evenly, so that the fsync of a log append does not wait behind a whole flushed file.
    db.set_bytes_per_sync(MIB as u64);
    // Two threads write, one to the log and one to the state. Inserting for both in turn lets RocksDB remember where
    // the last key went: the log's keys ascend, and a state batch comes in the order of keys. Inserting was a quarter
    // of a follower's time.
    db.set_allow_concurrent_memtable_write(false);
    db.set_max_open_files(256);
    db.set_keep_log_file_num(4);
    db.set_max_log_file_size(4 * MIB);
    db.set_log_level(rocksdb::LogLevel::Warn);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    if options.statistics == Statistics::On {
        db.enable_statistics();
    }
    Ok(db)
}

/// The options of each column family in `names`.
pub(crate) fn families(
    options: &Options,
    cache: &Cache,
    names: impl IntoIterator<Item = String>,
) -> Result<Vec<ColumnFamilyDescriptor>, rocksdb::Error> {
    names
        .into_iter()
        .map(|name| {
            let family = match name.as_str() {
                LOG => log(options, cache)?,
                META | DEFAULT => small(cache)?,
                _ => state(options, cache)?,
            };
            Ok(ColumnFamilyDescriptor::new(name, family))
        })
        .collect()
}

/// The state: point reads of keys that often do not exist (creates, request ids), and range scans.
pub(crate) fn state(options: &Options, cache: &Cache) -> Result<rocksdb::Options, rocksdb::Error> {
    let mut family = checked()?;
    family.set_write_buffer_size(options.state_memtable_bytes);
    family.set_max_write_buffer_number(3);
    family.set_memtable_whole_key_filtering(true);
    family.set_memtable_prefix_bloom_ratio(0.02);
    family.set_target_file_size_base(16 * MIB as u64);
    family.set_max_bytes_for_level_base(64 * MIB as u64);
    family.set_block_based_table_factory(&state_table(Some(cache)));
    Ok(family)
}

/// The options that files of a received snapshot are written with: those of the state's files.
pub(crate) fn snapshot_file() -> rocksdb::Options {
    let mut options = rocksdb::Options::default();
    options.set_compression_type(DBCompressionType::None);
    options.set_block_based_table_factory(&state_table(None));
    options
}

/// The log: written once in key order, read rarely (the newest entries are in memory above), deleted from the front.
fn log(options: &Options, cache: &Cache) -> Result<rocksdb::Options, rocksdb::Error> {
    let mut family = checked()?;
    family.set_write_buffer_size(options.log_memtable_bytes);
    family.set_max_write_buffer_number(3);
    // Few, large merges: most entries are purged before a levelled tree would have rewritten them.
    family.set_compaction_style(DBCompactionStyle::Universal);
    let mut universal = UniversalCompactOptions::default();
    universal.set_max_size_amplification_percent(100);
    family.set_universal_compaction_options(&universal);
    let mut table = table(Some(cache));
    table.set_block_size(64 << 10);
    family.set_block_based_table_factory(&table);
    Ok(family)
}

fn small(cache: &Cache) -> Result<rocksdb::Options, rocksdb::Error> {
    let mut family = checked()?;
    family.set_write_buffer_size(2 * MIB);
    family.set_block_based_table_factory(&table(Some(cache)));
    Ok(family)
}

/// What every column family has: no compression (ciphertext does not shrink), and files that are read back after they
/// were written.
fn checked() -> Result<rocksdb::Options, rocksdb::Error> {
    let mut family = rocksdb::Options::default().get_options_from_string("paranoid_file_checks=true")?;
    family.set_compression_type(DBCompressionType::None);
    Ok(family)
}

fn state_table(cache: Option<&Cache>) -> BlockBasedOptions {
    let mut table = table(cache);
    table.set_block_size(8 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_optimize_filters_for_memory(true);
    table
}

/// Indexes and filters live in the cache, so that memory stays bounded however large the state is.
fn table(cache: Option<&Cache>) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_index_type(BlockBasedIndexType::BinarySearch);
    match cache {
        Some(cache) => {
            table.set_block_cache(cache);
            table.set_cache_index_and_filter_blocks(true);
            table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        }
        None => table.disable_cache(),
    }
    table
}
