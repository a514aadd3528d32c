//! The writer makes kubectl's bytes.

use pi_types::docker_config::{write, write_auth_only};

use crate::credential;

/// Server, username, password, email, and what `kubectl create secret docker-registry` 1.32.4 stored for them
/// (`--dry-run=client -o json`, decoded).
#[rustfmt::skip]
const RECORDED: &[(&str, &str, &str, Option<&str>, &str)] = &[
    ("https://index.docker.io/v1/", "bob", "pw", None, "{\"auths\":{\"https://index.docker.io/v1/\":{\"username\":\"bob\",\"password\":\"pw\",\"auth\":\"Ym9iOnB3\"}}}"),
    ("https://index.docker.io/v1/", "bob", "pw", Some("bob@example.com"), "{\"auths\":{\"https://index.docker.io/v1/\":{\"username\":\"bob\",\"password\":\"pw\",\"email\":\"bob@example.com\",\"auth\":\"Ym9iOnB3\"}}}"),
    ("https://index.docker.io/v1/", "bob", "p&<>w\"d", None, "{\"auths\":{\"https://index.docker.io/v1/\":{\"username\":\"bob\",\"password\":\"p\\u0026\\u003c\\u003ew\\\"d\",\"auth\":\"Ym9iOnAmPD53ImQ=\"}}}"),
    ("r.example.com/<a>&\"b\\", "dom\\bob:x", "p", Some("B <b@x>"), "{\"auths\":{\"r.example.com/\\u003ca\\u003e\\u0026\\\"b\\\\\":{\"username\":\"dom\\\\bob:x\",\"password\":\"p\",\"email\":\"B \\u003cb@x\\u003e\",\"auth\":\"ZG9tXGJvYjp4OnA=\"}}}"),
    ("https://index.docker.io/v1/", "bob", "a\\b\u{9}c\u{a}d\u{d}e\u{8}f\u{c}g\u{1}h\u{1f}i\u{7f}j/k'l", None, "{\"auths\":{\"https://index.docker.io/v1/\":{\"username\":\"bob\",\"password\":\"a\\\\b\\tc\\nd\\re\\bf\\fg\\u0001h\\u001fi\u{7f}j/k'l\",\"auth\":\"Ym9iOmFcYgljCmQNZQhmDGcBaB9pf2ovayds\"}}}"),
    ("r.example.com", "bob", "\u{2028}x\u{2029}y\u{2027}z\u{202a}", None, "{\"auths\":{\"r.example.com\":{\"username\":\"bob\",\"password\":\"\\u2028x\\u2029y\u{2027}z\u{202a}\",\"auth\":\"Ym9iOuKAqHjigKl54oCneuKAqg==\"}}}"),
    ("r.example.com", "bob", "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{9}\u{a}\u{b}\u{c}\u{d}\u{e}\u{f}\u{10}\u{11}\u{12}\u{13}\u{14}\u{15}\u{16}\u{17}\u{18}\u{19}\u{1a}\u{1b}\u{1c}\u{1d}\u{1e}\u{1f} ", None, "{\"auths\":{\"r.example.com\":{\"username\":\"bob\",\"password\":\"\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f \",\"auth\":\"Ym9iOgECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\"}}}"),
    ("\u{43a}\u{43b}\u{44e}\u{447}.example", "\u{fc}", "p\u{e4}ssw\u{f6}rd\u{1f600}", Some("\u{e9}@example.com"), "{\"auths\":{\"\u{43a}\u{43b}\u{44e}\u{447}.example\":{\"username\":\"\u{fc}\",\"password\":\"p\u{e4}ssw\u{f6}rd\u{1f600}\",\"email\":\"\u{e9}@example.com\",\"auth\":\"w7w6cMOkc3N3w7ZyZPCfmIA=\"}}}"),
    ("r.example.com", "<token>", "\u{7f}\u{80}\u{85}\u{a0}\u{feff}\u{fffd}\u{fffe}\u{ffff}\u{10ffff}", None, "{\"auths\":{\"r.example.com\":{\"username\":\"\\u003ctoken\\u003e\",\"password\":\"\u{7f}\u{80}\u{85}\u{a0}\u{feff}\u{fffd}\u{fffe}\u{ffff}\u{10ffff}\",\"auth\":\"PHRva2VuPjp/woDChcKg77u/77+977++77+/9I+/vw==\"}}}"),
    ("quay.io", "$USER", "$(x) `y` ${z} %20 \\u003c", None, "{\"auths\":{\"quay.io\":{\"username\":\"$USER\",\"password\":\"$(x) `y` ${z} %20 \\\\u003c\",\"auth\":\"JFVTRVI6JCh4KSBgeWAgJHt6fSAlMjAgXHUwMDNj\"}}}"),
    ("450212345678.dkr.ecr.ap-southeast-1.amazonaws.com", "AWS", "eyJQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD", None, "{\"auths\":{\"450212345678.dkr.ecr.ap-southeast-1.amazonaws.com\":{\"username\":\"AWS\",\"password\":\"eyJQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\",\"auth\":\"QVdTOmV5SlFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRFFVSkRRVUpEUVVKRA==\"}}}"),
];

#[test]
fn a_written_payload_equals_kubectls_byte_for_byte() {
    for (server, username, password, email, expected) in RECORDED {
        let written = write(&credential(server, username, password, *email));
        assert_eq!(std::str::from_utf8(&written).unwrap(), *expected);
    }
}

#[test]
fn empty_fields_are_left_out() {
    let written = write(&credential("quay.io", "bob", "", Some("")));
    assert_eq!(&written[..], br#"{"auths":{"quay.io":{"username":"bob","auth":"Ym9iOg=="}}}"#);
}

#[test]
fn the_short_form_has_auth_only() {
    let written =
        write_auth_only(&credential("https://index.docker.io/v1/", "bob", "pw", Some("bob@example.com")));
    assert_eq!(&written[..], br#"{"auths":{"https://index.docker.io/v1/":{"auth":"Ym9iOnB3"}}}"#);
}

#[test]
fn a_token_of_ecr_fits_the_limit_in_the_short_form_only() {
    let token = "A".repeat(1_800);
    let ecr = credential("450212345678.dkr.ecr.ap-southeast-1.amazonaws.com", "AWS", &token, None);
    assert!(pi_types::Payload::new(write(&ecr).to_vec()).is_err());
    assert!(pi_types::Payload::new(write_auth_only(&ecr).to_vec()).is_ok());
}
