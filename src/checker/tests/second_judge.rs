//! A second opinion on the heart of it: is each conversation a linearizable log?
//!
//! Nothing is shared with the checker but the form of a history. The search is that of Wing and Gong with
//! Lowe's memory, from a crate that knows nothing of chat; here is only what a log is.

use std::collections::{BTreeSet, HashMap};

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::checker::Anomaly;
use crate::history::{Act, Asked, Event, Item, ReadKind, Seen};
use crate::model::Seq;
use crate::protocol::ErrorCode;

/// What the second judge sees as well as the first: everything else is about pushes, pages, late
/// flags and acknowledgements.
pub const HEART: [Anomaly; 12] = [
    Anomaly::Lost,
    Anomaly::Phantom,
    Anomaly::Corrupt,
    Anomaly::Duplicate,
    Anomaly::InconsistentOffset,
    Anomaly::OrderDisagreement,
    Anomaly::RealtimeInversion,
    Anomaly::Ryw,
    Anomaly::Nonmonotonic,
    Anomaly::Hole,
    Anomaly::SeqReuse,
    Anomaly::LyingFail,
];

/// A message without its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Content {
    from: String,
    cid: String,
    digest: String,
    ts: u64,
    late: bool,
}

fn content(item: &Item) -> Content {
    let Item { cid, digest, ts, late, from, .. } = item.clone();
    Content { from, cid, digest, ts, late }
}

#[derive(Debug, Clone)]
enum Operation {
    /// Stores a message under the next number, or finds it where it is. One that was `answered` was
    /// told where; the own time of a retry counts for nothing.
    Append { content: Content, seq: u64, answered: bool },
    /// The name is taken by another content.
    Conflict { from: String, cid: String, digest: String },
    /// These messages are in the log, and it ends there if an end is given.
    See { items: Vec<(u64, Content)>, head: Option<u64> },
    /// The log from a number on is these, and no more or more.
    Page { after: u64, items: Vec<(u64, Content)>, complete: bool },
}

/// An append-only log whose entries have a name.
struct Log;

impl Specification for Log {
    type State = Vec<Content>;
    type Operation = Operation;

    fn init() -> Self::State {
        Vec::new()
    }

    fn apply(operation: &Operation, log: &Self::State) -> (bool, Self::State) {
        let end = log.len() as u64;
        let holds = |(seq, content): &(u64, Content)| {
            *seq >= 1 && log.get(*seq as usize - 1).is_some_and(|stored| stored == content)
        };
        let valid = match operation {
            Operation::Append { content, seq, answered } => {
                let first = log
                    .iter()
                    .find(|stored| stored.from == content.from && stored.cid == content.cid);
                if let Some(first) = first {
                    let same = first.digest == content.digest;
                    same && (!answered || holds(&(*seq, content.clone())))
                } else if *seq == end + 1 {
                    let mut longer = log.clone();
                    longer.push(content.clone());
                    return (true, longer);
                } else {
                    false
                }
            }
            Operation::Conflict { from, cid, digest } => log.iter().any(|stored| {
                stored.from == *from && stored.cid == *cid && stored.digest != *digest
            }),
            Operation::See { items, head } => {
                items.iter().all(holds) && head.is_none_or(|head| head == end)
            }
            Operation::Page { after, items, complete } => {
                let in_place = (after + 1..).zip(items).all(|(seq, item)| item.0 == seq);
                let shown = after + items.len() as u64;
                let ends = if *complete { shown >= end } else { shown < end };
                in_place && items.iter().all(holds) && ends
            }
        };
        (valid, log.clone())
    }
}

/// Whether every conversation of a history of one epoch is a linearizable log. Sends of unknown
/// outcome that nobody ever saw count as not done: done after everything else would look the same.
pub fn is_linearizable(events: &[Event]) -> bool {
    let convs: BTreeSet<&str> = events.iter().filter_map(|event| event.conv.as_deref()).collect();
    convs.into_iter().all(|conv| {
        let actions = actions(events.iter().filter(|event| event.conv.as_deref() == Some(conv)));
        actions.is_empty() || WGLChecker::<Log>::is_linearizable(History::from_actions(actions))
    })
}

/// The items that an event shows.
fn shown(seen: &Seen) -> Vec<&Item> {
    match seen {
        Seen::Read { items, .. } => items.iter().collect(),
        Seen::Open(open) => open.items.iter().chain(open.late.iter().flatten()).collect(),
        Seen::Recv { item, .. } => vec![item],
        _ => Vec::new(),
    }
}

type Actions = Vec<(usize, Action<Operation>)>;

fn actions<'a>(events: impl Iterator<Item = &'a Event> + Clone) -> Actions {
    // Where each message was seen first: what became of sends of unknown outcome.
    let mut seen_at: HashMap<(String, String, String), &Item> = HashMap::new();
    for event in events.clone() {
        if let Act::Ok { seen } = &event.act {
            for item in shown(seen) {
                let name = (item.from.clone(), item.cid.clone(), item.digest.clone());
                seen_at.entry(name).or_insert(item);
            }
        }
    }
    let mut actions: Actions = Vec::new();
    let mut asked_by: HashMap<u64, (usize, &Event)> = HashMap::new();
    let mut page_ends: HashMap<u64, u64> = HashMap::new();
    let mut lane = 0;
    for event in events {
        match &event.act {
            Act::Invoke { .. } => {
                asked_by.insert(event.process, (actions.len(), event));
                // A placeholder: the call learns what it was when it is answered.
                lane += 1;
                let nothing = Operation::See { items: Vec::new(), head: None };
                actions.push((lane, Action::Call(nothing)));
            }
            Act::Ok { seen: Seen::Recv { item, .. } } => {
                lane += 1;
                let items = vec![(item.seq.0, content(item))];
                let see = Operation::See { items, head: None };
                actions.push((lane, Action::Call(see.clone())));
                actions.push((lane, Action::Response(see)));
            }
            Act::Ok { seen } => {
                let Some((call, invoke)) = asked_by.remove(&event.process) else { continue };
                let Act::Invoke { asked } = &invoke.act else { continue };
                let operation = answered(invoke, asked, seen, &mut page_ends);
                actions.push((actions[call].0, Action::Response(operation)));
            }
            Act::Fail { error, .. } => {
                let Some((call, invoke)) = asked_by.remove(&event.process) else { continue };
                let refused = refused(invoke, error.code);
                actions.push((actions[call].0, Action::Response(refused)));
            }
            Act::Info { .. } => {}
        }
    }
    // What has no answer may take effect until the end of time.
    for (call, invoke) in asked_by.into_values() {
        let mut operation = Operation::See { items: Vec::new(), head: None };
        if let Act::Invoke { asked: Asked::Send { cid, digest, ts } } = &invoke.act {
            let from = invoke.user.clone().unwrap_or_default();
            if let Some(item) = seen_at.get(&(from, cid.clone(), digest.clone())) {
                let content = Content { ts: ts.unwrap_or(item.ts), ..content(item) };
                operation = Operation::Append { content, seq: item.seq.0, answered: false };
            }
        }
        actions.push((actions[call].0, Action::Response(operation)));
    }
    actions
}

/// Certainly not done: nothing, or a name that is taken.
fn refused(invoke: &Event, code: Option<ErrorCode>) -> Operation {
    match &invoke.act {
        Act::Invoke { asked: Asked::Send { cid, digest, .. } }
            if code == Some(ErrorCode::Conflict) =>
        {
            let from = invoke.user.clone().unwrap_or_default();
            Operation::Conflict { from, cid: cid.clone(), digest: digest.clone() }
        }
        _ => Operation::See { items: Vec::new(), head: None },
    }
}

fn answered(
    invoke: &Event,
    asked: &Asked,
    seen: &Seen,
    page_ends: &mut HashMap<u64, u64>,
) -> Operation {
    let items: Vec<_> = shown(seen).into_iter().map(|item| (item.seq.0, content(item))).collect();
    match (asked, seen) {
        (Asked::Send { cid, digest, .. }, Seen::Send { seq, ts, late, .. }) => {
            let from = invoke.user.clone().unwrap_or_default();
            let (cid, digest) = (cid.clone(), digest.clone());
            let content = Content { from, cid, digest, ts: *ts, late: *late };
            Operation::Append { content, seq: seq.0, answered: true }
        }
        (_, Seen::Open(open)) => Operation::See { items, head: Some(open.head.0) },
        (Asked::Read(read), Seen::Read { complete, .. }) => match &read.kind {
            ReadKind::After { after_seq } => {
                let first = (read.page == 0).then_some(after_seq.0);
                let Some(after) = first.or_else(|| page_ends.get(&read.chain).copied()) else {
                    return Operation::See { items, head: None };
                };
                page_ends.insert(read.chain, items.last().map_or(after, |item| item.0));
                Operation::Page { after, items, complete: *complete }
            }
            ReadKind::Range { descending, .. } => {
                let place = |item: &(u64, Content)| (item.1.ts, item.0);
                let in_order = if *descending {
                    items.is_sorted_by(|one, next| place(one) > place(next))
                } else {
                    items.is_sorted_by(|one, next| place(one) < place(next))
                };
                // Out of order: no log could show it so.
                Operation::See { items, head: (!in_order).then_some(u64::MAX) }
            }
            ReadKind::Late {} => Operation::See { items, head: None },
        },
        _ => Operation::See { items, head: None },
    }
}

#[test]
fn the_second_judge_can_say_no() {
    let message = |seq| Item {
        seq: Seq(seq),
        cid: format!("c{seq}"),
        digest: "d".into(),
        ts: 1,
        late: false,
        from: "ann".into(),
    };
    let read = Operation::Page { after: 0, items: vec![(1, content(&message(1)))], complete: true };
    let append = Operation::Append { content: content(&message(1)), seq: 1, answered: true };
    let of = |operations: [&Operation; 2]| {
        let both = operations.into_iter().flat_map(|operation| {
            [(0, Action::Call(operation.clone())), (0, Action::Response(operation.clone()))]
        });
        WGLChecker::<Log>::is_linearizable(History::from_actions(both.collect()))
    };
    assert!(of([&append, &read]));
    assert!(!of([&read, &append]));
}
