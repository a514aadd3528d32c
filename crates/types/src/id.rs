//! Ids that are drawn, not chosen: of secrets ([`Uid`]) and of mutations ([`RequestId`]).
//!
//! This crate reads and writes them; drawing one takes randomness and a clock, which the proposer and the client have.

use std::fmt;
use std::str::FromStr;

use crate::Invalid;
use crate::invalid::quoted;

/// A secret's identity from create to delete; a re-created secret of the same name has another.
///
/// 128 bits, written as a UUID. Any bits are valid: whether they were ever given out, the state machine knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; 16]);

impl Uid {
    /// The uid with these 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, in the order in which they are written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for Uid {
    type Err = Invalid;

    fn from_str(value: &str) -> Result<Self, Invalid> {
        parse_hyphenated(value).map(Self).ok_or_else(|| {
            Invalid::new(
                "uid",
                format!("must be a UUID such as 0190163d-8694-739b-aea5-966c26f8ad91, got {}", quoted(value)),
            )
        })
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hyphenated(&self.0, f)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hyphenated(&self.0, f)
    }
}

/// Names one mutation, so that a retry finds the answer of the first try: a UUID of version 7.
///
/// Version 7 because its first 48 bits are the client's clock: the state machine forgets an id by its age alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// The id with these bytes; refuses any but 16 that carry a UUID's variant and version 7.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        let id: [u8; 16] = bytes
            .try_into()
            .map_err(|_| Self::refusal(&format!("{} bytes where a UUID has 16", bytes.len())))?;
        if id[8] & 0xc0 != 0x80 {
            return Err(Self::refusal("a UUID of another variant than RFC 9562's"));
        }
        match id[6] >> 4 {
            7 => Ok(Self(id)),
            version => Err(Self::refusal(&format!("a UUID of version {version}"))),
        }
    }

    /// The 16 bytes, in the order in which they are written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// When the client drew it, by the client's clock: milliseconds since the Unix epoch, 48 bits.
    pub fn time_ms(&self) -> i64 {
        self.0[..6].iter().fold(0, |time_ms, byte| (time_ms << 8) | i64::from(*byte))
    }

    fn refusal(got: &str) -> Invalid {
        Invalid::new(
            "request_id",
            format!("must be a UUID of version 7 such as 0190163d-8694-739b-aea5-966c26f8ad91, got {got}"),
        )
    }
}

impl FromStr for RequestId {
    type Err = Invalid;

    fn from_str(value: &str) -> Result<Self, Invalid> {
        let bytes = parse_hyphenated(value).ok_or_else(|| Self::refusal(&quoted(value)))?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hyphenated(&self.0, f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hyphenated(&self.0, f)
    }
}

/// 8-4-4-4-12 hexadecimal digits of either case, and no other of the forms that UUID libraries accept: one id has one
/// spelling in logs and errors.
fn parse_hyphenated(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut digits = text.iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte).to_digit(16));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from((high << 4) | low).ok()?;
    }
    // A hyphen in the place of a digit leaves fewer digits, which ended the loop above; more there cannot be.
    Some(bytes)
}

fn write_hyphenated(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}
