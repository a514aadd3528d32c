//! What the CA writes, and what it refuses to.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::tls::{Material, Paths};

fn ca(dir: &Path) -> Result<Ca, Error> {
    create_ca(dir, &"prod".parse().unwrap(), SystemTime::now())
}

fn node_1() -> PeerIdentity {
    "pi://prod/region/us/node/1".parse().unwrap()
}

fn days(days: u32) -> Validity {
    Validity::days(SystemTime::now(), days)
}

#[test]
fn everything_is_written_for_the_owner_alone_and_loads() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("pki");
    let ca = ca(&dir).unwrap();
    let pair =
        issue(&ca, &node_1(), &["node-1.example".into()], days(30)).unwrap().write(&dir, "one").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o700);
    for path in [&pair.certificate, &pair.key, &dir.join(CA_CERTIFICATE_FILE), &dir.join(CA_KEY_FILE)] {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    let paths = Paths::peer(ca.certificate_path(), &pair.certificate, &pair.key);
    let material = Material::load(paths).unwrap();
    assert_eq!(material.identity(), Some(node_1()));
    assert!(material.ca_not_after_ms() > material.not_after_ms());
}

#[test]
fn nothing_is_ever_overwritten_and_no_half_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let authority = ca(dir).unwrap();
    let key = std::fs::read(dir.join(CA_KEY_FILE)).unwrap();
    assert!(matches!(ca(dir), Err(Error::File(files::Error::Exists { .. }))));
    assert_eq!(std::fs::read(dir.join(CA_KEY_FILE)).unwrap(), key);
    let issued = issue(&authority, &node_1(), &[], days(1)).unwrap();
    std::fs::write(dir.join("one.key"), "precious").unwrap();
    assert!(matches!(issued.write(dir, "one"), Err(Error::File(files::Error::Exists { .. }))));
    assert_eq!(std::fs::read(dir.join("one.key")).unwrap(), b"precious");
    assert!(!dir.join("one.crt").exists(), "a certificate without its key");
}

#[test]
fn a_ca_opened_again_issues_what_the_first_one_did() {
    let directory = tempfile::tempdir().unwrap();
    ca(directory.path()).unwrap();
    let again = Ca::open(directory.path()).unwrap();
    assert_eq!(again.cluster().as_str(), "prod");
    assert!(issue(&again, &node_1(), &[], days(1)).is_ok());
}

#[test]
fn what_is_no_ca_of_ours_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let authority = ca(dir).unwrap();
    let other = tempfile::tempdir().unwrap();
    ca(other.path()).unwrap();
    std::fs::copy(other.path().join(CA_KEY_FILE), dir.join(CA_KEY_FILE)).unwrap();
    let mixed = Ca::open(dir).unwrap();
    assert!(matches!(issue(&mixed, &node_1(), &[], days(1)), Err(Error::NotOurs { .. })));
    let leaf = issue(&authority, &node_1(), &[], days(1)).unwrap();
    std::fs::write(dir.join(CA_CERTIFICATE_FILE), leaf.certificate_pem).unwrap();
    assert!(matches!(Ca::open(dir), Err(Error::NotOurs { .. })));
    std::fs::write(dir.join(CA_CERTIFICATE_FILE), "nonsense").unwrap();
    assert!(matches!(Ca::open(dir), Err(Error::NotOurs { .. })));
    std::fs::set_permissions(other.path().join(CA_KEY_FILE), PermissionsExt::from_mode(0o640)).unwrap();
    assert!(matches!(Ca::open(other.path()), Err(Error::File(files::Error::Open { .. }))));
}

#[test]
fn identities_names_and_dates_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let ca = ca(directory.path()).unwrap();
    let elsewhere = "pi://test/gateway/gw".parse().unwrap();
    assert!(matches!(issue(&ca, &elsewhere, &[], days(1)), Err(Error::OtherCluster { .. })));
    for name in ["localhost:7070", "https://gateway", "", "a b", "*", "ü.example", "*.*.example"] {
        let refused = issue(&ca, &node_1(), &[name.to_owned()], days(1));
        assert!(matches!(refused, Err(Error::Name { .. })), "{name}");
    }
    for name in ["localhost", "*.example.com", "10.0.0.1", "::1", "a.b.example"] {
        assert!(issue(&ca, &node_1(), &[name.to_owned()], days(1)).is_ok(), "{name}");
    }
    assert!(matches!(issue(&ca, &node_1(), &[], days(4_000)), Err(Error::Outlives { .. })));
    let now = SystemTime::now();
    let empty = Validity { not_before: now, not_after: now };
    assert!(matches!(issue(&ca, &node_1(), &[], empty), Err(Error::Validity)));
    assert!(matches!(issue(&ca, &node_1(), &[], days(u32::MAX)), Err(Error::Validity)));
}
