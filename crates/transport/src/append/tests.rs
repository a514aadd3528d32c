//! Cutting, the window, and what answers mean.

use pi_raft::types::{EncodedCommand, Entry, EntryPayload, Vote};
use proptest::prelude::*;

use super::*;

fn log_id(index: u64) -> LogId {
    LogId::new(1.into(), index)
}

fn request(sizes: &[usize]) -> AppendEntriesRequest<TypeConfig> {
    let entries = sizes.iter().enumerate().map(|(offset, size)| Entry {
        log_id: log_id(11 + offset as u64),
        payload: EntryPayload::Normal(EncodedCommand(vec![7; *size].into())),
    });
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: Some(log_id(10)),
        entries: entries.collect(),
        leader_commit: Some(log_id(9)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing is lost, reordered or oversized, and each piece follows the one before: also through the receiver's
    /// checks.
    #[test]
    fn pieces_together_are_the_request(sizes in proptest::collection::vec(0usize..2_000_000, 0..12)) {
        let request = request(&sizes);
        let mut entries = Vec::new();
        let mut prev = request.prev_log_id;
        for mut piece in cut(&request).unwrap() {
            prop_assert_eq!(piece.range.prev, prev);
            prop_assert!(piece.bytes <= APPEND_BYTES_MAX || piece.request.entries.len() == 1);
            piece.request.peer = None;
            let arrived = convert::append_from_proto(piece.request, 1).unwrap();
            prop_assert_eq!(arrived.prev_log_id, prev);
            prev = piece.range.last;
            entries.extend(arrived.entries);
        }
        prop_assert_eq!(prev, Some(log_id(10 + sizes.len() as u64)));
        prop_assert_eq!(entries, request.entries);
    }
}

#[test]
fn a_large_entry_travels_alone_and_one_beyond_the_message_limit_is_refused() {
    let pieces = cut(&request(&[10, APPEND_BYTES_MAX + 1, 10])).unwrap();
    assert_eq!(pieces.iter().map(|piece| piece.request.entries.len()).collect::<Vec<_>>(), [1, 1, 1]);
    let error = cut(&request(&[10, ENTRY_BYTES_MAX])).unwrap_err().to_string();
    assert!(error.contains("index 12"), "{error}");
}

#[test]
fn a_request_without_entries_is_one_piece() {
    let pieces = cut(&request(&[])).unwrap();
    assert_eq!(pieces.len(), 1);
    assert_eq!(pieces[0].range, Range { prev: Some(log_id(10)), last: Some(log_id(10)) });
}

#[test]
fn the_window_is_bounded_by_count_and_by_bytes() {
    let range = Range { prev: None, last: None };
    let mut window = Window::default();
    for _ in 0..IN_FLIGHT_MAX {
        assert!(window.has_room(1));
        window.push(range.clone(), 1);
    }
    assert!(!window.has_room(1));
    window.pop();
    assert!(window.has_room(1));
    assert!(!window.has_room(IN_FLIGHT_BYTES_MAX));
    while window.pop().is_some() {}
    assert_eq!(window.bytes, 0);
    assert!(window.has_room(usize::MAX), "something must always be sendable");
}

fn answer(result: pb::append_response::Result) -> pb::AppendResponse {
    pb::AppendResponse { result: Some(result) }
}

#[test]
fn answers_mean_what_openraft_expects() {
    use pb::append_response::{Conflict, Result as Wire, Success};
    let range = || Range { prev: Some(log_id(10)), last: Some(log_id(12)) };
    let success = |index| answer(Wire::Success(Success { matching: Some(log_id_to_proto(&log_id(index))) }));
    assert_eq!(read_answer(success(12), range()), Ok((Ok(Some(log_id(12))), Flow::Continue)));
    assert_eq!(read_answer(success(11), range()), Ok((Ok(Some(log_id(11))), Flow::End)));
    assert!(read_answer(success(13), range()).is_err());
    let partial = answer(Wire::PartialSuccess(log_id_to_proto(&log_id(11))));
    assert_eq!(read_answer(partial, range()), Ok((Ok(Some(log_id(11))), Flow::End)));
    let conflict = || answer(Wire::Conflict(Conflict {}));
    assert_eq!(
        read_answer(conflict(), range()),
        Ok((Err(StreamAppendError::Conflict(log_id(10))), Flow::End))
    );
    assert!(read_answer(conflict(), Range { prev: None, last: None }).is_err());
    assert!(read_answer(pb::AppendResponse { result: None }, range()).is_err());
    let higher = answer(Wire::HigherVote(pb::Vote { term: 9, node_id: 3, committed: false }));
    let expected = Err(StreamAppendError::HigherVote(Vote::new(9, 3)));
    assert_eq!(read_answer(higher, range()), Ok((expected, Flow::End)));
}
