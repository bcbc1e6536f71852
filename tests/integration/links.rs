//! What is led through proxies is led through them altogether: the servers of a check with broken links have no other way to their
//! services.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::support::services::{FolderServices, SharedServices};
use crate::support::{BINARY, chatctl};

/// Often enough to see a connection that lives for a round trip or two.
const LOOK: Duration = Duration::from_millis(10);
/// States of a TCP socket in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";
const SYN_SENT: &str = "02";
const LISTEN: &str = "0A";

/// The TCP sockets of a process, by state: local and remote ports.
fn sockets(pid: u32) -> Vec<(String, u16, u16)> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let own: BTreeSet<String> = descriptors
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|target| {
            let name = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(name.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (local, remote) = (port(fields.get(1)?)?, port(fields.get(2)?)?);
        own.contains(*fields.get(9)?).then(|| (fields[3].to_owned(), local, remote))
    });
    rows.collect()
}

/// The processes of this binary that `parent` started.
fn children(parent: u32) -> Vec<u32> {
    let binary = fs::canonicalize(BINARY).unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let of_parent = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            after_name.split_whitespace().nth(1) == Some(&parent.to_string())
        });
        of_parent
            && fs::read_link(Path::new("/proc").join(pid.to_string()).join("exe"))
                .is_ok_and(|exe| exe == binary)
    })
    .collect()
}

#[tokio::test]
async fn servers_reach_their_services_by_proxies_only() {
    let Some(_) = SharedServices::find().await else { return };
    let (out, services) = (tempfile::tempdir().unwrap(), FolderServices::new());
    let mut check = chatctl(&["check", "validity", "--engine", "cassandra", "--out"])
        .arg(out.path())
        .args(["--distribution", "kafka", "--nodes", "3", "--clients", "6"])
        .args(["--services-dir", services.folder(), "--nemesis", "cut,latency,partition"])
        .args(["--every", "2s", "--duration", "10s"])
        .spawn()
        .unwrap();
    let parent = check.id().unwrap();
    let (mut proxies, mut reached) = (BTreeSet::new(), BTreeMap::new());
    let mut servers = BTreeSet::new();
    while check.try_wait().unwrap().is_none() {
        let listening = sockets(parent).into_iter().filter(|(state, ..)| state == LISTEN);
        proxies.extend(listening.map(|(_, port, _)| port));
        for server in children(parent) {
            let all = sockets(server);
            let own: BTreeSet<u16> =
                all.iter().filter(|(state, ..)| state == LISTEN).map(|row| row.1).collect();
            for (state, local, remote) in all {
                if [ESTABLISHED, SYN_SENT].contains(&&*state) && !own.contains(&local) {
                    servers.insert(server);
                    *reached.entry(remote).or_insert(0) += 1;
                }
            }
        }
        sleep(LOOK).await;
    }
    let output = check.wait_with_output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    println!("{} processes reached {} ports: {reached:?}", servers.len(), reached.len());
    // Three servers, and the dump of the store at the end; Redis, Kafka and Cassandra each.
    assert!(servers.len() >= 4 && reached.len() >= 9, "{servers:?} {reached:?}");
    let around: Vec<_> = reached.keys().filter(|port| !proxies.contains(port)).collect();
    assert!(around.is_empty(), "reached without a proxy: {around:?} of {reached:?}");
}
