//! A history in the form of Elle, read back by a parser of the form.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::edn::Value;
use super::random::mutate;
use super::simulated::history;
use super::story::{Story, m};
use crate::checker::export::{Elle, Step, Summary, Survey, Translation};
use crate::history::{Act, Asked, Event, Item, ReadAsked, ReadKind, Seen};
use crate::model::Seq;
use crate::protocol::ErrorCode;

pub fn translate(
    events: &[Event],
    mut each: impl FnMut(&Step<'_>) -> std::io::Result<()>,
) -> Summary {
    let mut survey = Survey::default();
    events.iter().for_each(|event| survey.take(event));
    let mut translation = Translation::new(survey.finish());
    for event in events {
        translation.take(event, &mut each).unwrap();
    }
    translation.finish(&mut each).unwrap()
}

fn elle(events: &[Event]) -> (Vec<Value>, Summary) {
    let (mut elle, mut bytes) = (Elle::default(), Vec::new());
    let summary = translate(events, |step| elle.write(step, &mut bytes));
    let text = String::from_utf8(bytes).unwrap();
    (text.lines().map(Value::parse).collect(), summary)
}

/// `[kind, process, function, value]` of each line.
fn shown(lines: &[Value]) -> Vec<String> {
    let shown = lines.iter().map(|line| {
        let [operation] = line.get("value").vector() else { panic!("one of {line:?}") };
        let [function, conv, value] = operation.vector() else { panic!("three of {line:?}") };
        assert_eq!(line.get("f").text(), "txn");
        let value = match value {
            Value::Nil => "nil".to_owned(),
            Value::Integer(element) => element.to_string(),
            value => format!("{:?}", value.vector().iter().map(Value::integer).collect::<Vec<_>>()),
        };
        let (kind, process) = (line.get("type").text(), line.get("process").integer());
        format!("{process} {kind} {} {} {value}", function.text(), conv.text())
    });
    shown.collect()
}

#[track_caller]
fn tells(tell: impl FnOnce(&mut Story), expected: &[&str]) -> Summary {
    let mut story = Story::new();
    tell(&mut story);
    let (lines, summary) = elle(&story.events);
    assert_eq!(shown(&lines), expected);
    summary
}

fn all() -> ReadKind {
    ReadKind::After { after_seq: Seq::ZERO }
}

#[test]
fn sends_and_whole_reads_are_told_and_nothing_else() {
    let summary = tells(
        |story| {
            let items = story.ann_wrote(2);
            story.pushed("bob", &items[0]);
            story.newest_first("bob", &[&[items[1].clone(), items[0].clone()]], true);
            story.read_late("bob", &[]);
            let after = ReadKind::After { after_seq: Seq(1) };
            story.reading("bob", after, false, &[&items[1..]], true);
            story.reading("bob", all(), false, &[&items[..1]], false);
            story.read("bob", &items);
            story.read("bob", &items);
        },
        &[
            "0 invoke append C 1",
            "0 ok append C 1",
            "0 invoke append C 2",
            "0 ok append C 2",
            "1 invoke r C nil",
            "1 ok r C [1, 2]",
            "1 invoke r C nil",
            "1 ok r C [1, 2]",
        ],
    );
    let kinds = [
        ("pages after a number", 1),
        ("pages by time", 1),
        ("pages of late messages", 1),
        ("pages of reads without an end", 1),
        ("pushes", 1),
    ];
    assert_eq!(summary.left_out, BTreeMap::from(kinds));
    assert_eq!((summary.appends, summary.reads, summary.repeated), (2, 2, 0));
    let text = summary.to_string();
    assert!(text.starts_with("told: 2 appends"), "{text}");
    assert!(text.contains("left out: 1 pages after a number, 1 pages by time"), "{text}");
}

#[test]
fn pages_are_put_together_and_hold_their_process() {
    tells(
        |story| {
            let items = story.ann_wrote(2);
            let third = m(3, "c3", "bob");
            let asked = |page| {
                Asked::Read(ReadAsked { kind: all(), limit: 2, page, chain: 9, is_final: false })
            };
            let page = |items: &[Item], complete| Seen::Read {
                epoch: "e".into(),
                items: items.to_vec(),
                complete,
            };
            let first = story.begin("bob", asked(0));
            story.ok(first, page(&items, false));
            // The same session does something else between the pages.
            story.wrote(&third);
            let second = story.begin("bob", asked(1));
            story.ok(second, page(&[third], true));
            story.read("bob", &items);
        },
        &[
            "0 invoke append C 1",
            "0 ok append C 1",
            "0 invoke append C 2",
            "0 ok append C 2",
            "1 invoke r C nil",
            "2 invoke append C 3",
            "2 ok append C 3",
            "1 ok r C [1, 2, 3]",
            "1 invoke r C nil",
            "1 ok r C [1, 2]",
        ],
    );
}

#[test]
fn sends_under_one_name_are_one_append() {
    let again = |item: &Item| Seen::Send {
        seq: item.seq,
        ts: item.ts,
        late: false,
        dup: true,
        epoch: "e".into(),
    };
    let summary = tells(
        |story| {
            let item = m(1, "c", "ann");
            let lost = story.sends("ann", "c", 10);
            story.unknown(lost);
            let failed = story.sends("ann", "c", 10);
            story.fail(failed, ErrorCode::Unavailable);
            let two = [story.sends("ann2", "c", 10), story.sends("ann", "c", 10)];
            story.ok(two[1], again(&item));
            story.ok(two[0], again(&item));
            // Of the same name elsewhere nothing is known.
            story.conv = "D\"\\";
            story.wrote(&item);
        },
        &[
            "0 invoke append C 1",
            "0 ok append C 1",
            "0 invoke append D\"\\ 2",
            "0 ok append D\"\\ 2",
        ],
    );
    assert_eq!((summary.appends, summary.repeated), (2, 3));
}

#[test]
fn an_append_without_an_ok_has_failed_only_if_all_of_it_has() {
    let summary = tells(
        |story| {
            let fails = |story: &mut Story, cid: &str| {
                let process = story.sends("ann", cid, 10);
                story.fail(process, ErrorCode::Unavailable);
            };
            fails(story, "failed");
            fails(story, "failed");
            fails(story, "lost");
            let lost = story.sends("ann", "lost", 10);
            story.unknown(lost);
            fails(story, "cut");
            story.sends("ann", "cut", 10);
            story.ends(&[m(1, "never sent", "eve")]);
        },
        &[
            "0 invoke append C 1",
            "1 invoke append C 2",
            "2 invoke append C 3",
            "3 invoke r C nil",
            "3 ok r C [4]",
            "0 fail append C 1",
            "1 info append C 2",
            "2 info append C 3",
        ],
    );
    assert_eq!((summary.failed, summary.unknown, summary.repeated), (1, 2, 3));
}

/// The rules of Jepsen's histories, on the lines of one.
fn keeps_the_rules(lines: &[Value]) -> Result<(), TestCaseError> {
    let mut outstanding: HashMap<u64, Option<Value>> = HashMap::new();
    let (mut invoked, mut time) = (BTreeSet::new(), 0);
    for (at, line) in lines.iter().enumerate() {
        prop_assert_eq!(line.get("index").integer(), at as u64);
        prop_assert!(line.get("time").integer() >= time, "time goes backwards: {:?}", line);
        time = line.get("time").integer();
        let process = line.get("process").integer();
        let operation = line.get("value").vector()[0].vector();
        let (begun, same) = (outstanding.get(&process).cloned(), operation[..2].to_vec());
        match line.get("type").text() {
            "invoke" => {
                prop_assert!(begun.is_none(), "process {} is not idle: {:?}", process, line);
                outstanding.insert(process, Some(Value::Vector(same)));
                if operation[0].text() == "append" {
                    prop_assert!(invoked.insert(operation[2].integer()), "twice: {:?}", line);
                }
            }
            end => {
                prop_assert_eq!(begun, Some(Some(Value::Vector(same))), "{:?}", line);
                match end {
                    "ok" | "fail" => drop(outstanding.remove(&process)),
                    "info" => drop(outstanding.insert(process, None)),
                    other => prop_assert!(false, "{other}"),
                }
            }
        }
    }
    let open = outstanding.values().flatten().count();
    prop_assert_eq!(open, 0, "everything has an end");
    Ok(())
}

/// Everything that was answered is in what was read last, once, and in the order of the numbers.
fn is_whole(events: &[Event], lines: &[Value]) -> Result<(), TestCaseError> {
    let of_kind = |kind: &str, function: &str| {
        let lines = lines.iter().filter(|line| line.get("type").text() == kind);
        let values = lines.map(|line| line.get("value").vector()[0].vector());
        values.filter(|value| value[0].text() == function).collect::<Vec<_>>()
    };
    let reads = of_kind("ok", "r");
    let last: Vec<u64> = reads.last().unwrap()[2].vector().iter().map(Value::integer).collect();
    let appended: Vec<u64> = of_kind("ok", "append").iter().map(|it| it[2].integer()).collect();
    for element in &appended {
        let count = last.iter().filter(|read| *read == element).count();
        prop_assert_eq!(count, 1, "element {}", element);
    }
    // By names, which the export does not know any more.
    let mut element_of: HashMap<(&str, &str), u64> = HashMap::new();
    let mut answered: Vec<(Seq, u64)> = Vec::new();
    let mut asked: HashMap<u64, (&str, &str)> = HashMap::new();
    let mut invoked = of_kind("invoke", "append").into_iter().map(|it| it[2].integer());
    for event in events {
        match &event.act {
            Act::Invoke { asked: Asked::Send { cid, .. } } => {
                let name = (event.user.as_deref().unwrap(), &**cid);
                asked.insert(event.process, name);
                element_of.entry(name).or_insert_with(|| invoked.next().unwrap());
            }
            Act::Ok { seen: Seen::Send { seq, .. } } => {
                answered.push((*seq, element_of[&asked[&event.process]]));
            }
            _ => {}
        }
    }
    prop_assert!(invoked.next().is_none());
    for (seq, element) in answered {
        prop_assert_eq!(last.get(seq.0 as usize - 1), Some(&element), "seq {}", seq);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_exported_to_elle_keeps_the_rules_of_a_history(seed in any::<u64>(), steps in 5usize..1_500) {
        let events = history(seed, steps);
        let (lines, _) = elle(&events);
        keeps_the_rules(&lines)?;
        is_whole(&events, &lines)?;
    }

    #[test]
    fn a_broken_history_keeps_the_rules_as_well(seed in any::<u64>(), steps in 5usize..200, how in any::<u64>()) {
        let mut events = history(seed, steps);
        mutate(&mut events, how);
        keeps_the_rules(&elle(&events).0)?;
    }
}

#[test]
fn the_random_histories_say_enough() {
    let (mut reads, mut pages, mut repeated, mut unknown) = (0, 0, 0, 0);
    for seed in 0..100 {
        let events = history(seed, 1_500);
        let (lines, summary) = elle(&events);
        (reads, unknown) = (reads + summary.reads, unknown + summary.unknown);
        repeated += summary.repeated;
        let is_page = |event: &&Event| {
            let Act::Invoke { asked: Asked::Read(read) } = &event.act else { return false };
            read.kind == all() && read.page > 0
        };
        pages += events.iter().filter(is_page).count();
        keeps_the_rules(&lines).unwrap();
    }
    // Each history has one read at its end.
    let enough = reads > 130 && pages > 30 && repeated > 300 && unknown > 300;
    assert!(enough, "{reads} reads, {pages} more pages, {repeated} repeated, {unknown} unknown");
}
