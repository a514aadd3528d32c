//! A snapshot as frames: `Begin`, chunks of pairs, `End`. Two state machines that know nothing of transports or disks.
//!
//! The contract between them:
//! 1. Frames arrive in the order they were made. Anything else (a frame missing, twice, or out of order) is refused.
//! 2. Every byte is covered by a checksum: a chunk by its own, everything by the running one in `End`, which begins
//!    with the encoded `Begin`. A stream that ends before `End` is refused.
//! 3. A pair is handed on only from a chunk whose checksum held, in ascending key order. What was handed on counts for
//!    nothing until [`Decoder::finish`] says that the stream was complete.
//!
//! The checksums find accidents, not attackers: whose frames are acted on is the service's business.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use pi_proto::raft::v1::snapshot_frame::{Begin, Chunk, End, Frame};
use prost::Message;

/// The most bytes of pairs in one chunk.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Whoever takes a received pair: its key, then its value.
pub type Put<'a> = dyn FnMut(&[u8], &[u8]) -> io::Result<()> + 'a;

/// Two lengths of 4 bytes before each pair.
const PAIR_OVERHEAD_BYTES: usize = 8;

/// Why a frame was refused. Never shows a key or value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first frame is not `Begin`, or a later one is.
    #[error("expected {expected}, found {found}")]
    Order {
        /// What may come.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// A chunk is missing, repeated or out of order.
    #[error("expected chunk {expected}, found chunk {found}")]
    Sequence {
        /// The next number.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// Bytes changed on the way.
    #[error("the checksum of {0} does not hold")]
    Checksum(&'static str),
    /// A chunk or a pair exceeds the limit.
    #[error("{what} has {bytes} bytes; the limit is {max}")]
    TooLarge {
        /// Which of the two.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A chunk does not consist of whole pairs.
    #[error("chunk {0} does not hold whole pairs")]
    Pairs(u64),
    /// A key does not follow the one before it.
    #[error("the keys do not ascend in chunk {0}")]
    KeyOrder(u64),
    /// `End` or `Begin` counts differently.
    #[error("{what}: {expected} announced, {found} received")]
    Count {
        /// What is counted.
        what: &'static str,
        /// What the sender says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The stream ended before its `End`.
    #[error("the stream ended early, after {chunks} chunks")]
    Truncated {
        /// How many came.
        chunks: u64,
    },
    /// Whoever takes the pairs failed.
    #[error("could not store a pair")]
    Put(#[source] io::Error),
}

/// Turns pairs into frames.
#[derive(Debug)]
pub struct Encoder {
    pending: BytesMut,
    chunks: u64,
    keys: u64,
    crc32c: u32,
}

impl Encoder {
    /// A stream that begins with `begin`, which the caller sends first.
    #[must_use]
    pub fn new(begin: &Begin) -> Self {
        Self {
            pending: BytesMut::with_capacity(CHUNK_BYTES_MAX),
            chunks: 0,
            keys: 0,
            crc32c: crc32c::crc32c(&begin.encode_to_vec()),
        }
    }

    /// Takes the next pair; returns a frame when one is full. Keys must ascend, or the receiver refuses.
    ///
    /// # Errors
    /// The pair does not fit a chunk.
    pub fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Frame>, Error> {
        let bytes = PAIR_OVERHEAD_BYTES + key.len() + value.len();
        let too_large = || Error::TooLarge { what: "a pair", bytes, max: CHUNK_BYTES_MAX };
        if bytes > CHUNK_BYTES_MAX {
            return Err(too_large());
        }
        let full = (self.pending.len() + bytes > CHUNK_BYTES_MAX).then(|| self.flush());
        self.pending.put_u32_le(key.len().try_into().map_err(|_| too_large())?);
        self.pending.put_u32_le(value.len().try_into().map_err(|_| too_large())?);
        self.pending.put_slice(key);
        self.pending.put_slice(value);
        self.keys += 1;
        Ok(full)
    }

    /// The last frames: what is pending, then `End`.
    #[must_use]
    pub fn end(mut self) -> (Option<Frame>, Frame) {
        let last = (!self.pending.is_empty()).then(|| self.flush());
        (last, Frame::End(End { chunks: self.chunks, keys: self.keys, crc32c: self.crc32c }))
    }

    fn flush(&mut self) -> Frame {
        let next = BytesMut::with_capacity(CHUNK_BYTES_MAX);
        let data = std::mem::replace(&mut self.pending, next).freeze();
        self.crc32c = crc32c::crc32c_append(self.crc32c, &data);
        let sequence = self.chunks;
        self.chunks += 1;
        Frame::Chunk(Chunk { sequence, crc32c: crc32c::crc32c(&data), data })
    }
}

/// Whether a stream is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More frames must come.
    Incomplete,
    /// `End` came and everything adds up; nothing may follow.
    Complete,
}

/// Turns frames into pairs. After an error it refuses everything.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    chunks: u64,
    keys: u64,
    keys_announced: u64,
    crc32c: u32,
    last_key: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Chunks,
    Complete,
    Refused,
}

impl Decoder {
    /// Expects what follows `begin`.
    #[must_use]
    pub fn new(begin: &Begin) -> Self {
        Self {
            state: State::Chunks,
            chunks: 0,
            keys: 0,
            keys_announced: begin.meta.as_ref().map_or(0, |meta| meta.keys),
            crc32c: crc32c::crc32c(&begin.encode_to_vec()),
            last_key: None,
        }
    }

    /// Takes the next frame and hands its pairs to `put`.
    ///
    /// # Errors
    /// The frame is not what the contract in the module's head allows here, or `put` failed.
    pub fn frame(&mut self, frame: Frame, put: &mut Put<'_>) -> Result<Progress, Error> {
        let state = std::mem::replace(&mut self.state, State::Refused);
        let found = name(&frame);
        match (state, frame) {
            (State::Chunks, Frame::Chunk(chunk)) => {
                self.chunk(chunk, put)?;
                self.state = State::Chunks;
                Ok(Progress::Incomplete)
            }
            (State::Chunks, Frame::End(end)) => {
                self.end(end)?;
                self.state = State::Complete;
                Ok(Progress::Complete)
            }
            (State::Chunks, Frame::Begin(_)) => Err(Error::Order { expected: "a chunk or the end", found }),
            (State::Complete | State::Refused, _) => Err(Error::Order { expected: "nothing more", found }),
        }
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// It is not complete.
    pub fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::Complete => Ok(()),
            State::Chunks | State::Refused => Err(Error::Truncated { chunks: self.chunks }),
        }
    }

    fn chunk(&mut self, chunk: Chunk, put: &mut Put<'_>) -> Result<(), Error> {
        let Chunk { sequence, data, crc32c } = chunk;
        if sequence != self.chunks {
            return Err(Error::Sequence { expected: self.chunks, found: sequence });
        }
        if data.len() > CHUNK_BYTES_MAX {
            return Err(Error::TooLarge { what: "a chunk", bytes: data.len(), max: CHUNK_BYTES_MAX });
        }
        if crc32c::crc32c(&data) != crc32c {
            return Err(Error::Checksum("a chunk"));
        }
        self.crc32c = crc32c::crc32c_append(self.crc32c, &data);
        self.chunks += 1;

        let mut rest = data;
        while !rest.is_empty() {
            let (key, value) = take_pair(&mut rest).ok_or(Error::Pairs(sequence))?;
            if self.last_key.as_ref().is_some_and(|last| *last >= key) {
                return Err(Error::KeyOrder(sequence));
            }
            put(&key, &value).map_err(Error::Put)?;
            self.last_key = Some(key);
            self.keys += 1;
        }
        // The key would otherwise keep its whole chunk alive until the next one.
        self.last_key = self.last_key.take().map(|key| Bytes::copy_from_slice(&key));
        Ok(())
    }

    fn end(&self, end: End) -> Result<(), Error> {
        let count = |what, expected, found| {
            if expected == found { Ok(()) } else { Err(Error::Count { what, expected, found }) }
        };
        count("chunks", end.chunks, self.chunks)?;
        count("keys", end.keys, self.keys)?;
        count("keys of the manifest", self.keys_announced, self.keys)?;
        if end.crc32c != self.crc32c {
            return Err(Error::Checksum("the stream"));
        }
        Ok(())
    }
}

fn take_pair(rest: &mut Bytes) -> Option<(Bytes, Bytes)> {
    let header: [u8; PAIR_OVERHEAD_BYTES] = rest.get(..PAIR_OVERHEAD_BYTES)?.try_into().ok()?;
    let [a, b, c, d, e, f, g, h] = header;
    let key = u32::from_le_bytes([a, b, c, d]) as usize;
    let value = u32::from_le_bytes([e, f, g, h]) as usize;
    let end = PAIR_OVERHEAD_BYTES.checked_add(key)?.checked_add(value)?;
    if end > rest.len() {
        return None;
    }
    let mut pair = rest.split_to(end).split_off(PAIR_OVERHEAD_BYTES);
    let value = pair.split_off(key);
    Some((pair, value))
}

/// A frame's name for an error text.
pub(crate) fn name(frame: &Frame) -> &'static str {
    match frame {
        Frame::Begin(_) => "the beginning",
        Frame::Chunk(_) => "a chunk",
        Frame::End(_) => "the end",
    }
}

#[cfg(test)]
mod tests;
