//! How the nodes of our own Kafka are configured, formatted and started.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::process::Command;

use super::{KafkaListener, KafkaNode, KafkaSettings};
use crate::services::files::replace;
use crate::services::{NodeProcess, Recipe, ServiceError};

const PROPERTIES: &str = include_str!("server.properties");
const LOG_PROPERTIES: &str = include_str!("log4j2.xml");

/// Heap of the short run that formats.
const FORMAT_HEAP_MB: u32 = 128;

/// The command lines of all nodes.
#[derive(Debug)]
pub(super) struct Recipes {
    java: PathBuf,
    class_path: OsString,
    folder: PathBuf,
    nodes: Vec<KafkaNode>,
    listeners: Vec<KafkaListener>,
    heap_mb: u32,
    users: Vec<(String, String)>,
    properties: String,
    cluster_id: String,
}

impl Recipes {
    pub(super) fn new(
        settings: &KafkaSettings,
        java: PathBuf,
        jars: &Path,
    ) -> Result<Self, ServiceError> {
        let folder = settings.folder.clone();
        fs::create_dir_all(&folder).map_err(ServiceError::file(&folder))?;
        replace(&folder.join("log4j2.xml"), LOG_PROPERTIES)?;
        Ok(Self {
            java,
            class_path: jars.join("*").into_os_string(),
            nodes: settings.nodes.clone(),
            listeners: settings.listeners.clone(),
            heap_mb: settings.heap_mb,
            users: settings.users.clone(),
            properties: settings.properties.clone(),
            cluster_id: cluster_id(&folder)?,
            folder,
        })
    }

    /// Writes the configuration of a node, whose ports may be others than last time, and formats its
    /// data folder unless that was done.
    pub(super) async fn format(
        &self,
        index: usize,
        node: &NodeProcess,
    ) -> Result<(), ServiceError> {
        let folder = node.folder();
        fs::create_dir_all(folder).map_err(ServiceError::file(folder))?;
        let own = properties(&self.nodes, &self.listeners, index, folder);
        replace(&self.properties_path(index), &format!("{own}{}", self.properties))?;
        // Kafka writes it beside and renames it, so it is whole where it is.
        if folder.join("data/meta.properties").is_file() {
            return Ok(());
        }
        let mut arguments = self.java_arguments(FORMAT_HEAP_MB);
        arguments.extend(
            ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t"].map(Into::into),
        );
        arguments.extend([self.cluster_id.clone().into(), "-c".into()]);
        arguments.push(self.properties_path(index).into());
        for (user, password) in &self.users {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                let added = format!("{mechanism}=[name={user},password={password}]");
                arguments.extend(["--add-scram".into(), added.into()]);
            }
        }
        let output = Command::new(&self.java)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(ServiceError::file(&self.java))?;
        if output.status.success() {
            return Ok(());
        }
        let written = [output.stdout, output.stderr].concat();
        let written = String::from_utf8_lossy(&written);
        let last: Vec<_> = written.lines().rev().take(4).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        Err(node.error(format!("its data folder cannot be formatted: {}", last.join(" / "))))
    }

    pub(super) fn broker(&self, index: usize) -> Recipe {
        let mut arguments = self.java_arguments(self.heap_mb);
        arguments.extend(["kafka.Kafka".into(), self.properties_path(index).into()]);
        Recipe { program: self.java.clone(), arguments, environment: Vec::new() }
    }

    fn java_arguments(&self, heap_mb: u32) -> Vec<OsString> {
        let mut log: OsString = "-Dlog4j2.configurationFile=".into();
        log.push(self.folder.join("log4j2.xml"));
        vec![
            format!("-Xms{heap_mb}m").into(),
            format!("-Xmx{heap_mb}m").into(),
            // G1 on so small a heap took 190 ms at p99 where this takes 7.
            "-XX:+UseSerialGC".into(),
            "-XX:TieredStopAtLevel=1".into(),
            "-XX:MaxDirectMemorySize=128m".into(),
            "-XX:+ExitOnOutOfMemoryError".into(),
            "-Djava.awt.headless=true".into(),
            log,
            "-cp".into(),
            self.class_path.clone(),
        ]
    }

    fn properties_path(&self, index: usize) -> PathBuf {
        self.folder.join(format!("node-{}/server.properties", index + 1))
    }
}

/// The configuration of one node of `nodes`.
pub(super) fn properties(
    nodes: &[KafkaNode],
    listeners: &[KafkaListener],
    index: usize,
    folder: &Path,
) -> String {
    let own = || listeners.iter().filter(|listener| listener.broker == index);
    let each = |entry: fn(&KafkaListener) -> String| own().map(entry).collect::<String>();
    let voter = |(index, node): (usize, &KafkaNode)| {
        format!("{}@127.0.0.1:{}", index + 1, node.controller_port)
    };
    let voters: Vec<_> = nodes.iter().enumerate().map(voter).collect();
    let (replication, in_sync_min) = if nodes.len() >= 3 { ("3", "2") } else { ("1", "1") };
    PROPERTIES
        .replace("@ID@", &(index + 1).to_string())
        .replace("@LISTENERS@", &each(|it| format!(",{}://127.0.0.1:{}", it.name, it.port)))
        .replace(
            "@ADVERTISED@",
            &each(|it| format!(",{}://127.0.0.1:{}", it.name, it.advertised_port)),
        )
        .replace("@PROTOCOLS@", &each(|it| format!(",{}:{}", it.name, it.protocol)))
        .replace("@PORT@", &nodes[index].port.to_string())
        .replace("@CONTROLLER_PORT@", &nodes[index].controller_port.to_string())
        .replace("@VOTERS@", &voters.join(","))
        .replace("@REPLICATION@", replication)
        .replace("@IN_SYNC_MIN@", in_sync_min)
        // Backslashes begin an escape in this format.
        .replace("@FOLDER@", &folder.display().to_string().replace('\\', "\\\\"))
}

/// The id that all nodes of this folder are formatted with: chosen once.
fn cluster_id(folder: &Path) -> Result<String, ServiceError> {
    let path = folder.join("cluster.id");
    match fs::read_to_string(&path) {
        Ok(id) => return Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(ServiceError::File { path, source }),
    }
    let mut bytes: [u8; 16] = rand::random();
    // A leading dash would read as an option.
    bytes[0] &= 0x7f;
    let id = URL_SAFE_NO_PAD.encode(bytes);
    replace(&path, &id)?;
    Ok(id)
}
