//! Nothing secret is printable, and no error or warning shows what a payload holds.

use std::fmt::{Debug, Display};

use pi_types::docker_config::{Credential, Entry, Keyring, check};
use pi_types::{Payload, limits};

/// Fails to compile when `$type` has `$trait`: two implementations then fit the placeholder.
macro_rules! assert_lacks {
    ($type:ty: $($trait:path),+) => {
        $({
            trait Probe<Marker> {
                fn probe() {}
            }
            struct HasIt;
            impl<T: ?Sized> Probe<()> for T {}
            impl<T: ?Sized + $trait> Probe<HasIt> for T {}
            <$type as Probe<_>>::probe();
        })+
    };
}

#[test]
fn no_type_that_holds_a_credential_can_be_printed_serialized_or_compared_byte_by_byte() {
    assert_lacks!(Payload: Debug, Display, serde::Serialize, PartialEq, Clone);
    assert_lacks!(Credential: Debug, Display, serde::Serialize, PartialEq, Clone);
    assert_lacks!(Keyring: Debug, Display, serde::Serialize, PartialEq, Clone);
    assert_lacks!(Entry: Debug, Display, serde::Serialize, PartialEq, Clone);
}

const CANARY: &str = "hunter2canary";
/// `bob:hunter2canary` in base64, as a whole and as a piece.
const CANARY_BASE64: &str = "Ym9iOmh1bnRlcjJjYW5hcnk=";

#[test]
fn errors_and_warnings_never_show_the_content() {
    let documents = [
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!("{{\"auths\": \"{CANARY}\"}}"),
        format!("{{\"auths\": {{\"quay.io\": \"{CANARY}\"}}}}"),
        format!("{{\"auths\": {{\"quay.io\": {{\"auth\": \"{CANARY}\"}}}}}}"),
        format!("{{\"auths\": {{\"quay.io\": {{\"auth\": \"{CANARY_BASE64}=\"}}}}}}"),
        format!(
            "{{\"auths\": {{\"quay.io\": {{\"auth\": \"{CANARY_BASE64}\", \"password\": \"{CANARY}x\"}}}}}}"
        ),
        format!(
            "{{\"auths\": {{\"quay.io\": {{\"auth\": \"{CANARY_BASE64}\", \"username\": \"{CANARY}\"}}}}}}"
        ),
        format!("{{\"auths\": {{\"quay.io\": {{\"password\": \"{CANARY}\", \"username\": []}}}}}}"),
        format!("{{\"auths\": {{\"quay.io\": {{\"password\": \"{CANARY}\", \"password\": \"{CANARY}\"}}}}}}"),
        format!("{{\"auths\": {{\"quay.io\": {{\"{CANARY}\": 1, \"{CANARY}\": 2}}}}}}"),
        format!("{{\"auths\": {{\"https://bob:{CANARY}@quay.io\": {{\"auth\": \"{CANARY_BASE64}\"}}}}}}"),
        format!("{{\"auths\": {{\"https://bob:{CANARY}@quay.io\": {{}}}}}}"),
        format!("{{\"auths\": {{\"{CANARY}\": {{}}}}}}"),
        format!("{{\"auths\": {{\"bob:{CANARY}\": {{}}}}}}"),
        format!("{{\"auths\": {{\"eyJhbGciOiJFZERTQSJ9.{}{CANARY}.c2ln\": {{}}}}}}", "A".repeat(60)),
        format!("{{\"{CANARY}\": 1, \"{CANARY}\": 2}}"),
        format!("{{\"auths\": {{}}, \"HttpHeaders\": {{\"{CANARY}\": [\"{CANARY}\"]}}}}"),
        format!("{{\"auths\": {{\"Quay.io\": {{\"password\": \"{CANARY}\", \"email\": \"{CANARY}\"}}}}}} "),
        format!("{{\"auths\": {{\"quay.io\": {{\"password\": \"{CANARY}"),
        format!("{{\"auths\": {{\"quay.io\": {{\"password\": {CANARY}}}}}}}"),
    ];
    for document in &documents {
        let said = match check(document.as_bytes()) {
            Ok(warnings) => warnings.join("\n"),
            Err(invalid) => format!("{invalid} {invalid:?}"),
        };
        assert!(!said.is_empty(), "{document} is remarked upon");
        assert!(!said.contains(CANARY) && !said.contains(CANARY_BASE64), "{document}: {said}");
        let refusal = Keyring::parse([document.as_bytes()]).err().map(|invalid| invalid.to_string());
        assert!(!refusal.unwrap_or_default().contains(CANARY));
    }
}

#[test]
fn an_oversized_payload_is_refused_without_being_shown() {
    let refusal = Payload::new(CANARY.repeat(limits::PAYLOAD_BYTES_MAX).into_bytes()).err().unwrap();
    assert!(!refusal.to_string().contains(CANARY));
}
