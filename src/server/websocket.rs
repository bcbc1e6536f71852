//! One client: a loop that reads and a loop that writes, side by side in one task, so that neither
//! ever waits for the other.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::time::{Instant, sleep_until, timeout};

use super::connections::Slot;
use super::frame_reader::{FrameReader, Heard};
use super::frame_writer::FrameWriter;
use super::pulse::{Due, Pulse, Schedule};
use super::{Node, ServerSettings};
use crate::chat::{Outbox, Session, Taken};
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

/// Serves one client from its upgrade to its end.
pub(super) async fn run(mut stream: TcpStream, read_ahead: Bytes, node: Arc<Node>, mut slot: Slot) {
    let settings = &node.settings;
    let pulse = Pulse::start(Instant::now());
    let (read_half, write_half) = stream.split();
    let mut reader = FrameReader::new(read_half, read_ahead, &pulse).await;
    let mut writer = FrameWriter::new(write_half);
    if slot.refused {
        let ending = Ending::Code(CloseCode::TOO_MANY);
        close(writer, reader, ending, settings).await;
        count(ending);
        return;
    }
    let outbox = Arc::new(Outbox::new(settings.outbox_bytes_max));
    slot.attach(&outbox);
    let mut session = Session::new(Arc::clone(&node.chat), Arc::clone(&outbox));
    let ending = {
        let talk = async {
            let mut write = pin!(write_loop(&outbox, &mut writer, &pulse, settings));
            let ending = tokio::select! {
                ending = &mut write => return ending,
                ending = read_loop(&mut session, &mut reader, &pulse, &mut slot) => ending,
            };
            // What was answered before the offence still goes out.
            if let Ending::Code(code) = ending {
                outbox.close(code);
                return timeout(settings.close_flush, write).await.unwrap_or(ending);
            }
            ending
        };
        // A panic must end the session too: nobody may stay online who is not here.
        let mut talk = pin!(AssertUnwindSafe(talk).catch_unwind());
        tokio::select! {
            ending = &mut talk => ending.unwrap_or(Ending::Panicked),
            () = node.abort.cancelled() => Ending::Aborted,
        }
    };
    count(ending);
    // The user is offline at once; the client may take its time to close.
    let close = async {
        tokio::select! {
            () = close(writer, reader, ending, settings) => {}
            () = node.abort.cancelled() => {}
        }
    };
    tokio::join!(session.end(), close);
}

/// Hands every command to the session until there are no more.
async fn read_loop(
    session: &mut Session,
    reader: &mut FrameReader<'_>,
    pulse: &Pulse,
    slot: &mut Slot,
) -> Ending {
    let mut greeted = false;
    loop {
        match reader.next().await {
            Heard::Text(text) => {
                if let Err(code) = session.handle(&text).await {
                    return Ending::Code(code);
                }
                if !greeted && session.is_greeted() {
                    greeted = true;
                    pulse.greeted();
                    slot.greet();
                }
            }
            Heard::Ping(payload) => pulse.pinged(payload),
            Heard::End(ending) => return ending,
        }
    }
}

/// Writes what the session is told, and pings, until the session is closed or the client is given
/// up.
async fn write_loop(
    outbox: &Outbox,
    writer: &mut FrameWriter<WriteHalf<'_>>,
    pulse: &Pulse,
    settings: &ServerSettings,
) -> Ending {
    let mut schedule = Schedule::new(pulse, settings);
    let mut timer = pin!(sleep_until(schedule.next()));
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            taken = outbox.take(&mut frames) => match taken {
                Taken::Closed(code) => return Ending::Code(code),
                Taken::Frames => {
                    for frame in frames.drain(..) {
                        writer.queue_text(frame.into());
                    }
                    // An idle connection keeps no room for a burst that has passed.
                    frames.shrink_to(16);
                }
            },
            pong = pulse.pong() => writer.queue_pong(pong),
            () = &mut timer => {
                match schedule.due(Instant::now()) {
                    Due::Close(code) => return Ending::Code(code),
                    Due::Ping => writer.queue_ping(),
                    Due::Nothing => {}
                }
                timer.as_mut().reset(schedule.next());
            }
        }
        loop {
            // The client may take nothing for a while: what ends it then is its own silence, or more
            // waiting for it than may.
            tokio::select! {
                biased;
                flushed = writer.flush() => match flushed {
                    Ok(()) => break,
                    Err(_) => return Ending::Lost,
                },
                () = outbox.until_slow() => return Ending::Code(CloseCode::SLOW),
                () = &mut timer => {
                    if let Due::Close(code) = schedule.due(Instant::now()) {
                        return Ending::Code(code);
                    }
                    timer.as_mut().reset(schedule.next());
                }
            }
        }
        outbox.wrote();
    }
}

/// The close frame, and the client's side of the close. A client that does not take it in time gets
/// the end of the socket.
async fn close(
    mut writer: FrameWriter<WriteHalf<'_>>,
    reader: FrameReader<'_>,
    ending: Ending,
    settings: &ServerSettings,
) {
    match ending {
        Ending::Code(code) => writer.close_with(Some(code.code), code.reason),
        Ending::Peer(code) => writer.close_with(code, ""),
        Ending::Lost | Ending::Aborted | Ending::Panicked => return,
    }
    let said = async {
        writer.flush().await?;
        writer.shutdown().await
    };
    let said = matches!(timeout(settings.slow_flush, said).await, Ok(Ok(())));
    // A reader too slow would take its time for this as well.
    if said && ending != Ending::Code(CloseCode::SLOW) {
        // Silent for longer: it gets the end without having closed its side.
        let _ = timeout(settings.close_wait, reader.drain()).await;
    }
}

impl FrameWriter<WriteHalf<'_>> {
    /// The close frame comes after the frame begun, before all others.
    fn close_with(&mut self, code: Option<u16>, reason: &str) {
        self.discard_unbegun();
        self.queue_close(code, reason);
    }
}

fn count(ending: Ending) {
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
