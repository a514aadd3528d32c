//! Holds the state machine against a naive model, command by command, over long random histories; and holds the same
//! history against itself: one entry a transaction or many, the same answers and the same bytes.
//!
//! The histories together have more than 100,000 commands. proptest prints the seed of a failure and shrinks it.

#[path = "support/model.rs"]
mod model;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use model::Model;
use pi_state::memory::MemoryState;
use pi_state::query::{self, ListQuery, TooOld};
use pi_state::{Command, CommandKind, Header, Response, Txn, check};
use pi_types::{Annotations, Labels, Namespace, PrincipalName, SecretName, Selector, TenantId};
use proptest::collection::vec;
use proptest::prelude::*;

use support::{EPOCH_MS, labels, parse, payload, uid};

const HISTORIES: u32 = 110;
const COMMANDS: usize = 1_000;

/// One random step, before it is known which secrets exist: numbers that the test turns into a command.
#[derive(Clone, Debug)]
struct Step {
    tenant: u8,
    principal: u8,
    namespace: u8,
    name: u8,
    method: Method,
    /// Milliseconds that the proposer's clock moves, mostly on.
    clock_ms: i64,
    request: Request,
    labels: Option<u8>,
    annotations: Option<u8>,
    /// `Some`: sealed for the present uid and generation when true, for others when false.
    payload: Option<(bool, u32)>,
    /// The same for preconditions.
    expect_uid: Option<bool>,
    expect_revision: Option<bool>,
    quota: u32,
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Create,
    Update,
    Delete,
    SetQuota,
}

/// Which request id a step has.
#[derive(Clone, Copy, Debug)]
enum Request {
    /// A new one, so many milliseconds beside the proposer's clock.
    New(i64),
    /// The one of so many steps ago.
    Again(usize),
    /// The whole step of so many steps ago once more, as a retry does.
    Retry(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let method = prop_oneof![
        5 => Just(Method::Create),
        4 => Just(Method::Update),
        3 => Just(Method::Delete),
        1 => Just(Method::SetQuota),
    ];
    let request = prop_oneof![
        12 => Just(Request::New(0)),
        2 => (-700_000..100_000_i64).prop_map(Request::New),
        1 => prop::sample::select(vec![-600_001, -600_000, 60_000, 60_001]).prop_map(Request::New),
        1 => (1..40_usize).prop_map(Request::Again),
        2 => (1..40_usize).prop_map(Request::Retry),
    ];
    let clock = prop_oneof![
        20 => 0..2_000_i64,
        4 => -5_000..5_000_i64,
        1 => 0..400_000_i64,
    ];
    let payload = proptest::option::of((
        prop::bool::weighted(0.9),
        prop_oneof![8 => 1..64_u32, 1 => 4_000..=4_096_u32, 1 => 4_097..5_000_u32],
    ));
    let expect = || proptest::option::weighted(0.2, prop::bool::weighted(0.7));
    // Mostly one tenant, so that its feed runs over.
    let tenant = prop_oneof![6 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    let place = (tenant, 0..2_u8, 0..2_u8, 0..7_u8);
    (
        place,
        method,
        clock,
        request,
        (proptest::option::of(0..3_u8), proptest::option::weighted(0.3, 0..2_u8)),
        payload,
        (expect(), expect()),
        prop_oneof![6 => 0..12_u32, 1 => 999_990..1_000_010_u32],
    )
        .prop_map(|(place, method, clock_ms, request, (labels, annotations), payload, expect, quota)| {
            Step {
                tenant: place.0,
                principal: place.1,
                namespace: place.2,
                name: place.3,
                method,
                clock_ms,
                request,
                labels,
                annotations,
                payload,
                expect_uid: expect.0,
                expect_revision: expect.1,
                quota,
            }
        })
}

fn labels_of(number: u8) -> Labels {
    match number {
        0 => Labels::default(),
        1 => labels(&[("app", "shop")]),
        _ => labels(&[("app", "bank"), ("tier", "web")]),
    }
}

fn annotations_of(number: u8) -> Annotations {
    let map: BTreeMap<String, String> =
        if number == 0 { BTreeMap::new() } else { [("note".to_owned(), "seen".to_owned())].into() };
    Annotations::from_map(map).expect("valid annotations")
}

/// Turns steps into commands against the model as it is at each step.
fn command_of(step: &Step, at: usize, clock_ms: i64, model: &mut Model, before: &[Command]) -> Command {
    let earlier = |ago: usize| at.checked_sub(ago).map(|at| &before[at]);
    if let Request::Retry(ago) = step.request
        && let Some(command) = earlier(ago)
    {
        return Command { time_ms: clock_ms, ..command.clone() };
    }
    let new = |beside_ms: i64| support::request_id(clock_ms + beside_ms, at as u64);
    let request_id = match step.request {
        Request::New(beside_ms) => new(beside_ms),
        Request::Again(ago) | Request::Retry(ago) => earlier(ago).map_or_else(|| new(0), |c| c.request_id),
    };
    let tenant: TenantId = parse(["acme", "acme-2", "zeta"][usize::from(step.tenant)]);
    let principal: PrincipalName = parse(["alice", "alice-2"][usize::from(step.principal)]);
    let namespace: Namespace = parse(["default", "prod"][usize::from(step.namespace)]);
    let name: SecretName = parse(["a", "ab", "a-b", "a.b", "b", "c", "d"][usize::from(step.name)]);
    let present = model.tenant(tenant.as_str()).secrets.get(&(namespace.clone(), name.clone()));
    let (present_uid, generation, revision) =
        present.map_or((uid(0), 0, 0), |(secret, _)| (secret.uid, secret.generation, secret.revision));
    let expect_uid = step.expect_uid.map(|right| if right { present_uid } else { uid(u64::MAX) });
    let expect_revision = step.expect_revision.map(|right| if right { revision } else { revision + 1 });
    let kind = match step.method {
        Method::Create => {
            let (_, bytes) = step.payload.unwrap_or((true, 10));
            CommandKind::CreateSecret {
                namespace,
                name,
                labels: labels_of(step.labels.unwrap_or(0)),
                annotations: annotations_of(step.annotations.unwrap_or(0)),
                payload: payload(uid(at as u64 + 1), 1, bytes, bytes as usize + 28),
            }
        }
        Method::Update => CommandKind::UpdateSecret {
            namespace,
            name,
            payload: step.payload.map(|(right, bytes)| {
                let next = if right { generation + 1 } else { generation };
                payload(present_uid, next, bytes, bytes as usize + 28)
            }),
            // A third of those without a payload stand for one that was equal when the node looked.
            equal_to: (step.payload.is_none() && at.is_multiple_of(3))
                .then_some((present_uid, generation.saturating_sub(u64::from(at.is_multiple_of(2))))),
            labels: step.labels.map(labels_of),
            annotations: step.annotations.map(annotations_of),
            expect_uid,
            expect_revision,
        },
        Method::Delete => CommandKind::DeleteSecret { namespace, name, expect_uid, expect_revision },
        Method::SetQuota => CommandKind::SetQuota { secrets_max: step.quota },
    };
    Command { time_ms: clock_ms, tenant, principal, request_id, kind }
}

/// Applies commands from `first` on in one transaction.
fn transact(
    state: &mut MemoryState,
    first: u64,
    commands: &[Command],
) -> (Vec<Response>, Vec<TenantId>, Header) {
    let mut txn = Txn::begin(state).expect("a readable state");
    let responses = commands.iter().zip(first..).map(|(command, index)| txn.apply(index, command));
    let responses = responses.collect::<Result<_, _>>().expect("commands are refused, never failed");
    let applied = txn.finish().expect("a readable state");
    state.apply_ops(&applied.ops);
    (responses, applied.touched, applied.header)
}

/// Everything a query can answer must be what the model says.
fn assert_same(state: &MemoryState, model: &Model) {
    let census = check::check(state).expect("a state that holds its invariants");
    let header = Header::read(state).expect("a header");
    assert_eq!((header.revision, header.log_time_ms), (model.revision, model.time_ms));
    let mut secrets = 0;
    for (id, tenant) in &model.tenants {
        let id: TenantId = parse(id);
        let selector = Selector::default();
        let query =
            ListQuery { tenant: &id, namespace: None, selector: &selector, after: None, limit: 1_000 };
        let (listed, more) = query::list(state, &query).expect("a list");
        let expected: Vec<_> = tenant.secrets.values().map(|(secret, _)| secret.clone()).collect();
        assert_eq!((listed, more), (expected, false));
        for (secret, sealed) in tenant.secrets.values() {
            let found = query::payload(state, &id, &secret.namespace, &secret.name).expect("a payload");
            assert_eq!(found, Some((secret.clone(), sealed.clone())));
        }
        let usage = query::usage(state, &id).expect("usage");
        assert_eq!((usage.used as usize, usage.quota), (tenant.secrets.len(), tenant.quota()));
        for after in [0, tenant.forgotten, tenant.forgotten + 1, model.revision / 2, model.revision] {
            let expected = if after < tenant.forgotten {
                Err(TooOld { oldest: tenant.forgotten })
            } else {
                Ok(tenant.feed.iter().filter(|change| change.revision > after).cloned().collect())
            };
            assert_eq!(query::changes(state, &id, after, 1_000).expect("a feed"), expected);
        }
        for ((request_id, principal), (_, answer)) in &tenant.requests {
            let stored =
                query::stored_response(state, &id, &parse(principal), request_id).expect("an answer");
            match stored {
                Some(stored) => assert_eq!(stored, Response { replayed: true, ..answer.clone() }),
                None => assert!(model.time_ms - request_id.time_ms() > 600_000, "nothing young is evicted"),
            }
        }
        secrets += tenant.secrets.len() as u64;
    }
    assert_eq!(census.secrets, secrets);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: HISTORIES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_and_state_are_those_of_the_model(
        steps in vec(step(), COMMANDS),
        cuts in vec(1..60_usize, COMMANDS),
    ) {
        let mut model = Model::default();
        let mut single = MemoryState::new();
        let mut commands: Vec<Command> = Vec::new();
        let mut answers = Vec::new();
        let mut clock_ms = EPOCH_MS;
        for (at, step) in steps.iter().enumerate() {
            clock_ms += step.clock_ms;
            let command = command_of(step, at, clock_ms, &mut model, &commands);
            let index = at as u64 + 1;
            let expected = model.apply(index, &command);
            let (responses, touched, _) = transact(&mut single, index, std::slice::from_ref(&command));
            prop_assert_eq!(&responses[0], &expected, "entry {}: {:?}", index, command);
            let changed = model.tenant(command.tenant.as_str()).feed.back().is_some_and(|c| c.revision == index);
            prop_assert_eq!(touched.len(), usize::from(changed));
            if at % 100 == 0 {
                assert_same(&single, &model);
            }
            answers.push(expected);
            commands.push(command);
        }
        assert_same(&single, &model);

        // The same log on two more replicas that cut it into other transactions.
        for mut cuts in [cuts.into_iter().collect::<Vec<_>>(), vec![commands.len()]] {
            let mut batched = MemoryState::new();
            let mut batched_answers = Vec::new();
            let mut done = 0;
            while done < commands.len() {
                let end = commands.len().min(done + cuts.pop().expect("enough cuts"));
                let (responses, ..) = transact(&mut batched, done as u64 + 1, &commands[done..end]);
                batched_answers.extend(responses);
                done = end;
            }
            prop_assert!(batched == single, "the same bytes, digest and all");
            prop_assert!(batched_answers == answers, "the same answers");
        }
    }
}
