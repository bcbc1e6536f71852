//! The socket below a WebSocket of Socket.IO: what comes goes to the session, not to the engine; it can be paused, cut, and tells when
//! it is gone.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::{Intake, Step};
use super::peer::Peer;
use crate::server::addresses::AddressPlace;
use crate::server::ending::Ending;
use crate::tls::Stream;

/// Bytes of one read: many usual packets. They stand on the stack until it is known how many there are.
const READ_BYTES_MAX: usize = 16 << 10;
/// The engine is told no more often that its client is alive; it waits longer for that.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Our hand on a [`Line`] that the engine has.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    cut: CancellationToken,
    gone: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    paused: bool,
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is read.
    pub(super) fn pause(&self) {
        self.state().paused = true;
    }

    /// Reading goes on.
    pub(super) fn resume(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.paused, false) {
            state.reader.take().inspect(Waker::wake_by_ref);
        }
    }

    /// Whether reading may go on; who is told to wait is woken.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.paused {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the end, or for what wakes the reader otherwise.
    fn poll_cut(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    #[cfg(test)]
    pub(super) fn is_paused(&self) -> bool {
        self.state().paused
    }

    /// Both directions fail from now on, also for who waits in them.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        state.reader.take().inspect(Waker::wake_by_ref);
        state.writer.take().inspect(Waker::wake_by_ref);
        drop(state);
        self.cut.cancel();
    }

    /// Waits until the engine has let the socket go, and it is closed.
    pub(super) async fn until_gone(&self) {
        self.gone.cancelled().await;
    }
}

/// A socket for the engine.
pub(super) struct Line {
    /// Until the engine lets it go.
    stream: Option<Stream>,
    intake: Intake,
    /// When the engine was told last that its client is alive.
    alive_at: Instant,
    gate: Arc<Gate>,
    peer: Arc<Peer>,
    closing: Closing,
    place: Option<Arc<AddressPlace>>,
}

/// How a socket is closed that the engine has let go.
pub(super) struct Closing {
    /// Owns the task that does it.
    pub(super) tasks: TaskTracker,
    /// Time for the client's side.
    pub(super) wait: Duration,
}

impl Line {
    pub(super) fn new(
        stream: Stream,
        ahead: Bytes,
        mut intake: Intake,
        gate: Arc<Gate>,
        peer: Arc<Peer>,
        closing: Closing,
        place: Option<Arc<AddressPlace>>,
    ) -> Self {
        // A copy: it would keep the buffer of the HTTP connection.
        intake.push(&ahead);
        let (stream, alive_at) = (Some(stream), Instant::now());
        Self { stream, intake, alive_at, gate, peer, closing, place }
    }

    /// Reads once; how many bytes came.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        let mut scratch = [const { MaybeUninit::uninit() }; READ_BYTES_MAX];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(stream).poll_read(context, &mut read))?;
        let count = read.filled().len();
        if count > 0 {
            self.intake.push(read.filled());
            self.peer.heard(count);
            if self.alive_at.elapsed() >= ALIVE_EVERY {
                self.alive_at = Instant::now();
                self.intake.is_alive();
            }
        }
        Poll::Ready(Ok(count))
    }

    /// The same call on the stream, unless the line is cut.
    fn unless_cut<T>(
        &mut self,
        context: &mut Context<'_>,
        call: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut state = self.gate.state();
        if state.cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        let polled = call(Pin::new(stream), context);
        if polled.is_pending() {
            state.writer = Some(context.waker().clone());
        }
        polled
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let line = &mut *self;
        loop {
            if line.intake.take(buffer) {
                return Poll::Ready(Ok(()));
            }
            ready!(line.gate.poll_readable(context))?;
            match line.intake.next() {
                Ok(Step::Said(packet)) => {
                    line.peer.said(packet);
                    continue;
                }
                Ok(Step::ForEngine) => continue,
                Ok(Step::Wanting) => {}
                // The engine lives on for as long as there is something to tell.
                Ok(Step::Over) => return line.gate.poll_cut(context),
                Err(code) => {
                    line.peer.inbox.end(Ending::Code(code));
                    return line.gate.poll_cut(context);
                }
            }
            match line.poll_fill(context) {
                Poll::Pending => return line.gate.poll_cut(context),
                Poll::Ready(Ok(1..)) => {}
                // The engine would tell only when its writer has ended, and that may be stuck.
                Poll::Ready(ended) => {
                    line.peer.inbox.end(Ending::Lost);
                    return Poll::Ready(ended.map(drop));
                }
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unless_cut(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unless_cut(context, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_cut(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_cut(context, |stream, context| stream.poll_shutdown(context))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Also when an upgrade was not finished: the session cannot go on by polling then.
        self.peer.inbox.end(Ending::Lost);
        let (gate, place, wait) = (Arc::clone(&self.gate), self.place.take(), self.closing.wait);
        match (self.stream.take(), Handle::try_current()) {
            (Some(stream), Ok(runtime)) if !gate.cut.is_cancelled() => {
                let closing = async move {
                    tokio::select! {
                        () = drain(stream) => {}
                        () = gate.cut.cancelled() => {}
                        () = sleep(wait) => {}
                    }
                    drop(place);
                    gate.gone.cancel();
                };
                self.closing.tasks.spawn_on(closing, &runtime);
            }
            _ => gate.gone.cancel(),
        }
    }
}

/// Says that nothing more comes, and throws away what does until the client has closed its side. Closing a socket that holds unread
/// bytes would reset it, and the client might never see why.
async fn drain(mut stream: Stream) {
    let _ = stream.shutdown().await;
    let mut scratch = [0; 1_024];
    while matches!(stream.read(&mut scratch).await, Ok(1..)) {}
}
