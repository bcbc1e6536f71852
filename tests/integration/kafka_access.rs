//! Kafka by TLS and SASL, by users that may do what docs/guides/operating.md lists.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Instant;

use chatctl::services::{
    Artifacts, KafkaListener, KafkaNode, KafkaService, KafkaSettings, Progress, Service as _,
    free_ports,
};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::certificates::Authority;
use crate::support::services::{SharedServices, init_env, leave_out};
use crate::support::{PATIENCE, Server, chatctl, unique};

const PASSWORD: &str = "a-password";

/// A broker that asks who comes: at one port by SASL over TLS, at one by SASL alone, at one by a certificate.
struct Kafka {
    service: KafkaService,
    plain: u16,
    sasl_ssl: String,
    sasl: String,
    ssl: String,
    /// Its certificate is for somebody else.
    misnamed: String,
    authority: Authority,
    _folder: tempfile::TempDir,
}

impl Kafka {
    /// `None`: there is none on this machine, which CI does not accept.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let issued = authority.issue_here();
        let store = folder.path().join("store.pem");
        std::fs::write(&store, issued.key + &issued.certificate).unwrap();
        let issued = authority.issue(&["kafka.example"]);
        let misnamed = folder.path().join("misnamed.pem");
        std::fs::write(&misnamed, issued.key + &issued.certificate).unwrap();
        let ports = free_ports(&[std::net::Ipv4Addr::LOCALHOST.into()], 6).unwrap();
        let listener = |name: &str, protocol, port| KafkaListener {
            name: name.to_owned(),
            protocol,
            broker: 0,
            port,
            advertised_port: port,
        };
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let plain = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_root=\"{PASSWORD}\";"
        );
        let mut properties = format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             listener.name.ssl.ssl.client.auth=required\n\
             listener.name.misnamed.ssl.keystore.location={}\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:root;User:CN=by certificate\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n",
            store.display(),
            authority.file().display(),
            misnamed.display(),
        );
        for name in ["sasl", "saslssl"] {
            properties += &format!(
                "listener.name.{name}.plain.sasl.jaas.config={plain}\n\
                 listener.name.{name}.scram-sha-256.sasl.jaas.config={scram}\n\
                 listener.name.{name}.scram-sha-512.sasl.jaas.config={scram}\n"
            );
        }
        let cache = chatctl::config::cache_folder().expect("a home");
        let service = KafkaService::native(KafkaSettings {
            folder: folder.path().join("kafka"),
            artifacts: Arc::new(Artifacts::new(cache)),
            nodes: vec![KafkaNode { port: ports[0], controller_port: ports[1] }],
            listeners: vec![
                listener("SASLSSL", "SASL_SSL", ports[2]),
                listener("SASL", "SASL_PLAINTEXT", ports[3]),
                listener("SSL", "SSL", ports[4]),
                listener("MISNAMED", "SSL", ports[5]),
            ],
            heap_mb: 256,
            users: vec![("chatctl".to_owned(), PASSWORD.to_owned())],
            properties,
        });
        let progress = Progress::silent();
        if let Err(error) = service.prepare(&progress).await {
            return leave_out(&error.to_string());
        }
        service.start(&progress).await.unwrap();
        let [sasl_ssl, sasl, ssl, misnamed] =
            [2, 3, 4, 5].map(|index: usize| format!("localhost:{}", ports[index]));
        Some(Self {
            service,
            plain: ports[0],
            sasl_ssl,
            sasl,
            ssl,
            misnamed,
            authority,
            _folder: folder,
        })
    }

    fn ca(&self) -> String {
        self.authority.file().to_str().unwrap().to_owned()
    }

    /// Lets the user `chatctl` do this: a CreateAcls request, version 1, to where nobody asks who comes.
    async fn allow(&self, Right { operation, on, name }: &Right) {
        let text = |text: &str| [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat();
        let (literal, allow) = (3, 3);
        let request = [
            &30_i16.to_be_bytes()[..],
            &1_i16.to_be_bytes(),
            &7_i32.to_be_bytes(),
            &text("test"),
            &1_i32.to_be_bytes(),
            &[*on],
            &text(name),
            &[literal],
            &text("User:chatctl"),
            &text("*"),
            &[*operation, allow],
        ]
        .concat();
        let mut stream = TcpStream::connect(("127.0.0.1", self.plain)).await.unwrap();
        stream.write_i32(request.len() as i32).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = vec![0; stream.read_i32().await.unwrap() as usize];
        stream.read_exact(&mut answer).await.unwrap();
        // Which request, how long to wait, one result: no error.
        assert_eq!(answer[8..14], [0, 0, 0, 1, 0, 0], "{answer:?}");
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for node in self.service.processes() {
            let _ = node.signal(Signal::KILL);
        }
    }
}

/// Something that a user may do, by Kafka's numbers.
struct Right {
    operation: u8,
    on: u8,
    name: String,
}

/// Those that the guide lists.
fn documented() -> Vec<Right> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/operating.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let number = |word: &str| match word {
        "--topic" => 2,
        "--group" | "Read" => 3,
        "Write" => 4,
        "Describe" => 8,
        word => panic!("not known here: {word}"),
    };
    let lines = guide.lines().filter(|line| line.starts_with("kafka-acls.sh "));
    let rights = lines.flat_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [.., on, name] = words[..] else { panic!("{line}") };
        let operations = words.windows(2).filter(|pair| pair[0] == "--operation");
        let right = |operation| Right { operation, on: number(on), name: name.to_owned() };
        operations.map(|pair| right(number(pair[1]))).collect::<Vec<_>>()
    });
    rights.collect()
}

/// Where a server goes in, and as whom.
fn access<'a>(
    brokers: &'a str,
    mechanism: &'a str,
    password: &'a str,
    ca: &'a str,
) -> Vec<(&'static str, &'a str)> {
    vec![
        ("KAFKA_BROKERS", brokers),
        ("CHATCTL_KAFKA_SASL", mechanism),
        ("CHATCTL_KAFKA_USER", if mechanism == "PLAIN" { "root" } else { "chatctl" }),
        ("CHATCTL_KAFKA_PASSWORD", password),
        ("CHATCTL_KAFKA_TLS", "yes"),
        ("CHATCTL_KAFKA_TLS_CA", ca),
    ]
}

async fn doctor(variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = chatctl(&["doctor"]);
    command.env_clear().current_dir("/").env("CHATCTL_DATA_DIR", folder.path().join("data"));
    command.env("WS_MESSAGE_DISTRIBUTION_ENGINE", "KAFKA").env("CHATCTL_LISTEN", "127.0.0.1:0");
    command.env("CHATCTL_ADMIN_LISTEN", "127.0.0.1:0").env("CHATCTL_CONNECTIONS_MAX", "10");
    command.envs(variables.iter().copied()).output().await.unwrap()
}

#[tokio::test]
async fn users_of_a_kafka_that_asks_chat_and_who_is_refused_is_told_why() {
    let Some(shared) = SharedServices::find().await else { return };
    let Some(kafka) = Kafka::start().await else { return };
    let ca = kafka.ca();
    let root = access(&kafka.sasl_ssl, "PLAIN", PASSWORD, &ca);

    // The topic is made by somebody who may.
    let folder = tempfile::tempdir().unwrap();
    let mut made = init_env(folder.path());
    made.args(["--mode", "external", "--services", "kafka", "--dir"])
        .arg(folder.path().join("env"));
    let made = made.envs(root.clone()).output().await.unwrap();
    assert!(made.status.success(), "{made:?}");

    // The other user sees it when the guide's rights are there.
    let prefix = unique("kafka-access:");
    let engines = shared.on_kafka(&prefix).map(|(key, value)| {
        if key == "KAFKA_BROKERS" { (key, kafka.sasl_ssl.as_str()) } else { (key, value) }
    });
    let by = |mechanism| {
        [&engines[..], &access(&kafka.sasl_ssl, mechanism, PASSWORD, &ca)[1..]].concat()
    };
    let error = Server::refused(&by("SCRAM-SHA-512")).await;
    assert!(
        error.contains("no topic chatctl-hints") && error.contains("allow the user"),
        "{error}"
    );
    for right in documented() {
        kafka.allow(&right).await;
    }
    let mut nodes = [
        Server::start_with(&by("SCRAM-SHA-512")).await,
        Server::start_with(&by("SCRAM-SHA-256")).await,
    ];
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let mut ann = nodes[0].connect(&ann_name).await;
    let mut bob = nodes[1].connect(&bob_name).await;
    let conv = ann.open_user(&bob_name).await["conv"].clone();
    bob.open_user(&ann_name).await;
    for seq in 1..=100 {
        let from = if seq % 2 == 0 { &mut ann } else { &mut bob };
        from.send(&conv, &format!("c{seq}"), None).await;
        for to in [&mut ann, &mut bob] {
            assert_eq!(to.push("msg").await["seq"], seq);
        }
    }
    for node in &nodes {
        // By the bus, not by reading the engine.
        let heard = node.counter("chatctl_kafka_hints_read_total").await;
        assert!(heard >= 50.0, "{heard}");
    }
    drop((ann, bob));
    for node in &mut nodes {
        node.signal(Signal::TERM);
        node.wait_for_end().await;
        let text = node.log();
        assert!(!text.contains("refuse") && !text.contains(PASSWORD), "{text}");
    }

    // By a certificate; without one the variables are named.
    let certificate = kafka.authority.issue_with(&[], |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "by certificate");
    });
    let [certificate, key] = certificate.write(folder.path());
    let by_tls = [("KAFKA_BROKERS", kafka.ssl.as_str()), root[4], root[5]];
    let own = [
        ("CHATCTL_KAFKA_TLS_CERT", certificate.to_str().unwrap()),
        ("CHATCTL_KAFKA_TLS_KEY", key.to_str().unwrap()),
    ];
    let seen = doctor(&[&by_tls[..], &own].concat()).await;
    let text = String::from_utf8_lossy(&seen.stdout);
    assert!(seen.status.success() && text.contains("has its 16 partitions"), "{seen:?}");

    // Each of these is wrong, asked at once.
    let wrong_password = access(&kafka.sasl_ssl, "SCRAM-SHA-512", "hunter2", &ca);
    let wrong_plain = access(&kafka.sasl_ssl, "PLAIN", "hunter2", &ca);
    let other = Authority::new();
    let other = other.file();
    let wrong_ca = access(&kafka.sasl_ssl, "PLAIN", PASSWORD, other.to_str().unwrap());
    let wrong_name = [("KAFKA_BROKERS", kafka.misnamed.as_str()), root[4], root[5]];
    let missing_ca = access(&kafka.sasl_ssl, "PLAIN", PASSWORD, "/nowhere.pem");
    let tls_to_plain = access(&kafka.sasl, "PLAIN", PASSWORD, &ca);
    let plain_to_tls = [("KAFKA_BROKERS", kafka.sasl_ssl.as_str())];
    let nobody = [("KAFKA_BROKERS", kafka.sasl.as_str())];
    let refused: [(&[_], &str, &str); 9] = [
        (&wrong_password, &kafka.sasl_ssl, "CHATCTL_KAFKA_PASSWORD"),
        (&wrong_plain, &kafka.sasl_ssl, "CHATCTL_KAFKA_PASSWORD"),
        (&wrong_ca, &kafka.sasl_ssl, "CHATCTL_KAFKA_TLS_CA"),
        (&wrong_name, &kafka.misnamed, "must be for the addresses"),
        (&missing_ca, "", "CHATCTL_KAFKA_TLS_CA=/nowhere.pem"),
        (&tls_to_plain, &kafka.sasl, "CHATCTL_KAFKA_TLS=no"),
        (&plain_to_tls, &kafka.sasl_ssl, "CHATCTL_KAFKA_TLS=yes"),
        (&nobody, &kafka.sasl, "CHATCTL_KAFKA_SASL"),
        (&by_tls, &kafka.ssl, "CHATCTL_KAFKA_TLS_CERT"),
    ];
    let asked = refused.map(async |(variables, address, named)| {
        let begun = Instant::now();
        let engines: Vec<_> =
            engines.into_iter().filter(|(key, _)| *key != "KAFKA_BROKERS").collect();
        let error = Server::refused(&[&engines[..], variables].concat()).await;
        assert!(begun.elapsed() < PATIENCE, "{error}");
        assert!(error.contains(address) && error.contains(named), "{address} {named}: {error}");
        assert!(!error.contains("hunter2") && !error.contains(PASSWORD), "{error}");
        let seen = doctor(variables).await;
        let text = String::from_utf8_lossy(&seen.stdout);
        assert!(!seen.status.success() && text.contains(named), "{seen:?}");
    });
    futures_util::future::join_all(asked).await;
}
