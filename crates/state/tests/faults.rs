//! What the state machine does when what is below or before it is wrong: it stops, with the key and the reason, and
//! never guesses. And what it does when a command is absurd: it answers.

#[path = "support/mod.rs"]
mod support;

use std::ops::ControlFlow;

use pi_state::memory::MemoryState;
use pi_state::query::{self, TooOld};
use pi_state::{
    Applied, Command, CommandKind, Fatal, Header, Ops, Outcome, Read, Reject, Response, Txn, Visit, check,
};
use pi_types::{Annotations, Labels, Namespace};

use support::{EPOCH_MS, command, parse, payload, request_id, uid};

fn create(number: u64, name: &str) -> Command {
    create_at(EPOCH_MS, number, name)
}

fn create_at(time_ms: i64, number: u64, name: &str) -> Command {
    let kind = CommandKind::CreateSecret {
        namespace: Namespace::default(),
        name: parse(name),
        labels: Labels::default(),
        annotations: Annotations::default(),
        payload: payload(uid(number), 1, 10, 38),
    };
    command(time_ms, "acme", "alice", request_id(time_ms, number), kind)
}

fn apply(state: &mut MemoryState, index: u64, command: &Command) -> Result<Response, Fatal> {
    let mut txn = Txn::begin(state)?;
    let response = txn.apply(index, command)?;
    let applied = txn.finish()?;
    state.apply_ops(&applied.ops);
    Ok(response)
}

/// Two secrets, one of them updated, so that there is a key of every kind.
fn populated() -> MemoryState {
    let mut state = MemoryState::new();
    for number in 1..=2 {
        apply(&mut state, number, &create(number, &format!("s{number}"))).expect("applied");
    }
    check::check(&state).expect("sound");
    state
}

#[test]
fn the_check_finds_any_key_that_is_lost_changed_or_added() {
    let state = populated();
    let pairs: Vec<(Vec<u8>, Vec<u8>)> =
        state.pairs().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    // Header, tenant, and for each secret: itself, payload, request, expiry, change.
    assert_eq!(pairs.len(), 12);
    for at in 0..pairs.len() {
        let without =
            pairs.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, pair)| pair.clone());
        let without: MemoryState = without.collect();
        assert!(check::check(&without).is_err(), "lost {:02x?}", pairs[at].0);
        for byte in 0..pairs[at].1.len() {
            let mut changed = pairs.clone();
            changed[at].1[byte] ^= 0x01;
            let changed: MemoryState = changed.into_iter().collect();
            let found = check::check(&changed).is_err();
            // The bounds in the header that are merely loose are no contradiction.
            let header = pairs[at].0 == [0x01];
            assert!(found || header, "byte {byte} of {:02x?}", pairs[at].0);
        }
    }
    let added = pairs.into_iter().chain([(vec![0x7f], vec![])]).collect::<MemoryState>();
    assert!(check::check(&added).is_err());
}

/// With the digest made to fit, the other invariants still find what does not belong together.
#[test]
fn the_check_does_not_live_by_the_digest_alone() {
    let state = populated();
    let pairs: Vec<(Vec<u8>, Vec<u8>)> =
        state.pairs().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    let digest = Header::read(&state).expect("a header").digest;
    for at in 1..pairs.len() {
        let without: MemoryState = pairs
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .map(|(_, pair)| pair.clone())
            .collect();
        let actual = query::verify_digest(&without).expect("readable");
        let fitted: MemoryState = without
            .pairs()
            .map(|(key, value)| {
                let mut value = value.to_vec();
                if key == [0x01] {
                    let start = value.windows(16).position(|window| window == digest).expect("the digest");
                    value[start..start + 16].copy_from_slice(&actual);
                }
                (key.to_vec(), value)
            })
            .collect();
        let error = check::check(&fitted).expect_err("lost");
        assert!(!error.to_string().contains("digest"), "{error}");
    }
}

#[test]
fn keys_outside_the_state_machines_range_are_none_of_its_business() {
    let state = populated();
    let digest = query::verify_digest(&state).expect("readable");
    let foreign =
        [(vec![], vec![1]), (vec![0x00, 1], vec![2]), (vec![0x80], vec![3]), (vec![0xff, 0xff], vec![4])];
    let pairs = state.pairs().map(|(key, value)| (key.to_vec(), value.to_vec()));
    let with: MemoryState = pairs.chain(foreign).collect();
    assert_eq!(query::verify_digest(&with).expect("readable"), digest);
    check::check(&with).expect("sound");
}

#[test]
fn a_corrupt_record_stops_the_node_with_the_key_and_without_the_content() {
    let tenant = parse("acme");
    for (ordinal, what) in [(0x02, "tenant"), (0x03, "secret"), (0x05, "request")] {
        let state: MemoryState = populated()
            .pairs()
            .map(|(key, value)| {
                let value = if key[0] == ordinal { b"hunter2".to_vec() } else { value.to_vec() };
                (key.to_vec(), value)
            })
            .collect();
        let mut state = state;
        let delete = CommandKind::DeleteSecret {
            namespace: Namespace::default(),
            name: parse("s1"),
            expect_uid: None,
            expect_revision: None,
        };
        // For the request's record to be read, the request must be an old one.
        let number = if ordinal == 0x05 { 1 } else { 9 };
        let command = command(EPOCH_MS, "acme", "alice", request_id(EPOCH_MS, number), delete);
        let error = apply(&mut state, 3, &command).expect_err(what);
        assert!(matches!(error, Fatal::Corrupt { .. }), "{what}: {error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
    let mut without_payload: MemoryState = populated()
        .pairs()
        .filter(|(key, _)| key[0] != 0x04)
        .map(|(k, v)| (k.to_vec(), v.to_vec()))
        .collect();
    let read = query::payload(&without_payload, &tenant, &Namespace::default(), &parse("s1"));
    assert!(matches!(read, Err(Fatal::Corrupt { .. })));
    // A replica that cannot read its state must not go on from a half-applied transaction either.
    let before = without_payload.clone();
    assert!(apply(&mut without_payload, 2, &create(7, "s7")).is_err(), "an index that was applied before");
    assert!(without_payload == before);
}

#[test]
fn an_entry_that_was_applied_before_stops_the_node() {
    let mut state = populated();
    for index in [0, 1, 2] {
        let error = apply(&mut state, index, &create(9, "s9")).expect_err("applied before");
        assert!(matches!(error, Fatal::Command { .. }), "{error}");
    }
    let mut txn = Txn::begin(&state).expect("readable");
    txn.apply(5, &create(9, "s9")).expect("applied");
    assert!(matches!(txn.apply(5, &create(10, "s10")), Err(Fatal::Command { index: 5, .. })));
    assert!(matches!(txn.skip(4), Err(Fatal::Command { index: 4, .. })));
}

/// openraft's first entry, the membership of the pristine group, has index 0.
#[test]
fn the_first_entry_may_be_a_membership_at_index_0() {
    let state = MemoryState::new();
    let mut txn = Txn::begin(&state).expect("readable");
    assert_eq!(txn.skip(0).expect("skipped").outcome, Outcome::Blank);
    txn.skip(1).expect("skipped");
    assert_eq!(txn.apply(2, &create(1, "a")).expect("applied").revision, 2);
    assert_eq!(txn.revision(), 2);
}

#[test]
fn a_transaction_that_changes_nothing_writes_nothing() {
    let state = populated();
    let mut txn = Txn::begin(&state).expect("readable");
    txn.skip(3).expect("skipped");
    let Applied { ops, touched, header } = txn.finish().expect("finished");
    assert_eq!(ops, Ops::new());
    assert!(touched.is_empty());
    assert_eq!(header, Header::read(&state).expect("a header"));
}

/// A tenant whose requests were all refused leaves no trace once they are forgotten.
#[test]
fn a_tenant_without_secrets_is_forgotten_with_its_last_request() {
    let mut state = MemoryState::new();
    let kind = CommandKind::DeleteSecret {
        namespace: Namespace::default(),
        name: parse("missing"),
        expect_uid: None,
        expect_revision: None,
    };
    let refused = command(EPOCH_MS, "zeta", "bob", request_id(EPOCH_MS, 1), kind);
    apply(&mut state, 1, &refused).expect("applied");
    assert_eq!(check::check(&state).expect("sound").tenants, 1);
    apply(&mut state, 2, &create_at(EPOCH_MS + 601_001, 2, "a")).expect("applied");
    let census = check::check(&state).expect("sound");
    assert_eq!((census.tenants, census.requests), (1, 1));
}

#[test]
fn absurd_times_are_answered_and_harm_nothing() {
    for time_ms in [i64::MIN, -1, 0, i64::MAX] {
        let mut state = populated();
        let mut command = create(9, "s9");
        command.time_ms = time_ms;
        let before = Header::read(&state).expect("a header");
        let response = apply(&mut state, 3, &command).expect("answered");
        if time_ms == i64::MAX {
            assert!(
                matches!(response.outcome, Outcome::Rejected(Reject::RequestTooOld { .. })),
                "{response:?}"
            );
            assert_eq!(Header::read(&state).expect("a header"), before, "a refused command moves nothing");
        } else {
            assert!(matches!(response.outcome, Outcome::Created { .. }), "{response:?}");
        }
        check::check(&state).expect("sound");
    }
    let mut far = create(9, "s9");
    far.request_id = request_id((1 << 48) - 1, 9);
    let response = apply(&mut populated(), 3, &far).expect("answered");
    assert!(matches!(response.outcome, Outcome::Rejected(Reject::RequestFromFuture { .. })), "{response:?}");
}

/// Storage that fails: the error reaches the caller as it is.
#[test]
fn a_failing_storage_is_fatal() {
    struct Broken;
    impl Read for Broken {
        fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
            Err(Fatal::Storage("disk on fire".into()))
        }
        fn scan(&self, _: &[u8], _: &[u8], _: &mut Visit<'_>) -> Result<(), Fatal> {
            Err(Fatal::Storage("disk on fire".into()))
        }
    }
    assert!(matches!(Txn::begin(&Broken).err(), Some(Fatal::Storage(_))));
    assert!(matches!(query::verify_digest(&Broken), Err(Fatal::Storage(_))));
}

#[test]
fn a_scan_ends_where_the_visitor_breaks_and_at_the_bounds() {
    let state: MemoryState = (0..9_u8).map(|byte| (vec![byte], vec![byte])).collect();
    let mut seen = Vec::new();
    state
        .scan(&[2], &[7], &mut |key, _| {
            seen.push(key[0]);
            Ok(if key[0] == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .expect("readable");
    assert_eq!(seen, [2, 3, 4, 5]);
    state.scan(&[7], &[2], &mut |_, _| panic!("an empty range")).expect("readable");
}

#[test]
fn a_feed_without_changes_has_nothing_too_old() {
    let state = MemoryState::new();
    assert_eq!(query::changes(&state, &parse("acme"), 0, 10).expect("readable"), Ok::<_, TooOld>(vec![]));
}
