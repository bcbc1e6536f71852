//! Binding.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel holds for us before we accept them: a whole fleet reconnects at once
/// after a restart. The kernel cuts it to its own bound (`somaxconn`, 4096 by default).
const BACKLOG: u32 = 4_096;

/// Listens on `address`; must be called on a runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)
}

/// Whether a server could listen on `address` now. It takes nobody's connection, and is in no server's way: only who listens is.
pub fn can_bind(address: SocketAddr) -> io::Result<()> {
    bound(address).map(drop)
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted server must not wait for connections of the last one to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
