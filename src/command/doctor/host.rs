//! What a server needs of this machine.

use std::net::SocketAddr;

use tokio::task::spawn_blocking;

use super::finding::Finding;
use crate::config::{
    AuthenticationConfig, Config, LocalSync, PersistenceEngine, RegistryEngine, TlsConfig,
};
use crate::persistence::local::{Inspection, inspect};
use crate::server;
use crate::tls::ServerIdentity;

const DATA: &str = "data";
const LISTEN: &str = "listen";
const TLS: &str = "tls";
const FILES: &str = "open_files";

/// The data folder, where something is kept in it.
pub(super) async fn data_folder(config: &Config) -> Vec<Finding> {
    let reserve_bytes = match &config.persistence {
        PersistenceEngine::Local(local) if local.sync != LocalSync::Memory => local.reserve_bytes,
        _ if keeps_revocations(config) => 0,
        _ => return vec![Finding::ok(DATA, "these engines keep nothing in CHATCTL_DATA_DIR")],
    };
    let path = config.data_dir.clone();
    match spawn_blocking(move || inspect(&path)).await {
        Ok(Ok(found)) => vec![judge_folder(config, &found, reserve_bytes)],
        Ok(Err(error)) => vec![Finding::fail(DATA, error.to_string())],
        Err(error) => vec![Finding::fail(DATA, format!("it was not looked at: {error}"))],
    }
}

/// A node that judges tokens and shares no registry keeps what was revoked in a file.
fn keeps_revocations(config: &Config) -> bool {
    matches!(config.registry, RegistryEngine::Local)
        && matches!(config.authentication, AuthenticationConfig::On(_))
}

fn judge_folder(config: &Config, found: &Inspection, reserve_bytes: u64) -> Finding {
    let path = config.data_dir.display();
    let what = match &found.epoch {
        None => format!("{path} is free to be used"),
        Some(epoch) => format!("{path} holds a store of epoch {epoch}, which nobody has open"),
    };
    let Some(free_bytes) = found.free_bytes else {
        return Finding::warn(DATA, format!("{what}; the system does not tell how much is free"));
    };
    let room = format!("{free_bytes} bytes are free, the reserve is {reserve_bytes}");
    let advice = "free some space or lower CHATCTL_LOCAL_RESERVE_BYTES";
    if free_bytes < reserve_bytes {
        Finding::fail(DATA, format!("{what}; {room}: messages would be refused; {advice}"))
    } else if free_bytes / 2 < reserve_bytes {
        Finding::warn(DATA, format!("{what}; {room}: messages will soon be refused; {advice}"))
    } else {
        Finding::ok(DATA, format!("{what}; {room}"))
    }
}

/// Both listeners. Nothing listens meanwhile: a server that starts now is not in the way of this, nor this of it.
pub(super) fn listeners(config: &Config) -> Vec<Finding> {
    let (public, admin) = (config.listen, config.admin_listen);
    let mut found =
        vec![listener(public, "CHATCTL_LISTEN"), listener(admin, "CHATCTL_ADMIN_LISTEN")];
    if collide(public, admin) {
        let text = format!(
            "CHATCTL_LISTEN={public} and CHATCTL_ADMIN_LISTEN={admin} are in each other's way; set one to another port"
        );
        found.push(Finding::fail(LISTEN, text));
    }
    found
}

fn listener(address: SocketAddr, key: &str) -> Finding {
    match server::can_bind(address) {
        Ok(()) => Finding::ok(LISTEN, format!("{key}={address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::fail(
            LISTEN,
            format!(
                "{key}={address} is taken by another process; stop it or set {key} to a free address"
            ),
        ),
        Err(error) => Finding::fail(
            LISTEN,
            format!("cannot listen on {key}={address}: {error}; set {key} to another address"),
        ),
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || all && one.is_ipv4() == other.is_ipv4())
}

/// The certificate that clients would be shown.
pub(super) async fn tls(files: Option<&TlsConfig>) -> Vec<Finding> {
    let Some(TlsConfig { certificate, key }) = files else {
        return vec![Finding::ok(
            TLS,
            "the public listener is plain (CHATCTL_TLS_CERT is not set)",
        )];
    };
    match ServerIdentity::load(certificate, key).await {
        Err(error) => vec![Finding::fail(TLS, error.to_string())],
        Ok(identity) if identity.warnings().is_empty() => {
            let text = format!("{} and its key belong together", certificate.display());
            vec![Finding::ok(TLS, text)]
        }
        Ok(identity) => {
            identity.warnings().iter().map(|warning| Finding::warn(TLS, warning.as_str())).collect()
        }
    }
}

/// Whether so many clients as are allowed can be had. A server raises the limit as far as it may.
pub(super) fn open_files(config: &Config) -> Vec<Finding> {
    let wanted = config.connections_max as u64;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    vec![match limit {
        Some(limit) if limit < wanted => Finding::warn(
            FILES,
            format!(
                "a process may hold {limit} files open, fewer than CHATCTL_CONNECTIONS_MAX={wanted}; raise its limit (ulimit -Hn) to take so many clients"
            ),
        ),
        Some(limit) => Finding::ok(FILES, format!("{limit} for {wanted} clients")),
        None => Finding::ok(FILES, format!("without limit, for {wanted} clients")),
    }]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("127.0.0.1:80", "127.0.0.1:81", false)]
    #[case("127.0.0.1:80", "127.0.0.1:80", true)]
    #[case("127.0.0.1:80", "127.0.0.2:80", false)]
    #[case("127.0.0.1:80", "0.0.0.0:80", true)]
    #[case("0.0.0.0:0", "0.0.0.0:0", false)]
    fn listeners_get_in_each_others_way(
        #[case] one: SocketAddr,
        #[case] other: SocketAddr,
        #[case] expected: bool,
    ) {
        assert_eq!((collide(one, other), collide(other, one)), (expected, expected));
    }
}
