//! Every way in which a token is refused, what the clock does to it, and what the cache must not do.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::{AccessKeyId, CredentialRecord, Grant, Roles, SecretKey, credential};

/// 2026-11-24.
const NOW_S: i64 = 1_795_000_000;
const NOW_MS: i64 = NOW_S * 1_000;

#[derive(Clone, Default)]
struct Records(Arc<Mutex<HashMap<AccessKeyId, CredentialRecord>>>);

impl Credentials for Records {
    fn lookup(&self, access_key_id: &AccessKeyId) -> Option<Arc<CredentialRecord>> {
        self.0.lock().get(access_key_id).cloned().map(Arc::new)
    }
}

impl Records {
    fn change(&self, access_key_id: &AccessKeyId, change: impl FnOnce(&mut CredentialRecord)) {
        change(self.0.lock().get_mut(access_key_id).unwrap());
    }
}

struct World {
    records: Records,
    verifier: Verifier<Records>,
    kid: AccessKeyId,
    secret: SecretKey,
    signer: Signer,
    here: Audience,
}

impl World {
    fn new() -> Self {
        let (kid, secret) = credential::generate().unwrap();
        let record = CredentialRecord {
            access_key_id: kid,
            public_key: secret.public_key(),
            principal: "alice".parse().unwrap(),
            grant: Grant::Tenant { tenant: "acme".parse().unwrap(), roles: Roles::ALL },
            disabled: false,
            created_ms: 0,
        };
        let records = Records::default();
        records.0.lock().insert(kid, record);
        let here: Audience = "prod/us-central1".parse().unwrap();
        let verifier = Verifier::new(here.clone(), records.clone(), 4);
        let signer = Signer::new(kid, &secret);
        Self { records, verifier, kid, secret, signer, here }
    }

    fn verify(&self, token: &str) -> Result<Verified, Error> {
        self.verifier.verify_token(token, NOW_MS)
    }

    /// The refusal of a token with these claims, signed by the right key; "ok" for none.
    fn cause_of(&self, claims: &str) -> &'static str {
        cause(&self.verify(&self.with_claims(claims)))
    }

    fn with_claims(&self, claims: &str) -> String {
        forge(&format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{}"}}"#, self.kid), claims, &self.secret)
    }

    fn with_times(&self, iat: i64, exp: i64) -> String {
        self.with_claims(&format!(r#"{{"aud":"prod/us-central1","iat":{iat},"exp":{exp}}}"#))
    }

    fn with_header(&self, header: &str) -> String {
        let claims = format!(r#"{{"aud":"prod/us-central1","iat":{NOW_S},"exp":{}}}"#, NOW_S + 300);
        forge(&header.replace("KID", self.kid.as_str()), &claims, &self.secret)
    }

    fn good(&self) -> String {
        self.signer.sign(&self.here, NOW_MS).expose().to_owned()
    }
}

fn forge(header: &str, claims: &str, secret: &SecretKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = secret.key_pair().sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn cause(result: &Result<Verified, Error>) -> &'static str {
    result.as_ref().err().map_or("ok", Error::cause)
}

#[test]
fn a_signed_token_names_its_record_and_its_end() {
    let world = World::new();
    let header = world.signer.authorization(&world.here, NOW_MS);
    assert!(header.is_sensitive());
    let verified = world.verifier.verify(Some(header.to_str().unwrap()), NOW_MS).unwrap();
    assert_eq!(verified.record.principal.as_str(), "alice");
    assert_eq!(verified.expires_s, NOW_S + LIFETIME_S_MAX);
    assert!(header.len() < 500, "{} bytes", header.len());
}

#[test]
fn the_header_must_be_a_bearer_token() {
    let world = World::new();
    let good = world.good();
    assert!(world.verifier.verify(Some(&format!("bearer {good}")), NOW_MS).is_ok());
    assert_eq!(world.verifier.verify(None, NOW_MS), Err(Error::Missing));
    for header in [good.clone(), format!("Basic {good}"), "Bearer".to_owned(), "Bearer ".to_owned()] {
        assert_eq!(cause(&world.verifier.verify(Some(&header), NOW_MS)), "malformed", "{header}");
    }
}

#[test]
fn headers_are_taken_in_one_form_and_with_one_algorithm() {
    let world = World::new();
    for (header, expected) in [
        (r#"{"alg":"EdDSA","typ":"JWT","kid":"KID"}"#, "ok"),
        (r#"{"alg":"EdDSA","kid":"KID"}"#, "ok"),
        (r#"{"alg":"none","kid":"KID"}"#, "wrong_algorithm"),
        (r#"{"alg":"None","kid":"KID"}"#, "wrong_algorithm"),
        (r#"{"alg":"HS256","kid":"KID"}"#, "wrong_algorithm"),
        (r#"{"alg":"RS256","kid":"KID","x5c":[]}"#, "wrong_algorithm"),
        (r#"{"alg":"ES256","kid":"KID"}"#, "wrong_algorithm"),
        (r#"{"alg":"eddsa","kid":"KID"}"#, "wrong_algorithm"),
        (r#"{"alg":"","kid":"KID"}"#, "wrong_algorithm"),
        (r#"{"alg":"EdDSA","alg":"none","kid":"KID"}"#, "malformed"),
        (r#"{"alg":["EdDSA"],"kid":"KID"}"#, "malformed"),
        (r#"{"kid":"KID"}"#, "malformed"),
        (r#"{"alg":"EdDSA"}"#, "malformed"),
        (r#"{"alg":"EdDSA","kid":"KID","kid":"KID"}"#, "malformed"),
        (r#"{"alg":"EdDSA","kid":"../KID"}"#, "malformed"),
        (r#"{"alg":"EdDSA","kid":"PIAKAAAAAAAAAAAAAAAAAAAA"}"#, "unknown_key"),
        (r#"{"alg":"EdDSA","kid":"KID","typ":"at+jwt"}"#, "malformed"),
        (r#"{"alg":"EdDSA","kid":"KID","crit":["exp"]}"#, "malformed"),
        (r#"{"alg":"EdDSA","kid":"KID","jwk":{"kty":"OKP"}}"#, "malformed"),
        (r#"{"alg":"EdDSA","kid":"KID"} "#, "ok"),
        (r#"{"alg":"EdDSA","kid":"KID"}x"#, "malformed"),
        (r#"["EdDSA","KID"]"#, "malformed"),
        ("", "malformed"),
        ("null", "malformed"),
    ] {
        assert_eq!(cause(&world.verify(&world.with_header(header))), expected, "{header}");
    }
}

#[test]
fn claims_are_taken_in_one_form() {
    let world = World::new();
    let times = format!(r#""iat":{NOW_S},"exp":{}"#, NOW_S + 300);
    for (claims, expected) in [
        (format!(r#"{{"aud":"prod/us-central1",{times}}}"#), "ok"),
        (format!(r#"{{"aud":"prod/us-central1",{times},"jti":"one"}}"#), "ok"),
        (format!(r#"{{"aud":"prod/us-central1",{times},"jti":"{}"}}"#, "x".repeat(65)), "malformed"),
        (format!(r#"{{"aud":["prod/us-central1"],{times}}}"#), "malformed"),
        (format!(r#"{{"aud":"prod/us-central1",{times},"nbf":0}}"#), "malformed"),
        (format!(r#"{{"aud":"prod/us-central1",{times},"sub":"root"}}"#), "malformed"),
        (format!(r#"{{{times}}}"#), "malformed"),
        (format!(r#"{{"aud":"prod",{times}}}"#), "malformed"),
        (format!(r#"{{"aud":"prod/us-central1/x",{times}}}"#), "malformed"),
        (format!(r#"{{"aud":"*",{times}}}"#), "malformed"),
        (r#"{"aud":"prod/us-central1","exp":1795000300}"#.to_owned(), "malformed"),
        (r#"{"aud":"prod/us-central1","iat":1795000000}"#.to_owned(), "malformed"),
        (r#"{"aud":"prod/us-central1","iat":1795000000,"exp":"1795000300"}"#.to_owned(), "malformed"),
        (r#"{"aud":"prod/us-central1","iat":1795000000.5,"exp":1795000300}"#.to_owned(), "malformed"),
        (r#"{"aud":"prod/us-central1","iat":1795000000,"exp":1e99}"#.to_owned(), "malformed"),
        (r#"{"aud":"prod/us-central1","iat":1795000000,"exp":99999999999999999999}"#.to_owned(), "malformed"),
        ("{}".to_owned(), "malformed"),
        (String::new(), "malformed"),
    ] {
        assert_eq!(world.cause_of(&claims), expected, "{claims}");
    }
}

#[test]
fn the_parts_of_a_token_are_strict_base64url() {
    let world = World::new();
    let good = world.good();
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for (token, expected) in [
        (format!("{header}.{claims}.{signature}"), "ok"),
        (format!("{header}.{claims}"), "malformed"),
        (format!("{header}.{claims}."), "malformed"),
        (format!("{header}..{signature}"), "bad_signature"),
        (format!(".{claims}.{signature}"), "malformed"),
        (format!("{header}.{claims}.{signature}."), "malformed"),
        (format!("{header}.{claims}.{signature}.{signature}"), "bad_signature"),
        (format!("{header}.{claims}.{signature}="), "malformed"),
        (format!("{header}.{claims}.{}", &signature[1..]), "malformed"),
        (format!("{header}.{claims}.{signature}A"), "malformed"),
        (format!("{header}=.{claims}.{signature}"), "malformed"),
        (format!(" {header}.{claims}.{signature}"), "malformed"),
        (String::new(), "malformed"),
        ("..".to_owned(), "malformed"),
        ("a".repeat(TOKEN_BYTES_MAX), "malformed"),
        ("a".repeat(TOKEN_BYTES_MAX + 1), "too_long"),
        ("insecure:acme".to_owned(), "malformed"),
    ] {
        assert_eq!(cause(&world.verify(&token)), expected, "{token}");
    }
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let world = World::new();
    let good = world.good();
    assert!(world.verify(&good).is_ok());
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(world.verify(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_token_of_another_key_is_refused_in_the_words_of_an_unknown_key() {
    let world = World::new();
    let (other_kid, other_secret) = credential::generate().unwrap();
    let stolen_name = Signer::new(world.kid, &other_secret).sign(&world.here, NOW_MS);
    let bad = world.verify(stolen_name.expose()).unwrap_err();
    let nobody = Signer::new(other_kid, &other_secret).sign(&world.here, NOW_MS);
    let unknown = world.verify(nobody.expose()).unwrap_err();
    assert_eq!((bad.cause(), unknown.cause()), ("bad_signature", "unknown_key"));
    assert_eq!(bad.to_string(), unknown.to_string());
}

#[test]
fn whoever_has_not_proven_the_key_does_not_learn_that_it_is_disabled() {
    let world = World::new();
    world.records.change(&world.kid, |record| record.disabled = true);
    let (_, other_secret) = credential::generate().unwrap();
    let forged = Signer::new(world.kid, &other_secret).sign(&world.here, NOW_MS);
    assert_eq!(cause(&world.verify(forged.expose())), "bad_signature");
    assert_eq!(cause(&world.verify(&world.good())), "disabled");
}

#[test]
fn a_token_for_another_region_or_cluster_is_refused_and_both_are_named() {
    let world = World::new();
    for audience in ["prod/eu-west1", "test/us-central1"] {
        let token = world.signer.sign(&audience.parse().unwrap(), NOW_MS);
        let error = world.verify(token.expose()).unwrap_err();
        assert_eq!(error.cause(), "wrong_audience");
        let text = error.to_string();
        assert!(text.contains(audience) && text.contains("prod/us-central1"), "{text}");
    }
}

#[test]
fn times_are_held_against_the_clock_with_thirty_seconds_of_difference_allowed() {
    let world = World::new();
    for (iat, exp, expected) in [
        (0, 300, "ok"),
        (0, 1, "ok"),
        (0, 0, "wrong_lifetime"),
        (0, -1, "wrong_lifetime"),
        (0, 301, "wrong_lifetime"),
        (-300, 1, "wrong_lifetime"),
        (30, 330, "ok"),
        (31, 331, "not_yet_valid"),
        (3_600, 3_601, "not_yet_valid"),
        (-300, 0, "ok"),
        (-329, -29, "ok"),
        (-330, -30, "expired"),
        (-3_600, -3_500, "expired"),
    ] {
        let token = world.with_times(NOW_S + iat, NOW_S + exp);
        assert_eq!(cause(&world.verify(&token)), expected, "iat {iat} exp {exp}");
    }
    for (iat, exp) in
        [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (i64::MIN, i64::MIN + 1), (i64::MAX - 1, i64::MAX)]
    {
        assert!(world.verify(&world.with_times(iat, exp)).is_err());
    }
    let error = world.verify(&world.with_times(NOW_S - 400, NOW_S - 100)).unwrap_err();
    assert_eq!(error, Error::Expired { ago_s: 100 });
    let error = world.verify(&world.with_times(NOW_S + 100, NOW_S + 200)).unwrap_err();
    assert_eq!(error, Error::NotYetValid { ahead_s: 100 });
}

#[test]
fn a_warm_token_is_not_verified_again() {
    let world = World::new();
    let good = world.good();
    let proof = {
        world.verify(&good).unwrap();
        world.verifier.cache.lock().get(&verifier::hash(&good)).expect("remembered")
    };
    // With the proof under its hash, even a token whose signature is wrong passes: so none is checked.
    let unsigned = format!("{}.AAAA", good.rsplit_once('.').unwrap().0);
    assert!(world.verify(&unsigned).is_err());
    world.verifier.cache.lock().insert(verifier::hash(&unsigned), proof);
    assert!(world.verify(&unsigned).is_ok());
}

#[test]
fn the_cache_never_outlives_disabling_deletion_a_new_key_or_expiry() {
    let world = World::new();
    let good = world.good();
    let warm = || cause(&world.verify(&good));
    assert_eq!(warm(), "ok");
    world.records.change(&world.kid, |record| record.disabled = true);
    assert_eq!(warm(), "disabled");
    world.records.change(&world.kid, |record| record.disabled = false);
    assert_eq!(warm(), "ok");
    let (_, other) = credential::generate().unwrap();
    world.records.change(&world.kid, |record| record.public_key = other.public_key());
    assert_eq!(warm(), "bad_signature");
    world.records.change(&world.kid, |record| record.public_key = world.secret.public_key());
    assert_eq!(warm(), "ok");
    let at = |seconds: i64| cause(&world.verifier.verify_token(&good, (NOW_S + seconds) * 1_000));
    assert_eq!((at(329), at(330), at(0), at(-31)), ("ok", "expired", "ok", "not_yet_valid"));
    world.records.0.lock().clear();
    assert_eq!(warm(), "unknown_key");
}

#[test]
fn a_warm_token_gets_the_record_as_it_is_now() {
    let world = World::new();
    let good = world.good();
    world.verify(&good).unwrap();
    let grant = Grant::Tenant { tenant: "acme".parse().unwrap(), roles: Roles::NONE };
    world.records.change(&world.kid, |record| record.grant = grant.clone());
    assert_eq!(world.verify(&good).unwrap().record.grant, grant);
}

#[test]
fn what_is_refused_takes_no_place_in_the_cache_and_the_rest_is_bounded() {
    let world = World::new();
    for ahead in 31..60 {
        assert!(world.verify(&world.with_times(NOW_S + ahead, NOW_S + 100)).is_err());
    }
    assert_eq!(world.verifier.cache.lock().len(), 0);
    for exp in 1..100 {
        assert!(world.verify(&world.with_times(NOW_S, NOW_S + exp)).is_ok());
    }
    assert!(world.verifier.cache.lock().len() <= 8, "twice the capacity");
}

#[test]
fn the_signer_signs_anew_after_three_minutes_for_another_region_and_when_the_clock_was_set_back() {
    let world = World::new();
    let at = |seconds: i64| world.signer.authorization(&world.here, NOW_MS + seconds * 1_000);
    let first = at(0);
    assert_eq!(at(179), first);
    let second = at(180);
    assert_ne!(second, first);
    assert_ne!(at(179), second, "one second before it was issued");
    let elsewhere = world.signer.authorization(&"prod/eu-west1".parse().unwrap(), NOW_MS);
    assert_ne!(elsewhere, at(0));
    let before = at(0);
    assert_eq!(at(5), before);
    world.signer.forget();
    assert_ne!(at(5), before);
}

#[test]
fn a_signer_does_not_grow_with_the_regions_that_a_server_makes_up() {
    let world = World::new();
    for number in 0..1_000 {
        let audience = format!("prod/region-{number}").parse().unwrap();
        _ = world.signer.authorization(&audience, NOW_MS);
        assert!(world.signer.kept() <= 64);
    }
}

#[test]
fn no_error_quotes_the_token() {
    let world = World::new();
    let mut bad = world.good();
    bad.truncate(bad.len() - 2);
    let marked = world.with_header(r#"{"alg":"MARKER","kid":"KID"}"#);
    for token in [bad, marked, format!("MARKER{}", "x".repeat(3_000)), world.with_claims(r#"{"MARKER":1}"#)] {
        let error = world.verify(&token).unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("MARKER") && !text.contains(&token[..20]), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_verifier_panic_or_pass(token in "[A-Za-z0-9_-]{0,80}(\\.[A-Za-z0-9_-]{0,80}){0,4}|.*") {
        let world = World::new();
        prop_assert!(world.verify(&token).is_err());
        prop_assert!(world.verifier.verify(Some(&token), NOW_MS).is_err());
        _ = token.parse::<Audience>();
    }

    #[test]
    fn no_json_signed_by_the_right_key_makes_the_verifier_panic(header in "\\PC{0,60}", claims in "\\PC{0,60}", number in any::<i64>()) {
        let world = World::new();
        _ = world.verify(&forge(&header, &claims, &world.secret));
        prop_assert!(world.verify(&world.with_claims(&claims)).is_err());
        _ = world.verify(&world.with_times(number, number.wrapping_add(300)));
    }
}
