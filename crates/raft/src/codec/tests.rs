//! Every value comes back from its bytes, and no bytes are too strange.

use pi_types::limits::{ANNOTATIONS_BYTES_MAX, CLIENT_MESSAGE_BYTES_MAX};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn log_id() -> impl Strategy<Value = LogId> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| LogId::new(term.into(), index))
}

fn vote() -> impl Strategy<Value = Vote> {
    (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| {
        if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) }
    })
}

fn membership() -> impl Strategy<Value = Membership> {
    (vec(btree_set(0..6u64, 1..4), 0..3), btree_map(0..9u64, ("[a-z:0-9]{0,12}", "[a-z:0-9]{0,12}"), 0..5))
        .prop_map(|(configs, extra)| {
            let mut nodes: BTreeMap<u64, Member> = extra
                .into_iter()
                .map(|(id, (raft_address, client_address))| (id, Member { raft_address, client_address }))
                .collect();
            for id in configs.iter().flatten() {
                nodes.entry(*id).or_default();
            }
            Membership::new(configs, nodes).unwrap()
        })
}

fn stored_membership() -> impl Strategy<Value = StoredMembership> {
    (option::of(log_id()), membership())
        .prop_map(|(log_id, membership)| StoredMembership::new(log_id, membership))
}

fn entry() -> impl Strategy<Value = Entry> {
    let payload = prop_oneof![
        Just(EntryPayload::Blank),
        vec(any::<u8>(), 0..200).prop_map(|bytes| EntryPayload::Normal(EncodedCommand(bytes.into()))),
        membership().prop_map(EntryPayload::Membership),
    ];
    (log_id(), payload).prop_map(|(log_id, payload)| Entry { log_id, payload })
}

fn payload() -> impl Strategy<Value = SealedPayload> {
    (vec(any::<u8>(), 0..64), any::<u32>(), any::<[u8; 16]>(), any::<u64>()).prop_map(
        |(sealed, plaintext_bytes, uid, generation)| SealedPayload {
            sealed,
            plaintext_bytes,
            uid: Uid::from_bytes(uid),
            generation,
        },
    )
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map("[a-z]{1,9}(/[a-z]{1,9})?", "[a-z0-9]{0,9}", 0..4)
        .prop_map(|map| Labels::try_from(map).unwrap())
}

fn annotations() -> impl Strategy<Value = Annotations> {
    btree_map("[a-z]{1,9}(/[a-z]{1,9})?", ".{0,20}", 0..4).prop_map(|map| Annotations::try_from(map).unwrap())
}

fn name() -> impl Strategy<Value = SecretName> {
    "[a-z]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|name| name.parse().unwrap())
}

fn namespace() -> impl Strategy<Value = Namespace> {
    "[a-z]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|name| name.parse().unwrap())
}

fn expect_uid() -> impl Strategy<Value = Option<Uid>> {
    option::of(any::<[u8; 16]>().prop_map(Uid::from_bytes))
}

fn kind() -> impl Strategy<Value = CommandKind> {
    let create = (namespace(), name(), labels(), annotations(), payload()).prop_map(
        |(namespace, name, labels, annotations, payload)| CommandKind::CreateSecret {
            namespace,
            name,
            labels,
            annotations,
            payload,
        },
    );
    let update = (
        (namespace(), name(), option::of(payload())),
        (option::of(labels()), option::of(annotations()), expect_uid(), option::of(1..u64::MAX)),
    )
        .prop_map(|((namespace, name, payload), (labels, annotations, expect_uid, expect_revision))| {
            CommandKind::UpdateSecret {
                namespace,
                name,
                equal_to: match (&payload, expect_uid) {
                    (None, Some(uid)) => Some((uid, 3)),
                    _ => None,
                },
                payload,
                labels,
                annotations,
                expect_uid,
                expect_revision,
            }
        });
    let delete = (namespace(), name(), expect_uid(), option::of(1..u64::MAX)).prop_map(
        |(namespace, name, expect_uid, expect_revision)| CommandKind::DeleteSecret {
            namespace,
            name,
            expect_uid,
            expect_revision,
        },
    );
    let quota = any::<u32>().prop_map(|secrets_max| CommandKind::SetQuota { secrets_max });
    prop_oneof![create, update, delete, quota]
}

fn command() -> impl Strategy<Value = Command> {
    (any::<i64>(), any::<[u8; 16]>(), kind()).prop_map(|(time_ms, mut id, kind)| {
        // A UUIDv7.
        id[6] = id[6] & 0x0f | 0x70;
        id[8] = id[8] & 0x3f | 0x80;
        Command {
            time_ms,
            tenant: "acme".parse().unwrap(),
            principal: "someone".parse().unwrap(),
            request_id: RequestId::from_bytes(&id).unwrap(),
            kind,
        }
    })
}

/// A command's `Debug` shows everything but the sealed bytes.
fn fingerprint(command: &Command) -> (String, Vec<u8>) {
    let sealed = match &command.kind {
        CommandKind::CreateSecret { payload, .. }
        | CommandKind::UpdateSecret { payload: Some(payload), .. } => payload.sealed.clone(),
        _ => Vec::new(),
    };
    (format!("{command:?}"), sealed)
}

proptest! {
    #[test]
    fn an_entry_comes_back_from_its_bytes(entry in entry()) {
        let bytes = encode_entry(&entry);
        prop_assert_eq!(&decode_entry(&bytes[..]).unwrap(), &entry);
        prop_assert_eq!(encode_entry(&decode_entry(bytes.clone()).unwrap()), bytes);
    }

    #[test]
    fn a_command_comes_back_from_its_bytes(command in command()) {
        let bytes = encode_command(&command).0;
        let decoded = decode_command(&bytes).unwrap();
        prop_assert_eq!(fingerprint(&decoded), fingerprint(&command));
        prop_assert_eq!(encode_command(&decoded).0, bytes);
    }

    #[test]
    fn votes_positions_and_memberships_come_back(vote in vote(), log_id in log_id(), stored in stored_membership()) {
        prop_assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        prop_assert_eq!(decode_log_id(&encode_log_id(&log_id)).unwrap(), log_id);
        prop_assert_eq!(decode_stored_membership(&encode_stored_membership(&stored)).unwrap(), stored);
    }

    #[test]
    fn a_manifest_comes_back(last in option::of(log_id()), stored in stored_membership(), keys: u64, digest: [u8; 16]) {
        let manifest = SnapshotManifest {
            cluster: "c".into(),
            region: "r".into(),
            meta: SnapshotMeta { last_log_id: last, last_membership: stored },
            snapshot_id: "s".into(),
            keys,
            digest,
        };
        prop_assert_eq!(snapshot_from_proto(&snapshot_to_proto(&manifest)).unwrap(), manifest);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = decode_entry(&bytes[..]);
        let _ = decode_command(&bytes);
        let _ = decode_vote(&bytes);
        let _ = decode_log_id(&bytes);
        let _ = decode_stored_membership(&bytes);
        if let Ok(snapshot) = pb::SnapshotMeta::decode(&bytes[..]) {
            let _ = snapshot_from_proto(&snapshot);
        }
    }

    #[test]
    fn no_damage_makes_a_decoder_panic(entry in entry(), command in command(), at: prop::sample::Index, byte: u8) {
        for whole in [encode_entry(&entry), encode_command(&command).0] {
            let mut bytes = whole.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            for bytes in [&bytes[..], &whole[..at]] {
                let _ = decode_entry(bytes);
                let _ = decode_command(bytes);
            }
        }
    }
}

#[test]
fn another_format_is_refused_with_what_to_do() {
    let entry = pb::Entry { format: 2, log_id: Some(pb::LogId::default()), payload: None };
    let error = decode_entry(&entry.encode_to_vec()[..]).unwrap_err();
    assert_eq!(error.to_string(), "log entry has format 2; this build reads format 1: upgrade this node");
    let command = pb::Command { format: 0, ..pb::Command::default() };
    assert!(matches!(decode_command(&command.encode_to_vec()), Err(Error::Format { found: 0, .. })));
}

#[test]
fn an_entry_without_position_or_payload_is_refused() {
    let blank = Some(pb::entry::Payload::Blank(pb::Blank {}));
    let entry = pb::Entry { format: 1, log_id: None, payload: blank };
    assert_eq!(decode_entry(&entry.encode_to_vec()[..]).unwrap_err().to_string(), "log entry lacks log_id");
    let entry = pb::Entry { format: 1, log_id: Some(pb::LogId::default()), payload: None };
    assert_eq!(decode_entry(&entry.encode_to_vec()[..]).unwrap_err().to_string(), "log entry lacks payload");
}

#[test]
fn a_membership_that_cannot_be_is_refused() {
    let node = pb::Node { id: 1, ..pb::Node::default() };
    let voters = |node_ids: &[u64]| pb::VoterSet { node_ids: node_ids.to_vec() };
    let stranger = pb::Membership { configs: vec![voters(&[1, 2])], nodes: vec![node.clone()] };
    let empty = pb::Membership { configs: vec![voters(&[])], nodes: vec![] };
    let twice = pb::Membership { configs: vec![voters(&[1])], nodes: vec![node.clone(), node] };
    for membership in [stranger, empty, twice] {
        assert!(membership_from_proto(&membership).is_err(), "{membership:?}");
    }
}

#[test]
fn an_operators_command_names_its_tenant_as_object() {
    let command = Command {
        time_ms: 1,
        tenant: "acme".parse().unwrap(),
        principal: "op".parse().unwrap(),
        request_id: "019a0000-0000-7000-8000-000000000000".parse().unwrap(),
        kind: CommandKind::SetQuota { secrets_max: 9 },
    };
    let wire = pb::Command::decode(&encode_command(&command).0[..]).unwrap();
    assert_eq!(wire.tenant, "");
    let forged = pb::Command { tenant: "acme".into(), ..wire };
    assert!(decode_command(&forged.encode_to_vec()).is_err());
}

#[test]
fn a_wanted_revision_of_zero_does_not_become_none() {
    let kind = CommandKind::DeleteSecret {
        namespace: Namespace::default(),
        name: "n".parse().unwrap(),
        expect_uid: None,
        expect_revision: Some(0),
    };
    let pb::command::Kind::DeleteSecret(delete) = secret_kind_to_proto(&kind) else { panic!() };
    assert_eq!(expect_revision_from_proto(delete.expect_revision), Some(u64::MAX));
}

#[test]
fn the_largest_command_leaves_room_in_a_clients_message() {
    let long = |letter: char, count: usize| letter.to_string().repeat(count);
    let labels: BTreeMap<_, _> =
        (0..32).map(|n| (format!("{}/{}{n:02}", long('a', 63), long('b', 61)), long('c', 63))).collect();
    let annotations = BTreeMap::from([("k".to_owned(), long('v', ANNOTATIONS_BYTES_MAX - 1))]);
    let command = Command {
        time_ms: i64::MAX,
        tenant: long('t', 63).parse().unwrap(),
        principal: long('p', 63).parse().unwrap(),
        request_id: "019a0000-0000-7000-8000-000000000000".parse().unwrap(),
        kind: CommandKind::CreateSecret {
            namespace: long('n', 63).parse().unwrap(),
            name: long('s', 253).parse().unwrap(),
            labels: Labels::try_from(labels).unwrap(),
            annotations: Annotations::try_from(annotations).unwrap(),
            payload: SealedPayload {
                sealed: vec![0; 4_096 + 512],
                plaintext_bytes: u32::MAX,
                uid: Uid::from_bytes([255; 16]),
                generation: u64::MAX,
            },
        },
    };
    let bytes = encode_command(&command).0.len();
    assert!(bytes < CLIENT_MESSAGE_BYTES_MAX / 4, "{bytes} bytes");
    let around = encode_entry(&Entry {
        log_id: LogId::new(u64::MAX.into(), u64::MAX),
        payload: EntryPayload::Normal(encode_command(&command)),
    });
    assert!(around.len() - bytes <= ENTRY_OVERHEAD_BYTES_MAX);
}
