//! What no client of ours would send, at every method there is: an answer that says what is wrong, and nothing breaks.

use bytes::{BufMut, Bytes, BytesMut};
use pi_client::{CallOptions, secrets};
use pi_dev::Role;
use pi_e2e::raw::{Answer, Call, Connection, End, frame};
use pi_e2e::{EU, Shared, US, payload, shared, tenant};
use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tonic::Code;

/// Every method of every public service, from the protos themselves.
fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(pi_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = Vec::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("pi.")) {
        if file.package() == "pi.raft.v1" {
            continue;
        }
        for service in &file.service {
            for method in &service.method {
                methods.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    assert!(methods.len() >= 12, "{methods:?}");
    methods
}

/// A field of wire type 2.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

fn in_us(rest: &[u8]) -> Vec<u8> {
    [field(1, US.as_bytes()), rest.to_vec()].concat()
}

/// Messages that are wrong for every method, by what is wrong.
fn wrong_messages() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("no region", Vec::new()),
        ("an empty region", field(1, b"")),
        ("an unknown region", field(1, b"mars-north1")),
        ("a region that is no name", field(1, b"../../etc/passwd\0")),
        ("a region that is no UTF-8", field(1, b"\xff\xfe")),
        ("a region of 60,000 bytes", field(1, &[b'a'; 60_000])),
        ("the last of two regions, which is unknown", [in_us(&[]), field(1, b"mars-north1")].concat()),
        ("a region of another type", vec![0x08, 0x01]),
        ("field number 0", vec![0x02, 0x00]),
        ("a length beyond the end", in_us(&[0x12, 0x7f, b'x'])),
        ("a varint without an end", in_us(&[0xff; 12])),
        ("an unmatched end of a group", in_us(&[0x14])),
        ("fields of the wrong wire type", in_us(&[0x10, 0x01, 0x18, 0x01, 0x39, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("text that is no UTF-8", in_us(&[field(2, b"\xc3\x28"), field(3, b"\xc3\x28")].concat())),
        ("nothing but noise", vec![0xa5; 300]),
    ]
}

/// Is answered by the gateway itself and looks at no field.
const LIST_REGIONS: &str = "/pi.regions.v1.Regions/ListRegions";

/// A refusal of ours, and not one that says that something broke here. UNIMPLEMENTED is gRPC's own word for a method or
/// an encoding that is not there, and says it all.
#[track_caller]
fn is_our_refusal(answer: &Answer, what: &str) {
    let Some(details) = answer.details() else { panic!("{what}: {answer:?}") };
    if details.code == Code::Unimplemented {
        return;
    }
    assert!(details.reason.is_some(), "{what}: an error without our ErrorInfo: {answer:?}");
    assert!(
        !matches!(details.code, Code::Ok | Code::Internal | Code::Unknown | Code::DataLoss),
        "{what}: {answer:?}"
    );
    assert!(!details.message.is_empty(), "{what}: {answer:?}");
}

/// All processes are the ones that were there before, and serve.
async fn all_is_well(cluster: &Shared) {
    for process in cluster.processes() {
        assert!(process.alive(), "{} died; see {}", process.name(), process.log().display());
        let log = std::fs::read_to_string(process.log()).unwrap();
        assert!(!log.contains("panicked"), "{} panicked; see {}", process.name(), process.log().display());
    }
    for region in [US, EU] {
        let client = cluster.client(&tenant("well"), region).unwrap();
        let request = secrets::CreateRequest {
            name: "well".to_owned(),
            payload: payload("x"),
            ..secrets::CreateRequest::default()
        };
        client.create(request, CallOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_at_every_method_are_refused_with_a_reason() {
    let cluster = shared().await.unwrap();
    let tenant = tenant("malformed");
    let connection = Connection::open(&cluster.gateways()[0]).await.unwrap();
    for method in methods().iter().filter(|method| *method != LIST_REGIONS) {
        for (what, message) in wrong_messages() {
            let answer = connection.call(&Call::new(method, &tenant, &message)).await;
            // GetRegion, List and Watch need no more than a region, and unknown fields are none of their business.
            let enough = message.starts_with(&in_us(&[]))
                && !matches!(answer, Answer::Status(ref s) if s.code() != Code::Ok);
            if enough && ["GetRegion", "List", "Watch"].iter().any(|name| method.ends_with(name)) {
                continue;
            }
            is_our_refusal(&answer, &format!("{method} with {what}"));
        }
    }
    all_is_well(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_lists_the_regions_for_a_region_that_is_not_there_and_takes_the_last_of_several() {
    let cluster = shared().await.unwrap();
    let tenant = tenant("field-one");
    let connection = Connection::open(&cluster.gateways()[0]).await.unwrap();
    let list = "/pi.secrets.v1.Secrets/List";
    let answer = connection.call(&Call::new(list, &tenant, &field(1, b"mars-north1"))).await;
    let details = answer.details().unwrap();
    assert_eq!((details.code, details.reason.as_deref()), (Code::InvalidArgument, Some("UNKNOWN_REGION")));
    assert!(details.message.contains(US) && details.message.contains(EU), "{}", details.message);

    let last_counts = [field(1, b"mars-north1"), in_us(&[])].concat();
    let answer = connection.call(&Call::new(list, &tenant, &last_counts)).await;
    assert_eq!(answer.details().map(|details| details.code), Some(Code::Ok), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_messages_at_every_method_are_refused_with_a_reason() {
    let cluster = shared().await.unwrap();
    let tenant = tenant("oversized");
    let limit = pi_types::limits::CLIENT_MESSAGE_BYTES_MAX;
    for method in methods().iter().filter(|method| *method != LIST_REGIONS) {
        // One connection each: a refusal before the end of the body may end the connection's window.
        let connection = Connection::open(&cluster.gateways()[1]).await.unwrap();
        for bytes in [limit + 1, 5 << 20] {
            let message = in_us(&field(99, &vec![b'x'; bytes]));
            let answer = connection.call(&Call::new(method, &tenant, &message)).await;
            is_our_refusal(&answer, &format!("{method} with {} bytes", message.len()));
        }
        // A length that no message will ever have.
        let mut body = BytesMut::from(&[0, 0xff, 0xff, 0xff, 0xff][..]);
        body.put_slice(&in_us(&[]));
        let call = Call { body: body.freeze(), ..Call::new(method, &tenant, &[]) };
        is_our_refusal(&connection.call(&call).await, &format!("{method} with a frame of 4 GiB"));
    }
    all_is_well(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_and_headers_are_refused_and_harm_nobody() {
    let cluster = shared().await.unwrap();
    let tenant = tenant("frames");
    let list = "/pi.secrets.v1.Secrets/List";
    let ok = Call::new(list, &tenant, &in_us(&[]));
    let compressed = [&[1][..], &frame(&in_us(&[]))[1..]].concat();
    let bodies = [
        ("no message at all", Bytes::new()),
        ("half a frame's head", Bytes::from_static(&[0, 0])),
        ("less than the frame says", Bytes::from_static(&[0, 0, 0, 0, 9, 1])),
        ("a compressed message without saying how", Bytes::from(compressed)),
        ("two messages", [frame(&in_us(&[])), frame(&in_us(&[]))].concat().into()),
        ("a flag that does not exist", Bytes::from_static(&[7, 0, 0, 0, 0])),
    ];
    let connection = Connection::open(&cluster.gateways()[0]).await.unwrap();
    for (what, body) in &bodies {
        is_our_refusal(&connection.call(&Call { body: body.clone(), ..ok.clone() }).await, what);
    }
    // A node leaves frames to tonic, which is more lenient; that it goes on is what counts.
    let node = Connection::open(&cluster.process(Role::Region, US, 1).address).await.unwrap();
    for (_, body) in &bodies {
        node.call(&Call { body: body.clone(), ..ok.clone() }).await;
    }

    for (what, call) in [
        ("no credential", ok.clone().header("authorization", "")),
        ("a credential of another kind", ok.clone().header("authorization", "Basic Ym9iOnB3")),
        ("a tenant that is no name", ok.clone().header("authorization", "Bearer insecure:../acme")),
        ("a timeout that is none", ok.clone().header("grpc-timeout", "soon")),
    ] {
        is_our_refusal(&connection.call(&call).await, what);
    }
    let mutation = Call::new("/pi.secrets.v1.Secrets/Delete", &tenant, &in_us(&field(3, b"x")));
    for (what, id) in [
        ("a request id that is none", "1"),
        ("a random one, not by time", "9f1b6e0e-7d3c-4a55-8a0e-1f0f4d2b7c11"),
        ("one from 1970", "00000000-0000-7000-8000-000000000000"),
        ("one of the far future", "ffffffff-ffff-7fff-bfff-ffffffffffff"),
    ] {
        let answer = connection.call(&mutation.clone().header("pi-request-id", id)).await;
        is_our_refusal(&answer, what);
        assert_eq!(answer.details().unwrap().code, Code::InvalidArgument, "{what}: {answer:?}");
    }
    for path in [
        "/pi.secrets.v1.Secrets/Frobnicate",
        "/pi.secrets.v2.Secrets/List",
        "/",
        "/x",
        "/pi.raft.v1.Raft/Vote",
    ] {
        let answer = connection.call(&Call { path: path.to_owned(), ..ok.clone() }).await;
        is_our_refusal(&answer, path);
        assert_eq!(answer.details().unwrap().code, Code::Unimplemented, "{path}: {answer:?}");
    }
    let huge = Connection::open(&cluster.gateways()[0]).await.unwrap();
    let answer = huge.call(&ok.clone().header("x-huge", "x".repeat(100_000))).await;
    assert!(!matches!(answer, Answer::Status(ref status) if status.code() == Code::Ok), "{answer:?}");
    let answer = connection.call(&ok).await;
    assert_eq!(answer.details().map(|details| details.code), Some(Code::Ok), "others go on: {answer:?}");
    all_is_well(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_never_ends_is_refused_at_its_deadline_at_every_method() {
    let cluster = shared().await.unwrap();
    let tenant = tenant("slow");
    let connection = Connection::open(&cluster.gateways()[0]).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for method in methods().into_iter().filter(|method| method != LIST_REGIONS) {
        let call = Call::new(&method, &tenant, &in_us(&[])).header("grpc-timeout", "500m");
        let (connection, call) = (connection.clone(), Call { end: End::Never, ..call });
        calls.spawn(async move {
            let answer = tokio::time::timeout(pi_e2e::PATIENCE, connection.call(&call)).await;
            let answer = answer.unwrap_or_else(|_| panic!("{method}: no answer"));
            is_our_refusal(&answer, &method);
            assert_eq!(answer.details().unwrap().code, Code::DeadlineExceeded, "{method}: {answer:?}");
        });
    }
    calls.join_all().await;
    all_is_well(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_behind_a_good_region_never_break_anything() {
    let cluster = shared().await.unwrap();
    let tenant = tenant("random");
    let seed = rand::random::<u64>();
    println!("seed={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let addresses = [cluster.gateways()[0].clone(), cluster.process(Role::Region, US, 1).address.clone()];
    for address in &addresses {
        let connection = Connection::open(address).await.unwrap();
        for method in methods() {
            for _ in 0..40 {
                let message = in_us(&noise(&mut random));
                let answer = connection.call(&Call::new(&method, &tenant, &message)).await;
                match &answer {
                    Answer::Streaming => {}
                    Answer::Status(status) if status.code() == Code::Ok => {}
                    // Answered by gateways only; a node does not have it.
                    _ if method == LIST_REGIONS => {}
                    _ => is_our_refusal(&answer, &format!("seed={seed}: {method}")),
                }
            }
        }
    }
    all_is_well(&cluster).await;
}

/// Bytes that look a little like fields, so that some of them get past the decoder.
fn noise(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(0..6) {
        let value: Vec<u8> = (0..random.random_range(0..40)).map(|_| random.random()).collect();
        match random.random_range(0..4) {
            0 => bytes.extend(value),
            1 => bytes.extend(field(random.random_range(2..12), &value)),
            2 => bytes.extend(field(random.random_range(2..12), b"abc")),
            _ => {
                let number = random.random_range(2..12);
                prost::encoding::encode_key(number, prost::encoding::WireType::Varint, &mut bytes);
                prost::encoding::encode_varint(random.random(), &mut bytes);
            }
        }
    }
    bytes
}
