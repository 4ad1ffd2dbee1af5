//! HTTPS, with certificates of `testing/certificates`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use connect_runtime::rest::RestListeners;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use crate::rest::{Answer, Rest, exchange, request, source, try_exchange};
use crate::world::World;

fn certificate(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/certificates");
    folder.join(format!("{name}.pem"))
}

fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(certificate(name)).unwrap();
    found.map(Result::unwrap).collect()
}

/// A client that trusts the tests' authority, with a certificate of its own if one is named.
fn client(own: Option<&str>, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(chain("authority").remove(0)).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(certificate(name)).unwrap();
            builder.with_client_auth_cert(chain(name), key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

async fn secure(
    rest: &Rest,
    listener: usize,
    client: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(rest.addresses[listener]).await?;
    client
        .connect("localhost".try_into().unwrap(), stream)
        .await
}

/// Asks for the connectors; an error if the server does not want this client.
async fn ask(rest: &Rest, client: &TlsConnector) -> std::io::Result<Answer> {
    let stream = secure(rest, 0, client).await?;
    // A refusal of a certificate comes only after TLS 1.3's handshake, in place of an answer.
    try_exchange(stream, request("GET /connectors", &[], "").as_bytes()).await
}

fn keystore(name: &str) -> String {
    certificate(name).display().to_string()
}

/// Why a worker with these keys cannot listen.
async fn refusal(world: &World, keys: &[(&str, &str)]) -> String {
    let mut all = vec![("listeners", "https://127.0.0.1:0")];
    all.extend(keys);
    let config = world.worker_config(&all);
    let refused = RestListeners::bind(&config.rest).await.err();
    refused.expect("it is refused").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_and_http_are_served_side_by_side() {
    let rest = Rest::start_with(&[
        ("listeners", "https://127.0.0.1:0,http://127.0.0.1:0"),
        ("ssl.keystore.location", &keystore("server")),
        ("rest.advertised.listener", "https"),
    ])
    .await;
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let answer = ask(&rest, &client(None, versions)).await.unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!([])));
    }
    let plain = rest.ask(1, "GET /connectors", &[]).await;
    assert_eq!(plain.status, 200);
    let name = "PUT /connectors/tls/config";
    let json = "Content-Type: application/json";
    let created = request(name, &[json], &source("tls", "").to_string());
    let stream = TcpStream::connect(rest.addresses[1]).await.unwrap();
    assert_eq!(exchange(stream, created.as_bytes()).await.status, 201);
    let status = rest.ask(1, "GET /connectors/tls/status", &[]).await.json();
    assert_eq!(
        status["connector"]["worker_id"],
        rest.address.to_string(),
        "the https listener is advertised"
    );
    let stream = TcpStream::connect(rest.address).await.unwrap();
    let mistaken = try_exchange(stream, request("GET /", &[], "").as_bytes()).await;
    assert!(mistaken.is_err(), "HTTP is not answered where HTTPS is");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_client_that_says_nothing() {
    let rest = Rest::start_with(&[
        ("listeners", "https://127.0.0.1:0"),
        ("ssl.keystore.location", &keystore("server")),
    ])
    .await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(rest.address).await.unwrap());
    }
    // Their handshakes have all of 10 seconds.
    let client = client(None, BOTH);
    let answer = timeout(Duration::from_secs(8), ask(&rest, &client));
    assert_eq!(answer.await.expect("in time").unwrap().status, 200);
    drop(silent);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_show_certificates_where_they_are_asked_to() {
    for (mode, nobody) in [("required", false), ("requested", true)] {
        // With a prefix, the keys without it do not count.
        let rest = Rest::start_with(&[
            ("listeners", "https://127.0.0.1:0"),
            ("ssl.keystore.location", "/nowhere.pem"),
            ("listeners.https.ssl.keystore.location", &keystore("server")),
            (
                "listeners.https.ssl.truststore.location",
                &keystore("authority"),
            ),
            ("listeners.https.ssl.client.auth", mode),
        ])
        .await;
        for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
            let known = ask(&rest, &client(Some("client"), versions)).await;
            assert_eq!(known.unwrap().status, 200, "{mode}");
            let anonymous = ask(&rest, &client(None, versions)).await;
            assert_eq!(anonymous.is_ok(), nobody, "{mode}");
            let stranger = ask(&rest, &client(Some("stranger"), versions)).await;
            assert!(stranger.is_err(), "{mode}");
        }
        rest.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_certificates_may_be_in_the_configuration_itself() {
    let one_line = |name: &str| {
        let text = std::fs::read_to_string(certificate(name)).unwrap();
        text.replace('\n', " ")
    };
    let own = one_line("server");
    let (key, chain) = own.split_at(own.find("-----BEGIN CERTIFICATE").unwrap());
    let rest = Rest::start_with(&[
        ("listeners", "https://127.0.0.1:0"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.key", key),
        ("ssl.keystore.certificate.chain", chain),
        ("ssl.truststore.certificates", &one_line("authority")),
        ("ssl.client.auth", "required"),
        ("ssl.cipher.suites", "TLS_AES_128_GCM_SHA256"),
        ("ssl.enabled.protocols", "TLSv1.3"),
    ])
    .await;
    let client = client(Some("client"), BOTH);
    assert_eq!(ask(&rest, &client).await.unwrap().status, 200);
    let stream = secure(&rest, 0, &client).await.unwrap();
    let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap();
    assert_eq!(format!("{:?}", suite.suite()), "TLS13_AES_128_GCM_SHA256");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_taken_over_and_a_broken_one_is_not() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("server.pem");
    std::fs::copy(certificate("server"), &path).unwrap();
    let rest = Rest::start_with(&[
        ("listeners", "https://127.0.0.1:0"),
        ("ssl.keystore.location", path.to_str().unwrap()),
    ])
    .await;
    let client = client(None, BOTH);
    let shown = async || {
        let stream = secure(&rest, 0, &client).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap().to_vec()
    };
    assert_eq!(shown().await, chain("server"));
    // The new certificate with the old key, as while somebody copies one after the other.
    let text = |name: &str| std::fs::read_to_string(certificate(name)).unwrap();
    let (old, new) = (text("server"), text("server-2"));
    let begin = "-----BEGIN CERTIFICATE";
    let mixed =
        old.split(begin).next().unwrap().to_owned() + begin + new.split(begin).nth(1).unwrap();
    std::fs::write(&path, mixed).unwrap();
    let until_renewed = async || {
        let begun = Instant::now();
        while shown().await != chain("server-2") {
            assert_eq!(shown().await, chain("server"));
            assert!(begun.elapsed() < Duration::from_secs(60), "not taken over");
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mixed = timeout(Duration::from_secs(5), until_renewed()).await;
    assert!(mixed.is_err(), "a certificate without its key is not used");
    std::fs::write(&path, new).unwrap();
    until_renewed().await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_secure_a_listener_is_refused_with_the_way_out() {
    let world = World::start().await;
    let folder = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let server = std::fs::read_to_string(certificate("server")).unwrap();
    let begin = "-----BEGIN CERTIFICATE";
    let key = server.split(begin).next().unwrap();
    let encrypted = key.replace(" PRIVATE", " ENCRYPTED PRIVATE");
    for (bytes, expected) in [
        (key.as_bytes(), "has no certificate (\"BEGIN CERTIFICATE\")"),
        (&server.as_bytes()[key.len()..], "has no private key"),
        (
            server.replace(key, &encrypted).as_bytes(),
            "openssl pkey -in OLD -out NEW",
        ),
        (
            &[0x30, 0x82, 0x0A, 0x10, 0x02, 0x01],
            "openssl pkcs12 -nodes -in",
        ),
        (&[0xFE, 0xED, 0xFE, 0xED, 0, 0], "keytool -importkeystore"),
        (b"", "has no certificate"),
        (
            server.replace('\n', " ").as_bytes(),
            "is damaged: a section has no line that ends it",
        ),
    ] {
        let path = file("store", bytes);
        let said = refusal(&world, &[("ssl.keystore.location", &path)]).await;
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("ssl.keystore.location names"), "{said}");
        assert!(said.len() < 400, "nothing of a key is quoted: {said}");
    }
    let missing = refusal(&world, &[("ssl.keystore.location", "/nowhere.pem")]).await;
    assert!(missing.contains("cannot be read"), "{missing}");
    let own = keystore("server");
    let unknown = refusal(
        &world,
        &[
            ("ssl.keystore.location", &own),
            ("ssl.cipher.suites", "TLS_RSA_WITH_NULL_MD5"),
        ],
    )
    .await;
    assert!(
        unknown.contains("there are TLS_AES_256_GCM_SHA384,"),
        "{unknown}"
    );
    let none = refusal(
        &world,
        &[
            ("ssl.keystore.location", &own),
            ("ssl.enabled.protocols", "TLSv1.2"),
            ("ssl.cipher.suites", "TLS_AES_256_GCM_SHA384"),
        ],
    )
    .await;
    assert!(none.contains("leave nothing to speak"), "{none}");
    let trust = file("trust", b"nothing");
    let trust = refusal(
        &world,
        &[
            ("ssl.keystore.location", &own),
            ("ssl.client.auth", "required"),
            ("ssl.truststore.location", &trust),
        ],
    )
    .await;
    assert!(
        trust.contains("there is none (\"BEGIN CERTIFICATE\")"),
        "{trust}"
    );
    world.end().await;
}
