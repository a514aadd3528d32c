//! How domain types of `pi-types` become CBOR inside a stored record, and the two functions every record goes
//! through. What a record contains is said where the record is defined.
//!
//! Records are CBOR arrays with numbered fields. Evolution is append-only: a number is never reused, a new field is
//! optional (or has a default), and a decoder skips numbers it does not know, so that nodes of two neighbouring
//! versions read each other's state during an upgrade.

use minicbor::{Decode, Encode, Encoder};

use crate::store::Fatal;

/// Encodes a record. `capacity` is a guess of its size; a good one saves the growing.
pub(crate) fn encode<T: Encode<()>>(record: &T, capacity: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::with_capacity(capacity));
    encoder.encode(record).expect("writing to a Vec never fails, and no record has an encoder that does");
    encoder.into_writer()
}

/// Decodes the record stored at `key`; one that does not decode, or has bytes behind it, is corrupt.
pub(crate) fn decode<'b, T: Decode<'b, ()>>(
    key: &[u8],
    value: &'b [u8],
    what: &'static str,
) -> Result<T, Fatal> {
    let mut decoder = minicbor::Decoder::new(value);
    let record = decoder.decode().map_err(|_| Fatal::corrupt(key, what))?;
    if decoder.position() != value.len() {
        return Err(Fatal::corrupt(key, what));
    }
    Ok(record)
}

/// Names, as CBOR text.
pub(crate) mod text {
    use std::str::FromStr;

    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};

    pub(crate) fn encode<C, T: AsRef<str>, W: Write>(
        value: &T,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.str(value.as_ref())?;
        Ok(())
    }

    pub(crate) fn decode<'b, C, T: FromStr>(d: &mut Decoder<'b>, _: &mut C) -> Result<T, DecodeError> {
        d.str()?.parse().map_err(|_| DecodeError::message("not a valid name"))
    }
}

/// A uid, as 16 CBOR bytes.
pub(crate) mod uid {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};
    use pi_types::Uid;

    pub(crate) fn encode<C, W: Write>(
        value: &Uid,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(value.as_bytes())?;
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Uid, DecodeError> {
        let bytes = d.bytes()?.try_into().map_err(|_| DecodeError::message("a uid has 16 bytes"))?;
        Ok(Uid::from_bytes(bytes))
    }
}

/// Labels, as a CBOR map of text to text in key order.
pub(crate) mod labels {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};
    use pi_types::Labels;

    pub(crate) fn encode<C, W: Write>(
        value: &Labels,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        super::encode_map(value.as_map(), e)
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Labels, DecodeError> {
        let map = super::decode_map(d)?;
        Labels::try_from(map).map_err(|_| DecodeError::message("not valid labels"))
    }
}

/// Annotations, as a CBOR map of text to text in key order.
pub(crate) mod annotations {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};
    use pi_types::Annotations;

    pub(crate) fn encode<C, W: Write>(
        value: &Annotations,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        super::encode_map(value.as_map(), e)
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Annotations, DecodeError> {
        let map = super::decode_map(d)?;
        Annotations::try_from(map).map_err(|_| DecodeError::message("not valid annotations"))
    }
}

type StringMap = std::collections::BTreeMap<String, String>;

fn encode_map<W: minicbor::encode::Write>(
    map: &StringMap,
    e: &mut Encoder<W>,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.map(map.len() as u64)?;
    for (key, value) in map {
        e.str(key)?.str(value)?;
    }
    Ok(())
}

fn decode_map(d: &mut minicbor::Decoder<'_>) -> Result<StringMap, minicbor::decode::Error> {
    let len = d.map()?.ok_or_else(|| minicbor::decode::Error::message("a map of unknown length"))?;
    let mut map = StringMap::new();
    for _ in 0..len {
        let key = d.str()?.to_owned();
        map.insert(key, d.str()?.to_owned());
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Today {
        #[n(0)]
        number: u64,
        #[n(1)]
        text: Option<String>,
    }

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Tomorrow {
        #[n(0)]
        number: u64,
        #[n(1)]
        text: Option<String>,
        #[n(2)]
        more: Option<Vec<u64>>,
    }

    #[test]
    fn a_field_of_a_later_version_is_skipped_and_one_of_an_earlier_version_missed() {
        let tomorrow = Tomorrow { number: 7, text: None, more: Some(vec![1, 2]) };
        let read: Today = decode(b"k", &encode(&tomorrow, 0), "today").unwrap();
        assert_eq!(read, Today { number: 7, text: None });
        let today = Today { number: 8, text: Some("t".to_owned()) };
        let read: Tomorrow = decode(b"k", &encode(&today, 0), "tomorrow").unwrap();
        assert_eq!(read, Tomorrow { number: 8, text: Some("t".to_owned()), more: None });
    }

    #[test]
    fn a_record_that_is_cut_short_or_goes_on_is_corrupt() {
        let value = encode(&Today { number: 1_000, text: Some("text".to_owned()) }, 0);
        for len in 0..value.len() {
            assert!(decode::<Today>(b"k", &value[..len], "cut").is_err(), "{len} bytes");
        }
        let longer = [value.as_slice(), &[0x00]].concat();
        let error = decode::<Today>(&[0x02, 0xff], &longer, "a record does not decode").unwrap_err();
        assert_eq!(error.to_string(), "corrupt state at key 02ff: a record does not decode");
    }
}
