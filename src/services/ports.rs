//! Ports that nobody listens on.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::ops::Range;
use std::time::Duration;

use tokio::time::sleep;

/// Where a free one is looked for: below the range that systems take for outgoing connections.
const SEARCHED: Range<u16> = 20_000..32_000;

/// Tries before it is given up.
const TRIES: u32 = 200;

/// How often, and after what time, it is looked at whether a port was given back.
const FREED_LOOKS: u32 = 30;
const FREED_LOOK: Duration = Duration::from_millis(100);

/// A port that is free on every one of `hosts`: `preferred` if it is, else another. It may be taken
/// a moment later; whoever listens on it then says so.
pub fn free_port(hosts: &[IpAddr], preferred: Option<u16>) -> io::Result<u16> {
    let free =
        |port: u16| hosts.iter().try_for_each(|&host| TcpListener::bind((host, port)).map(drop));
    let mut last = match preferred.map(|port| (port, free(port))) {
        Some((port, Ok(()))) => return Ok(port),
        Some((_, Err(error))) => error,
        None => io::ErrorKind::AddrInUse.into(),
    };
    for _ in 0..TRIES {
        let port = rand::random_range(SEARCHED);
        match free(port) {
            Ok(()) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// So many ports, each another one: one that was found free and is not taken yet may be found again.
pub fn free_ports(hosts: &[IpAddr], count: usize) -> io::Result<Vec<u16>> {
    let mut ports = Vec::with_capacity(count);
    while ports.len() < count {
        let port = free_port(hosts, None)?;
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

/// Waits until a port is free on every one of `hosts`: a process that was killed holds its own for a moment longer.
pub async fn port_freed(hosts: &[IpAddr], port: u16) -> bool {
    for _ in 0..FREED_LOOKS {
        if hosts.iter().all(|&host| TcpListener::bind((host, port)).is_ok()) {
            return true;
        }
        sleep(FREED_LOOK).await;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_taken_port_is_not_given() {
        let hosts = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))];
        let holder = TcpListener::bind((hosts[1], 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        assert_ne!(free_port(&hosts, Some(taken)).unwrap(), taken);
        drop(holder);
        assert_eq!(free_port(&hosts, Some(taken)).unwrap(), taken);
    }
}
