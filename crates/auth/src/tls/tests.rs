//! Real handshakes over loopback sockets, with certificates of a real CA: who gets in, who does not, and what a reload
//! changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::pki::{self, Ca, Validity};

const NODE_1: &str = "pi://prod/region/us/node/1";
const NODE_2: &str = "pi://prod/region/us/node/2";
const GATEWAY: &str = "pi://prod/gateway/gw-1";
const TIMEOUT: Duration = Duration::from_secs(10);

/// CAs and certificates in a directory of their own.
struct Shop {
    dir: TempDir,
    ca: Ca,
}

impl Shop {
    fn new() -> Self {
        Self::of("prod")
    }

    fn of(cluster: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = pki::create_ca(dir.path(), &cluster.parse().unwrap(), SystemTime::now()).unwrap();
        Self { dir, ca }
    }

    fn issue(&self, uri: &str, validity: Validity) -> pki::Issued {
        pki::issue(&self.ca, &uri.parse().unwrap(), &["localhost".into(), "127.0.0.1".into()], validity)
            .unwrap()
    }

    /// Files of a peer, in `<dir>/<stem>.*`.
    fn paths(&self, stem: &str, uri: &str) -> Paths {
        let pair = self.issue(uri, days(30)).write(self.dir.path(), stem).unwrap();
        Paths { ca: Some(self.ca.certificate_path().to_owned()), pair: Some(pair) }
    }

    fn peer(&self, stem: &str, uri: &str) -> Arc<Material> {
        Material::load(self.paths(stem, uri)).unwrap()
    }

    /// What a user has.
    fn user(&self) -> Arc<Material> {
        Material::load(Paths { ca: Some(self.ca.certificate_path().to_owned()), pair: None }).unwrap()
    }
}

fn days(days: u32) -> Validity {
    Validity::days(SystemTime::now(), days)
}

fn node(id: u64) -> Expected {
    Expected::node(&"prod".parse().unwrap(), &"us".parse().unwrap(), id)
}

fn nodes() -> Expected {
    Expected::node_of(&"prod".parse().unwrap(), &"us".parse().unwrap())
}

fn gateways() -> Expected {
    Expected::gateway(&"prod".parse().unwrap())
}

/// What each side said at the end: the identity it saw, or its error.
#[derive(Debug)]
struct Outcome {
    server: Result<Option<PeerIdentity>, String>,
    client: Result<Option<PeerIdentity>, String>,
}

impl Outcome {
    #[track_caller]
    fn server_refuses(&self, why: &str) {
        let error = self.server.as_ref().expect_err("the server let it in");
        assert!(error.contains(why), "server: {error}");
        assert!(self.client.is_err(), "the client noticed nothing");
    }

    #[track_caller]
    fn client_refuses(&self, why: &str) {
        let error = self.client.as_ref().expect_err("the client went on");
        assert!(error.contains(why), "client: {error}");
        assert!(self.server.is_err(), "the server noticed nothing");
    }

    #[track_caller]
    fn both_accept(&self, server_sees: Option<&str>, client_sees: Option<&str>) {
        let parsed = |uri: Option<&str>| uri.map(|uri| uri.parse().unwrap());
        assert_eq!(self.server, Ok(parsed(server_sees)));
        assert_eq!(self.client, Ok(parsed(client_sees)));
    }
}

async fn handshake(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Outcome {
    handshake_as(server, client, peer_server_name()).await
}

/// A handshake and a byte each way: in TLS 1.3 a client learns with its first read that it was refused.
async fn handshake_as(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(server).accept(socket).await.map_err(text)?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(text)?;
        stream.write_all(&byte).await.map_err(text)?;
        stream.shutdown().await.map_err(text)?;
        Ok(PeerIdentity::of_connection(stream.get_ref().1))
    };
    let connect = async {
        let socket = TcpStream::connect(address).await.unwrap();
        let mut stream = TlsConnector::from(client).connect(name, socket).await.map_err(text)?;
        stream.write_all(b"x").await.map_err(text)?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(text)?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        Ok(PeerIdentity::of_connection(stream.get_ref().1))
    };
    let both = async { tokio::join!(serve, connect) };
    let (server, client) = tokio::time::timeout(TIMEOUT, both).await.expect("a handshake hangs");
    Outcome { server, client }
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// A server that asks for `clients`, and a client that expects `servers`.
async fn meet(
    server: &Arc<Material>,
    clients: Expected,
    client: &Arc<Material>,
    servers: Expected,
) -> Outcome {
    let server = server_config(server, ClientAuth::Required(clients)).unwrap();
    let client = client_config(client, ServerAuth::Peer(servers)).unwrap();
    handshake(server, client).await
}

#[tokio::test]
async fn peers_of_one_cluster_know_each_other() {
    let shop = Shop::new();
    let (one, two) = (shop.peer("one", NODE_1), shop.peer("two", NODE_2));
    let gateway = shop.peer("gateway", GATEWAY);
    meet(&one, nodes(), &two, node(1)).await.both_accept(Some(NODE_2), Some(NODE_1));
    meet(&one, gateways(), &gateway, nodes()).await.both_accept(Some(GATEWAY), Some(NODE_1));
    let both = Expected::GatewayOrNodeOf { cluster: "prod".parse().unwrap(), region: "us".parse().unwrap() };
    meet(&one, both.clone(), &gateway, node(1)).await.both_accept(Some(GATEWAY), Some(NODE_1));
    meet(&one, both, &two, node(1)).await.both_accept(Some(NODE_2), Some(NODE_1));
}

#[tokio::test]
async fn a_node_refuses_clients_that_are_not_who_it_expects() {
    let shop = Shop::new();
    let one = shop.peer("one", NODE_1);
    for (stem, uri, expected) in [
        ("region", "pi://prod/region/eu/node/2", nodes()),
        ("gateway", GATEWAY, nodes()),
        ("node", NODE_2, gateways()),
        ("third", "pi://prod/region/us/node/3", node(2)),
    ] {
        let client = shop.peer(stem, uri);
        let outcome = meet(&one, expected.clone(), &client, node(1)).await;
        outcome.server_refuses(&format!("expected {expected}, but the peer is {uri}"));
    }
}

#[tokio::test]
async fn a_client_refuses_servers_that_are_not_who_it_expects() {
    let shop = Shop::new();
    let two = shop.peer("two", NODE_2);
    let anybody =
        Expected::GatewayOrNodeOf { cluster: "prod".parse().unwrap(), region: "us".parse().unwrap() };
    for (stem, uri, expected) in [
        ("region", "pi://prod/region/eu/node/1", node(1)),
        ("region-any", "pi://prod/region/eu/node/1", nodes()),
        ("third", "pi://prod/region/us/node/3", node(1)),
        ("itself", NODE_2, node(1)),
        ("gateway", GATEWAY, nodes()),
        ("node", NODE_1, gateways()),
    ] {
        let server = shop.peer(stem, uri);
        let outcome = meet(&server, anybody.clone(), &two, expected.clone()).await;
        outcome.client_refuses(&format!("expected {expected}, but the peer is {uri}"));
    }
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused_by_both_sides() {
    let (shop, impostor) = (Shop::new(), Shop::new());
    let (one, two) = (shop.peer("one", NODE_1), shop.peer("two", NODE_2));
    let (false_one, false_two) = (impostor.peer("one", NODE_1), impostor.peer("two", NODE_2));
    meet(&false_one, nodes(), &two, node(1)).await.client_refuses("UnknownIssuer");
    // A client that trusts the server and shows the certificate of the impostor.
    let mixed = client_with(&shop, &impostor.issue(NODE_2, days(1)));
    let server = server_config(&one, ClientAuth::Required(nodes())).unwrap();
    handshake(server, mixed).await.server_refuses("UnknownIssuer");
    meet(&one, nodes(), &false_two, node(1)).await.client_refuses("UnknownIssuer");
}

/// A client without our checks of its own certificate.
fn client_with(trusts: &Shop, shows: &pki::Issued) -> Arc<ClientConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let material = trusts.user();
    let chain = vec![CertificateDer::from_pem_slice(shows.certificate_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(shows.key_pem.as_bytes()).unwrap();
    let verifier = PeerServers { material: material.clone(), expected: nodes() };
    let config = ClientConfig::builder_with_provider(material.provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key);
    let mut config = config.unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let shop = Shop::new();
    let one = shop.peer("one", NODE_1);
    let now = SystemTime::now();
    let minute = Duration::from_secs(60);
    let past = Validity { not_before: now - 10 * minute, not_after: now - minute };
    let server = server_config(&one, ClientAuth::Required(nodes())).unwrap();
    handshake(server, client_with(&shop, &shop.issue(NODE_2, past))).await.server_refuses("expired");
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in_unless_it_is_optional() {
    let shop = Shop::new();
    let (one, user) = (shop.peer("one", NODE_1), shop.user());
    let client = client_config(&user, ServerAuth::Name).unwrap();
    let name = || ServerName::try_from("localhost").unwrap();
    let required = server_config(&one, ClientAuth::Required(nodes())).unwrap();
    handshake_as(required, client.clone(), name()).await.server_refuses("peer sent no certificates");
    let optional = server_config(&one, ClientAuth::Optional(gateways())).unwrap();
    handshake_as(optional.clone(), client, name()).await.both_accept(None, Some(NODE_1));
    // Optional is not careless: who shows one must be the right one.
    let two = client_config(&shop.peer("two", NODE_2), ServerAuth::Peer(node(1))).unwrap();
    handshake(optional.clone(), two).await.server_refuses("expected");
    let gateway = client_config(&shop.peer("gateway", GATEWAY), ServerAuth::Peer(node(1))).unwrap();
    handshake(optional, gateway).await.both_accept(Some(GATEWAY), Some(NODE_1));
}

#[tokio::test]
async fn a_user_verifies_a_gateway_by_its_name_or_address() {
    let shop = Shop::new();
    let server = server_config(&shop.peer("gateway", GATEWAY), ClientAuth::None).unwrap();
    let client = client_config(&shop.user(), ServerAuth::Name).unwrap();
    for name in ["localhost", "127.0.0.1"] {
        let name = ServerName::try_from(name).unwrap();
        handshake_as(server.clone(), client.clone(), name).await.both_accept(None, Some(GATEWAY));
    }
    let other = ServerName::try_from("gateway.example").unwrap();
    handshake_as(server.clone(), client, other).await.client_refuses("not valid for name");
    let stranger = client_config(&Shop::new().user(), ServerAuth::Name).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    handshake_as(server, stranger, name).await.client_refuses("UnknownIssuer");
}

#[tokio::test]
async fn a_plaintext_client_is_refused() {
    let shop = Shop::new();
    let server = server_config(&shop.peer("one", NODE_1), ClientAuth::Required(nodes())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let accepted = tokio::time::timeout(TIMEOUT, TlsAcceptor::from(server).accept(socket)).await.unwrap();
    let Err(error) = accepted else { panic!("plaintext got in") };
    assert!(error.to_string().contains("corrupt message"), "{error}");
}

#[tokio::test]
async fn tls_1_2_is_refused_on_both_sides() {
    let shop = Shop::new();
    let one = shop.peer("one", NODE_1);
    let server = server_config(&one, ClientAuth::None).unwrap();
    let roots = one.current().trust.as_ref().unwrap().roots.clone();
    let old_client = ClientConfig::builder_with_provider(one.provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let outcome = handshake_as(server, Arc::new(old_client), name.clone()).await;
    outcome.server_refuses("Tls12NotOfferedOrEnabled");
    let old_server = ServerConfig::builder_with_provider(one.provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(one.clone())));
    let client = client_config(&shop.user(), ServerAuth::Name).unwrap();
    let outcome = handshake_as(Arc::new(old_server), client, name).await;
    assert!(outcome.server.is_err() && outcome.client.is_err(), "{outcome:?}");
}

/// Puts a new pair in the place of the old one, as an operator or a tool would.
fn replace(paths: &Paths, issued: &pki::Issued) {
    let pair = paths.pair.as_ref().unwrap();
    let fresh = |path: &PathBuf, text: &str| {
        let next = path.with_extension("next");
        files::create_private(&next, text.as_bytes()).unwrap();
        std::fs::rename(next, path).unwrap();
    };
    fresh(&pair.certificate, &issued.certificate_pem);
    fresh(&pair.key, &issued.key_pem);
}

#[tokio::test]
async fn a_reload_shows_the_new_certificate_without_a_new_configuration() {
    let shop = Shop::new();
    let paths = shop.paths("one", NODE_1);
    let one = Material::load(paths.clone()).unwrap();
    let server = server_config(&one, ClientAuth::Required(nodes())).unwrap();
    let client = client_config(&shop.peer("two", NODE_2), ServerAuth::Peer(node(1))).unwrap();
    let before = leaf_seen(&server, &client).await;
    assert_eq!(one.poll().unwrap(), Reload::Unchanged);
    assert_eq!(leaf_seen(&server, &client).await, before);

    replace(&paths, &shop.issue(NODE_1, days(90)));
    assert_eq!(leaf_seen(&server, &client).await, before, "nobody looked yet");
    let old_end = one.not_after_ms().unwrap();
    assert_eq!(one.poll().unwrap(), Reload::Reloaded);
    assert_eq!(one.poll().unwrap(), Reload::Unchanged);
    assert_ne!(leaf_seen(&server, &client).await, before);
    let days_more = (one.not_after_ms().unwrap() - old_end) / 86_400_000;
    assert!((59..=60).contains(&days_more), "{days_more}");
}

async fn leaf_seen(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (served, connected) = tokio::join!(
        TlsAcceptor::from(server.clone()).accept(accepted),
        TlsConnector::from(client.clone()).connect(peer_server_name(), socket),
    );
    served.unwrap();
    connected.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn an_authority_is_replaced_through_a_bundle_of_both() {
    let (old, new) = (Shop::new(), Shop::new());
    let bundle = old.dir.path().join("bundle.crt");
    let pem = |shop: &Shop| std::fs::read_to_string(shop.ca.certificate_path()).unwrap();
    let trust = |text: String| {
        let next = bundle.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &bundle).unwrap();
    };
    trust(pem(&old));
    let mut paths = old.paths("one", NODE_1);
    paths.ca = Some(bundle.clone());
    let one = Material::load(paths.clone()).unwrap();
    let server = server_config(&one, ClientAuth::Required(nodes())).unwrap();
    let old_client = client_with(&old, &old.issue(NODE_2, days(1)));
    let new_client = client_with(&old, &new.issue(NODE_2, days(1)));
    handshake(server.clone(), new_client.clone()).await.server_refuses("UnknownIssuer");

    trust(format!("{}{}", pem(&old), pem(&new)));
    assert_eq!(one.poll().unwrap(), Reload::Reloaded);
    handshake(server.clone(), old_client).await.both_accept(Some(NODE_2), Some(NODE_1));
    handshake(server.clone(), new_client).await.both_accept(Some(NODE_2), Some(NODE_1));

    replace(&paths, &new.issue(NODE_1, days(1)));
    trust(pem(&new));
    assert_eq!(one.poll().unwrap(), Reload::Reloaded);
    let old_client = client_with(&new, &old.issue(NODE_2, days(1)));
    let new_client = client_with(&new, &new.issue(NODE_2, days(1)));
    handshake(server.clone(), old_client).await.server_refuses("UnknownIssuer");
    handshake(server, new_client).await.both_accept(Some(NODE_2), Some(NODE_1));
}

#[test]
fn a_reload_that_fails_changes_nothing_and_is_tried_again() {
    let shop = Shop::new();
    let paths = shop.paths("one", NODE_1);
    let one = Material::load(paths.clone()).unwrap();
    let end = one.not_after_ms();
    let certificate = &paths.pair.as_ref().unwrap().certificate;
    // The new certificate is there, its key not yet.
    let issued = shop.issue(NODE_1, days(90));
    std::fs::write(certificate, &issued.certificate_pem).unwrap();
    assert!(matches!(one.poll(), Err(Error::KeyMismatch { .. })));
    assert!(matches!(one.poll(), Err(Error::KeyMismatch { .. })), "it must not be taken as seen");
    assert_eq!(one.not_after_ms(), end);
    std::fs::remove_file(certificate).unwrap();
    assert!(matches!(one.poll(), Err(Error::File(_))));
    replace(&paths, &issued);
    assert_eq!(one.poll().unwrap(), Reload::Reloaded);
    assert_ne!(one.not_after_ms(), end);
    replace(&paths, &shop.issue(NODE_2, days(90)));
    assert!(matches!(one.poll(), Err(Error::IdentityChanged { .. })));
    assert_eq!(one.identity().unwrap().to_string(), NODE_1);
}

#[test]
fn material_that_no_peer_would_accept_is_refused_at_start_naming_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let (shop, other) = (Shop::new(), Shop::new());
    let good = shop.paths("good", NODE_1);
    let pair = good.pair.clone().unwrap();
    let refusal = |paths: Paths| Material::load(paths).err().expect("must be refused");
    let with_pair = |pair: Pair| Paths { ca: good.ca.clone(), pair: Some(pair) };
    let strange = other.issue(NODE_1, days(1)).write(shop.dir.path(), "strange").unwrap();
    assert!(matches!(refusal(with_pair(strange.clone())), Error::NotOfCa { .. }));
    let mixed = Pair { key: strange.key, ..pair.clone() };
    assert!(matches!(refusal(with_pair(mixed)), Error::KeyMismatch { .. }));
    let swapped = Pair { certificate: pair.key.clone(), key: pair.key.clone() };
    assert!(matches!(refusal(with_pair(swapped)), Error::NoPem { what: "CERTIFICATE", .. }));
    let no_key = Pair { key: pair.certificate.clone(), ..pair.clone() };
    assert!(matches!(refusal(with_pair(no_key)), Error::NoPem { what: "PRIVATE KEY", .. }));
    let now = SystemTime::now();
    let minute = Duration::from_secs(60);
    let past = Validity { not_before: now - 10 * minute, not_after: now - minute };
    let expired = shop.issue(NODE_1, past).write(shop.dir.path(), "expired").unwrap();
    assert!(matches!(refusal(with_pair(expired)), Error::Expired { ago_s: 59..=120, .. }));
    let future = Validity { not_before: now + minute, not_after: now + 2 * minute };
    let early = shop.issue(NODE_1, future).write(shop.dir.path(), "early").unwrap();
    assert!(matches!(refusal(with_pair(early)), Error::NotYetValid { .. }));
    std::fs::set_permissions(&pair.key, PermissionsExt::from_mode(0o644)).unwrap();
    let open = refusal(good.clone());
    assert!(matches!(open, Error::File(files::Error::Open { mode: 0o644, .. })));
    assert!(open.to_string().contains("good.key"), "{open}");
}

#[test]
fn a_configuration_that_needs_an_absent_file_says_which() {
    let shop = Shop::new();
    let user = shop.user();
    assert!(matches!(server_config(&user, ClientAuth::None), Err(Error::NotConfigured { .. })));
    assert!(matches!(client_config(&user, ServerAuth::Peer(node(1))), Err(Error::NotConfigured { .. })));
    let pair = shop.issue(GATEWAY, days(1)).write(shop.dir.path(), "gateway").unwrap();
    let shown = Material::load(Paths { ca: None, pair: Some(pair) }).unwrap();
    assert!(server_config(&shown, ClientAuth::None).is_ok());
    assert!(matches!(server_config(&shown, ClientAuth::Required(nodes())), Err(Error::NotConfigured { .. })));
    assert!(matches!(client_config(&shown, ServerAuth::Name), Err(Error::NotConfigured { .. })));
    let gateway: PeerIdentity = GATEWAY.parse().unwrap();
    assert_eq!((shown.identity(), shown.ca_not_after_ms()), (Some(gateway), None));
}

#[test]
fn configurations_print_no_keys() {
    let shop = Shop::new();
    let one = shop.peer("one", NODE_1);
    let server = server_config(&one, ClientAuth::Required(nodes())).unwrap();
    let client = client_config(&one, ServerAuth::Peer(node(1))).unwrap();
    let printed = format!("{server:?}{client:?}");
    assert!(printed.contains("Resolver") && printed.len() < 20_000, "{} bytes", printed.len());
    assert!(!printed.to_lowercase().contains("private"), "{printed}");
}
