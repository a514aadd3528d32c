//! The provider against a fake plugin over a real socket: well, unwell, slow, gone, and against the protocol.

use std::path::PathBuf;
use std::time::Instant;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

use super::*;
use crate::SystemRandom;
use crate::health::{State, Windows};
use crate::kms::fake::{Behaviour, FakePlugin, Leak};
use crate::kms::monitor::Monitor;
use crate::kms::{new_seed, unwrap_seed, wrap_seed};

struct Harness {
    directory: tempfile::TempDir,
    fake: FakePlugin,
    plugin: Plugin,
}

fn socket(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("kms.sock")
}

fn harness() -> Harness {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakePlugin::start(&socket(&directory));
    let plugin = Plugin::new(&fake.endpoint(), TIMEOUT_DEFAULT).unwrap();
    Harness { directory, fake, plugin }
}

#[tokio::test]
async fn a_healthy_plugin_tells_its_key_and_wraps_and_unwraps_a_seed() {
    let Harness { directory: _directory, fake, plugin } = harness();
    fake.behave(|b| b.annotations = [("version.kms.example.com".to_owned(), b"7".to_vec())].into());
    let expected = Status { key_id: "key-1".to_owned(), version: "v2".to_owned() };
    assert_eq!(plugin.status().await.unwrap(), expected);

    let (seed, wrapped) = new_seed(&plugin, &SystemRandom, 42).await.unwrap();
    assert_eq!((wrapped.provider.as_str(), wrapped.key_id.as_str()), ("kms-v2", "key-1"));
    assert_eq!(wrapped.annotations["version.kms.example.com"], b"7");
    assert_eq!(wrapped.seed_id, seed.id());
    assert_eq!(unwrap_seed(&plugin, &wrapped).await.unwrap().expose(), seed.expose());

    fake.behave(|b| b.version = "v2beta1".to_owned());
    assert_eq!(plugin.status().await.unwrap().version, "v2beta1");
}

#[tokio::test]
async fn a_rotated_key_shows_in_the_status_and_seeds_are_wrapped_again_under_it() {
    let Harness { directory: _directory, fake, plugin } = harness();
    let (seed, old) = new_seed(&plugin, &SystemRandom, 0).await.unwrap();
    fake.behave(|b| b.keys.insert(0, "key-2".to_owned()));
    assert_eq!(plugin.status().await.unwrap().key_id, "key-2");
    assert_eq!(unwrap_seed(&plugin, &old).await.unwrap().expose(), seed.expose(), "the old key unwraps");
    let new = wrap_seed(&plugin, &seed, 0).await.unwrap();
    assert_eq!((new.key_id.as_str(), new.seed_id), ("key-2", old.seed_id));

    fake.behave(|b| b.keys.truncate(1));
    assert!(unwrap_seed(&plugin, &new).await.is_ok());
    let error = unwrap_seed(&plugin, &old).await.err().unwrap();
    assert!(error.to_string().contains("no such key"), "{error}");
}

#[tokio::test]
async fn a_plugin_that_is_not_well_is_an_error_with_its_words() {
    let Harness { directory: _directory, fake, plugin } = harness();
    fake.behave(|b| b.healthz = "HSM offline\nfor long".to_owned());
    let error = plugin.status().await.unwrap_err();
    assert!(matches!(error, Error::Unhealthy { .. }), "{error}");
    assert!(error.to_string().contains("HSM offline for long"), "{error}");

    fake.behave(|b| b.refuse = Some((Code::PermissionDenied, "key disabled".to_owned())));
    let error = plugin.status().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("PermissionDenied: key disabled"), "{error}");
}

#[tokio::test]
async fn a_status_against_the_protocol_is_refused() {
    type Case = (&'static str, fn(&mut Behaviour), &'static str);
    let cases: [Case; 5] = [
        ("another version", |b| b.version = "v1".to_owned(), "\"v1\""),
        ("no version", |b| b.version.clear(), "version"),
        ("no key", |b| b.keys.clear(), "key_id is empty"),
        ("a key id over the limit", |b| b.keys = vec!["k".repeat(1_025)], "1025"),
        ("no health", |b| b.healthz.clear(), "healthz"),
    ];
    for (what, change, told) in cases {
        let Harness { directory: _directory, fake, plugin } = harness();
        fake.behave(change);
        let error = plugin.status().await.unwrap_err().to_string();
        assert!(error.contains(told), "{what}: {error}");
    }
    let Harness { directory: _directory, fake, plugin } = harness();
    fake.behave(|b| b.keys = vec!["k".repeat(1_024)]);
    assert!(plugin.status().await.is_ok(), "the limit itself is allowed");
}

#[tokio::test]
async fn a_wrapping_against_the_protocol_is_refused() {
    let annotation = |key: &str, bytes: usize| BTreeMap::from([(key.to_owned(), vec![0; bytes])]);
    type Case = (&'static str, Box<dyn FnOnce(&mut Behaviour)>, &'static str);
    let cases: [Case; 8] = [
        ("empty", Box::new(|b| b.ciphertext = Some(Vec::new())), "ciphertext is empty"),
        ("too large", Box::new(|b| b.ciphertext = Some(vec![0; 1_025])), "1025"),
        ("no key", Box::new(|b| b.keys.clear()), "key_id is empty"),
        ("a bare name", Box::new(move |b| b.annotations = annotation("version", 1)), "domain name"),
        ("too much", Box::new(move |b| b.annotations = annotation("a.b", 32 * 1_024)), "32771"),
        ("larger than any answer", Box::new(|b| b.ciphertext = Some(vec![0; 1 << 20])), "does not answer"),
        ("not encrypted", Box::new(|b| b.leak = Leak::Ciphertext), "in the clear"),
        ("nothing that unwraps", Box::new(|b| b.ciphertext = Some(vec![1; 32])), "does not unwrap"),
    ];
    for (what, change, told) in cases {
        let Harness { directory: _directory, fake, plugin } = harness();
        fake.behave(change);
        let error = new_seed(&plugin, &SystemRandom, 0).await.err().expect(what).to_string();
        assert!(error.contains(told), "{what}: {error}");
    }
}

#[tokio::test]
async fn an_unwrapped_seed_that_is_not_the_one_is_never_used() {
    let Harness { directory: _directory, fake, plugin } = harness();
    let (_, wrapped) = new_seed(&plugin, &SystemRandom, 0).await.unwrap();
    for bytes in [0, 1, 31, 33, 1_000] {
        fake.behave(|b| b.plaintext = Some(vec![7; bytes]));
        let error = unwrap_seed(&plugin, &wrapped).await.err().unwrap();
        assert!(matches!(error, Error::Invalid { .. }), "{bytes}: {error}");
    }
    fake.behave(|b| b.plaintext = Some(vec![7; 32]));
    let error = unwrap_seed(&plugin, &wrapped).await.err().unwrap();
    assert!(matches!(error, Error::DoesNotUnwrap { .. }), "{error}");
}

#[tokio::test]
async fn a_plugin_that_quotes_a_seed_is_not_quoted() {
    let Harness { directory: _directory, fake, plugin } = harness();
    fake.behave(|b| b.leak = Leak::Message);
    let seed = Seed::from_bytes(&[0xab; 32]).unwrap();
    let error = plugin.wrap(&seed).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("Internal"), "{shown}");
    assert!(!shown.contains("abab"), "{shown}");
    let messages = [
        format!("{:?}", EncryptRequest { plaintext: vec![0xab; 32], uid: String::new() }),
        format!("{:?}", super::super::wire::DecryptResponse { plaintext: vec![0xab; 32] }),
    ];
    assert!(messages.iter().all(|shown| !shown.contains("171") && !shown.contains("ab, ")), "{messages:?}");
}

#[tokio::test]
async fn a_slow_plugin_is_given_up_after_the_timeout() {
    let Harness { directory: _directory, fake, .. } = harness();
    let plugin = Plugin::new(&fake.endpoint(), Duration::from_millis(200)).unwrap();
    fake.behave(|b| b.delay = Duration::from_secs(60));
    let start = Instant::now();
    let error = plugin.status().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_missing_plugin_is_told_with_its_cause_and_found_again_when_it_comes_back() {
    let Harness { directory, fake, plugin } = harness();
    assert!(plugin.status().await.is_ok());
    fake.stop().await;
    let error = plugin.status().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let gone = plugin.status().await.unwrap_err().to_string();
    assert!(gone.contains("No such file") && gone.contains("kms.sock"), "{gone}");

    let _fake = FakePlugin::start(&socket(&directory));
    assert!(plugin.status().await.is_ok(), "the connection is made anew");
}

#[tokio::test]
async fn a_socket_that_speaks_no_grpc_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket(&directory)).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"healthz\":\"ok\"}").await;
        }
    });
    let endpoint = format!("unix://{}", socket(&directory).display());
    let plugin = Plugin::new(&endpoint, Duration::from_millis(500)).unwrap();
    let error = plugin.status().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_monitor_follows_its_plugin_down_and_up_and_tells_of_a_rotated_key() {
    let Harness { directory: _directory, fake, plugin } = harness();
    let windows = Windows {
        poll: Duration::from_millis(20),
        poll_failing: Duration::from_millis(10),
        write: Duration::from_secs(2),
        read: Duration::from_secs(600),
    };
    let monitor = std::sync::Arc::new(Monitor::new(std::sync::Arc::new(plugin), windows));
    assert!(monitor.may_read().is_err() && monitor.may_write().is_err(), "nothing before the first answer");
    let mut key_ids = monitor.key_ids();
    let (states, mut seen) = tokio::sync::mpsc::channel(16);
    let running = monitor.clone();
    let task = tokio::spawn(async move { running.run(|state, _| states.try_send(state).unwrap()).await });

    assert_eq!(seen.recv().await, Some(State::Healthy));
    assert!(monitor.may_read().is_ok() && monitor.may_write().is_ok());
    key_ids.wait_for(|key| key.as_deref() == Some("key-1")).await.unwrap();
    fake.behave(|b| b.keys.insert(0, "key-2".to_owned()));
    key_ids.wait_for(|key| key.as_deref() == Some("key-2")).await.unwrap();

    fake.behave(|b| b.healthz = "no".to_owned());
    while seen.recv().await != Some(State::ReadOnly) {}
    assert!(monitor.may_read().is_ok());
    let error = monitor.may_write().unwrap_err().to_string();
    assert!(error.contains("healthz is \"no\""), "{error}");

    fake.behave(|b| b.healthz = "ok".to_owned());
    while seen.recv().await != Some(State::Healthy) {}
    assert!(monitor.may_write().is_ok());
    assert!(monitor.describe().1.contains("key-2"));
    task.abort();
}

#[test]
fn only_unix_sockets_with_a_path_are_endpoints() {
    assert!(check_endpoint("unix:///run/kms.sock").is_ok());
    for wrong in ["", "/run/kms.sock", "unix:/run/kms.sock", "unix://", "unix:///", "unix://run/kms.sock"] {
        assert!(check_endpoint(wrong).is_err(), "{wrong}");
    }
    for abstract_socket in ["unix:///@kms", "unix://@kms"] {
        assert!(check_endpoint(abstract_socket).unwrap_err().contains("abstract"));
    }
    assert!(check_endpoint("http://localhost:1").is_err());
}

#[test]
fn annotation_keys_are_fully_qualified_domain_names() {
    for good in ["a.b", "version.kms.example.com", "a.b.", "1.2", &format!("{}.b", "a".repeat(63))] {
        assert!(is_domain_name(good), "{good}");
    }
    for wrong in ["", "a", ".", "a..b", ".a.b", "a.b..", "-a.b", "a-.b", "A.b", "a_b.c", "a.b/c"] {
        assert!(!is_domain_name(wrong), "{wrong}");
    }
    assert!(!is_domain_name(&format!("{}.b", "a".repeat(64))));
    assert!(!is_domain_name(&"a.".repeat(127).repeat(2)));
}

#[test]
fn a_plugins_words_are_one_bounded_line() {
    assert_eq!(words("a\nb\u{1b}[31m"), "a b [31m");
    assert_eq!(words(&"é".repeat(1_000)).chars().count(), WORDS_MAX);
}
