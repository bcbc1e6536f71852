//! `chatctl config show`: what holds, where it comes from, and nothing secret.

use serde_json::Value;

use crate::support::chatctl;

const SECRETS: [(&str, &str); 6] = [
    ("REDIS_URL", "redis://ann:hunter2-redis@127.0.0.1:1"),
    ("CHATCTL_CASSANDRA_PASSWORD", "hunter2-cassandra"),
    ("CHATCTL_KAFKA_PASSWORD", "hunter2-kafka"),
    ("CHATCTL_AUTH_SECRET", "hunter2-and-more-than-thirty-two-bytes"),
    ("CHATCTL_ADMIN_TOKEN", "hunter2-admin-token"),
    ("CHATCTL_AUTH_JWKS_URL", "https://id.example/jwks?key=hunter2"),
];

#[tokio::test]
async fn values_have_their_source_and_secrets_are_masked() {
    let folder = tempfile::tempdir().unwrap();
    let dotenv = "CHATCTL_LEASE_MS=600\nCHATCTL_PING_MS=11\n";
    std::fs::write(folder.path().join(".env"), dotenv).unwrap();
    for arguments in [&["config", "show", "--json"][..], &["config", "show"]] {
        let output = chatctl(arguments)
            .args(["--log", "debug"])
            .current_dir(folder.path())
            .env_clear()
            .envs(SECRETS)
            .env("CHATCTL_CASSANDRA_USER", "chat")
            .env("CHATCTL_KAFKA_SASL", "PLAIN")
            .env("CHATCTL_KAFKA_USER", "chat")
            .env("CHATCTL_PING_MS", "12")
            .env("CHATCTL_PIGN_MS", "12")
            .output()
            .await
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!stdout.contains("hunter2") && !stderr.contains("hunter2"), "{stdout}{stderr}");
        assert!(stderr.contains("CHATCTL_PIGN_MS"), "{stderr}");
        // Two sources of keys: what was asked for is shown all the same.
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("CHATCTL_AUTH_SECRET and CHATCTL_AUTH_JWKS_URL"), "{stderr}");
        let expected = [
            ("REDIS_URL", "redis://…@127.0.0.1:1", "environment"),
            ("CHATCTL_CASSANDRA_PASSWORD", "…", "environment"),
            ("CHATCTL_KAFKA_PASSWORD", "…", "environment"),
            ("CHATCTL_LOG", "debug", "flag"),
            ("CHATCTL_PING_MS", "12", "environment"),
            ("CHATCTL_LEASE_MS", "600", "dotenv"),
            ("CHATCTL_LISTEN", "127.0.0.1:8080", "default"),
        ];
        if arguments.contains(&"--json") {
            let json: Value = serde_json::from_str(&stdout).unwrap();
            let all = json["variables"].as_array().unwrap();
            for (key, value, source) in expected {
                let found = all.iter().find(|variable| variable["key"] == key).unwrap();
                assert_eq!((&found["value"], &found["source"]), (&value.into(), &source.into()));
            }
        } else {
            for (key, value, source) in expected {
                let source = source.replace("dotenv", ".env");
                let line = format!("{key}={value}  ({source})");
                assert!(stdout.lines().any(|found| found == line), "{line}: {stdout}");
            }
            assert!(stdout.contains("CHATCTL_NODE is not set\n"), "{stdout}");
        }
    }
}
