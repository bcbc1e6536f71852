//! How the nodes of our own Cassandra are configured and started.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::CassandraSettings;
use crate::services::files::replace;
use crate::services::{Recipe, ServiceError};

const CONFIGURATION: &str = include_str!("cassandra.yaml");
const LOG_CONFIGURATION: &str = include_str!("logback.xml");

/// One token each, a third of the ring apart: all may start at once, and a small test is spread evenly.
const TOKENS: [i64; 3] = [i64::MIN, -3_074_457_345_618_258_603, 3_074_457_345_618_258_602];

/// Packages that Cassandra uses and Java 17 hides, as its own start script opens them.
const EXPORTS: [&str; 9] = [
    "java.base/jdk.internal.misc",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
];
const OPENS: [&str; 15] = [
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang.reflect",
    "jdk.compiler/com.sun.tools.javac",
    "java.base/java.lang",
    "java.base/java.util",
    "java.base/java.nio",
];

/// What an acknowledged write has survived, on each replica that took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitlogSync {
    /// It is in memory; the log is synced every ten seconds.
    Periodic,
    /// It is on disk. Affordable because the engine above shares one write among all that wait.
    #[default]
    Batch,
    /// It is on disk, up to 5 ms later, together with what came meanwhile. A conditional write waits four times.
    Group,
}

impl CommitlogSync {
    fn lines(self) -> &'static str {
        match self {
            Self::Periodic => "commitlog_sync: periodic\ncommitlog_sync_period: 10000ms",
            Self::Batch => "commitlog_sync: batch",
            Self::Group => "commitlog_sync: group\ncommitlog_sync_group_window: 5ms",
        }
    }
}

/// Writes the configuration of a node, whose ports may be others than last time.
pub(super) fn prepare(
    settings: &CassandraSettings,
    index: usize,
    folder: &Path,
    java: &Path,
    jars: &Path,
) -> Result<Recipe, ServiceError> {
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary).map_err(ServiceError::file(&temporary))?;
    replace(&folder.join("cassandra.yaml"), &configuration(settings, index, folder))?;
    replace(&folder.join("logback.xml"), LOG_CONFIGURATION)?;
    let mut arguments = memory_arguments(settings.heap_mb);
    for (option, packages) in [("--add-exports", &EXPORTS[..]), ("--add-opens", &OPENS[..])] {
        arguments.extend(packages.iter().map(|name| format!("{option}={name}=ALL-UNNAMED").into()));
    }
    arguments.push(joined("-javaagent:", &agent(jars)?));
    arguments.push(joined("-Djava.io.tmpdir=", &temporary));
    arguments.push(joined("-Dcassandra.config=file://", &folder.join("cassandra.yaml")));
    arguments.push(joined("-Dcassandra.storagedir=", folder));
    arguments.push(joined("-Dlogback.configurationFile=", &folder.join("logback.xml")));
    arguments.extend(
        [
            "-Djdk.attach.allowAttachSelf=true",
            "-Djava.net.preferIPv4Stack=true",
            "-Djava.awt.headless=true",
            "-Dio.netty.tryReflectionSetAccessible=true",
            "-Dcassandra-foreground=yes",
            // All nodes are here and start together: nothing to settle that readiness does not wait for.
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=1000",
            "-Dcassandra.superuser_setup_delay_ms=0",
            "-Dcassandra.consistent.rangemovement=false",
            "-cp",
        ]
        .map(Into::into),
    );
    arguments.push(jars.join("*").into());
    arguments.push("org.apache.cassandra.service.CassandraDaemon".into());
    Ok(Recipe { program: java.to_owned(), arguments, environment: Vec::new() })
}

fn memory_arguments(heap_mb: u32) -> Vec<OsString> {
    let mut arguments = vec![format!("-Xms{heap_mb}m").into(), format!("-Xmx{heap_mb}m").into()];
    arguments.extend(
        [
            "-Xss512k",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:MaxDirectMemorySize=256m",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:+PerfDisableSharedMem",
        ]
        .map(Into::into),
    );
    arguments
}

/// The agent that measures objects; its version is whatever Cassandra depends on.
fn agent(jars: &Path) -> Result<PathBuf, ServiceError> {
    let entries = fs::read_dir(jars).map_err(ServiceError::file(jars))?;
    let is_agent = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("jamm-") && name.ends_with(".jar"))
    };
    entries.flatten().map(|entry| entry.path()).find(is_agent).ok_or_else(|| ServiceError::File {
        path: jars.join("jamm-*.jar"),
        source: io::ErrorKind::NotFound.into(),
    })
}

/// The configuration of one node.
pub(super) fn configuration(settings: &CassandraSettings, index: usize, folder: &Path) -> String {
    let seeds: Vec<_> =
        settings.nodes.iter().map(|node| format!("{}:{}", node.host, node.storage_port)).collect();
    let node = settings.nodes[index];
    let authenticator = match settings.access.login {
        Some(_) => "PasswordAuthenticator",
        None => "AllowAllAuthenticator",
    };
    let encryption = settings.encryption.as_ref().map_or_else(String::new, |[key, issuer]| {
        format!(
            "client_encryption_options:\n  enabled: true\n  optional: false\n  require_client_auth: false\n  ssl_context_factory:\n    \
             class_name: org.apache.cassandra.security.PEMBasedSslContextFactory\n  keystore: {}\n  truststore: {}",
            key.display(),
            issuer.display()
        )
    });
    CONFIGURATION
        .replace("@AUTHENTICATOR@", authenticator)
        .replace("@ENCRYPTION@", &encryption)
        .replace("@HOST@", &node.host.to_string())
        .replace("@CQL_PORT@", &node.cql_port.to_string())
        .replace("@STORAGE_PORT@", &node.storage_port.to_string())
        .replace("@SEEDS@", &seeds.join(","))
        .replace("@TOKEN@", &TOKENS[index % TOKENS.len()].to_string())
        .replace("@COMMITLOG_SYNC@", settings.commitlog_sync.lines())
        .replace("@FOLDER@", &folder.display().to_string())
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut argument: OsString = option.into();
    argument.push(path);
    argument
}
