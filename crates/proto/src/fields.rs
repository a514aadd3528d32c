//! Reads field 1 of an encoded message without decoding the rest.
//!
//! Field 1 of every public request is its region, and the gateway routes by it: it needs no message type, allocates
//! nothing, and answers the same as a full decode by prost would for every message that prost accepts. What it does
//! not do: validate the other fields. A message that prost refuses may still yield a region here; the node refuses it.
//!
//! Total on arbitrary bytes: every input yields a value or an [`Error`], in time linear in its length.

use std::fmt;

/// Why the bytes are not an encoded message with a string in field 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes end within a field.
    Truncated,
    /// A variable-length integer has more than ten bytes, or a value beyond 64 bits.
    Varint,
    /// A tag has field number 0, more than 32 bits, or an unknown wire type.
    Tag,
    /// Field 1 is not length-delimited.
    NotString,
    /// Field 1 is not UTF-8.
    NotUtf8,
    /// A group is closed that is not open, or is nested deeper than protobuf allows.
    Group,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends within a field",
            Self::Varint => "the message holds an overlong integer",
            Self::Tag => "the message holds an invalid field tag",
            Self::NotString => "field 1 (region) is not a string",
            Self::NotUtf8 => "field 1 (region) is not valid UTF-8",
            Self::Group => "the message holds an invalid group",
        })
    }
}

impl std::error::Error for Error {}

/// The depth to which prost follows groups, so that both refuse the same.
const GROUP_DEPTH_MAX: usize = 100;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const GROUP_START: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED32: u64 = 5;

/// The region of an encoded request: the last occurrence of field 1 counts, as in protobuf. `None` when the field is
/// absent, which in proto3 means the empty string.
///
/// Every occurrence is checked to be UTF-8, because prost checks every one.
pub fn region_of(message: &[u8]) -> Result<Option<&str>, Error> {
    let mut rest = message;
    let mut region = None;
    while !rest.is_empty() {
        let (field, wire_type) = take_tag(&mut rest)?;
        match (field, wire_type) {
            (1, LENGTH) => {
                let bytes = take_length_delimited(&mut rest)?;
                region = Some(std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8)?);
            }
            (1, _) => return Err(Error::NotString),
            (_, wire_type) => skip(&mut rest, field, wire_type)?,
        }
    }
    Ok(region)
}

/// Skips one field's value. Groups are walked with a stack of their numbers, not by recursion.
fn skip(rest: &mut &[u8], field: u64, wire_type: u64) -> Result<(), Error> {
    let mut open = [0u64; GROUP_DEPTH_MAX];
    let mut depth = 0;
    let (mut field, mut wire_type) = (field, wire_type);
    loop {
        match wire_type {
            VARINT => drop(take_varint(rest)?),
            FIXED64 => drop(take(rest, 8)?),
            LENGTH => drop(take_length_delimited(rest)?),
            FIXED32 => drop(take(rest, 4)?),
            GROUP_START => {
                *open.get_mut(depth).ok_or(Error::Group)? = field;
                depth += 1;
            }
            GROUP_END => {
                depth = depth.checked_sub(1).ok_or(Error::Group)?;
                if open[depth] != field {
                    return Err(Error::Group);
                }
            }
            _ => return Err(Error::Tag),
        }
        if depth == 0 {
            return Ok(());
        }
        (field, wire_type) = take_tag(rest)?;
    }
}

/// A tag: field number and wire type.
fn take_tag(rest: &mut &[u8]) -> Result<(u64, u64), Error> {
    let tag = take_varint(rest)?;
    let (field, wire_type) = (tag >> 3, tag & 7);
    if tag > u64::from(u32::MAX) || field == 0 || wire_type > FIXED32 {
        return Err(Error::Tag);
    }
    Ok((field, wire_type))
}

fn take_length_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let length = take_varint(rest)?;
    take(rest, usize::try_from(length).map_err(|_| Error::Truncated)?)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Error> {
    let (head, tail) = rest.split_at_checked(length).ok_or(Error::Truncated)?;
    *rest = tail;
    Ok(head)
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0u64;
    for position in 0..10 {
        let byte = take(rest, 1)?[0];
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds the 64th bit and nothing else.
        if position == 9 && byte > 1 {
            return Err(Error::Varint);
        }
        value |= bits << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::Varint)
}
