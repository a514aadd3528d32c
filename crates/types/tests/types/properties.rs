//! Properties over arbitrary input: what is written is read back, and nothing that anybody sends makes a parser panic.

use pi_types::docker_config::{Keyring, check, write, write_auth_only};
use pi_types::{Labels, Payload, RequestId, SecretName, Selector, Uid};
use proptest::prelude::*;

use crate::credential;

/// Strings with every kind of character, and such as look like parts of credentials and addresses.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        "[a-z0-9.:/*@%?#\\[\\]-]{0,30}",
        prop::collection::vec(any::<char>(), 0..200).prop_map(String::from_iter),
    ]
}

/// JSON-like bytes: arbitrary documents hardly ever get past the first byte.
fn json_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("null".to_owned()),
        Just("1e999".to_owned()),
        Just("\"auths\":{".to_owned()),
        Just("\"quay.io\":{".to_owned()),
        Just("\"auth\":\"Ym9iOnB3\"".to_owned()),
        "\"[ -~]{0,8}\"",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// `*` is any run of characters, everything else is itself.
fn matches_by_definition(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|skipped| matches_by_definition(rest, &text[skipped..])),
        [first, rest @ ..] => text.first() == Some(first) && matches_by_definition(rest, &text[1..]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_valid_and_read_back(
        server in text(), username in text(), password in text(), email in prop::option::of(text()),
    ) {
        prop_assume!(!(username.is_empty() && password.is_empty()));
        let credential = credential(&server, &username, &password, email.as_deref());
        let joined = format!("{username}:{password}");
        let expected = joined.split_once(':').unwrap();
        for written in [write(&credential), write_auth_only(&credential)] {
            // Nothing but two empty halves of the decoded text is refused.
            prop_assert_eq!(check(&written).is_ok(), expected != ("", ""));
            let json: serde_json::Value = serde_json::from_slice(&written).unwrap();
            let entry = &json["auths"][&server];
            if let Some(written_password) = entry.get("password") {
                prop_assert_eq!(written_password, &password);
            }
            let keyring = Keyring::parse([&written[..]]).unwrap();
            for entry in keyring.lookup(&server) {
                prop_assert_eq!((entry.username(), entry.password()), expected);
                prop_assert_eq!(&entry.registry_key, &server);
            }
        }
    }

    #[test]
    fn a_host_finds_its_own_credential(host in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){1,3}(:[1-9][0-9]{0,3})?") {
        let written = write(&credential(&host, "bob", "pw", None));
        let keyring = Keyring::parse([&written[..]]).unwrap();
        prop_assert_eq!(keyring.lookup(&format!("{host}/a/b")).len(), 1);
    }

    #[test]
    fn a_glob_matches_as_its_definition_says(pattern in "[ab*]{0,8}", label in "[ab]{0,10}") {
        let written = write(&credential(&format!("x{pattern}.example.com"), "bob", "pw", None));
        let keyring = Keyring::parse([&written[..]]).unwrap();
        let is_found = !keyring.lookup(&format!("x{label}.example.com/a")).is_empty();
        prop_assert_eq!(is_found, matches_by_definition(pattern.as_bytes(), label.as_bytes()));
    }

    #[test]
    fn the_reader_never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = check(&bytes);
        let _ = Keyring::parse([&bytes[..]]);
        let _ = Payload::new(bytes);
    }

    #[test]
    fn the_reader_never_panics_on_json(document in json_like()) {
        if check(document.as_bytes()).is_ok() {
            prop_assert!(Keyring::parse([document.as_bytes()]).is_ok(), "what passes the check makes a keyring");
        }
    }

    #[test]
    fn no_address_and_no_image_makes_the_keyring_panic(key in text(), image in text()) {
        let written = write(&credential(&key, "bob", "pw", None));
        let keyring = Keyring::parse([&written[..]]).unwrap();
        prop_assert!(keyring.lookup(&image).len() <= 1);
        prop_assert!(check(&written).is_ok());
    }

    #[test]
    fn the_selector_parser_never_panics_and_its_canonical_form_is_stable(
        text in prop_oneof![any::<String>(), "[ab!=(), intox<>]{0,30}", "([ab]( in | notin |=|!=)\\(?[a-c,]{0,5}\\)?,?){0,4}"],
    ) {
        if let Ok(selector) = text.parse::<Selector>() {
            let canonical = selector.to_string();
            prop_assert_eq!(canonical.parse::<Selector>().unwrap(), selector);
        }
    }

    #[test]
    fn a_selector_of_a_secrets_own_labels_selects_it(
        map in prop::collection::btree_map("[a-z]([a-z0-9./]{0,3}[a-z0-9])?", "([a-zA-Z0-9]([-_.]?[a-zA-Z0-9]){0,5})?", 0..6),
    ) {
        if let Ok(labels) = Labels::from_map(map) {
            let text: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            prop_assert!(text.join(",").parse::<Selector>().unwrap().matches(&labels));
        }
    }

    #[test]
    fn names_and_ids_are_read_back_as_written(text in text(), bytes in any::<[u8; 16]>()) {
        if let Ok(name) = text.parse::<SecretName>() {
            prop_assert_eq!(name.as_str(), text.as_str());
        }
        let _ = text.parse::<RequestId>();
        let uid = Uid::from_bytes(bytes);
        prop_assert_eq!(uid.to_string().parse::<Uid>(), Ok(uid));
        if let Ok(id) = RequestId::from_bytes(&bytes) {
            prop_assert_eq!(id.to_string().parse::<RequestId>(), Ok(id));
            prop_assert!(id.time_ms() >= 0);
        }
    }
}
