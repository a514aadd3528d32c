//! The `[seal]` section: what it takes, what it refuses, and that the example in the documentation is one.

use pi_seal::Config;
use pi_seal::config::{OpenError, Provider};
use pi_seal::health::Windows;
use pi_seal::kms::key_file::create_key_file;

fn parse(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn a_provider_and_its_place_suffice_and_the_defaults_are_those_of_the_windows() {
    let config = parse("provider = \"key-file\"\npath = \"/etc/pi/seal.key\"").unwrap();
    assert_eq!(config, Config::key_file("/etc/pi/seal.key"));
    assert_eq!(config.windows(), Windows::default());
    assert_eq!(config.check(), Ok(()));
    let config = parse("provider = \"kms-v2\"\nendpoint = \"unix:///run/kms.sock\"").unwrap();
    assert_eq!(config, Config::kms_v2("unix:///run/kms.sock"));
    assert_eq!(config.provider, Provider::KmsV2);
    assert_eq!(config.check(), Ok(()));
    assert_eq!(parse(&toml::to_string(&config).unwrap()).unwrap(), config, "what is dumped can be read");
}

#[test]
fn an_unknown_field_or_provider_is_refused() {
    assert!(
        parse("provider = \"key-file\"\npath = \"k\"\nkey = \"x\"").unwrap_err().contains("unknown field")
    );
    assert!(parse("provider = \"vault\"").unwrap_err().contains("kms-v2"));
    assert!(parse("path = \"k\"").unwrap_err().contains("provider"));
}

#[test]
fn fields_that_contradict_each_other_are_named() {
    let file = || Config::key_file("k");
    let plugin = || Config::kms_v2("unix:///k");
    let cases = [
        ("path", Config { path: None, ..file() }),
        ("path", Config { path: Some("k".into()), ..plugin() }),
        ("endpoint", Config { endpoint: None, ..plugin() }),
        ("endpoint", Config { endpoint: Some("unix:///k".into()), ..file() }),
        ("timeout_ms", Config { timeout_ms: 0, ..plugin() }),
        ("poll_ms", Config { poll_ms: 0, ..file() }),
        ("poll_failing_ms", Config { poll_failing_ms: 0, ..file() }),
        ("write_window_ms", Config { write_window_ms: 0, ..file() }),
        ("write_window_ms", Config { write_window_ms: 63_000, ..file() }),
        ("write_window_ms", Config { poll_ms: u64::MAX, ..file() }),
        ("read_window_ms", Config { read_window_ms: 179_999, ..file() }),
        ("read_window_ms", Config { read_window_ms: 0, ..file() }),
    ];
    for (key, config) in cases {
        let error = config.check().unwrap_err();
        assert_eq!(error.key, key, "{error}");
        assert!(error.to_string().starts_with(&format!("key `seal.{key}`: ")), "{error}");
        assert!(matches!(config.open(), Err(OpenError::Config(_))));
    }
    assert_eq!(Config { write_window_ms: 63_001, ..file() }.check(), Ok(()));
    assert_eq!(Config { read_window_ms: 180_000, ..file() }.check(), Ok(()));
}

#[tokio::test]
async fn the_configured_provider_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seal.key");
    assert!(matches!(Config::key_file(&path).open(), Err(OpenError::Kms(_))), "no file yet");
    let key_id = create_key_file(&path).unwrap();
    let kms = Config::key_file(&path).open().unwrap();
    assert_eq!((kms.name(), kms.status().await.unwrap().key_id), ("key-file", key_id));
    let kms = Config::kms_v2("unix:///nowhere/kms.sock").open().unwrap();
    assert_eq!(kms.name(), "kms-v2");
    assert!(kms.status().await.is_err());
    assert!(matches!(Config::kms_v2("http://localhost").open(), Err(OpenError::Kms(_))));
}
