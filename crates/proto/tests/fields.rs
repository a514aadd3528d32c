//! `fields::region_of` against prost: total on arbitrary bytes, and the same answer for every request type.

use pi_proto::fields::{Error, region_of};
use pi_proto::{admin, raft, regions, secrets};
use proptest::prelude::*;
use prost::Message;

/// Where prost accepts the bytes as `M`, ours must yield the region that prost saw.
fn agrees<M: Message + Default>(bytes: &[u8], region: impl Fn(M) -> String) -> Result<(), TestCaseError> {
    if let Ok(message) = M::decode(bytes) {
        let expected = region(message);
        prop_assert_eq!(region_of(bytes).map(Option::unwrap_or_default), Ok(expected.as_str()));
    }
    Ok(())
}

fn agrees_for_every_request(bytes: &[u8]) -> Result<(), TestCaseError> {
    agrees::<secrets::v1::CreateRequest>(bytes, |m| m.region)?;
    agrees::<secrets::v1::GetRequest>(bytes, |m| m.region)?;
    agrees::<secrets::v1::AccessRequest>(bytes, |m| m.region)?;
    agrees::<secrets::v1::ListRequest>(bytes, |m| m.region)?;
    agrees::<secrets::v1::UpdateRequest>(bytes, |m| m.region)?;
    agrees::<secrets::v1::DeleteRequest>(bytes, |m| m.region)?;
    agrees::<secrets::v1::WatchRequest>(bytes, |m| m.region)?;
    agrees::<regions::v1::GetRegionRequest>(bytes, |m| m.region)?;
    agrees::<admin::v1::BootstrapRequest>(bytes, |m| m.region)?;
    agrees::<admin::v1::SetQuotaRequest>(bytes, |m| m.region)?;
    agrees::<admin::v1::StatusRequest>(bytes, |m| m.region)?;
    agrees::<raft::v1::GetMembersRequest>(bytes, |m| m.region)
}

/// Bytes that look like messages: a few fields of any number, wire type and content, perhaps cut short.
fn message_like() -> impl Strategy<Value = Vec<u8>> {
    let field =
        (1u32..12, 0u32..7, proptest::collection::vec(any::<u8>(), 0..12), "[a-z0-9-]{0,8}", any::<bool>());
    (proptest::collection::vec(field, 0..8), 0usize..200).prop_map(|(fields, cut)| {
        let mut bytes = Vec::new();
        for (number, wire_type, noise, text, is_text) in fields {
            prost::encoding::encode_varint(u64::from(number << 3 | wire_type), &mut bytes);
            let content = if is_text { text.into_bytes() } else { noise };
            if wire_type == 2 {
                prost::encoding::encode_varint(content.len() as u64, &mut bytes);
            }
            bytes.extend_from_slice(&content);
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(190)));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn arbitrary_bytes_yield_what_prost_reads(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = region_of(&bytes);
        agrees_for_every_request(&bytes)?;
    }

    #[test]
    fn message_like_bytes_yield_what_prost_reads(bytes in message_like()) {
        agrees_for_every_request(&bytes)?;
    }

    #[test]
    fn the_last_region_counts(first in "[a-z]{0,9}", last in "[a-z]{0,9}", name in "[a-z]{0,9}") {
        let one = secrets::v1::GetRequest { region: first, name, ..Default::default() }.encode_to_vec();
        // An empty string is not encoded by prost; other encoders may write it, so it is written by hand here.
        let mut both = one.clone();
        prost::encoding::string::encode(1, &last, &mut both);
        prop_assert_eq!(region_of(&both), Ok(Some(last.as_str())));
        agrees::<secrets::v1::GetRequest>(&both, |m| m.region)?;
    }

    #[test]
    fn a_truncated_region_is_refused(region in "[a-z]{1,20}", keep in 0usize..21) {
        let whole = secrets::v1::GetRequest { region, ..Default::default() }.encode_to_vec();
        // At least one byte, never all of them.
        let keep = 1 + keep % (whole.len() - 1);
        prop_assert_eq!(region_of(&whole[..keep]), Err(Error::Truncated));
    }
}

#[test]
fn an_empty_message_has_no_region() {
    assert_eq!(region_of(&[]), Ok(None));
}

#[test]
fn groups_of_unknown_fields_are_skipped_and_must_be_balanced() {
    // Field 15 as a group that holds field 1 as a varint: not the region.
    assert_eq!(region_of(&[0x7b, 0x08, 0x01, 0x7c, 0x0a, 0x01, b'x']), Ok(Some("x")));
    assert_eq!(region_of(&[0x7b, 0x08, 0x01]), Err(Error::Truncated));
    assert_eq!(region_of(&[0x7b, 0x84, 0x01]), Err(Error::Group));
    assert_eq!(region_of(&[0x7c]), Err(Error::Group));
    assert_eq!(region_of(&vec![0x7b; 100_000]), Err(Error::Group));
}

#[test]
fn wrong_types_overlong_integers_and_bad_text_are_refused() {
    assert_eq!(region_of(&[0x08, 0x01]), Err(Error::NotString));
    assert_eq!(region_of(&[0x0a, 0x01, 0xff]), Err(Error::NotUtf8));
    assert_eq!(region_of(&[0x00]), Err(Error::Tag));
    assert_eq!(region_of(&[0x0e]), Err(Error::Tag));
    assert_eq!(region_of(&[0xff; 11]), Err(Error::Varint));
    assert_eq!(
        region_of(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        Err(Error::Truncated)
    );
}
