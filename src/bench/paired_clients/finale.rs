//! After a run that is judged: everybody reads everything, and leaves.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::super::judged::Judged;
use super::super::progress::Progress;
use super::chatter::Chatter;
use crate::checker::judge;
use crate::history::Recorder;

/// Clients that read everything at the same time.
const READERS: usize = 16;

/// What is left to do for a verdict, when nothing is measured any more.
#[derive(Debug)]
pub struct Finale {
    recorder: Arc<Recorder>,
    clients: Vec<Chatter>,
}

impl Finale {
    /// With these clients, or their good-bye where nothing was recorded.
    pub(super) async fn of(recorder: Option<Arc<Recorder>>, clients: Vec<Chatter>) -> Option<Self> {
        match recorder {
            Some(recorder) => Some(Self { recorder, clients }),
            None => {
                close(clients).await;
                None
            }
        }
    }

    /// After a nemesis has made everything whole: everybody comes anew, and must be let in and answered.
    pub async fn is_served(&mut self, cancel: &CancellationToken) {
        let _progress = Progress::start("coming anew", None);
        let serving = stream::iter(&mut self.clients)
            .for_each_concurrent(READERS, |client| client.is_served());
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = serving => {}
        }
    }

    /// Reads everything, closes all connections, and judges. Whoever cancels gets the verdict on what there is: `unknown`
    /// where nothing is wrong, as with `shortfalls`.
    pub async fn judge(self, cancel: &CancellationToken, mut shortfalls: Vec<String>) -> Judged {
        let Self { recorder, clients } = self;
        let progress = Progress::start("reading everything", Some(clients.len() as u64));
        let reading = stream::iter(&clients).for_each_concurrent(READERS, |client| {
            let progress = &progress;
            async move {
                // A final read that fails is in the history, and so is that there is none.
                let _ = client.read_everything().await;
                progress.add(1);
            }
        });
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = reading => {}
        }
        close(clients).await;
        if cancel.is_cancelled() {
            shortfalls.push("stopped with Ctrl-C".to_owned());
        }
        shortfalls.extend(recorder.overflow());
        progress.enter("judging", None);
        let judging = tokio::task::spawn_blocking(move || {
            let events = recorder.take_events();
            let verdict = judge(&events).at_most_unknown(shortfalls);
            Judged { events, verdict }
        });
        match judging.await {
            Ok(judged) => judged,
            // The checker fell over: that is a bug of ours, and no verdict on the server.
            Err(error) => {
                let verdict =
                    judge(&[]).at_most_unknown(vec![format!("the checker failed: {error}")]);
                Judged { events: Vec::new(), verdict }
            }
        }
    }
}

async fn close(clients: Vec<Chatter>) {
    let closing = clients.into_iter().map(Chatter::close);
    futures_util::future::join_all(closing).await;
}
