//! The twins of the targets: the same functions, with the corpus and what proptest makes of it, in every run of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rstest::rstest;

use super::seeds;

/// A target of libFuzzer, by the name of its binary and of the folder of its corpus.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
}

const TARGETS: [Target; 11] = [
    Target { name: "frame", run: super::frame },
    Target { name: "cursor", run: super::cursor },
    Target { name: "token", run: super::token },
    Target { name: "config", run: super::config },
    Target { name: "history", run: super::history },
    Target { name: "local_store", run: super::local_store },
    Target { name: "redis_replies", run: super::redis_replies },
    Target { name: "cassandra_rows", run: super::cassandra_rows },
    Target { name: "riak_objects", run: super::riak_objects },
    Target { name: "hints", run: super::hints },
    Target { name: "socketio", run: super::socketio },
];

/// Inputs that are made up of each target.
const CASES: u32 = 200;
/// Bytes of a whole corpus: it is read by everybody who clones.
const CORPUS_BYTES_MAX: u64 = 900 << 10;

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name)
}

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpus(target)).unwrap();
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// One change of an input, as a fuzzer makes them.
#[derive(Debug, Clone)]
enum Change {
    Set { at: prop::sample::Index, byte: u8 },
    Insert { at: prop::sample::Index, bytes: Vec<u8> },
    Cut { at: prop::sample::Index, count: usize },
    Splice { at: prop::sample::Index, other: prop::sample::Index, from: prop::sample::Index },
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set { at, byte }),
        (at(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        (at(), 1..40usize).prop_map(|(at, count)| Change::Cut { at, count }),
        (at(), at(), at()).prop_map(|(at, other, from)| Change::Splice { at, other, from }),
    ]
}

fn changed(inputs: &[Vec<u8>], first: prop::sample::Index, changes: &[Change]) -> Vec<u8> {
    let mut input = first.get(inputs).clone();
    for change in changes {
        let place = |at: &prop::sample::Index| at.index(input.len() + 1);
        match change {
            Change::Set { at, byte } => {
                let at = place(at);
                if let Some(found) = input.get_mut(at) {
                    *found = *byte;
                }
            }
            Change::Insert { at, bytes } => {
                let at = place(at);
                input.splice(at..at, bytes.iter().copied());
            }
            Change::Cut { at, count } => {
                let at = place(at);
                let end = input.len().min(at + count);
                input.drain(at..end);
            }
            Change::Splice { at, other, from } => {
                let at = place(at);
                let other = other.get(inputs);
                input.truncate(at);
                input.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
    input
}

#[rstest]
fn what_was_found_and_what_is_made_of_it(
    #[values(
        "frame",
        "cursor",
        "token",
        "config",
        "history",
        "local_store",
        "redis_replies",
        "cassandra_rows",
        "riak_objects",
        "hints",
        "socketio"
    )]
    name: &str,
) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let inputs = inputs(target);
    assert!(!inputs.is_empty(), "{name} has a corpus");
    inputs.iter().for_each(|input| (target.run)(input));
    let mutated = (any::<prop::sample::Index>(), prop::collection::vec(change(), 1..6))
        .prop_map(move |(first, changes)| changed(&inputs, first, &changes));
    let any_bytes = prop::collection::vec(any::<u8>(), 0..300);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let found = TestRunner::new(config).run(&prop_oneof![7 => mutated, 1 => any_bytes], |input| {
        (target.run)(&input);
        Ok(())
    });
    if let Err(error) = found {
        panic!("{name}: {error}");
    }
}

#[test]
fn every_target_is_tested_and_has_a_small_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut bytes = 0;
    for target in &TARGETS {
        assert!(folder.join("targets").join(format!("{}.rs", target.name)).exists());
        let files = fs::read_dir(corpus(target)).unwrap();
        bytes += files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    }
    assert_eq!(fs::read_dir(folder.join("targets")).unwrap().count(), TARGETS.len());
    assert_eq!(fs::read_dir(folder.join("corpus")).unwrap().count(), TARGETS.len());
    assert!(bytes < CORPUS_BYTES_MAX, "{bytes} bytes; make smaller ones with fuzz/run minimise");
}

/// Writes the inputs that are not found but made, each to the corpus of its target.
#[test]
#[ignore = "changes the corpus"]
fn seeds_are_written() {
    for target in &TARGETS {
        let folder = corpus(target);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds::of(target.name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
}
