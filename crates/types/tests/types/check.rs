//! The strict reader: what is refused, what is warned of, and in which words.

use pi_types::docker_config::{Keyring, check};
use pi_types::{DEFAULT_SERVER, Invalid, Payload};

/// A document, and the field and a part of the reason with which it is refused.
const REFUSED: &[(&str, &str, &str)] = &[
    ("", "payload", "not valid JSON"),
    ("hello", "payload", "is not valid JSON, at line 1 column 1"),
    ("{\"auths\":", "payload", "not valid JSON"),
    ("{\"auths\":{}} x", "payload", "not valid JSON"),
    ("\u{feff}{}", "payload", "not valid JSON"),
    ("[]", "payload", "must be a JSON object, but is an array"),
    ("null", "payload", "must be a JSON object, but is null"),
    (r#""auths""#, "payload", "must be a JSON object, but is a string"),
    ("1", "payload", "must be a JSON object, but is a number"),
    ("{}", "payload.auths", "Required value"),
    (r#"{"auths":null}"#, "payload.auths", "Required value"),
    (r#"{"auths":{}}"#, "payload.auths", "at least one entry"),
    (r#"{"auths":[]}"#, "payload.auths", "must be a JSON object, but is or contains an array"),
    (r#"{"quay.io":{"auth":"Ym9iOnB3"}}"#, "payload.auths", "Required value"),
    // The credentials are elsewhere.
    (r#"{"credsStore":"desktop"}"#, "payload.auths", "--from-docker-config"),
    (r#"{"credHelpers":{"quay.io":"x"}}"#, "payload.auths", "--from-docker-config"),
    (r#"{"auths":{},"credsStore":"desktop"}"#, "payload.auths", "--from-docker-config"),
    (
        r#"{"auths":{"https://index.docker.io/v1/":{}},"credsStore":"desktop"}"#,
        r#"payload.auths["https://index.docker.io/v1/"]"#,
        "--from-docker-config",
    ),
    // Entries without use.
    (r#"{"auths":{"quay.io":{}}}"#, r#"payload.auths["quay.io"]"#, "has no credential"),
    (r#"{"auths":{"quay.io":null}}"#, r#"payload.auths["quay.io"]"#, "has no credential"),
    (r#"{"auths":{"quay.io":{"email":"a@b"}}}"#, r#"payload.auths["quay.io"]"#, "has no credential"),
    (r#"{"auths":{"quay.io":{"auth":"Og=="}}}"#, r#"payload.auths["quay.io"]"#, "has no credential"),
    (r#"{"auths":{"quay.io":{"identitytoken":"x"}}}"#, r#"payload.auths["quay.io"]"#, "ignore identitytoken"),
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"},"gcr.io":{}}}"#,
        r#"payload.auths["gcr.io"]"#,
        "has no credential",
    ),
    // Undecodable auth.
    (r#"{"auths":{"quay.io":{"auth":"!!!"}}}"#, r#"payload.auths["quay.io"].auth"#, "it is not base64"),
    (r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3="}}}"#, r#"payload.auths["quay.io"].auth"#, "it is not base64"),
    (r#"{"auths":{"quay.io":{"auth":" Ym9iOnB3"}}}"#, r#"payload.auths["quay.io"].auth"#, "it is not base64"),
    (r#"{"auths":{"quay.io":{"auth":"Ym9i-nB3"}}}"#, r#"payload.auths["quay.io"].auth"#, "it is not base64"),
    (r#"{"auths":{"quay.io":{"auth":"Ym9i"}}}"#, r#"payload.auths["quay.io"].auth"#, "there is no ':' in it"),
    (r#"{"auths":{"quay.io":{"auth":"Yjr/"}}}"#, r#"payload.auths["quay.io"].auth"#, "not UTF-8"),
    (
        r#"{"auths":{"quay.io":{"username":"bob","password":"pw","auth":"!"}}}"#,
        r#"payload.auths["quay.io"].auth"#,
        "base64(username:password)",
    ),
    // Wrong kinds, which make a kubelet give up on the document.
    (r#"{"auths":{"quay.io":"Ym9iOnB3"}}"#, r#"payload.auths["quay.io"]"#, "but is a string"),
    (r#"{"auths":{"quay.io":{"auth":1}}}"#, r#"payload.auths["quay.io"].auth"#, "must be a string"),
    (
        r#"{"auths":{"quay.io":{"username":["bob"],"password":"pw"}}}"#,
        r#"payload.auths["quay.io"].username"#,
        "must be a string",
    ),
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3","email":false}}}"#,
        r#"payload.auths["quay.io"].email"#,
        "must be a string",
    ),
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"}},"HttpHeaders":{"a":1}}"#,
        "payload.HttpHeaders",
        "object of strings",
    ),
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"}},"HttpHeaders":7}"#,
        "payload.HttpHeaders",
        "object of strings",
    ),
    // Documents that two readers may read differently.
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"}},"auths":{"gcr.io":{"auth":"Ym9iOnB3"}}}"#,
        "payload",
        r#"the same key twice ("auths")"#,
    ),
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"},"quay.io":{"auth":"Ym9iOnB3"}}}"#,
        "payload.auths",
        r#"the same key twice ("quay.io")"#,
    ),
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"},"quay\u002eio":{"auth":"Ym9iOnB3"}}}"#,
        "payload.auths",
        "the same key twice",
    ),
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3","auth":"Ym9iOnB3"}}}"#,
        r#"payload.auths["quay.io"]"#,
        r#"the same key twice ("auth")"#,
    ),
    (r#"{"Auths":{"quay.io":{"auth":"Ym9iOnB3"}}}"#, "payload.auths", r#"write "auths""#),
    (r#"{"auths":{"quay.io":{"AUTH":"Ym9iOnB3"}}}"#, r#"payload.auths["quay.io"].auth"#, r#"write "auth""#),
    (
        "{\"auths\":{\"quay.io\":{\"u\u{17f}ername\":\"bob\",\"password\":\"pw\"}}}",
        r#"payload.auths["quay.io"].username"#,
        r#"write "username""#,
    ),
    // A key that is no address is named by its position.
    (r#"{"auths":{"https://bob:pw@quay.io":{}}}"#, "payload.auths[entry 1]", "has no credential"),
    (
        r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"},"secret":{}}}"#,
        "payload.auths[entry 2]",
        "has no credential",
    ),
];

#[test]
fn what_no_kubelet_could_use_is_refused_with_field_and_reason() {
    for (document, field, reason) in REFUSED {
        let Invalid { field: actual_field, reason: actual_reason } =
            check(document.as_bytes()).expect_err(&format!("refused: {document}"));
        assert_eq!(actual_field, *field, "field of {document}");
        assert!(actual_reason.contains(reason), "reason of {document}: {actual_reason}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    assert!(check(b"{\"auths\":{\"quay.io\":{\"username\":\"\xff\",\"password\":\"pw\"}}}").is_err());
}

#[test]
fn a_document_nested_without_end_is_refused() {
    let nested = format!("{}{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000));
    assert_eq!(check(nested.as_bytes()).unwrap_err().field, "payload");
    assert_eq!(check("[".repeat(100_000).as_bytes()).unwrap_err().field, "payload");
}

/// Documents that are taken without a word.
const CLEAN: &[&str] = &[
    r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"}}}"#,
    "{\"auths\":{\"quay.io\":{\"auth\":\"Ym9iOnB3\"}}}\n",
    r#"{"auths":{"quay.io":{"username":"bob","password":"pw"}}}"#,
    r#"{"auths":{"quay.io":{"username":"bob","password":"pw","email":null,"auth":""}}}"#,
    r#"{"auths":{"quay.io":{"username":"bob","password":"pw","auth":"Ym9iOnB3"}}}"#,
    // Unpadded, with line breaks, with stray bits at the end: Go decodes all of these.
    r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3dw"}}}"#,
    r#"{"auths":{"quay.io":{"auth":"Ym9i\nOnB3\r\n"}}}"#,
    r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3dx=="}}}"#,
    r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"}},"credsStore":"x","HttpHeaders":{"a":"b"},"experimental":[1,{}]}"#,
    r#"{"auths":{"https://index.docker.io/v1/":{"auth":"Ym9iOnB3"},"r.example.com:5000/team":{"auth":"Ym9iOnB3"}}}"#,
    r#"{"auths":{"https://r.example.com/v2/":{"auth":"Ym9iOnB3"},"*.dkr.ecr.*.amazonaws.com":{"auth":"Ym9iOnB3"}}}"#,
    r#"{"auths":{"docker.io":{"auth":"Ym9iOnB3"},"index.docker.io":{"auth":"Ym9iOnB3"},"localhost:5000":{"auth":"Ym9iOnB3"}}}"#,
];

#[test]
fn usable_documents_pass_without_warnings() {
    for document in CLEAN {
        assert_eq!(check(document.as_bytes()), Ok(Vec::new()), "{document}");
    }
}

/// A registry address, and the right spelling that its warning tells.
const MISSPELLED: &[(&str, &str)] = &[
    ("https://index.docker.io/v1", "https://index.docker.io/v1/"),
    ("index.docker.io/v1", "https://index.docker.io/v1/"),
    ("https://index.docker.io/v2", "https://index.docker.io/v1/"),
    ("docker.io/v1", "https://index.docker.io/v1/"),
    ("docker.io:443", "https://index.docker.io/v1/"),
    ("Docker.io", "https://index.docker.io/v1/"),
    ("registry-1.docker.io", "https://index.docker.io/v1/"),
    ("https://registry-1.docker.io/v2/", "https://index.docker.io/v1/"),
    ("registry.hub.docker.com", "https://index.docker.io/v1/"),
    ("Registry.Hub.Docker.com:443", "https://index.docker.io/v1/"),
    ("hub.docker.com", "https://index.docker.io/v1/"),
    ("https://r.example.com/v2", "https://r.example.com/v2/"),
    ("https://r.example.com/v1", "https://r.example.com/v1/"),
    ("r.example.com:443", "r.example.com"),
    ("https://r.example.com:443/v2", "https://r.example.com/v2/"),
    ("http://r.example.com:80", "http://r.example.com"),
    ("Quay.io", "quay.io"),
    ("quay.io/CoreOS", "quay.io/coreos"),
    ("quay.io/coreos/etcd:v3.5", "quay.io/coreos/etcd"),
];

#[test]
fn an_address_that_never_matches_is_warned_of_with_the_right_spelling() {
    for (address, right) in MISSPELLED {
        let document = format!(r#"{{"auths":{{"{address}":{{"auth":"Ym9iOnB3"}}}}}}"#);
        let warnings = check(document.as_bytes()).unwrap();
        assert_eq!(warnings.len(), 1, "{address}: {warnings:?}");
        assert!(
            warnings[0].starts_with(&format!("payload.auths[\"{address}\"]: matches no image")),
            "{warnings:?}"
        );
        assert!(warnings[0].ends_with(&format!("write \"{right}\"")), "{address}: {warnings:?}");
    }
}

#[test]
fn a_kubelet_finds_the_right_spelling_and_not_the_one_warned_of() {
    for (address, right) in MISSPELLED {
        let image = match *right {
            DEFAULT_SERVER => "docker.io/library/alpine".to_owned(),
            right => {
                let host = right.trim_start_matches("https://").trim_start_matches("http://");
                format!("{}/a", host.trim_end_matches("/v1/").trim_end_matches("/v2/"))
            }
        };
        for (key, found) in [(address, 0), (right, 1)] {
            let document = format!(r#"{{"auths":{{"{key}":{{"auth":"Ym9iOnB3"}}}}}}"#);
            let keyring = Keyring::parse([document.as_bytes()]).unwrap();
            assert_eq!(keyring.lookup(&image).len(), found, "{key} for {image}");
        }
    }
}

#[test]
fn the_right_spelling_is_itself_not_warned_of() {
    for (_, right) in MISSPELLED {
        let document = format!(r#"{{"auths":{{"{right}":{{"auth":"Ym9iOnB3"}}}}}}"#);
        assert_eq!(check(document.as_bytes()), Ok(Vec::new()), "{right}");
    }
}

#[test]
fn an_address_of_which_a_kubelet_drops_a_part_or_all_is_warned_of() {
    let cases = [
        ("https://bob@quay.io", "ignore a user"),
        ("quay.io?x=y", "ignore a user"),
        ("quay.io#x", "ignore a user"),
        ("", "no address"),
        ("https://", "no address"),
        ("quay .io", "no address"),
        ("quay.io:https", "no address"),
        ("quay.io/%zz", "no address"),
    ];
    for (address, expected) in cases {
        let document = format!(r#"{{"auths":{{"{address}":{{"auth":"Ym9iOnB3"}}}}}}"#);
        let warnings = check(document.as_bytes()).unwrap();
        assert_eq!(warnings.len(), 1, "{address}: {warnings:?}");
        assert!(warnings[0].contains(expected), "{address}: {warnings:?}");
    }
}

#[test]
fn a_credential_that_is_not_what_its_fields_say_is_warned_of() {
    let cases = [
        // `a:b` as username: kubectl writes it, every reader takes `b:pw` for the password.
        (r#"{"username":"a:b","password":"pw","auth":"YTpiOnB3"}"#, "differ from auth"),
        (r#"{"username":"alice","auth":"Ym9iOnB3"}"#, "differ from auth"),
        (r#"{"password":"other","auth":"Ym9iOnB3"}"#, "differ from auth"),
        (r#"{"auth":"Ym9iOg=="}"#, "the password is empty"),
        (r#"{"auth":"Ym9iOg==","identitytoken":"x"}"#, "ignore identitytoken"),
        (r#"{"auth":"OnB3"}"#, "the username is empty"),
        (r#"{"username":"bob"}"#, "the password is empty"),
    ];
    for (entry, expected) in cases {
        let warnings = check(format!(r#"{{"auths":{{"quay.io":{entry}}}}}"#).as_bytes()).unwrap();
        assert_eq!(warnings.len(), 1, "{entry}: {warnings:?}");
        assert!(warnings[0].contains(expected), "{entry}: {warnings:?}");
    }
}

/// A document of exactly `bytes` bytes that passes.
fn document_of(bytes: usize) -> Vec<u8> {
    let mut document = br#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"}}}"#.to_vec();
    document.resize(bytes, b' ');
    document
}

#[test]
fn a_payload_of_4096_bytes_is_taken_and_the_4097th_byte_is_refused() {
    assert_eq!(Payload::new(document_of(4_096)).map(|payload| payload.len()).unwrap(), 4_096);
    let refusal = Payload::new(document_of(4_097)).err().unwrap();
    assert_eq!(refusal.to_string(), "payload: has 4097 bytes, the limit is 4096 bytes");
}

#[test]
fn payloads_are_the_same_only_when_every_byte_is() {
    let payload = |bytes| Payload::new(document_of(bytes)).unwrap();
    assert!(payload(50).same_as(&payload(50)));
    assert!(!payload(50).same_as(&payload(51)));
    let other = Payload::new(br#"{"auths":{"quay.io":{"auth":"Ym9iOnB4"}}}"#.to_vec()).unwrap();
    assert!(!payload(other.len()).same_as(&other));
}
