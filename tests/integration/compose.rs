//! `docker/compose.yml`, judged by Debian's docker-compose, which needs no container engine for that.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use chatctl::services::Compose;

use crate::support::services::leave_out;

/// The lines of each service as compose understands it; `None` where compose is not installed.
fn services() -> Option<BTreeMap<String, Vec<String>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker");
    let mut command = Command::new("docker-compose");
    command.arg("--file").arg(folder.join("compose.yml"));
    command.arg("--env-file").arg(folder.join("versions.env"));
    for profile in Compose::profiles() {
        command.args(["--profile", profile]);
    }
    let output = match command.arg("config").output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return leave_out("docker-compose is not installed (apt-get install docker-compose)");
        }
        Err(error) => panic!("docker-compose: {error}"),
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    let in_services = text.lines().skip_while(|line| *line != "services:").skip(1);
    for line in in_services.take_while(|line| line.starts_with(' ')) {
        match line.strip_prefix("    ") {
            Some(line) => services.entry(current.clone()).or_default().push(line.to_owned()),
            None => current = line.trim().trim_end_matches(':').to_owned(),
        }
    }
    Some(services)
}

/// Compose quotes what another reader could take for a number or a truth.
const QUOTES: [char; 2] = ['"', '\''];

/// The one value of a key.
fn value<'a>(lines: &'a [String], key: &str) -> &'a str {
    lines
        .iter()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .unwrap_or_default()
        .trim_matches(QUOTES)
}

/// The items of a list.
fn list<'a>(lines: &'a [String], key: &str) -> Vec<&'a str> {
    let head = format!("{key}:");
    let items = lines.iter().skip_while(|line| **line != head).skip(1);
    items.map_while(|line| line.strip_prefix("- ")).map(|item| item.trim_matches(QUOTES)).collect()
}

#[test]
fn compose_takes_the_file_and_every_service_is_bounded_probed_and_local() {
    let Some(services) = services() else { return };
    let names: Vec<_> = services.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "cassandra",
            "cassandra-1",
            "cassandra-2",
            "cassandra-3",
            "grafana",
            "kafka",
            "kafka-1",
            "kafka-2",
            "kafka-3",
            "prometheus",
            "redis",
            "valkey"
        ]
    );
    for (name, lines) in &services {
        let (image, tag) = value(lines, "image").rsplit_once(':').expect(name);
        assert!(!image.is_empty() && tag.contains('.') && tag != "latest", "{name}: {image}:{tag}");
        assert!(lines.iter().any(|line| line == "healthcheck:"), "{name} has no health check");
        assert!(value(lines, "mem_limit").ends_with('m'), "{name} has no bound of memory");
        assert_eq!(value(lines, "  chatctl.init-env"), "true", "{name} has no label");
        for port in list(lines, "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
        let [profile] = list(lines, "profiles")[..] else { panic!("{name}: its profiles") };
        assert!(Compose::profiles().contains(&profile), "{name}: {profile}");
    }
}

#[test]
fn containers_listen_where_native_services_do_and_keep_as_much() {
    let Some(services) = services() else { return };
    for (name, port) in [
        ("redis", "16379:6379"),
        ("valkey", "16380:6379"),
        ("kafka", "19092:19092"),
        ("kafka-1", "19102:19102"),
        ("kafka-2", "19112:19112"),
        ("kafka-3", "19122:19122"),
        ("cassandra", "9042:9042"),
        ("cassandra-1", "9042:9042"),
    ] {
        assert_eq!(list(&services[name], "ports"), [format!("127.0.0.1:{port}/tcp")], "{name}");
    }
    for name in ["redis", "valkey"] {
        let command = list(&services[name], "command").join(" ");
        for setting in ["--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"]
        {
            assert!(command.contains(setting), "{name}: {command}");
        }
    }
    for name in ["kafka-1", "kafka-2", "kafka-3"] {
        let setting = |key: &str| value(&services[name], key);
        assert_eq!(setting("  KAFKA_DEFAULT_REPLICATION_FACTOR"), "3");
        assert_eq!(setting("  KAFKA_MIN_INSYNC_REPLICAS"), "2");
    }
    for name in ["cassandra", "cassandra-1", "cassandra-2", "cassandra-3"] {
        assert_eq!(value(&services[name], "  MAX_HEAP_SIZE"), "512M");
    }
}

#[test]
fn containers_run_the_versions_that_native_mode_runs() {
    let Some(services) = services() else { return };
    let pinned = include_str!("../../docker/versions.env");
    let version = |key: &str| {
        let mut values =
            pinned.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.next().expect(key)
    };
    for (name, lines) in &services {
        let (image, key) = match name.split('-').next() {
            Some("redis") => ("redis", "REDIS_VERSION"),
            Some("valkey") => ("valkey/valkey", "VALKEY_VERSION"),
            Some("kafka") => ("apache/kafka", "KAFKA_VERSION"),
            Some("cassandra") => ("cassandra", "CASSANDRA_VERSION"),
            Some("prometheus") => ("prom/prometheus", "PROMETHEUS_VERSION"),
            _ => ("grafana/grafana", "GRAFANA_VERSION"),
        };
        assert_eq!(value(lines, "image"), format!("{image}:{}", version(key)), "{name}");
    }
}
