//! Whole streams over a vector: complete ones arrive, damaged ones are refused.

use pi_proto::raft::v1::{LogId, Peer, SnapshotMeta, Vote};
use proptest::prelude::*;

use super::*;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn begin(keys: u64) -> Begin {
    Begin {
        peer: Some(Peer { cluster: "c".into(), region: "r".into(), from: 1, to: 2 }),
        vote: Some(Vote { term: 3, node_id: 1, committed: true }),
        meta: Some(SnapshotMeta {
            format: 1,
            last_applied: Some(LogId { term: 2, index: 77 }),
            keys,
            digest: Bytes::from_static(&[5; 16]),
            ..SnapshotMeta::default()
        }),
    }
}

fn encode(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<Frame> {
    let begin = begin(pairs.len() as u64);
    let mut encoder = Encoder::new(&begin);
    let mut frames = vec![Frame::Begin(begin)];
    for (key, value) in pairs {
        frames.extend(encoder.pair(key, value).unwrap());
    }
    let (last, end) = encoder.end();
    frames.extend(last);
    frames.push(end);
    frames
}

/// What a receiver does: the pairs, or why the stream is refused.
fn decode(frames: Vec<Frame>) -> Result<Pairs, Error> {
    let mut frames = frames.into_iter();
    let mut decoder = match frames.next() {
        Some(Frame::Begin(begin)) => Decoder::new(&begin),
        Some(other) => return Err(Error::Order { expected: "the beginning", found: name(&other) }),
        None => return Err(Error::Truncated { chunks: 0 }),
    };
    let mut pairs = Pairs::new();
    for frame in frames {
        decoder.frame(frame, &mut |key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            Ok(())
        })?;
    }
    decoder.finish()?;
    Ok(pairs)
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let value = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (0usize..900_000, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ];
    proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 1..40), value, 0..12)
        .prop_map(|map| map.into_iter().collect())
}

/// Flips one bit of the encoded stream; `None` when the frame no longer decodes, which is a refusal too.
fn flip(frames: &[Frame], frame: usize, bit: usize) -> Option<Vec<Frame>> {
    let mut damaged = frames.to_vec();
    let target = &mut damaged[frame % frames.len()];
    let wrapped = pi_proto::raft::v1::SnapshotFrame { frame: Some(target.clone()) };
    let mut bytes = wrapped.encode_to_vec();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    *target = pi_proto::raft::v1::SnapshotFrame::decode(bytes.as_slice()).ok()?.frame?;
    Some(damaged)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_whole_stream_arrives_unchanged(pairs in pairs()) {
        let frames = encode(&pairs);
        for frame in &frames {
            if let Frame::Chunk(chunk) = frame {
                prop_assert!(chunk.data.len() <= CHUNK_BYTES_MAX);
            }
        }
        prop_assert_eq!(decode(frames).unwrap(), pairs);
    }

    #[test]
    fn a_truncated_stream_is_refused(pairs in pairs(), keep in 0usize..100) {
        let mut frames = encode(&pairs);
        frames.truncate(keep % frames.len());
        prop_assert!(decode(frames).is_err());
    }

    #[test]
    fn a_missing_repeated_or_moved_frame_is_refused(
        pairs in pairs(), from in any::<usize>(), to in any::<usize>(), kind in 0..3,
    ) {
        let original = encode(&pairs);
        let mut frames = original.clone();
        let (from, to) = (from % frames.len(), to % frames.len());
        match kind {
            0 => drop(frames.remove(from)),
            1 => frames.insert(to, original[from].clone()),
            _ => frames.swap(from, to),
        }
        prop_assume!(frames != original);
        prop_assert!(decode(frames).is_err());
    }

    #[test]
    fn a_flipped_bit_is_refused(pairs in pairs(), frame in any::<usize>(), bit in any::<usize>()) {
        let original = encode(&pairs);
        if let Some(frames) = flip(&original, frame, bit) {
            // A flip may turn a known field into an unknown one and leave the meaning unchanged only if it decodes
            // to the very same frame.
            prop_assume!(frames != original);
            prop_assert!(decode(frames).is_err());
        }
    }

    #[test]
    fn arbitrary_chunks_never_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        let begin = begin(1);
        let data = Bytes::from(data);
        let chunk = Chunk { sequence: 0, crc32c: crc32c::crc32c(&data), data };
        let _ = Decoder::new(&begin).frame(Frame::Chunk(chunk), &mut |_, _| Ok(()));
    }
}

#[test]
fn keys_must_ascend_across_chunks_too() {
    let pair = |key: &[u8]| (key.to_vec(), vec![0; 700_000]);
    assert!(matches!(decode(encode(&[pair(b"b"), pair(b"a")])), Err(Error::KeyOrder(1))));
    assert!(matches!(decode(encode(&[pair(b"a"), pair(b"a")])), Err(Error::KeyOrder(1))));
}

#[test]
fn a_pair_that_fits_no_chunk_is_refused_by_the_sender() {
    let mut encoder = Encoder::new(&begin(1));
    assert!(matches!(encoder.pair(b"k", &vec![0; CHUNK_BYTES_MAX]), Err(Error::TooLarge { .. })));
}

#[test]
fn after_a_refusal_nothing_is_taken() {
    let mut decoder = Decoder::new(&begin(0));
    let wrong = Chunk { sequence: 7, ..Chunk::default() };
    decoder.frame(Frame::Chunk(wrong), &mut |_, _| Ok(())).unwrap_err();
    let right = Chunk { sequence: 0, ..Chunk::default() };
    decoder.frame(Frame::Chunk(right), &mut |_, _| Ok(())).unwrap_err();
    decoder.finish().unwrap_err();
}
