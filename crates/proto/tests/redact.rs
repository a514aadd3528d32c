//! No `Debug` of a message that carries a payload shows it; all of them are found through the descriptors.

use bytes::Bytes;
use pi_proto::raft::v1::{
    AppendRequest, Command, CreateSecret, Entry, SealedPayload, SnapshotFrame, command, entry, snapshot_frame,
};
use pi_proto::secrets::v1::{AccessResponse, CreateRequest, UpdateRequest};
use prost::Message;

const CANARY: &[u8] = b"canary";

fn assert_hidden(message: &impl std::fmt::Debug) {
    for text in [format!("{message:?}"), format!("{message:#?}")] {
        assert!(!text.contains("canary"), "{text}");
        // As numbers, the way Vec<u8> prints.
        assert!(!text.contains("99, 97, 110"), "{text}");
        assert!(text.contains("bytes]"), "{text}");
    }
}

#[test]
fn payloads_are_not_printed() {
    assert_hidden(&CreateRequest { payload: CANARY.to_vec(), ..Default::default() });
    assert_hidden(&UpdateRequest { payload: Some(CANARY.to_vec()), ..Default::default() });
    assert_hidden(&AccessResponse { payload: CANARY.to_vec(), ..Default::default() });
    let sealed = SealedPayload { sealed: Bytes::from_static(CANARY), ..Default::default() };
    let create = CreateSecret { payload: Some(sealed), ..Default::default() };
    let command = Command { kind: Some(command::Kind::CreateSecret(create)), ..Default::default() };
    assert_hidden(&command);
    let entry = Entry {
        payload: Some(entry::Payload::Command(command.encode_to_vec().into())),
        ..Default::default()
    };
    assert_hidden(&entry);
    assert_hidden(&AppendRequest { entries: vec![entry.encode_to_vec().into()], ..Default::default() });
    let chunk = snapshot_frame::Chunk { data: Bytes::from_static(CANARY), ..Default::default() };
    assert_hidden(&SnapshotFrame { frame: Some(snapshot_frame::Frame::Chunk(chunk)) });
}

#[test]
fn the_descriptor_set_is_complete() {
    let text = String::from_utf8_lossy(pi_proto::FILE_DESCRIPTOR_SET);
    for name in ["secrets.proto", "regions.proto", "admin.proto", "raft.proto", "log.proto"] {
        assert!(text.contains(name), "{name}");
    }
}
