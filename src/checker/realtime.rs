//! Pushed messages: `rt-miss`, `rt-dup`, `rt-reorder`, and pushes to who did not ask (`misroute`).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::anomaly::Anomaly;
use super::conversation::{Conversation, Moment, session_of};
use super::findings::Findings;
use super::log::Log;
use super::sent::SentIndex;
use crate::history::{Asked, Event, Item, Seen};

/// The pushes after one open.
#[derive(Debug)]
struct Stream<'a> {
    user: &'a str,
    session: u64,
    epoch: &'a str,
    head: u64,
    opened_at: u64,
    echo: bool,
    /// Number → line of the first push of it.
    got: BTreeMap<u64, u64>,
    highest: u64,
}

/// Where a session stands with the conversation.
#[derive(Debug)]
enum Standing<'a> {
    /// Its pushes are judged.
    Streaming(Stream<'a>),
    /// It must get none; the line since which.
    Silent(u64),
    /// Nobody knows: an open or leave is under way, or its answer never came.
    Unclear,
}

/// What the rules of a stream need to know.
#[derive(Debug)]
pub struct Realtime<'c, 'a> {
    /// The conversation.
    pub conversation: &'c Conversation<'a>,
    /// Its order, by epoch.
    pub logs: &'c BTreeMap<&'a str, Log<'a>>,
    /// Its sends.
    pub sent: &'c SentIndex<'a>,
    /// Ends of sessions.
    pub closes: &'c HashMap<u64, (u64, bool)>,
    /// Where the final reads begin, and what was certainly stored then.
    pub quiet: Option<(u64, u64)>,
    /// Messages that the final reads miss: reported as lost already.
    pub lost: &'c HashSet<u64>,
}

/// Judges every stream of a conversation.
pub fn judge(realtime: &Realtime<'_, '_>, findings: &mut Findings) {
    let conversation = realtime.conversation;
    let mut standings: HashMap<u64, Standing<'_>> = HashMap::new();
    for moment in &conversation.moments {
        match *moment {
            Moment::Begun(number) => {
                let operation = &conversation.operations[number];
                // Until it is answered, an older stream goes on; a silent session may begin to hear.
                if let Asked::Open { .. } = operation.asked {
                    let standing =
                        standings.entry(operation.session()).or_insert(Standing::Unclear);
                    if matches!(standing, Standing::Silent(_)) {
                        *standing = Standing::Unclear;
                    }
                }
            }
            Moment::Ended(number) => {
                let operation = &conversation.operations[number];
                let session = operation.session();
                let next = match (operation.asked, operation.seen()) {
                    (Asked::Open { push: true, echo, .. }, Some(Seen::Open(seen))) => {
                        Standing::Streaming(Stream {
                            user: operation.user(),
                            session,
                            epoch: &seen.epoch,
                            head: seen.head.0,
                            opened_at: operation.ended_at(),
                            echo: *echo,
                            got: BTreeMap::new(),
                            highest: seen.head.0,
                        })
                    }
                    (Asked::Open { .. }, Some(_)) | (Asked::Leave {}, Some(_)) => {
                        Standing::Silent(operation.ended_at())
                    }
                    (Asked::Open { .. } | Asked::Leave {}, None) if !operation.failed() => {
                        Standing::Unclear
                    }
                    _ => continue,
                };
                if let Some(Standing::Streaming(stream)) = standings.insert(session, next) {
                    finish(realtime, &stream, operation.begun_at(), findings);
                }
            }
            Moment::Pushed(event, epoch, item) => {
                let session = session_of(event);
                if realtime.closes.get(&session).is_some_and(|(line, _)| *line < event.index) {
                    continue;
                }
                match standings.get_mut(&session) {
                    Some(Standing::Streaming(stream)) => {
                        take(realtime, stream, event, epoch, item, findings);
                    }
                    Some(Standing::Unclear) => {}
                    Some(Standing::Silent(since)) => {
                        astray(conversation.name, event, item, Some(*since), findings);
                    }
                    None => astray(conversation.name, event, item, None, findings),
                }
            }
            Moment::Reset(event) => {
                let old = standings.insert(session_of(event), Standing::Unclear);
                if let Some(Standing::Streaming(stream)) = old {
                    finish(realtime, &stream, event.index, findings);
                }
            }
            Moment::Listed(..) => {}
        }
    }
    for (session, standing) in standings {
        if let Standing::Streaming(stream) = standing {
            let end = match realtime.closes.get(&session) {
                // A session that the server closed promises nothing more.
                Some(&(line, by_us)) => {
                    if by_us {
                        line
                    } else {
                        0
                    }
                }
                None => u64::MAX,
            };
            finish(realtime, &stream, end, findings);
        }
    }
}

fn astray(name: &str, event: &Event, item: &Item, since: Option<u64>, findings: &mut Findings) {
    let lines = [since.unwrap_or(event.index), event.index];
    findings.add(Anomaly::Misroute, name, &lines, || {
        let user = event.user.as_deref().unwrap_or("?");
        format!(
            "seq {} was pushed to session {} of {user}, which does not have the conversation open",
            item.seq,
            session_of(event)
        )
    });
}

fn take(
    realtime: &Realtime<'_, '_>,
    stream: &mut Stream<'_>,
    event: &Event,
    epoch: &str,
    item: &Item,
    findings: &mut Findings,
) {
    let name = realtime.conversation.name;
    let (seq, user) = (item.seq.0, stream.user);
    if epoch != stream.epoch {
        findings.add(Anomaly::Misroute, name, &[stream.opened_at, event.index], || {
            format!("seq {seq} of epoch {epoch} was pushed to a stream of epoch {}", stream.epoch)
        });
        return;
    }
    let own = !stream.echo
        && item.from == user
        && sessions_of(realtime, &item.from, &item.cid)
            .is_some_and(|by| by.iter().all(|&one| one == stream.session));
    let before = stream.got.get(&seq).copied();
    if before.is_some() || seq <= stream.head || own {
        let lines = [stream.opened_at, before.unwrap_or(event.index), event.index];
        findings.add(Anomaly::RtDup, name, &lines, || {
            let why = if before.is_some() {
                "twice"
            } else if own {
                "although it is its own and echo is off"
            } else {
                "although its open already covered it"
            };
            format!("seq {seq} was pushed to {user} {why}")
        });
        return;
    }
    if seq < stream.highest {
        let lines = [stream.got.get(&stream.highest).copied().unwrap_or(event.index), event.index];
        findings.add(Anomaly::RtReorder, name, &lines, || {
            format!("seq {seq} was pushed to {user} after seq {}", stream.highest)
        });
    }
    stream.got.insert(seq, event.index);
    stream.highest = stream.highest.max(seq);
}

/// The sessions that sent a message.
fn sessions_of(realtime: &Realtime<'_, '_>, from: &str, cid: &str) -> Option<HashSet<u64>> {
    let sent = realtime.sent.get((from, cid))?;
    let operations = &realtime.conversation.operations;
    let alive = sent
        .operations
        .iter()
        .map(|&number| &operations[number])
        .filter(|operation| !operation.failed());
    Some(alive.map(|operation| operation.session()).collect())
}

/// What must have come by the end of a stream.
fn finish(
    realtime: &Realtime<'_, '_>,
    stream: &Stream<'_>,
    ended_at: u64,
    findings: &mut Findings,
) {
    let log = realtime.logs.get(stream.epoch);
    let mut last = stream.highest;
    if let Some((quiet_at, stored)) = realtime.quiet
        && ended_at > quiet_at
        && stream.opened_at < quiet_at
        && realtime.logs.len() == 1
    {
        last = last.max(stored);
    }
    let mut expected = stream.head + 1;
    let mut missing = Vec::new();
    for seq in stream.got.keys().copied().chain([last.saturating_add(1)]) {
        // More than this in one gap is told by its beginning.
        missing.extend((expected..seq).take(1_000));
        expected = expected.max(seq.saturating_add(1));
    }
    let excused = |seq: &u64| {
        let slot = log.and_then(|log| log.slots.get(seq));
        match slot {
            _ if realtime.lost.contains(seq) => true,
            _ if log.is_some_and(|log| log.disputed.contains(seq)) => true,
            Some(slot) if !stream.echo && slot.from == stream.user => {
                sessions_of(realtime, slot.from, slot.cid)
                    .is_some_and(|by| by.contains(&stream.session))
            }
            // Of a number that nobody ever saw, the final reads say whether it is a hole.
            None => true,
            Some(_) => false,
        }
    };
    missing.retain(|seq| !excused(seq));
    if let (Some(&first), count) = (missing.first(), missing.len()) {
        let stored =
            log.and_then(|log| log.slots.get(&first)).map_or(stream.opened_at, |slot| slot.line);
        let after = stream.got.range(first..).next().map_or(stream.opened_at, |(_, &line)| line);
        findings.add(
            Anomaly::RtMiss,
            realtime.conversation.name,
            &[stream.opened_at, stored, after],
            || {
                format!(
                    "{} opened at head {} and was never pushed seq {first} ({count} missing)",
                    stream.user, stream.head
                )
            },
        );
    }
}
