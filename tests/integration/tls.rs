//! TLS between clients and a server: what it shows, what becomes of other certificates, and of those who do not speak it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rstest::rstest;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::certificates::{Authority, Issued};
use crate::support::{PATIENCE, Server, chatctl};

/// The variables of a server that shows a certificate.
fn shows(files: &[PathBuf; 2]) -> [(&str, &str); 2] {
    let [certificate, key] = files;
    [
        ("CHATCTL_TLS_CERT", certificate.to_str().unwrap()),
        ("CHATCTL_TLS_KEY", key.to_str().unwrap()),
    ]
}

/// A client's settings.
fn config(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn handshake(
    server: &Server,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    timeout(PATIENCE, connecting).await.expect("in time")
}

/// What is shown to whoever comes now.
async fn shown(server: &Server, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    // Resumed sessions are shown nothing.
    let mut fresh = ClientConfig::clone(config);
    fresh.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    let stream = handshake(server, &Arc::new(fresh)).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn first(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
}

/// A session over TLS.
struct Session(WebSocketStream<TlsStream<TcpStream>>);

impl Session {
    async fn connect(server: &Server, config: &Arc<ClientConfig>) -> Self {
        let stream = handshake(server, config).await.unwrap();
        let url = format!("wss://{}/v1/ws", server.address());
        let (socket, _) = client_async(url, stream).await.unwrap();
        let mut session = Self(socket);
        let hello = session.call(r#"{"id":1,"hello":{"user":"ann"}}"#).await;
        assert_eq!(hello["hello"]["protocol"], 1, "{hello}");
        session
    }

    async fn call(&mut self, text: &str) -> Value {
        self.0.send(Message::text(text)).await.unwrap();
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("in time").unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.expect("in time");
            if let Message::Close(close) = next.unwrap().unwrap() {
                return close.unwrap().code.into();
            }
        }
    }
}

async fn until<T: PartialEq + std::fmt::Debug>(what: T, mut is: impl AsyncFnMut() -> T) {
    let begun = Instant::now();
    loop {
        let now = is().await;
        if now == what {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{now:?}, not {what:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_under_those_who_are_connected() {
    let authority = Authority::new();
    let issued = [(); 3].map(|()| authority.issue_here());
    let files = issued[0].write(authority.folder());
    let mut server = Server::start_with(&shows(&files)).await;
    assert!(server.url.starts_with("wss://127.0.0.1:"), "{}", server.url);
    let config = config(&authority, &TLS13, &["http/1.1"]);
    assert_eq!(shown(&server, &config).await, first(&issued[0]));
    let mut ann = Session::connect(&server, &config).await;
    let ends = server.counter("chatctl_tls_certificate_expires_seconds").await;
    assert!(ends > 1.7e9, "{ends}");

    // As slow renewals are: the certificate, later its key.
    std::fs::write(&files[0], &issued[1].certificate).unwrap();
    sleep(Duration::from_millis(300)).await;
    std::fs::write(&files[1], &issued[1].key).unwrap();
    until(first(&issued[1]), || shown(&server, &config)).await;
    assert_eq!(ann.call(r#"{"id":2,"ping":{}}"#).await["id"], 2);

    // One that does not fit is said once and not taken, and one that does is taken after it.
    let failed = async || server.counter("chatctl_tls_reloads_failed_total").await;
    let before = failed().await;
    std::fs::write(&files[1], &issued[2].key).unwrap();
    until(before + 1.0, failed).await;
    sleep(Duration::from_millis(2_200)).await;
    assert_eq!(failed().await, before + 1.0, "said once");
    assert_eq!(shown(&server, &config).await, first(&issued[1]));
    std::fs::remove_file(&files[0]).unwrap();
    until(before + 2.0, failed).await;
    std::fs::write(&files[0], &issued[2].certificate).unwrap();
    until(first(&issued[2]), || shown(&server, &config)).await;

    assert_eq!(ann.call(r#"{"id":3,"ping":{}}"#).await["id"], 3);
    server.signal(Signal::TERM);
    assert_eq!(ann.close_code().await, 4001);
    // The end of TLS is said, too: nobody may cut a stream unnoticed.
    assert!(timeout(PATIENCE, ann.0.next()).await.expect("in time").is_none_or(|end| end.is_ok()));
    assert_eq!(server.wait_for_end().await, Some(0));
}

#[tokio::test]
async fn both_versions_are_spoken_and_inside_is_http_1() {
    let authority = Authority::new();
    let files = authority.issue_here().write(authority.folder());
    let server = Server::start_with(&shows(&files)).await;
    for version in [&TLS12, &TLS13] {
        let config = config(&authority, version, &["h2", "http/1.1"]);
        let stream = handshake(&server, &config).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        drop(stream);
        // Over one connection after the other, the second time with the session of the first.
        for _ in 0..2 {
            Session::connect(&server, &config).await.call(r#"{"id":2,"ping":{}}"#).await;
        }
    }
    let other = handshake(&server, &config(&authority, &TLS13, &["h2"])).await;
    assert!(other.is_err(), "h2 is not spoken");
    let mut stream = handshake(&server, &config(&authority, &TLS13, &[])).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn who_speaks_no_tls_is_closed_and_who_is_slow_is_cut() {
    let authority = Authority::new();
    let files = authority.issue_here().write(authority.folder());
    let variables = [
        &shows(&files)[..],
        &[("CHATCTL_HEADER_TIMEOUT_MS", "500"), ("CHATCTL_CONNECTIONS_PER_ADDRESS_MAX", "1")],
    ];
    let server = Server::start_with(&variables.concat()).await;
    let failed = async || server.counter("chatctl_tls_handshakes_failed_total").await;
    let mut rest = Vec::new();

    let begun = Instant::now();
    let mut plain = TcpStream::connect(server.address()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut rest)).await.expect("in time");
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    assert_eq!(failed().await, 1.0);

    // Others are served while one does not get on, and it counts for its address.
    let begun = Instant::now();
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    slow.write_all(b"\x16\x03\x01").await.unwrap();
    let config = config(&authority, &TLS13, &[]);
    let mut second = handshake(&server, &config).await.unwrap();
    let request = "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\n";
    let request = format!("{request}{}\r\n", crate::support::raw::HANDSHAKE);
    second.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    second.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 429");
    assert!(begun.elapsed() < Duration::from_millis(450), "{:?}", begun.elapsed());
    let _ = timeout(PATIENCE, slow.read_to_end(&mut rest)).await.expect("in time");
    let took = begun.elapsed().as_millis();
    assert!((480..5_000).contains(&took), "{took} ms");
    assert_eq!(failed().await, 2.0);
    drop(second);
    // The place is given back.
    Session::connect(&server, &config).await.call(r#"{"id":2,"ping":{}}"#).await;
}

#[rstest]
#[case::no_file("CHATCTL_TLS_CERT", None, "cannot be read")]
#[case::no_key_file("CHATCTL_TLS_KEY", None, "cannot be read")]
#[case::no_certificate("CHATCTL_TLS_CERT", Some("hello"), "no certificate in it")]
#[case::no_key("CHATCTL_TLS_KEY", Some("hello"), "no private key in it")]
#[case::cut("CHATCTL_TLS_CERT", Some("-----BEGIN CERTIFICATE-----\nMIIB"), "is it whole?")]
#[case::rubbish(
    "CHATCTL_TLS_CERT",
    Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    "none for TLS"
)]
#[case::encrypted(
    "CHATCTL_TLS_KEY",
    Some("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
    "encrypted"
)]
#[case::rubbish_key(
    "CHATCTL_TLS_KEY",
    Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    "cannot be used"
)]
#[case::another_key("CHATCTL_TLS_KEY", Some("another"), "is not that of the first certificate")]
#[tokio::test]
async fn files_that_are_no_use(
    #[case] variable: &str,
    #[case] content: Option<&str>,
    #[case] said: &str,
) {
    let authority = Authority::new();
    let files = authority.issue_here().write(authority.folder());
    let path = &files[usize::from(variable == "CHATCTL_TLS_KEY")];
    match content {
        None => std::fs::remove_file(path).unwrap(),
        Some("another") => std::fs::write(path, authority.issue_here().key).unwrap(),
        Some(text) => std::fs::write(path, text).unwrap(),
    }
    let error = Server::refused(&shows(&files)).await;
    let named = format!("{variable}={}", path.display());
    assert!(error.contains(&named) && error.contains(said), "{error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[tokio::test]
async fn what_clients_will_not_like_is_said_at_the_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let authority = Authority::new();
    let expired = authority.issue_with(&["localhost", "127.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2024, 2, 29);
    });
    let files = expired.write(authority.folder());
    std::fs::set_permissions(&files[1], std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut server = Server::start_after(":", &shows(&files)).await;
    let (url, ca) = (server.url.clone(), authority.file());
    let ca = ca.to_str().unwrap();
    let error = bench(&["--url", &url, "--tls-ca", ca]).await.1;
    assert!(error.contains("has expired") && error.contains(&url), "{error}");
    server.signal(Signal::TERM);
    server.wait_for_end().await;
    let text = server.log();
    assert!(text.contains("expired at 2024-02-29T00:00:00Z"), "{text}");
    assert!(text.contains("can read the private key"), "{text}");
}

/// The exit code of a short run, and what it says.
async fn bench(arguments: &[&str]) -> (Option<i32>, String) {
    let out = tempfile::tempdir().unwrap();
    let size = ["bench", "paired-clients", "--clients", "4", "--messages", "50", "--check"];
    let run = chatctl(&size).arg("--out").arg(out.path()).args(arguments).output();
    let output = timeout(3 * PATIENCE, run).await.expect("ends in time").unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn bench_and_check_speak_it_and_say_whom_they_do_not_believe() {
    let authority = Authority::new();
    let files = authority.issue_here().write(authority.folder());
    let ca = authority.file();
    let ca = ca.to_str().unwrap();
    // Servers of their own.
    let tls: Vec<_> = shows(&files).iter().map(|(key, value)| format!("{key}={value}")).collect();
    let own = ["--server-env", &tls[0], "--server-env", &tls[1], "--tls-ca", ca];
    let (code, said) = bench(&own).await;
    assert!(matches!(code, Some(0 | 2)), "{code:?} {said}");
    let out = tempfile::tempdir().unwrap();
    let check = chatctl(&["check", "validity", "--clients", "4", "--messages", "50", "--json"])
        .arg("--out")
        .arg(out.path())
        .args(own)
        .output();
    let output = timeout(3 * PATIENCE, check).await.expect("ends in time").unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    // One that is there, by a name that its certificate is for, and otherwise.
    let server = Server::start_with(&shows(&files)).await;
    let address = server.address();
    let port = address.rsplit_once(':').unwrap().1;
    let (code, said) = bench(&["--url", &format!("wss://localhost:{port}"), "--tls-ca", ca]).await;
    assert!(matches!(code, Some(0 | 2)), "{code:?} {said}");
    for (url, ca, expected) in [
        (format!("wss://{address}"), None, "by --tls-ca"),
        (format!("wss://127.0.0.2:{port}"), Some(ca), "cannot connect"),
        (format!("ws://{address}"), Some(ca), "reached by wss://"),
        (format!("wss://{}", server.admin()), Some(ca), "does not speak TLS"),
        (server.url.clone(), Some("/nowhere.pem"), "--tls-ca=/nowhere.pem"),
    ] {
        let arguments =
            [&["--url", url.as_str()][..], &ca.map_or(vec![], |ca| vec!["--tls-ca", ca])];
        let (code, said) = bench(&arguments.concat()).await;
        assert_eq!(code, Some(1), "{url}: {said}");
        assert!(said.contains(expected), "{url}: {said}");
        assert!(expected.starts_with("--tls-ca=") || said.contains(&url), "{url}: {said}");
    }
    let elsewhere = authority.issue(&["chat.example"]).write(authority.folder());
    let server = Server::start_with(&shows(&elsewhere)).await;
    let (code, said) = bench(&["--url", &server.url, "--tls-ca", ca]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("for another name") && said.contains("chat.example"), "{said}");
}
