//! What the gateway makes of a node's answers: their timing, frame by frame, and refusals of every kind.
//!
//! The node speaks h2 itself, so that a test decides when which frame is sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use pi_gateway::Server;
use pi_gateway::config::{Config, ENV_PREFIX};
use pi_proto::raft::v1 as raft;
use pi_proto::reason;
use pi_proto::regions::v1::ListRegionsRequest;
use pi_proto::regions::v1::regions_client::RegionsClient;
use pi_proto::secrets::v1::secrets_client::SecretsClient;
use pi_proto::secrets::v1::{CreateRequest, CreateResponse, Secret, WatchRequest, WatchResponse};
use pi_proto::status::{decode, status};
use pi_runtime::shutdown::Shutdown;
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// A part of an answer.
#[derive(Clone)]
enum Part {
    Data(Bytes),
    Wait(Duration),
    /// Trailers, which are last.
    Ended(Status),
    /// The answer breaks off.
    Reset,
    /// Nothing more, for as long as the test runs.
    Hang,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Vec<Part>>,
    seen: Vec<HeaderMap>,
    members: raft::GetMembersResponse,
}

/// A node that answers part by part as it is told; a request without an answer told is created well.
#[derive(Clone)]
struct Node {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Node {
    async fn start() -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Node { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = node.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let node = serving.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(node.clone().answer(request, respond));
                    }
                });
            }
        });
        node
    }

    fn script(&self, answers: impl IntoIterator<Item = Vec<Part>>) {
        self.state.lock().unwrap().answers.extend(answers);
    }

    fn seen(&self) -> Vec<HeaderMap> {
        self.state.lock().unwrap().seen.clone()
    }

    async fn answer(
        self,
        request: http::Request<h2::RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
    ) {
        let parts = self.parts_for(&request);
        let mut response = Response::new(());
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut stream = respond.send_response(response, false).unwrap();
        for part in parts {
            match part {
                Part::Data(data) => stream.send_data(data, false).unwrap(),
                Part::Wait(time) => tokio::time::sleep(time).await,
                Part::Ended(status) => {
                    let mut trailers = HeaderMap::new();
                    status.add_header(&mut trailers).unwrap();
                    // The gateway may have turned away meanwhile.
                    drop(stream.send_trailers(trailers));
                    return;
                }
                Part::Reset => return stream.send_reset(h2::Reason::INTERNAL_ERROR),
                Part::Hang => std::future::pending().await,
            }
        }
    }

    fn parts_for(&self, request: &http::Request<h2::RecvStream>) -> Vec<Part> {
        let mut state = self.state.lock().unwrap();
        if request.uri().path() == "/pi.raft.v1.Routing/GetMembers" {
            return vec![Part::Data(message(&state.members)), ended()];
        }
        state.seen.push(request.headers().clone());
        state.answers.pop_front().unwrap_or_else(|| vec![created(), ended()])
    }
}

/// Nodes 1, 2, … of the region `eu`; the first leads.
async fn nodes<const N: usize>() -> [Node; N] {
    let mut all = Vec::new();
    for _ in 0..N {
        all.push(Node::start().await);
    }
    let members = (1..).zip(&all).map(|(id, node)| raft::Node {
        id,
        raft_address: String::new(),
        client_address: node.address.to_string(),
    });
    let members = raft::GetMembersResponse {
        cluster: "test".to_owned(),
        region: "eu".to_owned(),
        nodes: members.collect(),
        leader_id: 1,
        term: 1,
        membership_index: 1,
    };
    all.iter().for_each(|node| node.state.lock().unwrap().members = members.clone());
    all.try_into().unwrap_or_else(|_| unreachable!("N were started"))
}

fn message(message: &impl Message) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut body).unwrap();
    body.freeze()
}

fn created() -> Part {
    created_with("a")
}

fn created_with(name: &str) -> Part {
    let secret = Secret { name: name.to_owned(), ..Secret::default() };
    Part::Data(message(&CreateResponse { secret: Some(secret), ..CreateResponse::default() }))
}

fn seen_change(revision: u64) -> Part {
    Part::Data(message(&WatchResponse { revision, ..WatchResponse::default() }))
}

fn ended() -> Part {
    Part::Ended(Status::new(Code::Ok, ""))
}

/// A refusal without the mark that nothing was proposed.
fn refused(code: Code, reason: &'static str) -> Vec<Part> {
    vec![Part::Ended(status(code, reason, "refused by the test", &[]).build())]
}

fn not_proposed(reason: &'static str, leader: Option<u64>) -> Vec<Part> {
    let refusal = status(Code::Unavailable, reason, "refused by the test", &[]);
    vec![Part::Ended(refusal.not_proposed(leader).build())]
}

/// A gateway before these nodes, which has found the leader.
async fn gateway(nodes: &[Node], settings: &[(&str, &str)]) -> SecretsClient<Channel> {
    let seeds: Vec<_> = nodes.iter().map(|node| format!("'{}'", node.address)).collect();
    let text = format!(
        "listen = '127.0.0.1:0'\n[nodes]\nrefresh_without_leader_ms = 20\nrefresh_ms = 60000\n\
         [[regions]]\nname = 'eu'\nseeds = [{}]\n",
        seeds.join(", ")
    );
    let flags: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let file = Some((std::path::Path::new("test.toml"), text.as_str()));
    let config: Config =
        pi_runtime::config::from_sources(file, ENV_PREFIX, std::iter::empty(), &flags).unwrap();
    let server = Server::bind(config).await.unwrap();
    let address = format!("http://{}", server.local_address());
    tokio::spawn(server.run(Shutdown::new()));
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut regions = RegionsClient::new(channel.clone());
    for _ in 0..200 {
        let known = regions.list_regions(ListRegionsRequest {}).await.unwrap().into_inner();
        if known.regions.iter().all(|region| region.available) {
            return SecretsClient::new(channel);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no leader found");
}

fn create() -> CreateRequest {
    CreateRequest { region: "eu".to_owned(), name: "a".to_owned(), ..CreateRequest::default() }
}

fn watch() -> WatchRequest {
    WatchRequest { region: "eu".to_owned(), ..WatchRequest::default() }
}

/// Code and reason.
fn kind(status: &Status) -> (Code, Option<String>) {
    (status.code(), decode(status).reason)
}

fn is(code: Code, reason: &str) -> (Code, Option<String>) {
    (code, Some(reason.to_owned()))
}

const ONE_STREAM: (&str, &str) = ("limits.streams_per_region_max", "1");

/// A gateway whose one place for streams is taken, as long as the second part lives.
async fn without_room_for_streams(node: &Node) -> (SecretsClient<Channel>, tonic::Streaming<WatchResponse>) {
    let mut raw = gateway(std::slice::from_ref(node), &[ONE_STREAM]).await;
    node.script([vec![seen_change(1), Part::Hang]]);
    let taken = raw.watch(watch()).await.unwrap().into_inner();
    (raw, taken)
}

#[tokio::test]
async fn an_answer_whose_trailers_come_late_is_not_taken_for_a_stream_to_be_shed() {
    let [node] = nodes().await;
    let (mut raw, _taken) = without_room_for_streams(&node).await;
    let pause = || Part::Wait(Duration::from_millis(200));
    // More than one frame of HTTP/2, and the head of a message torn apart.
    let large = "n".repeat(50_000);
    let Part::Data(bytes) = created_with(&large) else { unreachable!() };
    let torn = [bytes.slice(..3), bytes.slice(3..20_000), bytes.slice(20_000..)].map(Part::Data);
    let [start, middle, end] = torn;
    node.script([
        vec![created(), pause(), ended()],
        vec![start, pause(), middle, pause(), end, pause(), ended()],
    ]);
    for name in ["a", &large] {
        let answer = raw.create(create()).await.unwrap().into_inner();
        assert!(answer.secret.unwrap().name == name, "the answer is the node's, whole");
    }
    assert_eq!(node.seen().len(), 3, "and nothing was asked twice");
}

#[tokio::test]
async fn without_room_a_stream_is_shed_and_what_may_be_an_answer_has_an_unknown_outcome() {
    let [node] = nodes().await;
    let (mut raw, _taken) = without_room_for_streams(&node).await;
    let pause = Part::Wait(Duration::from_millis(100));
    node.script([vec![seen_change(1), pause, seen_change(2), Part::Hang]]);
    let error = raw.watch(watch()).await.unwrap_err();
    assert_eq!(kind(&error), is(Code::Unavailable, reason::OVERLOADED));
    // Nothing more comes: an answer without its trailers, or a stream that is quiet.
    node.script([vec![created(), Part::Hang]]);
    let error = raw.create(create()).await.unwrap_err();
    assert_eq!(kind(&error), is(Code::Unavailable, reason::OUTCOME_UNKNOWN));
    let id = node.seen().last().unwrap()["pi-request-id"].to_str().unwrap().to_owned();
    assert!(error.message().contains(&id), "{error}");
}

fn timeout_of(request: &HeaderMap) -> Duration {
    let value = request["grpc-timeout"].to_str().unwrap();
    let (digits, unit) = value.split_at(value.len() - 1);
    let count: u64 = digits.parse().unwrap();
    if unit == "S" { Duration::from_secs(count) } else { Duration::from_millis(count) }
}

#[tokio::test]
async fn the_node_learns_the_clients_own_deadline_and_only_the_first_message_has_the_gateways() {
    let [node] = nodes().await;
    let mut raw = gateway(std::slice::from_ref(&node), &[("limits.deadline_max_ms", "300")]).await;
    let with_an_hour = |seconds| {
        let mut request = Request::new(watch());
        request.set_timeout(Duration::from_secs(seconds));
        request
    };
    let late = Part::Wait(Duration::from_millis(500));
    node.script([vec![seen_change(1), late, seen_change(2), Part::Hang], vec![Part::Hang]]);
    let mut stream = raw.watch(with_an_hour(3_600)).await.unwrap().into_inner();
    for revision in [1, 2] {
        assert_eq!(stream.message().await.unwrap().unwrap().revision, revision);
    }
    assert!(timeout_of(&node.seen()[0]) > Duration::from_secs(3_500), "{:?}", node.seen()[0]);

    let started = Instant::now();
    let error = raw.watch(with_an_hour(3_600)).await.unwrap_err();
    assert_eq!(kind(&error), is(Code::DeadlineExceeded, reason::OUTCOME_UNKNOWN));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_overloaded_leader_stays_the_leader_and_gets_a_pause() {
    let all: [Node; 3] = nodes().await;
    let mut raw = gateway(&all, &[]).await;
    // It names itself; or says nothing about who leads, which is no evidence against it.
    for leader in [Some(1), None] {
        let before = all[0].seen().len();
        all[0].script(std::iter::repeat_n(not_proposed(reason::OVERLOADED, leader), 3));
        let started = Instant::now();
        raw.create(create()).await.unwrap();
        assert_eq!(all[0].seen().len() - before, 4);
        assert!(started.elapsed() > Duration::from_millis(60), "{:?}", started.elapsed());
    }
    assert_eq!((all[1].seen().len(), all[2].seen().len()), (0, 0), "nobody else was asked");

    // For as long as it lasts, in its own words.
    all[0].script(std::iter::repeat_n(not_proposed(reason::OVERLOADED, Some(1)), 100));
    let error = raw.create(create()).await.unwrap_err();
    assert_eq!(kind(&error), is(Code::Unavailable, reason::OVERLOADED));
    assert!(!decode(&error).not_proposed && decode(&error).leader.is_none());
}

#[tokio::test]
async fn after_an_attempt_without_an_answer_a_refusal_at_the_door_decides_nothing() {
    let [node] = nodes().await;
    let mut raw = gateway(std::slice::from_ref(&node), &[]).await;
    for (code, reason) in [
        (Code::Unauthenticated, reason::UNAUTHENTICATED),
        (Code::PermissionDenied, reason::PERMISSION_DENIED),
        (Code::Unavailable, reason::REGION_UNAVAILABLE),
    ] {
        node.script([vec![Part::Reset], refused(code, reason)]);
        let error = raw.create(create()).await.unwrap_err();
        assert_eq!(kind(&error), is(Code::Unavailable, reason::OUTCOME_UNKNOWN), "{code:?}");
        node.script([refused(code, reason)]);
        assert_eq!(kind(&raw.create(create()).await.unwrap_err()), is(code, reason), "the only attempt");
    }
    // The region's own verdict on this request id is one.
    node.script([vec![Part::Reset], refused(Code::AlreadyExists, reason::SECRET_EXISTS)]);
    let error = raw.create(create()).await.unwrap_err();
    assert_eq!(kind(&error), is(Code::AlreadyExists, reason::SECRET_EXISTS));
}
