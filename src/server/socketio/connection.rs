//! One client: a loop that hears packets in order and a loop that tells, side by side in one task, as of a WebSocket of our own.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engineioxide::socket::DisconnectReason;
use engineioxide::{Socket, TransportType};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::engine::Data;
use super::inbox::Said;
use super::packet::{self, Incoming};
use super::peer::Peer;
use super::sender::{Gone, Sender};
use crate::chat::{Session, Taken};
use crate::protocol::CloseCode;
use crate::server::connections::Slot;
use crate::server::ending::{self, Ending, count};
use crate::server::pulse::{Due, Schedule};
use crate::server::{Node, ServerSettings};

/// Looks whether the engine has passed on all it was given, first and most.
const LOOK_MIN: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(200);

/// Serves one client from the engine's handshake to its end.
pub(super) async fn run(socket: Arc<Socket<Data>>, peer: &Peer, node: Arc<Node>, mut slot: Slot) {
    let settings = &node.settings;
    let sender = Sender::new(Arc::clone(&socket));
    let outbox = &peer.outbox;
    let mut session = Session::new(Arc::clone(&node.chat), Arc::clone(outbox));
    let ending = {
        let talk = async {
            if slot.refused {
                return refuse(peer, &sender, settings).await;
            }
            slot.attach(outbox);
            // Who polls has one answer left in a drain, since the listener is closed: it must be why.
            let has_one_answer = || {
                node.draining.is_cancelled() && socket.transport_type() == TransportType::Polling
            };
            let mut tell = pin!(tell(peer, &sender, settings, has_one_answer));
            let last_request = async {
                node.draining.cancelled().await;
                if !has_one_answer() {
                    std::future::pending::<()>().await;
                }
            };
            let ending = tokio::select! {
                ending = &mut tell => return ending,
                ending = hear(&mut session, peer, &sender, &mut slot) => ending,
                () = last_request => Ending::Code(CloseCode::SHUTDOWN),
            };
            // What was answered before the offence still goes out.
            if let Ending::Code(code) = ending {
                outbox.close(code);
                return timeout(settings.close_flush, tell).await.unwrap_or(ending);
            }
            ending
        };
        ending::of(pin!(talk), &node.abort).await
    };
    count(ending);
    // The user is offline at once; the client may take its time to close.
    let close = async {
        tokio::select! {
            () = close(peer, &sender, &socket, ending, settings) => {}
            () = node.abort.cancelled() => end(peer, &socket),
        }
    };
    tokio::join!(Box::pin(session.end()), Box::pin(close));
}

/// Tells a client for whom there is no place, when it asks to be let in.
async fn refuse(peer: &Peer, sender: &Sender, settings: &ServerSettings) -> Ending {
    let told = async {
        loop {
            match peer.inbox.next().await {
                Said::End(ending) => return ending,
                Said::Packet(text) => {
                    if matches!(packet::decode(text), Incoming::Frame(_)) {
                        let _ = sender.send_now(packet::no_place());
                        return Ending::Code(CloseCode::TOO_MANY);
                    }
                }
            }
        }
    };
    timeout(settings.hello, told).await.unwrap_or(Ending::Code(CloseCode::TOO_MANY))
}

/// Hands every command to the session until there are no more.
async fn hear(session: &mut Session, peer: &Peer, sender: &Sender, slot: &mut Slot) -> Ending {
    let mut greeted = false;
    loop {
        let text = match peer.inbox.next().await {
            Said::Packet(text) => text,
            Said::End(ending) => return ending,
        };
        let heard = match packet::decode(text) {
            // Boxed: its more than 1 KiB would otherwise lie idle in every connection's task.
            Incoming::Frame(frame) => Box::pin(session.handle(&frame)).await,
            Incoming::Foreign(namespace) => match session.control() {
                Ok(()) => match sender.send(packet::no_namespace(&namespace)).await {
                    Ok(()) => Ok(()),
                    Err(Gone) => return Ending::Lost,
                },
                closed => closed,
            },
            Incoming::Ignored => session.control(),
            // No frame either: it is answered and counted as such.
            Incoming::Bad => Box::pin(session.handle("")).await,
            Incoming::Binary => Err(CloseCode::BINARY),
            Incoming::Leave => return Ending::Peer(None),
        };
        if let Err(code) = heard {
            return Ending::Code(code);
        }
        if !greeted && session.is_greeted() {
            greeted = true;
            peer.pulse.greeted();
            slot.greet();
        }
    }
}

/// Tells what the session is told, until it is closed or the client is given up.
async fn tell(
    peer: &Peer,
    sender: &Sender,
    settings: &ServerSettings,
    has_one_answer: impl Fn() -> bool,
) -> Ending {
    let outbox = &peer.outbox;
    let mut schedule = Schedule::new(&peer.pulse, settings);
    let mut timer = pin!(sleep_until(schedule.next()));
    let (mut frames, mut packets) = (Vec::new(), Vec::new());
    // Until the engine has passed on what it was given, its bytes count as waiting.
    let mut look_after = None;
    loop {
        let looks = async {
            match look_after {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            taken = outbox.take(&mut frames) => match taken {
                Taken::Closed(code) => return Ending::Code(code),
                Taken::Frames if has_one_answer() => return Ending::Code(CloseCode::SHUTDOWN),
                Taken::Frames => {
                    for frame in frames.drain(..) {
                        packet::encode(&frame, &mut packets);
                    }
                    let told = async {
                        for packet in packets.drain(..) {
                            sender.send(packet).await?;
                        }
                        Ok(())
                    };
                    let mut told = pin!(told);
                    loop {
                        // The client may take nothing for a while: what ends it then is its own silence, or more
                        // waiting for it than may.
                        tokio::select! {
                            biased;
                            told = &mut told => match told {
                                Ok(()) => break,
                                Err(Gone) => return Ending::Lost,
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
                    // An idle connection keeps no room for a burst that has passed.
                    frames.shrink_to(16);
                    look_after = Some(LOOK_MIN);
                }
            },
            () = looks => match sender.is_taken() {
                Ok(true) => {
                    outbox.wrote();
                    look_after = None;
                }
                Ok(false) => look_after = look_after.map(|pause| (pause * 2).min(LOOK_MAX)),
                Err(Gone) => return Ending::Lost,
            },
            // The engine pings.
            () = &mut timer => {
                if let Due::Close(code) = schedule.due(Instant::now()) {
                    return Ending::Code(code);
                }
                timer.as_mut().reset(schedule.next());
            }
        }
    }
}

/// Says why, where it is us who close, and lets the engine and the socket go.
async fn close(
    peer: &Peer,
    sender: &Sender,
    socket: &Socket<Data>,
    ending: Ending,
    settings: &ServerSettings,
) {
    if let Ending::Code(code) = ending {
        let mut said = sender.send_now(packet::closing(code));
        // A stock client comes back by itself after the engine's close, never after this.
        if said.is_ok() && !CloseCode::reconnect(code.code) {
            said = sender.send_now(packet::DISCONNECT.to_owned());
        }
        if said.is_ok() {
            let _ = timeout(settings.slow_flush, sender.until_taken()).await;
        }
    }
    socket.close(DisconnectReason::ClosingServer);
    if let (Some(line), Ending::Code(_) | Ending::Peer(_)) = (peer.line(), ending) {
        let _ = timeout(settings.close_wait, line.until_gone()).await;
    }
    end(peer, socket);
}

/// Ends all of it at once.
fn end(peer: &Peer, socket: &Socket<Data>) {
    socket.close(DisconnectReason::ClosingServer);
    if let Some(line) = peer.line() {
        line.cut();
    }
}
