//! How a connection ends, and the count of that.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::protocol::CloseCode;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// We close it.
    Code(CloseCode),
    /// The client closed it, with this code.
    Peer(Option<u16>),
    /// It is gone without a word.
    Lost,
    /// The drain time is over.
    Aborted,
    /// A mistake of ours.
    Panicked,
}

/// How a connection's talk ends. A panic must end the session, too: nobody may stay online who is not here. Pinned where it is, as a
/// future that is moved takes its room twice in every connection's task.
pub(super) async fn of(
    talk: Pin<&mut impl Future<Output = Ending>>,
    abort: &CancellationToken,
) -> Ending {
    tokio::select! {
        ending = AssertUnwindSafe(talk).catch_unwind() => ending.unwrap_or(Ending::Panicked),
        () = abort.cancelled() => Ending::Aborted,
    }
}

/// Counts an end by its code.
pub(super) fn count(ending: Ending) {
    let code = match ending {
        Ending::Code(code) => code.code.to_string(),
        // What clients choose to say must not make new time series.
        Ending::Peer(_) => "peer".to_owned(),
        Ending::Lost => "lost".to_owned(),
        Ending::Aborted => "aborted".to_owned(),
        Ending::Panicked => {
            tracing::error!("a connection panicked and was ended; the others go on");
            "panicked".to_owned()
        }
    };
    metrics::counter!("chatctl_closes_total", "code" => code).increment(1);
}
