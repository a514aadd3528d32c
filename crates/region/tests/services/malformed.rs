//! Bytes that are no request, or too many of them, at every RPC: refused with our own details, and the node goes on.

use bytes::{Buf, BufMut, Bytes};
use pi_region::config::Limits;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status};

use crate::harness::*;

const METHODS: [&str; 13] = [
    "/pi.secrets.v1.Secrets/Create",
    "/pi.secrets.v1.Secrets/Get",
    "/pi.secrets.v1.Secrets/Access",
    "/pi.secrets.v1.Secrets/List",
    "/pi.secrets.v1.Secrets/Update",
    "/pi.secrets.v1.Secrets/Delete",
    "/pi.secrets.v1.Secrets/Watch",
    "/pi.regions.v1.Regions/ListRegions",
    "/pi.regions.v1.Regions/GetRegion",
    "/pi.admin.v1.Admin/Bootstrap",
    "/pi.admin.v1.Admin/SetQuota",
    "/pi.admin.v1.Admin/Status",
    "/pi.raft.v1.Routing/GetMembers",
];

/// Sends and receives bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

async fn send(node: &Harness, method: &str, bytes: Bytes) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(node.channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(method).unwrap();
    let stream = grpc.server_streaming(tenant("acme", bytes), path, Raw).await?;
    stream.into_inner().message().await.map(|_| ())
}

#[tokio::test]
async fn garbage_and_oversized_messages_are_refused_with_details_at_every_rpc() {
    let node = Harness::start().await;
    let oversized = {
        // A valid message: an unknown field of 300,000 bytes.
        let mut bytes = vec![0xfa, 0x3f, 0xe0, 0xa7, 0x12];
        bytes.resize(bytes.len() + 300_000, b'x');
        Bytes::from(bytes)
    };
    let truncated = Bytes::from_static(b"\x0a\xff\x01abc");
    let not_utf8 = Bytes::from_static(b"\x0a\x02\xff\xfe");
    let not_protobuf = Bytes::from_static(&[0xff; 64]);
    for method in METHODS {
        for (what, bytes) in [
            ("oversized", &oversized),
            ("truncated", &truncated),
            ("not UTF-8", &not_utf8),
            ("not protobuf", &not_protobuf),
        ] {
            let takes_no_fields = method.ends_with("ListRegions") && matches!(what, "not UTF-8");
            if takes_no_fields {
                continue;
            }
            let details = refusal(send(&node, method, bytes.clone()).await);
            assert_eq!(details.code, Code::InvalidArgument, "{method}, {what}: {}", details.message);
            assert_eq!(details.reason.as_deref(), Some("INVALID_ARGUMENT"), "{method}, {what}");
        }
    }
    assert!(node.create("db").await.is_ok(), "the node goes on");
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_and_huge_metadata_ends_only_its_own_request() {
    let node = Harness::start_with(Limits { header_bytes_max: 8 * 1024, ..Limits::default() }).await;
    let status = send(&node, "/pi.secrets.v1.Secrets/Nonsense", Bytes::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let mut request = tenant("acme", list_request());
    request.metadata_mut().insert("x-huge", "x".repeat(64 * 1024).parse().unwrap());
    assert!(node.secrets().list(request).await.is_err());
    assert!(node.create("db").await.is_ok(), "the node goes on");
}
