//! The gRPC wire format around messages, as far as a gateway needs it.
//!
//! Responsible for the five bytes before each message and for the form of `grpc-timeout`. Messages themselves are
//! opaque here, but for field 1, which `pi_proto::fields` reads.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

/// One flag byte and four bytes of length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// Why a request's body is not one plain message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request is not exactly one gRPC message")]
    NotOneMessage,
    #[error("compressed requests are not accepted; send `grpc-encoding: identity`")]
    Compressed,
}

/// The message within a body that holds exactly one.
pub(crate) fn message_of(body: &[u8]) -> Result<&[u8], Error> {
    let (prefix, message) = body.split_first_chunk::<PREFIX_BYTES>().ok_or(Error::NotOneMessage)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    match prefix[0] {
        0 if usize::try_from(length) == Ok(message.len()) => Ok(message),
        1 => Err(Error::Compressed),
        _ => Err(Error::NotOneMessage),
    }
}

/// Where the first message of a body ends, which may be further than what is here; `None` while that cannot be told.
pub(crate) fn first_message_end(body: &[u8]) -> Option<usize> {
    let prefix = body.first_chunk::<PREFIX_BYTES>()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    PREFIX_BYTES.checked_add(usize::try_from(length).ok()?)
}

/// A body with one message.
pub(crate) fn encode(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut body = BytesMut::with_capacity(PREFIX_BYTES + length);
    body.put_u8(0);
    body.put_u32(u32::try_from(length).expect("the gateway's own messages are far below 4 GiB"));
    message.encode(&mut body).expect("the buffer grows as needed");
    body.freeze()
}

/// Reads a `grpc-timeout`: up to 8 digits and a unit.
pub(crate) fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3_600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Writes a `grpc-timeout` of at least 1 ms: in milliseconds, or where 8 digits do not hold them in seconds.
pub(crate) fn format_timeout(timeout: Duration) -> String {
    const COUNT_MAX: u64 = 99_999_999;
    match u64::try_from(timeout.as_millis()) {
        Ok(ms) if ms <= COUNT_MAX => format!("{}m", ms.max(1)),
        _ => format!("{}S", timeout.as_secs().min(COUNT_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_exactly_one_plain_message() {
        assert_eq!(message_of(&[0, 0, 0, 0, 2, 7, 8]), Ok(&[7u8, 8][..]));
        assert_eq!(message_of(&[0, 0, 0, 0, 0]), Ok(&[][..]));
        assert_eq!(message_of(&[1, 0, 0, 0, 1, 7]), Err(Error::Compressed));
        for body in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 2, 7], &[0, 0, 0, 0, 1, 7, 8], &[2, 0, 0, 0, 0]] {
            assert_eq!(message_of(body), Err(Error::NotOneMessage), "{body:?}");
        }
    }

    #[test]
    fn the_end_of_the_first_message_is_known_from_its_prefix_on() {
        assert_eq!(first_message_end(&[0, 0, 0, 0]), None);
        assert_eq!(first_message_end(&[0, 0, 0, 1, 2]), Some(5 + 258));
        assert_eq!(first_message_end(&[0, 0, 0, 0, 1, 7, 0, 0]), Some(6));
    }

    #[test]
    fn what_is_encoded_is_one_message() {
        let message = pi_proto::raft::v1::GetMembersRequest { region: "eu".to_owned() };
        let body = encode(&message);
        assert_eq!(pi_proto::fields::region_of(message_of(&body).unwrap()), Ok(Some("eu")));
    }

    #[test]
    fn timeouts_are_read_in_every_unit_and_written_in_two() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("5n", Some(Duration::from_nanos(5))),
            ("", None),
            ("S", None),
            ("123456789S", None),
            ("1s", None),
            ("-1S", None),
        ] {
            assert_eq!(parse_timeout(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(format_timeout(Duration::from_micros(1)), "1m");
        assert_eq!(format_timeout(Duration::from_millis(99_999_999)), "99999999m");
        assert_eq!(format_timeout(Duration::from_secs(1_000_000)), "1000000S");
        assert_eq!(format_timeout(Duration::MAX), "99999999S");
    }
}
