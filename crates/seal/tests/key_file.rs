//! The key file: who may read it, what may be in it, how its keys rotate.

#[path = "common/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::{golden, hex};
use pi_seal::kms::key_file::{Error, FILE_BYTES_MAX, KEYS_MAX, KeyFile, create_key_file};
use pi_seal::kms::{self, new_seed, unwrap_seed, wrap_seed};
use pi_seal::{Kms as _, Seed, SeedId, SystemRandom, WrappedSeed};

const HEADER: &str = "pi-secrets-keys-v1\n";

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn line(key: u8) -> String {
    BASE64.encode([key; 32])
}

/// A key file with keys of these repeated bytes.
fn file_of(directory: &tempfile::TempDir, keys: &[u8]) -> PathBuf {
    let path = directory.path().join("seal.key");
    let lines: Vec<String> = keys.iter().map(|key| line(*key)).collect();
    write(&path, &format!("{HEADER}{}\n", lines.join("\n")), 0o600);
    path
}

fn error(path: &Path) -> Error {
    KeyFile::open(path).err().expect("the file is refused")
}

#[tokio::test]
async fn a_made_file_is_for_its_owner_only_and_wraps_and_unwraps() {
    let directory = directory();
    let path = directory.path().join("seal.key");
    let key_id = create_key_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);

    let file = KeyFile::open(&path).unwrap();
    assert_eq!(file.status().await.unwrap().key_id, key_id);
    assert_eq!(file.name(), "key-file");
    let (seed, wrapped) = new_seed(&file, &SystemRandom, 42).await.unwrap();
    assert_eq!((wrapped.provider.as_str(), wrapped.created_ms), ("key-file", 42));
    assert_eq!((wrapped.seed_id, &wrapped.key_id), (seed.id(), &key_id));
    assert_eq!(unwrap_seed(&file, &wrapped).await.unwrap().expose(), seed.expose());
    assert!(!wrapped.ciphertext.windows(8).any(|part| seed.expose().windows(8).any(|clear| part == clear)));
}

#[test]
fn a_file_is_never_overwritten_and_two_files_have_two_keys() {
    let directory = directory();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let id = create_key_file(&one).unwrap();
    assert_ne!(create_key_file(&two).unwrap(), id);
    let before = fs::read(&one).unwrap();
    let error = create_key_file(&one).unwrap_err();
    assert!(matches!(error, kms::Error::KeyFile(Error::Exists { .. })), "{error}");
    assert_eq!(fs::read(&one).unwrap(), before);
}

#[test]
fn a_file_that_others_can_reach_is_refused_with_its_mode_and_the_command() {
    let directory = directory();
    let path = file_of(&directory, &[1]);
    for mode in [0o640, 0o604, 0o620, 0o601, 0o660, 0o644, 0o666, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = error(&path);
        assert!(matches!(error, Error::Mode { mode: found, .. } if found == mode));
        let text = error.to_string();
        for part in
            [&path.display().to_string(), &format!("{mode:04o}"), &format!("chmod 600 {}", path.display())]
        {
            assert!(text.contains(part), "{text}");
        }
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(KeyFile::open(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_file_of_another_user_is_refused_with_the_command() {
    let directory = directory();
    let path = file_of(&directory, &[1]);
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
        // Only root can give a file away.
        return;
    }
    let error = error(&path);
    assert!(matches!(error, Error::Owner { owner: 12_345, .. }), "{error}");
    assert!(error.to_string().contains("chown"), "{error}");
}

#[test]
fn only_a_regular_file_is_read_and_nothing_blocks() {
    let directory = directory();
    assert!(matches!(error(directory.path()), Error::NotAFile { .. }));
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert!(matches!(error(&pipe), Error::NotAFile { .. }));

    let absent = error(&directory.path().join("absent"));
    assert!(matches!(absent, Error::Io { .. }) && absent.to_string().contains("absent"), "{absent}");

    // Kubernetes and secret stores mount files through links; what counts is the file at the end.
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(file_of(&directory, &[1]), &link).unwrap();
    assert!(KeyFile::open(&link).is_ok());
}

#[test]
fn content_that_is_not_keys_is_refused_with_its_line_and_never_quoted() {
    let key = line(1);
    let many: Vec<String> = (0..=KEYS_MAX).map(|key| line(key as u8)).collect();
    let cases = [
        ("empty", String::new(), 1),
        ("comments only", "# nothing\n\n".to_owned(), 1),
        ("no header", key.clone(), 1),
        ("another version", format!("pi-secrets-keys-v2\n{key}\n"), 1),
        ("no key", HEADER.to_owned(), 1),
        ("no base64", format!("{HEADER}\n# x\nhunter2-hunter2!\n"), 4),
        ("31 bytes", format!("{HEADER}{}\n", BASE64.encode([1; 31])), 2),
        ("33 bytes", format!("{HEADER}{}\n", BASE64.encode([1; 33])), 2),
        ("64 bytes", format!("{HEADER}{}\n", BASE64.encode([1; 64])), 2),
        ("cut short", format!("{HEADER}{key}\n{}\n", &line(2)[..40]), 3),
        ("twice the same", format!("{HEADER}{key}\n{}\n{key}\n", line(2)), 4),
        ("too many", format!("{HEADER}{}\n", many.join("\n")), KEYS_MAX + 2),
        ("too large", format!("{HEADER}{key}\n#{}\n", "x".repeat(FILE_BYTES_MAX)), 1),
    ];
    let directory = directory();
    let path = directory.path().join("seal.key");
    for (what, text, expected) in cases {
        write(&path, &text, 0o600);
        let error = error(&path);
        assert!(matches!(error, Error::Content { line, .. } if line == expected), "{what}: {error}");
        let shown = format!("{error} {error:?}");
        for secret in text.lines().filter(|line| line.len() > 15 && !line.starts_with("pi-secrets")) {
            assert!(!shown.contains(secret), "{what}: {shown}");
        }
    }
}

#[test]
fn a_file_written_by_hand_or_by_another_system_is_read() {
    let directory = directory();
    let path = directory.path().join("seal.key");
    write(&path, &format!("\n# mine\r\n  pi-secrets-keys-v1 \r\n\r\n {} \r\n", line(1)), 0o600);
    assert!(KeyFile::open(&path).is_ok());
}

#[tokio::test]
async fn the_first_key_wraps_every_key_unwraps_and_a_rotation_needs_no_restart() {
    let directory = directory();
    let path = file_of(&directory, &[1]);
    let file = KeyFile::open(&path).unwrap();
    let first = file.status().await.unwrap().key_id;
    let (seed, old) = new_seed(&file, &SystemRandom, 0).await.unwrap();

    file_of(&directory, &[2, 1]);
    let second = file.status().await.unwrap().key_id;
    assert_ne!(second, first);
    assert_eq!(unwrap_seed(&file, &old).await.unwrap().expose(), seed.expose());
    let new = wrap_seed(&file, &seed, 0).await.unwrap();
    assert_eq!((&old.key_id, &new.key_id), (&first, &second));
    assert_eq!(new.seed_id, old.seed_id, "wrapped again, the seed is the same: no payload is touched");

    file_of(&directory, &[2]);
    file.status().await.unwrap();
    assert_eq!(unwrap_seed(&file, &new).await.unwrap().expose(), seed.expose());
    let error = unwrap_seed(&file, &old).await.err().unwrap();
    assert!(matches!(error, kms::Error::UnknownKey { .. }), "{error}");
    assert!(error.to_string().contains(&first), "{error}");
}

#[tokio::test]
async fn a_key_that_another_node_rotated_to_is_found_before_the_next_poll() {
    let directory = directory();
    let ours = KeyFile::open(&file_of(&directory, &[1])).unwrap();
    let path = file_of(&directory, &[2, 1]);
    let (seed, wrapped) = new_seed(&KeyFile::open(&path).unwrap(), &SystemRandom, 0).await.unwrap();
    assert_eq!(unwrap_seed(&ours, &wrapped).await.unwrap().expose(), seed.expose());
}

#[tokio::test]
async fn a_file_that_became_unusable_is_unhealthy_and_what_is_loaded_goes_on() {
    let directory = directory();
    let path = file_of(&directory, &[1]);
    let file = KeyFile::open(&path).unwrap();
    let (_, wrapped) = new_seed(&file, &SystemRandom, 0).await.unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(file.status().await.is_err());
    assert!(unwrap_seed(&file, &wrapped).await.is_ok());
    fs::remove_file(&path).unwrap();
    assert!(file.status().await.is_err());
}

#[tokio::test]
async fn a_changed_wrapped_seed_does_not_unwrap() {
    let directory = directory();
    let file = KeyFile::open(&file_of(&directory, &[1, 2])).unwrap();
    let (_, good) = new_seed(&file, &SystemRandom, 0).await.unwrap();
    for bit in 0..good.ciphertext.len() * 8 {
        let mut changed = good.clone();
        changed.ciphertext[bit / 8] ^= 1 << (bit % 8);
        let error = unwrap_seed(&file, &changed).await.err().unwrap();
        assert!(matches!(error, kms::Error::DoesNotUnwrap { .. }), "bit {bit}: {error}");
    }
    for bytes in 0..good.ciphertext.len() {
        let changed = WrappedSeed { ciphertext: good.ciphertext[..bytes].to_vec(), ..good.clone() };
        assert!(unwrap_seed(&file, &changed).await.is_err(), "{bytes} bytes");
    }
    let renamed = WrappedSeed { seed_id: SeedId::from_bytes([0; 16]), ..good.clone() };
    assert!(unwrap_seed(&file, &renamed).await.is_err(), "another seed's id");
    let elsewhere = WrappedSeed { provider: "kms-v2".to_owned(), ..good };
    let error = unwrap_seed(&file, &elsewhere).await.err().unwrap();
    assert!(matches!(error, kms::Error::WrongProvider { .. }), "{error}");
}

#[tokio::test]
async fn wrapped_seeds_have_the_format_of_the_golden_file() {
    let golden = golden(include_str!("golden/wrapped-key-file-v1.txt"));
    let directory = directory();
    let path = directory.path().join("seal.key");
    write(&path, &format!("{HEADER}{}\n", golden["key"]), 0o600);
    let file = KeyFile::open(&path).unwrap();
    assert_eq!(file.status().await.unwrap().key_id, golden["key_id"]);

    let seed = Seed::from_bytes(&hex(golden["seed"])).unwrap();
    assert_eq!(seed.id().to_string(), golden["seed_id"]);
    let wrapped = WrappedSeed {
        seed_id: seed.id(),
        provider: "key-file".to_owned(),
        key_id: golden["key_id"].to_owned(),
        ciphertext: hex(golden["ciphertext"]),
        annotations: BTreeMap::new(),
        created_ms: 0,
    };
    assert_eq!(unwrap_seed(&file, &wrapped).await.unwrap().expose(), seed.expose());
    // Its nonce is drawn anew each time, so writing is compared by shape.
    let again = wrap_seed(&file, &seed, 0).await.unwrap();
    assert_eq!(again.ciphertext.len(), wrapped.ciphertext.len());
    assert_eq!(again.ciphertext[0], wrapped.ciphertext[0]);
}
