//! A connection, with TLS or without.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};
use tokio_rustls::TlsStream;

/// A socket, or TLS over one. A plain one costs what the socket itself does.
#[derive(Debug)]
pub enum Stream {
    /// The socket itself.
    Plain(TcpStream),
    /// TLS. Boxed: its kilobyte of state is no part of a plain connection. The lock is for [`Stream::split`]: both halves belong to one
    /// task, so nobody ever waits for it.
    Tls(Box<Mutex<TlsStream<TcpStream>>>),
}

/// Reads, beside its [`WriteHalf`].
#[derive(Debug)]
pub enum ReadHalf<'a> {
    /// Of the socket itself.
    Plain(tcp::ReadHalf<'a>),
    /// Of TLS.
    Tls(&'a Mutex<TlsStream<TcpStream>>),
}

/// Writes. What it was given may wait in TLS until it is flushed.
#[derive(Debug)]
pub enum WriteHalf<'a> {
    /// Of the socket itself.
    Plain(tcp::WriteHalf<'a>),
    /// Of TLS.
    Tls(&'a Mutex<TlsStream<TcpStream>>),
}

impl Stream {
    /// TLS, after its handshake.
    pub fn tls(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::Tls(Box::new(Mutex::new(stream.into())))
    }

    /// Both directions, for one task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Plain(stream) => {
                let (read, write) = stream.split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Self::Tls(stream) => (ReadHalf::Tls(stream), WriteHalf::Tls(stream)),
        }
    }
}

/// A panic under the lock ends the task that has both halves.
fn locked(stream: &Mutex<TlsStream<TcpStream>>) -> MutexGuard<'_, TlsStream<TcpStream>> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same call on what it is.
macro_rules! on_either {
    ($stream:expr, $call:ident, $($argument:expr),+) => {
        match $stream.get_mut() {
            Self::Plain(stream) => Pin::new(stream).$call($($argument),+),
            Self::Tls(stream) => Pin::new(&mut *locked(stream)).$call($($argument),+),
        }
    };
}

macro_rules! reads {
    ($name:ty) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                on_either!(self, poll_read, context, buffer)
            }
        }
    };
}

macro_rules! writes {
    ($name:ty) => {
        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                on_either!(self, poll_write, context, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                on_either!(self, poll_write_vectored, context, slices)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                on_either!(self, poll_flush, context)
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                on_either!(self, poll_shutdown, context)
            }
        }
    };
}

reads!(Stream);
writes!(Stream);
reads!(ReadHalf<'_>);
writes!(WriteHalf<'_>);
