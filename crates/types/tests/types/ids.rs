//! Uids and request ids.

use pi_types::{RequestId, Uid};

const V7: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

#[test]
fn a_uid_is_read_and_written_with_hyphens() {
    let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 1, 2, 3, 4, 5, 6, 0xff];
    let uid = Uid::from_bytes(bytes);
    assert_eq!(uid.to_string(), "01234567-89ab-cdef-0001-0203040506ff");
    assert_eq!(format!("{uid:?}"), uid.to_string());
    assert_eq!(uid.to_string().parse::<Uid>().unwrap().as_bytes(), &bytes);
    assert_eq!("01234567-89AB-CDEF-0001-0203040506FF".parse::<Uid>(), Ok(uid));
}

#[test]
fn other_spellings_of_a_uuid_are_refused() {
    for text in [
        "",
        "0190163d8694739baea5966c26f8ad91",
        "{0190163d-8694-739b-aea5-966c26f8ad91}",
        "urn:uuid:0190163d-8694-739b-aea5-966c26f8ad91",
        "0190163d-8694-739b-aea5-966c26f8ad9",
        "0190163d-8694-739b-aea5-966c26f8ad911",
        "0190163d-8694-739b-aea5-966c26f8ad9g",
        "0190163d-8694-739b-aea5-966c26f8ad-1",
        "0190163d+8694-739b-aea5-966c26f8ad91",
        "0190163d-8694-739b-aea5-966c26f8ad9é",
        " 190163d-8694-739b-aea5-966c26f8ad91",
        "+190163d-8694-739b-aea5-966c26f8ad91",
    ] {
        assert_eq!(text.parse::<Uid>().unwrap_err().field, "uid", "{text:?}");
        assert_eq!(text.parse::<RequestId>().unwrap_err().field, "request_id", "{text:?}");
    }
}

#[test]
fn a_request_id_carries_the_clients_time() {
    let id: RequestId = V7.parse().unwrap();
    assert_eq!(id.time_ms(), 0x0190_163d_8694);
    assert_eq!(id.to_string(), V7);
    assert_eq!(RequestId::from_bytes(id.as_bytes()), Ok(id));
    let last: RequestId = "ffffffff-ffff-7fff-bfff-ffffffffffff".parse().unwrap();
    assert_eq!(last.time_ms(), (1 << 48) - 1);
}

#[test]
fn request_ids_of_another_version_or_variant_are_refused() {
    for (text, why) in [
        ("0190163d-8694-439b-aea5-966c26f8ad91", "a UUID of version 4"),
        ("0190163d-8694-139b-aea5-966c26f8ad91", "a UUID of version 1"),
        ("0190163d-8694-739b-0ea5-966c26f8ad91", "another variant"),
        ("0190163d-8694-739b-cea5-966c26f8ad91", "another variant"),
        ("00000000-0000-0000-0000-000000000000", "another variant"),
    ] {
        let reason = text.parse::<RequestId>().unwrap_err().reason;
        assert!(reason.contains(why), "{text}: {reason}");
    }
}

#[test]
fn request_ids_of_another_length_are_refused() {
    for bytes in [0, 15, 17] {
        let reason = RequestId::from_bytes(&vec![0; bytes]).unwrap_err().reason;
        assert!(reason.ends_with(&format!("{bytes} bytes where a UUID has 16")), "{reason}");
    }
}
