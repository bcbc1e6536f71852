//! One client: a loop that reads and a loop that writes, side by side in one task, so that neither
//! ever waits for the other.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};

use super::connections::Slot;
use super::ending::{self, Ending, count};
use super::frame_reader::{FrameReader, Heard};
use super::frame_writer::FrameWriter;
use super::pulse::{Due, Pulse, Schedule};
use super::{Node, ServerSettings};
use crate::chat::{Outbox, Session, Taken};
use crate::protocol::CloseCode;
use crate::tls::{Stream, WriteHalf};

/// Serves one client from its upgrade to its end.
pub(super) async fn run(mut stream: Stream, read_ahead: Bytes, node: Arc<Node>, mut slot: Slot) {
    let settings = &node.settings;
    let pulse = Pulse::start(Instant::now());
    let (read_half, write_half) = stream.split();
    let mut reader = FrameReader::new(read_half, &read_ahead, &pulse);
    drop(read_ahead);
    let mut writer = FrameWriter::new(write_half);
    if slot.refused {
        let ending = Ending::Code(CloseCode::TOO_MANY);
        close(&mut writer, &mut reader, ending, settings).await;
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
        ending::of(pin!(talk), &node.abort).await
    };
    count(ending);
    // The user is offline at once; the client may take its time to close.
    let close = async {
        tokio::select! {
            () = close(&mut writer, &mut reader, ending, settings) => {}
            () = node.abort.cancelled() => {}
        }
    };
    // Boxed: it holds both halves once more, and an idle connection need not make room for that.
    tokio::join!(Box::pin(session.end()), Box::pin(close));
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
                // Boxed: its more than 1 KiB would otherwise lie idle in every connection's task.
                if let Err(code) = Box::pin(session.handle(&text)).await {
                    return Ending::Code(code);
                }
                if !greeted && session.is_greeted() {
                    greeted = true;
                    pulse.greeted();
                    slot.greet();
                }
            }
            Heard::Ping(payload) => {
                pulse.pinged(payload);
                if let Err(code) = session.control() {
                    return Ending::Code(code);
                }
            }
            Heard::Pong => {
                if let Err(code) = session.control() {
                    return Ending::Code(code);
                }
            }
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
                code = outbox.until_cut() => return Ending::Code(code),
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
    writer: &mut FrameWriter<WriteHalf<'_>>,
    reader: &mut FrameReader<'_>,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    /// Fills a socket whose other side reads nothing, until the write loop ends.
    async fn stuck(settings: ServerSettings, frames: usize) -> Ending {
        let (_client, server) = pair().await;
        let mut server = Stream::Plain(server);
        let (_, write_half) = server.split();
        let mut writer = FrameWriter::new(write_half);
        let outbox = Outbox::new(settings.outbox_bytes_max);
        let pulse = Pulse::start(Instant::now());
        pulse.greeted();
        let fill = async {
            for _ in 0..frames {
                if !outbox.push("x".repeat(1 << 20).into()) {
                    break;
                }
                // Lets the writer take it, as the frames of a real session come one by one.
                tokio::task::yield_now().await;
            }
        };
        let write = write_loop(&outbox, &mut writer, &pulse, &settings);
        timeout(PATIENCE, async { tokio::join!(write, fill).0 }).await.expect("the loop ends")
    }

    #[tokio::test]
    async fn a_stuck_writer_notices_that_the_reader_is_too_slow() {
        let settings = ServerSettings { outbox_bytes_max: 4 << 20, ..ServerSettings::default() };
        assert_eq!(stuck(settings, usize::MAX).await, Ending::Code(CloseCode::SLOW));
    }

    #[tokio::test]
    async fn a_stuck_writer_notices_that_the_client_is_silent() {
        let settings = ServerSettings {
            // More than the kernel takes for a socket.
            outbox_bytes_max: 64 << 20,
            ping: Duration::from_millis(30),
            pong_grace: Duration::from_millis(30),
            ..ServerSettings::default()
        };
        assert_eq!(stuck(settings, 48).await, Ending::Code(CloseCode::NO_PONG));
    }
}
