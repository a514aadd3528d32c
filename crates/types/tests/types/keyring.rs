//! Image-to-credential matching, by a kubelet's rules.

use pi_types::docker_config::Keyring;

/// A payload with these registries; each entry's username is `u<position>`.
fn payload(keys: &[&str]) -> String {
    let entries: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| format!(r#""{key}":{{"username":"u{at}","password":"p{at}"}}"#))
        .collect();
    format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
}

/// The registries of the entries found for an image, in order.
fn found(keys: &[&str], image: &str) -> Vec<String> {
    let payload = payload(keys);
    let keyring = Keyring::parse([payload.as_bytes()]).unwrap();
    keyring.lookup(image).into_iter().map(|entry| entry.registry_key.clone()).collect()
}

const HUB_IMAGE: &str = "docker.io/xjimmyshcn/alpine";
const ECR_IMAGE: &str = "450212345678.dkr.ecr.ap-southeast-1.amazonaws.com/busybox";

/// One registry in a payload, an image, and whether the credential is for it.
const MATCHES: &[(&str, &str, bool)] = &[
    // The table of facts/protocols.md, section 2.
    ("https://index.docker.io/v1/", HUB_IMAGE, true),
    ("index.docker.io", HUB_IMAGE, true),
    ("https://index.docker.io/v1", HUB_IMAGE, false),
    ("docker.io", HUB_IMAGE, true),
    ("docker.io/xjimmyshcn", HUB_IMAGE, true),
    ("registry-1.docker.io", HUB_IMAGE, false),
    ("registry.hub.docker.com", HUB_IMAGE, false),
    ("https://r.example.com/v2/", "r.example.com/a/b", true),
    ("https://r.example.com/v2", "r.example.com/a/b", false),
    ("r.example.com/team-a", "r.example.com/team-ab/img", true),
    ("r.example.com", "r.example.com:5000/a", false),
    ("r.example.com:443", "r.example.com/a", false),
    ("*.example.com", "a.b.example.com/x", false),
    ("reg*.example.com", "registry.example.com/a", true),
    ("*.dkr.ecr.*.amazonaws.com", ECR_IMAGE, true),
    ("https://gcr.io", "eu.gcr.io/p/i", false),
    ("Quay.io", "quay.io/a/b", false),
    // Ports.
    ("r.example.com:5000", "r.example.com:5000/a", true),
    ("r.example.com:443", "r.example.com:443/a", true),
    ("r.example.com:", "r.example.com/a", true),
    ("*.example.com:5000", "r.example.com:5000/a", true),
    ("r.example.com:50*", "r.example.com:5000/a", false),
    ("[::1]:5000", "[::1]:5000/a", true),
    // Schemes and paths.
    ("http://r.example.com", "r.example.com/a", true),
    ("http://r.example.com/", "r.example.com/a", true),
    ("HTTPS://r.example.com", "r.example.com/a", false),
    ("ftp://r.example.com", "r.example.com/a", false),
    ("https://r.example.com/v1/team", "r.example.com/team/a", true),
    ("https://r.example.com/v2x", "r.example.com/a", false),
    ("https://r.example.com/v3/", "r.example.com/a", false),
    ("r.example.com/team/", "r.example.com/team/a", true),
    ("r.example.com/team/", "r.example.com/team", false),
    ("r.example.com/*", "r.example.com/team", false),
    ("r.example.com/t%65am", "r.example.com/team", true),
    ("r.example.com/a", "r.example.com/a:1.2", true),
    // What Go drops or refuses.
    ("bob:pw@r.example.com", "r.example.com/a", true),
    ("r.example.com?x", "r.example.com/a", true),
    ("r.example.com#x", "r.example.com/a", true),
    ("r.example.com:port", "r.example.com/a", false),
    ("r .example.com", "r .example.com/a", false),
    ("r.example.com/%zz", "r.example.com/a", false),
    ("", "r.example.com/a", false),
    ("r%2Eexample.com", "r.example.com/a", false),
    ("%D0%BA.example.com", "\u{43a}.example.com/a", true),
    ("r.example.com/a\\tb", "r.example.com/a", false),
    // Globs: within one label only.
    ("*", "localhost/a", true),
    ("*", "r.example.com/a", false),
    ("*.*.com", "r.example.com/a", true),
    ("r*r*y.example.com", "registry.example.com/a", true),
    ("r*x.example.com", "registry.example.com/a", false),
    ("reg[a-m]stry.example.com", "registry.example.com/a", true),
    ("reg[j-m]stry.example.com", "registry.example.com/a", false),
    ("reg[i.example.com", "reg[i.example.com/a", false),
    // Docker Hub.
    ("https://index.docker.io/v1/", "alpine", true),
    ("https://index.docker.io/v1/", "library/alpine", true),
    ("https://index.docker.io/v1/", "index.docker.io/library/alpine", true),
    ("https://index.docker.io/v1/", "localhost/alpine", true),
    ("https://index.docker.io/v1/", "localhost:5000/alpine", false),
    ("https://index.docker.io/v1/", "quay.io/alpine", false),
    ("https://index.docker.io/v1/", "/alpine", false),
    ("https://index.docker.io/v1/", "", false),
    ("docker.io", "index.docker.io/library/alpine", false),
    ("index.docker.io/team", HUB_IMAGE, false),
];

#[test]
fn a_credential_matches_the_images_a_kubelet_uses_it_for() {
    for (key, image, expected) in MATCHES {
        let found = found(&[key], image);
        let expected: &[&str] = if *expected { &[key] } else { &[] };
        assert_eq!(found, expected, "{key} for {image}");
    }
}

#[test]
fn longer_addresses_come_first_and_globs_last() {
    let expected = ["quay.io/coreos", "quay.io", "*.io"];
    assert_eq!(found(&["quay.io", "*.io", "quay.io/coreos"], "quay.io/coreos/etcd"), expected);
    assert_eq!(found(&["*.io", "quay.io/coreos", "quay.io"], "quay.io/coreos/etcd"), expected);
}

#[test]
fn the_hubs_own_spelling_is_only_a_fallback() {
    let keys = ["https://index.docker.io/v1/", "docker.io"];
    assert_eq!(found(&keys, HUB_IMAGE), ["docker.io"]);
    assert_eq!(found(&keys, "alpine"), ["https://index.docker.io/v1/"]);
}

#[test]
fn several_credentials_for_one_registry_keep_the_order_of_their_payloads() {
    let payloads = [
        payload(&["quay.io"]),
        r#"{"auths":{"https://quay.io/v1/":{"auth":"c2Vjb25kOnB3"},"http://quay.io":{"auth":"dGhpcmQ6cHc="}}}"#.into(),
    ];
    let keyring = Keyring::parse(payloads.iter().map(String::as_bytes)).unwrap();
    let usernames: Vec<&str> =
        keyring.lookup("quay.io/a").into_iter().map(|entry| entry.username()).collect();
    assert_eq!(usernames, ["u0", "second", "third"]);
}

#[test]
fn auth_counts_and_is_split_at_the_first_colon() {
    // `bob:p:w` in auth, other fields beside it.
    let payload = br#"{"auths":{"quay.io":{"username":"x","password":"y","auth":"Ym9iOnA6dw=="}}}"#;
    let keyring = Keyring::parse([&payload[..]]).unwrap();
    let entry = keyring.lookup("quay.io/a")[0];
    assert_eq!((entry.username(), entry.password()), ("bob", "p:w"));
}

#[test]
fn one_malformed_payload_refuses_the_whole_keyring() {
    let good = payload(&["quay.io"]);
    let refusal = Keyring::parse([good.as_bytes(), br#"{"auths":{"gcr.io":{"auth":"!"}}}"#]).err().unwrap();
    assert_eq!(refusal.field, r#"payload.auths["gcr.io"].auth"#);
}

#[test]
fn an_empty_keyring_finds_nothing() {
    assert!(Keyring::parse([]).unwrap().lookup("quay.io/a").is_empty());
    assert!(Keyring::parse([&b"{}"[..]]).unwrap().lookup("alpine").is_empty());
}
