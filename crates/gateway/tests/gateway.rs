//! The gateway between real clients and nodes that fail on demand.

#[path = "../../client/tests/support/fake.rs"]
mod fake;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fake::{Act, Fake, dead_address};
use pi_auth::Token;
use pi_client::{CallOptions, Client, Error};
use pi_gateway::Server;
use pi_gateway::config::{Config, ENV_PREFIX};
use pi_proto::reason;
use pi_proto::regions::v1::ListRegionsRequest;
use pi_proto::regions::v1::regions_client::RegionsClient;
use pi_proto::secrets::v1::secrets_client::SecretsClient;
use pi_proto::secrets::v1::{CreateRequest, GetRequest, WatchRequest};
use pi_proto::status::decode;
use pi_runtime::shutdown::Shutdown;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

struct Gateway {
    address: SocketAddr,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Gateway {
    async fn start(regions: &[(&str, Vec<SocketAddr>)], settings: &[(&str, &str)]) -> Gateway {
        let mut text =
            "listen = '127.0.0.1:0'\n[nodes]\nrefresh_without_leader_ms = 20\nrefresh_ms = 200\n".to_owned();
        for (name, seeds) in regions {
            let seeds: Vec<_> = seeds.iter().map(|seed| format!("'{seed}'")).collect();
            text.push_str(&format!("[[regions]]\nname = '{name}'\nseeds = [{}]\n", seeds.join(", ")));
        }
        let flags: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let file = Some((std::path::Path::new("test.toml"), text.as_str()));
        let config: Config =
            pi_runtime::config::from_sources(file, ENV_PREFIX, std::iter::empty(), &flags).unwrap();
        let server = Server::bind(config).await.unwrap();
        let (address, shutdown) = (server.local_address(), Shutdown::new());
        let running = tokio::spawn(server.run(shutdown.clone()));
        Gateway { address, shutdown, running }
    }

    /// A gateway for one region with these nodes, which has already found the leader.
    async fn before(nodes: &[&Fake]) -> Gateway {
        let seeds = nodes.iter().map(|node| node.address).collect();
        let gateway = Gateway::start(&[("eu", seeds)], &[]).await;
        gateway.until_available("eu").await;
        gateway
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Without retries of its own.
    async fn raw(&self) -> SecretsClient<Channel> {
        SecretsClient::new(self.channel().await).max_encoding_message_size(usize::MAX)
    }

    fn client(&self) -> Client {
        Client::builder()
            .endpoints(vec![self.address.to_string()])
            .token(Token::new("insecure:acme".to_owned()).unwrap())
            .region("eu".parse().unwrap())
            .connect_lazy()
            .unwrap()
    }

    async fn until_available(&self, region: &str) {
        for _ in 0..200 {
            let regions = self.client().list_regions(CallOptions::default()).await.unwrap();
            if regions.iter().any(|known| known.name == region && known.available) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no leader of {region} found");
    }
}

fn create(region: &str, name: &str) -> CreateRequest {
    CreateRequest { region: region.to_owned(), name: name.to_owned(), ..CreateRequest::default() }
}

fn reason_of(status: &Status) -> Option<String> {
    decode(status).reason
}

/// Three nodes of one region, the first leads.
async fn three(region: &str) -> [Fake; 3] {
    let nodes = [Fake::start(1, region).await, Fake::start(2, region).await, Fake::start(3, region).await];
    let all: Vec<&Fake> = nodes.iter().collect();
    nodes.iter().for_each(|node| node.lead(&all, 1));
    nodes
}

#[tokio::test]
async fn a_request_goes_to_the_leader_of_the_region_that_it_names() {
    let (eu, us) = (three("eu").await, three("us").await);
    let seeds = |nodes: &[Fake; 3]| vec![nodes[2].address];
    let gateway = Gateway::start(&[("eu", seeds(&eu)), ("us", seeds(&us))], &[]).await;
    gateway.until_available("eu").await;
    gateway.until_available("us").await;
    let mut raw = gateway.raw().await;
    for region in ["us", "eu", "us"] {
        let answer = raw.create(create(region, "a")).await.unwrap().into_inner();
        assert_eq!(answer.secret.unwrap().region, region);
    }
    let counts = |nodes: &[Fake; 3]| nodes.iter().map(|node| node.seen().len()).collect::<Vec<_>>();
    assert_eq!((counts(&eu), counts(&us)), (vec![1, 0, 0], vec![2, 0, 0]));
}

/// A message of no type we know, with field 1 twice, behind any method of a public package.
async fn call_raw(channel: Channel, path: &'static str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    grpc.unary(Request::new(message), path, RawCodec).await.map(tonic::Response::into_inner)
}

#[derive(Clone, Copy)]
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(to, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use bytes::Buf;
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

#[tokio::test]
async fn the_last_field_1_counts_and_public_packages_only_are_forwarded() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    let channel = gateway.channel().await;
    let twice = [b"\x0a\x02us".to_vec(), b"\x0a\x02eu".to_vec()].concat();
    call_raw(channel.clone(), "/pi.secrets.v1.Secrets/Create", twice).await.unwrap();
    assert_eq!(node.seen()[0].region, "eu");

    let eu = || b"\x0a\x02eu".to_vec();
    // Forwarded without knowing it: the node's own UNIMPLEMENTED.
    let unknown = call_raw(channel.clone(), "/pi.pods.v1.Pods/Anything", eu()).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::Unimplemented, ""));
    for path in
        ["/pi.raft.v1.Routing/GetMembers", "/pi.secrets.v2.Secrets/Create", "/pi.secrets.v1", "/x.Y/Z"]
    {
        let refused = call_raw(channel.clone(), path, eu()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(refused.message().contains("no such method here"), "{path}: {refused}");
    }
    for malformed in [b"\x0a\x05eu".to_vec(), b"\x08\x01".to_vec(), b"\x0a\x02\xff\xff".to_vec()] {
        let refused =
            call_raw(channel.clone(), "/pi.secrets.v1.Secrets/Create", malformed).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn only_allowed_metadata_goes_on_and_a_request_id_is_stamped_where_there_is_none() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    let mut raw = gateway.raw().await;
    let mut request = Request::new(create("eu", "a"));
    for (key, value) in
        [("authorization", "Bearer x"), ("traceparent", "00-1-2-01"), ("x-evil", "1"), ("pi-leader", "9")]
    {
        request.metadata_mut().insert(key, value.parse().unwrap());
    }
    request.set_timeout(Duration::from_secs(5));
    raw.create(request).await.unwrap();
    let mut request = Request::new(create("eu", "b"));
    request.metadata_mut().insert("pi-request-id", "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap());
    raw.create(request).await.unwrap();

    let [first, second] = &node.seen()[..] else { panic!("two calls") };
    let mut keys: Vec<_> = first.metadata.keys().map(String::as_str).collect();
    keys.retain(|key| !matches!(*key, "content-type" | "te"));
    assert_eq!(keys, ["authorization", "grpc-timeout", "pi-request-id", "traceparent"]);
    assert!(first.request_id().parse::<pi_types::RequestId>().is_ok(), "{first:?}");
    assert_eq!(second.request_id(), "0190163d-8694-739b-aea5-966c26f8ad91");
    assert!(!second.metadata.contains_key("grpc-timeout"), "the client set none");
}

#[tokio::test]
async fn a_leader_hint_is_followed_and_never_shown() {
    let nodes = three("eu").await;
    let gateway = Gateway::before(&[&nodes[0]]).await;
    nodes[0].script([Act::NotLeader(Some(2))]);
    let mut raw = gateway.raw().await;
    let answer = raw.create(create("eu", "a")).await.unwrap();
    assert!(answer.metadata().get("pi-leader").is_none());
    assert_eq!((nodes[0].seen().len(), nodes[1].seen().len()), (1, 1));
    assert_eq!(nodes[0].seen()[0].request_id(), nodes[1].seen()[0].request_id());
}

#[tokio::test]
async fn a_region_without_leader_is_tried_again_and_then_answers_in_the_nodes_words_without_markers() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    let mut raw = gateway.raw().await;
    node.script([Act::NotLeader(None), Act::NotLeader(None)]);
    raw.create(create("eu", "a")).await.unwrap();
    assert_eq!(node.seen().len(), 3);

    node.script(std::iter::repeat_n(Act::NotLeader(Some(1)), 1_000));
    let started = Instant::now();
    let error = raw.create(create("eu", "b")).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(2_500), "{:?}", started.elapsed());
    assert_eq!((error.code(), reason_of(&error).as_deref()), (Code::Unavailable, Some(reason::NO_LEADER)));
    let shown = decode(&error);
    assert!(!shown.not_proposed && shown.leader.is_none() && shown.retry_after.is_some(), "{shown:?}");
}

#[tokio::test]
async fn a_broken_connection_is_repeated_under_the_same_request_id() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    node.script([Act::ApplyThenCut, Act::Cut]);
    gateway.raw().await.create(create("eu", "a")).await.unwrap();
    let seen = node.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(node.applied(), [seen[2].request_id()], "done exactly once");
}

#[tokio::test]
async fn a_nodes_refusal_passes_unchanged_and_is_not_repeated() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    node.script([Act::Refuse(Code::ResourceExhausted, reason::QUOTA_EXCEEDED)]);
    let error = gateway.raw().await.create(create("eu", "a")).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::ResourceExhausted, "refused by the fake"));
    assert_eq!(reason_of(&error).as_deref(), Some(reason::QUOTA_EXCEEDED));
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn a_dead_region_answers_unavailable_fast_and_the_other_is_not_slowed() {
    let us = Fake::start(1, "us").await;
    let dead = vec![dead_address().await, dead_address().await, dead_address().await];
    let gateway = Gateway::start(&[("eu", dead), ("us", vec![us.address])], &[]).await;
    gateway.until_available("us").await;
    let channel = gateway.channel().await;
    let calls = (0..200).map(|_| {
        let mut raw = SecretsClient::new(channel.clone());
        async move {
            let started = Instant::now();
            (raw.create(create("eu", "a")).await.unwrap_err(), started.elapsed())
        }
    });
    let dead = tokio::spawn(futures::future::join_all(calls));
    let mut raw = SecretsClient::new(channel.clone());
    let mut slowest = Duration::ZERO;
    for turn in 0..50 {
        let started = Instant::now();
        raw.create(create("us", &turn.to_string())).await.unwrap();
        slowest = slowest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(slowest < Duration::from_millis(300), "{slowest:?}");
    for (error, elapsed) in dead.await.unwrap() {
        assert_eq!(
            (error.code(), reason_of(&error).as_deref()),
            (Code::Unavailable, Some(reason::REGION_UNAVAILABLE))
        );
        assert!(decode(&error).retry_after.is_some());
        assert!(elapsed < Duration::from_millis(2_500), "{elapsed:?}");
    }
    // Once it is known to be dead, the answer comes at once.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let started = Instant::now();
    raw.create(create("eu", "late")).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_leader_that_hangs_is_left_for_the_new_one() {
    let nodes = three("eu").await;
    let all: Vec<&Fake> = nodes.iter().collect();
    let gateway = Gateway::before(&all).await;
    nodes[0].script([Act::Hang]);
    let mut raw = gateway.raw().await;
    let call = tokio::spawn(async move { raw.create(create("eu", "a")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    nodes.iter().for_each(|node| node.lead(&all, 2));
    tokio::time::timeout(Duration::from_secs(3), call).await.unwrap().unwrap().unwrap();
    assert_eq!(nodes[0].seen()[0].request_id(), nodes[1].seen()[0].request_id());
}

#[tokio::test]
async fn membership_is_followed_without_a_restart() {
    let first = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&first]).await;
    let second = Fake::start(7, "eu").await;
    let both = [&first, &second];
    both.iter().for_each(|node| node.lead(&both, 7));
    let client = gateway.client();
    for turn in 0..100 {
        client.create(create("eu", &turn.to_string()), CallOptions::default()).await.unwrap();
        if !second.seen().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the new leader was never asked");
}

#[tokio::test]
async fn a_node_of_another_region_is_not_believed() {
    let (eu, us) = (Fake::start(1, "eu").await, Fake::start(1, "us").await);
    let gateway = Gateway::start(&[("eu", vec![us.address, eu.address])], &[]).await;
    gateway.until_available("eu").await;
    gateway.client().create(create("eu", "a"), CallOptions::default()).await.unwrap();
    assert_eq!((eu.seen().len(), us.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_stream_passes_through_and_tells_when_it_breaks_off() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    node.script([Act::NotLeader(None), Act::StreamThenCut(vec![1, 2, 3])]);
    let request = WatchRequest { region: "eu".to_owned(), ..WatchRequest::default() };
    let mut stream = gateway.raw().await.watch(request).await.unwrap().into_inner();
    for revision in 1..=3 {
        assert_eq!(stream.message().await.unwrap().unwrap().revision, revision);
    }
    let error = stream.message().await.unwrap_err();
    assert_eq!(
        (error.code(), reason_of(&error).as_deref()),
        (Code::Unavailable, Some(reason::OUTCOME_UNKNOWN))
    );
    assert_eq!(node.seen().len(), 2, "a stream is not repeated after its first message");
}

#[tokio::test]
async fn a_stream_outlives_every_deadline() {
    let node = Fake::start(1, "eu").await;
    let settings = [("limits.deadline_default_ms", "200"), ("limits.deadline_max_ms", "200")];
    let gateway = Gateway::start(&[("eu", vec![node.address])], &settings).await;
    gateway.until_available("eu").await;
    node.script([Act::Stream(vec![1])]);
    let request = WatchRequest { region: "eu".to_owned(), ..WatchRequest::default() };
    let mut stream = gateway.raw().await.watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(600), stream.message()).await.is_err(), "still open");
}

#[tokio::test]
async fn a_watch_of_the_client_resumes_through_the_gateway() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    node.script([Act::StreamThenCut(vec![1, 2]), Act::Stream(vec![3])]);
    let mut watch = gateway.client().watch(WatchRequest::default(), CallOptions::default()).unwrap();
    for revision in 1..=3 {
        assert_eq!(watch.next().await.unwrap().unwrap().revision, revision);
    }
    assert_eq!(node.seen()[1].resume_token, "2");
}

#[tokio::test]
async fn oversized_requests_are_refused_before_they_reach_a_node() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    for bytes in [256 * 1024, 1024 * 1024] {
        let request = CreateRequest { payload: vec![0; bytes], ..create("eu", "a") };
        let error = gateway.raw().await.create(request).await.unwrap_err();
        assert_eq!(
            (error.code(), reason_of(&error).as_deref()),
            (Code::InvalidArgument, Some(reason::PAYLOAD_TOO_LARGE))
        );
    }
    assert!(node.seen().is_empty());
    // The largest that fits arrives.
    let request = CreateRequest { payload: vec![0; 256 * 1024 - 20], ..create("eu", "a") };
    gateway.raw().await.create(request).await.unwrap();
}

#[tokio::test]
async fn an_unknown_or_missing_region_is_told_which_there_are() {
    let gateway =
        Gateway::start(&[("eu", vec![dead_address().await]), ("us", vec![dead_address().await])], &[]).await;
    let mut raw = gateway.raw().await;
    let error = raw.create(create("mars", "a")).await.unwrap_err();
    assert_eq!(
        (error.code(), reason_of(&error).as_deref()),
        (Code::InvalidArgument, Some(reason::UNKNOWN_REGION))
    );
    assert!(error.message().contains("\"mars\"; regions here: eu, us"), "{error}");
    let error = raw.create(create("", "a")).await.unwrap_err();
    assert_eq!(
        (error.code(), reason_of(&error).as_deref()),
        (Code::InvalidArgument, Some(reason::INVALID_ARGUMENT))
    );
    assert!(error.message().contains("region: is required"), "{error}");
}

#[tokio::test]
async fn the_deadline_is_kept_and_the_outcome_then_is_unknown() {
    let node = Fake::start(1, "eu").await;
    let gateway =
        Gateway::start(&[("eu", vec![node.address])], &[("limits.deadline_default_ms", "300")]).await;
    gateway.until_available("eu").await;
    node.script([Act::Hang]);
    let started = Instant::now();
    let error = gateway.raw().await.create(create("eu", "a")).await.unwrap_err();
    assert!((300..1_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(
        (error.code(), reason_of(&error).as_deref()),
        (Code::DeadlineExceeded, Some(reason::OUTCOME_UNKNOWN))
    );
    assert_eq!(decode(&error).metadata["request_id"], node.seen()[0].request_id());
}

#[tokio::test]
async fn too_many_requests_to_one_region_are_shed_and_the_other_is_served() {
    let (eu, us) = (Fake::start(1, "eu").await, Fake::start(1, "us").await);
    let regions = [("eu", vec![eu.address]), ("us", vec![us.address])];
    let gateway = Gateway::start(&regions, &[("limits.requests_per_region_max", "4")]).await;
    gateway.until_available("eu").await;
    gateway.until_available("us").await;
    eu.script(std::iter::repeat_n(Act::Hang, 4));
    let raw = gateway.raw().await;
    for _ in 0..4 {
        let mut raw = raw.clone();
        tokio::spawn(async move { raw.create(create("eu", "a")).await });
    }
    while eu.seen().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut raw = raw.clone();
    let error = raw.create(create("eu", "a")).await.unwrap_err();
    assert_eq!((error.code(), reason_of(&error).as_deref()), (Code::Unavailable, Some(reason::OVERLOADED)));
    raw.create(create("us", "a")).await.unwrap();
}

#[tokio::test]
async fn large_requests_have_places_of_their_own() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::start(&[("eu", vec![node.address])], &[("limits.large_requests_max", "1")]).await;
    gateway.until_available("eu").await;
    node.script([Act::Hang]);
    let large = || CreateRequest { payload: vec![0; 64 * 1024], ..create("eu", "large") };
    let mut raw = gateway.raw().await;
    let mut first = raw.clone();
    let held = tokio::spawn(async move { first.create(large()).await });
    while node.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = raw.create(large()).await.unwrap_err();
    assert_eq!((error.code(), reason_of(&error).as_deref()), (Code::Unavailable, Some(reason::OVERLOADED)));
    raw.create(create("eu", "small")).await.unwrap();
    held.abort();
    drop(held.await);
    // The cancellation travels to the gateway as a reset.
    let freed = async {
        while raw.create(large()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), freed).await.expect("the place is free again");
}

#[tokio::test]
async fn the_gateway_means_to_answer_before_the_clients_own_deadline() {
    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    let mut request = Request::new(create("eu", "a"));
    request.set_timeout(Duration::from_secs(20));
    gateway.raw().await.create(request).await.unwrap();
    // What is left for the node, in milliseconds: seen from outside without racing two timers.
    let left = node.seen()[0].metadata["grpc-timeout"].clone();
    let left: u64 = left.strip_suffix('m').unwrap().parse().unwrap();
    assert!((15_000..=19_900).contains(&left), "{left}");
}

#[tokio::test]
async fn too_many_streams_are_shed() {
    let node = Fake::start(1, "eu").await;
    let gateway =
        Gateway::start(&[("eu", vec![node.address])], &[("limits.streams_per_region_max", "1")]).await;
    gateway.until_available("eu").await;
    // A second message tells it from a unary answer, which is never shed after it was given.
    node.script(std::iter::repeat_n(Act::Stream(vec![1, 2]), 4));
    let request = || WatchRequest { region: "eu".to_owned(), ..WatchRequest::default() };
    let mut raw = gateway.raw().await;
    let first = raw.watch(request()).await.unwrap();
    let error = raw.watch(request()).await.unwrap_err();
    assert_eq!((error.code(), reason_of(&error).as_deref()), (Code::Unavailable, Some(reason::OVERLOADED)));
    raw.create(create("eu", "unary calls need no place among streams")).await.unwrap();
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    raw.watch(request()).await.unwrap();
}

#[tokio::test]
async fn list_regions_needs_no_credential_and_tells_which_are_available() {
    let node = Fake::start(1, "eu").await;
    let gateway =
        Gateway::start(&[("us", vec![dead_address().await]), ("eu", vec![node.address])], &[]).await;
    gateway.until_available("eu").await;
    let mut regions = RegionsClient::new(gateway.channel().await);
    let answer = regions.list_regions(ListRegionsRequest {}).await.unwrap().into_inner();
    let known: Vec<_> =
        answer.regions.iter().map(|region| (region.name.as_str(), region.available)).collect();
    assert_eq!(known, [("eu", true), ("us", false)]);
}

#[tokio::test]
async fn shutdown_turns_health_first_ends_streams_and_lets_open_requests_finish() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    let node = Fake::start(1, "eu").await;
    let gateway = Gateway::before(&[&node]).await;
    let mut health = HealthClient::new(gateway.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    node.script([Act::Stream(vec![1]), Act::Slow(Duration::from_millis(500))]);
    let request = WatchRequest { region: "eu".to_owned(), ..WatchRequest::default() };
    let mut raw = gateway.raw().await;
    let mut stream = raw.watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let slow = tokio::spawn(async move { raw.create(create("eu", "slow")).await });
    while node.seen().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    gateway.shutdown.trigger();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop(watch);
    let ended = stream.message().await.unwrap_err();
    assert!(ended.message().contains("stopping"), "{ended}");
    slow.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(5), gateway.running).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(gateway.address).await.is_err());
}

#[tokio::test]
async fn reflection_can_be_turned_off() {
    for (setting, expected) in [("on", true), ("off", false)] {
        let settings = [("reflection", setting)];
        let gateway = Gateway::start(&[("eu", vec![dead_address().await])], &settings).await;
        // ServerReflectionRequest{list_services: ""}.
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let answer = call_raw(gateway.channel().await, path, b"\x3a\x00".to_vec()).await;
        assert_eq!(
            answer.is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("pi.secrets.v1")),
            expected
        );
    }
}

#[tokio::test]
async fn the_clients_error_for_a_dead_region_says_that_nothing_changed() {
    let gateway = Gateway::start(&[("eu", vec![dead_address().await])], &[]).await;
    let options = CallOptions { deadline: Some(Duration::from_millis(2_500)), ..CallOptions::default() };
    let error = gateway.client().create(create("eu", "a"), options).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("pi region list"), "{error}");
    let options = CallOptions { deadline: Some(Duration::from_secs(1)), ..CallOptions::default() };
    let read = gateway.client().get(GetRequest::default(), options).await;
    assert!(matches!(read, Err(Error::Unavailable { .. })));
}
