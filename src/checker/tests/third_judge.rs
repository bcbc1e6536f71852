//! A third judge: the history in the form of Porcupine, read back, and searched for an order in which it is a list.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde::Deserialize;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use super::export::translate;
use super::random::mutate;
use super::simulated::history;
use super::story::{Story, m};
use crate::checker::export::Porcupine;
use crate::checker::judge;
use crate::checker::verdict::Outcome;
use crate::history::Event;
use crate::protocol::ErrorCode;

/// What Go would decode: these fields and no others.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Operation {
    client_id: u64,
    input: Input,
    call: i64,
    output: Option<Output>,
    r#return: i64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Input {
    Append { conv: String, element: u64 },
    Read { conv: String },
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Output {
    seq: u64,
    elements: Vec<u64>,
}

fn porcupine(events: &[Event]) -> Vec<Operation> {
    let mut bytes = Vec::new();
    translate(events, |step| Porcupine.write(step, &mut bytes));
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_operation_of_porcupine_is_what_it_decodes() {
    let mut story = Story::new();
    let item = m(1, "c1", "ann");
    let lost = story.sends("bob", "lost", 10);
    story.unknown(lost);
    let failed = story.sends("bob", "failed", 10);
    story.fail(failed, ErrorCode::Unavailable);
    story.wrote(&item);
    story.ends(&[item]);
    let mut bytes = Vec::new();
    translate(&story.events, |step| Porcupine.write(step, &mut bytes));
    let expected = [
        r#"{"ClientId":2,"Input":{"op":"append","conv":"C","element":3},"Call":40,"Output":{"seq":1},"Return":50}"#,
        r#"{"ClientId":3,"Input":{"op":"read","conv":"C"},"Call":60,"Output":{"elements":[3]},"Return":70}"#,
        r#"{"ClientId":0,"Input":{"op":"append","conv":"C","element":1},"Call":0,"Output":null,"Return":9223372036854775807}"#,
    ];
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

/// An append-only list of one conversation.
struct List;

impl Specification for List {
    type State = Vec<u64>;
    type Operation = (Input, Option<Output>);

    fn init() -> Self::State {
        Vec::new()
    }

    fn apply((input, output): &Self::Operation, list: &Self::State) -> (bool, Self::State) {
        match (input, output) {
            (Input::Append { element, .. }, output) => {
                let longer = [list, [*element].as_slice()].concat();
                let is_there = |output: &Output| output.seq == longer.len() as u64;
                (output.as_ref().is_none_or(is_there), longer)
            }
            (Input::Read { .. }, Some(output)) => (output.elements == *list, list.clone()),
            (Input::Read { .. }, None) => (false, list.clone()),
        }
    }
}

/// What Porcupine would say with the model that the docs of the form describe.
fn is_linearizable(operations: &[Operation]) -> bool {
    let mut by_conv: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        let (Input::Append { conv, .. } | Input::Read { conv }) = &operation.input;
        by_conv.entry(conv).or_default().push(operation);
    }
    by_conv.into_values().all(|operations| {
        let mut ends: Vec<_> = (0..)
            .zip(operations)
            .flat_map(|(lane, operation)| {
                let what = (operation.input.clone(), operation.output.clone());
                // Both ends belong to an operation: at one time, calls are first.
                let call = (operation.call, 0, lane, Action::Call(what.clone()));
                [call, (operation.r#return, 1, lane, Action::Response(what))]
            })
            .collect();
        ends.sort_by_key(|(at, kind, lane, _)| (*at, *kind, *lane));
        let actions = ends.into_iter().map(|(_, _, lane, action)| (lane, action)).collect();
        WGLChecker::<List>::is_linearizable(History::from_actions(actions))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_valid_is_a_linearizable_list(seed in any::<u64>(), steps in 5usize..100, how in any::<Option<u64>>()) {
        let mut events = history(seed, steps);
        if let Some(how) = how {
            mutate(&mut events, how);
        }
        let operations = porcupine(&events);
        let mut free_at: HashMap<u64, i64> = HashMap::new();
        let mut by_call: Vec<_> = operations.iter().collect();
        by_call.sort_by_key(|operation| operation.call);
        for operation in by_call {
            prop_assert!(operation.call <= operation.r#return, "{:?}", operation);
            let before = free_at.insert(operation.client_id, operation.r#return);
            prop_assert!(before.is_none_or(|free_at| free_at < operation.call), "{:?}", operation);
        }
        // It knows less than the judge: what it objects to is broken.
        let verdict = judge(&events);
        prop_assert!(is_linearizable(&operations) || verdict.outcome == Outcome::Invalid, "{}", verdict);
    }
}

/// Broken histories that are not even lists; none of it can be seen without the reads and appends that are told.
#[test]
fn what_is_no_list_is_none_after_the_export() {
    type Tell = fn(&mut Story);
    let lost: Tell = |story| {
        let items = story.ann_wrote(3);
        story.ends(&items[..2]);
    };
    let doubled: Tell = |story| {
        let items = story.ann_wrote(2);
        story.ends(&[items[0].clone(), items[1].clone(), m(3, "c1", "ann")]);
    };
    let exchanged: Tell = |story| {
        story.ann_wrote(2);
        story.ends(&[m(1, "c2", "ann"), m(2, "c1", "ann")]);
    };
    let phantom: Tell = |story| {
        let items = story.ann_wrote(1);
        story.ends(&[items[0].clone(), m(2, "x", "eve")]);
    };
    let lied: Tell = |story| {
        let failed = story.sends("ann", "c1", 10);
        story.fail(failed, ErrorCode::Unavailable);
        story.ends(&[m(1, "c1", "ann")]);
    };
    let forgotten: Tell = |story| {
        let items = story.ann_wrote(2);
        story.read("bob", &items[..1]);
        story.ends(&items);
    };
    for tell in [lost, doubled, exchanged, phantom, lied, forgotten] {
        let mut story = Story::new();
        tell(&mut story);
        let verdict = judge(&story.events);
        assert_ne!(verdict.outcome, Outcome::Valid, "{verdict}");
        assert!(!is_linearizable(&porcupine(&story.events)), "{verdict}");
    }
}
