//! Sealing and opening: what opens, and everything that does not.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;

use common::{Counting, Owned, golden, hex};
use pi_seal::envelope::{OVERHEAD_BYTES, VERSION};
use pi_seal::{Keyring, NoRandomness, OpenError, Random, SealError, Seed, seed_id_of};
use pi_types::Uid;
use pi_types::limits::PAYLOAD_BYTES_MAX;
use proptest::prelude::*;

const PLAINTEXT: &[u8] = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#;

fn keyring(seed: u8) -> Keyring {
    let mut keyring = Keyring::system();
    let id = keyring.insert(Seed::from_bytes(&[seed; 32]).unwrap());
    keyring.activate(id).unwrap();
    keyring
}

#[test]
fn a_payload_of_any_allowed_size_opens_to_itself_and_the_overhead_is_constant() {
    let (keyring, owned) = (keyring(1), Owned::new());
    for bytes in [0, 1, 15, 16, 17, 4_095, PAYLOAD_BYTES_MAX] {
        let plaintext = vec![0x5a; bytes];
        let sealed = keyring.seal(&owned.context(), &plaintext).unwrap();
        assert_eq!(sealed.len(), bytes + OVERHEAD_BYTES);
        assert_eq!(*keyring.open(&owned.context(), &sealed).unwrap(), plaintext);
    }
}

#[test]
fn the_plaintext_is_not_in_what_is_stored() {
    let sealed = keyring(1).seal(&Owned::new().context(), PLAINTEXT).unwrap();
    for part in PLAINTEXT.windows(6) {
        assert!(!sealed.windows(6).any(|window| window == part));
    }
}

#[test]
fn a_payload_moved_along_any_part_of_its_context_does_not_open() {
    type Move = fn(&mut Owned);
    let moves: [(&str, Move); 7] = [
        ("cluster", |c| c.cluster = "other".parse().unwrap()),
        ("region", |c| c.region = "eu-west1".parse().unwrap()),
        ("tenant", |c| c.tenant = "globex".parse().unwrap()),
        ("namespace", |c| c.namespace = "other".parse().unwrap()),
        ("name", |c| c.name = "other".parse().unwrap()),
        ("uid", |c| c.uid = Uid::from_bytes([9; 16])),
        ("generation", |c| c.generation += 1),
    ];
    let (keyring, home) = (keyring(1), Owned::new());
    let sealed = keyring.seal(&home.context(), PLAINTEXT).unwrap();
    assert!(keyring.open(&home.context(), &sealed).is_ok());
    for (what, change) in moves {
        let mut elsewhere = home.clone();
        change(&mut elsewhere);
        assert_ne!(elsewhere.context(), home.context(), "{what}");
        let opened = keyring.open(&elsewhere.context(), &sealed);
        assert_eq!(opened.err(), Some(OpenError::DoesNotOpen), "moved along {what}");
        // And back: it is bound to where it was sealed, not to where it was first.
        let sealed = keyring.seal(&elsewhere.context(), PLAINTEXT).unwrap();
        assert_eq!(
            keyring.open(&home.context(), &sealed).err(),
            Some(OpenError::DoesNotOpen),
            "{what}, back"
        );
    }
}

#[test]
fn a_letter_moved_from_one_name_to_the_next_does_not_open() {
    let keyring = keyring(1);
    let with = |tenant: &str, namespace: &str| Owned {
        tenant: tenant.parse().unwrap(),
        namespace: namespace.parse().unwrap(),
        ..Owned::new()
    };
    let sealed = keyring.seal(&with("ab", "c").context(), PLAINTEXT).unwrap();
    assert_eq!(keyring.open(&with("a", "bc").context(), &sealed).err(), Some(OpenError::DoesNotOpen));
}

#[test]
fn no_bit_can_be_flipped() {
    let (keyring, owned) = (keyring(1), Owned::new());
    let sealed = keyring.seal(&owned.context(), PLAINTEXT).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = keyring.open(&owned.context(), &changed).expect_err("a flipped bit is found");
        // What names the format and the seed is told apart, since an operator can act on it; nothing else is.
        match bit / 8 {
            0 => assert_eq!(error, OpenError::UnknownVersion { version: changed[0] }),
            1..=16 => assert_eq!(error, OpenError::UnknownSeed { seed_id: seed_id_of(&changed).unwrap() }),
            _ => assert_eq!(error, OpenError::DoesNotOpen, "bit {bit}"),
        }
    }
}

#[test]
fn no_byte_can_be_cut_off_or_added() {
    let (keyring, owned) = (keyring(1), Owned::new());
    let sealed = keyring.seal(&owned.context(), PLAINTEXT).unwrap();
    for bytes in 0..sealed.len() {
        let opened = keyring.open(&owned.context(), &sealed[..bytes]);
        assert_eq!(opened.err(), Some(OpenError::DoesNotOpen), "{bytes} bytes");
        assert_eq!(seed_id_of(&sealed[..bytes]).is_ok(), bytes >= OVERHEAD_BYTES);
    }
    for extra in [1, 16, 100] {
        let longer = [&sealed[..], &vec![0; extra]].concat();
        assert_eq!(keyring.open(&owned.context(), &longer).err(), Some(OpenError::DoesNotOpen));
    }
}

#[test]
fn a_seed_that_is_not_held_is_named() {
    let (owned, other) = (Owned::new(), keyring(2));
    let sealed = other.seal(&owned.context(), PLAINTEXT).unwrap();
    let seed_id = other.active().unwrap();
    let error = keyring(1).open(&owned.context(), &sealed).err().unwrap();
    assert_eq!(error, OpenError::UnknownSeed { seed_id });
    assert!(error.to_string().contains(&seed_id.to_string()), "{error}");
}

#[test]
fn a_payload_under_another_seeds_id_does_not_open() {
    let owned = Owned::new();
    let mut both = keyring(1);
    let second = both.insert(Seed::from_bytes(&[2; 32]).unwrap());
    let mut sealed = both.seal(&owned.context(), PLAINTEXT).unwrap();
    sealed[1..17].copy_from_slice(second.as_bytes());
    assert_eq!(both.open(&owned.context(), &sealed).err(), Some(OpenError::DoesNotOpen));
}

#[test]
fn after_a_rotation_old_payloads_open_and_new_ones_use_the_new_seed() {
    let owned = Owned::new();
    let mut keyring = keyring(1);
    let first = keyring.active().unwrap();
    let before = keyring.seal(&owned.context(), PLAINTEXT).unwrap();

    let second = keyring.insert(Seed::from_bytes(&[2; 32]).unwrap());
    assert_eq!(keyring.active(), Some(first), "inserting alone changes nothing");
    keyring.activate(second).unwrap();
    let after = keyring.seal(&owned.context(), PLAINTEXT).unwrap();
    assert_eq!((seed_id_of(&before), seed_id_of(&after)), (Ok(first), Ok(second)));
    for sealed in [&before, &after] {
        assert_eq!(keyring.open(&owned.context(), sealed).unwrap().as_slice(), PLAINTEXT);
    }

    keyring.remove(first);
    assert_eq!(
        keyring.open(&owned.context(), &before).err(),
        Some(OpenError::UnknownSeed { seed_id: first })
    );
    assert_eq!(keyring.seed_ids().collect::<Vec<_>>(), [second]);
}

#[test]
fn a_copy_of_a_keyring_changes_by_itself() {
    let keyring = keyring(1);
    let mut copy = keyring.clone();
    copy.remove(keyring.active().unwrap());
    assert_eq!(copy.active(), None);
    assert!(keyring.seal(&Owned::new().context(), PLAINTEXT).is_ok());
    assert_eq!(copy.seal(&Owned::new().context(), PLAINTEXT).err(), Some(SealError::NoActiveSeed));
}

#[test]
fn only_a_seed_that_is_held_can_be_active() {
    let mut keyring = keyring(1);
    let active = keyring.active();
    let seed_id = Seed::from_bytes(&[2; 32]).unwrap().id();
    assert_eq!(keyring.activate(seed_id), Err(OpenError::UnknownSeed { seed_id }));
    assert_eq!(keyring.active(), active);
    assert!(!keyring.contains(seed_id));
}

#[test]
fn two_seals_of_the_same_payload_share_nothing_but_version_and_seed() {
    let (keyring, owned) = (keyring(1), Owned::new());
    let one = keyring.seal(&owned.context(), PLAINTEXT).unwrap();
    let two = keyring.seal(&owned.context(), PLAINTEXT).unwrap();
    assert_eq!(one[..17], two[..17]);
    for (part, range) in [("info", 17..49), ("nonce", 49..61), ("ciphertext", 61..one.len())] {
        assert_ne!(one[range.clone()], two[range], "{part}");
    }
}

#[test]
fn without_randomness_nothing_is_sealed() {
    struct Dry;
    impl Random for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), NoRandomness> {
            Err(NoRandomness)
        }
    }
    let mut keyring = Keyring::new(Arc::new(Dry));
    let id = keyring.insert(Seed::from_bytes(&[1; 32]).unwrap());
    keyring.activate(id).unwrap();
    let sealed = keyring.seal(&Owned::new().context(), PLAINTEXT);
    assert_eq!(sealed.err(), Some(SealError::NoRandomness(NoRandomness)));
    assert!(Seed::generate(&Dry).is_err());
}

#[test]
fn a_payload_that_was_never_sealed_is_told_apart() {
    // What development stored before payloads were sealed.
    let opened = keyring(1).open(&Owned::new().context(), b"pi:plain-v0................{}");
    assert_eq!(opened.err(), Some(OpenError::UnknownVersion { version: b'p' }));
}

#[test]
fn the_format_is_the_one_of_the_golden_file() {
    let golden = golden(include_str!("golden/sealed-v1.txt"));
    let owned = Owned::new();
    for (key, value) in [
        ("cluster", owned.cluster.to_string()),
        ("region", owned.region.to_string()),
        ("tenant", owned.tenant.to_string()),
        ("namespace", owned.namespace.to_string()),
        ("name", owned.name.to_string()),
        ("uid", owned.uid.to_string()),
        ("generation", owned.generation.to_string()),
    ] {
        assert_eq!(golden[key], value, "the context of the test is that of the file");
    }
    assert_eq!(owned.context().associated_data(), hex(golden["associated_data"]));

    let mut keyring = Keyring::new(Arc::new(Counting::new()));
    let id = keyring.insert(Seed::from_bytes(&hex(golden["seed"])).unwrap());
    assert_eq!(id.to_string(), golden["seed_id"]);
    keyring.activate(id).unwrap();

    let (plaintext, expected) = (hex(golden["plaintext"]), hex(golden["sealed"]));
    assert_eq!(expected[0], VERSION);
    assert_eq!(keyring.seal(&owned.context(), &plaintext).unwrap(), expected);
    assert_eq!(*keyring.open(&owned.context(), &expected).unwrap(), plaintext);
}

proptest! {
    #[test]
    fn any_payload_opens_to_itself(plaintext in prop::collection::vec(any::<u8>(), 0..PAYLOAD_BYTES_MAX)) {
        let (keyring, owned) = (keyring(1), Owned::new());
        let sealed = keyring.seal(&owned.context(), &plaintext).unwrap();
        prop_assert_eq!(&*keyring.open(&owned.context(), &sealed).unwrap(), &plaintext);
    }

    #[test]
    fn arbitrary_bytes_neither_open_nor_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(keyring(1).open(&Owned::new().context(), &bytes).is_err());
        let _ = seed_id_of(&bytes);
    }

    /// Past the checks of version and seed, where arbitrary bytes hardly ever come.
    #[test]
    fn arbitrary_bytes_behind_a_good_head_neither_open_nor_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let keyring = keyring(1);
        let head = [&[VERSION][..], keyring.active().unwrap().as_bytes()].concat();
        let opened = keyring.open(&Owned::new().context(), &[head, bytes].concat());
        prop_assert_eq!(opened.err(), Some(OpenError::DoesNotOpen));
    }
}
