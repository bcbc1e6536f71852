//! This program under callgrind.
//!
//! Which functions an operation spends its instructions in is told by the same run by hand: `CHATCTL_TEST_OPERATION=parse.send valgrind
//! --tool=callgrind '--dump-before=*chatctl*instructions*mark*' target/release/deps/chatctl-… --ignored --exact instructions::counted
//! --test-threads 1`, then `callgrind_annotate callgrind.out.<pid>.2`.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Operation;
use crate::harness::seeds::asked;
use crate::persistence::conformance::service::is_ci;

/// The test that runs an operation.
const COUNTED: &str = "instructions::counted";
/// How callgrind finds the marks, mangled or not.
const MARK: &str = "--dump-before=*chatctl*instructions*mark*";

/// There is one on this machine.
pub(super) struct Callgrind;

impl Callgrind {
    /// `None`: the caller is to be left out, which CI does not accept.
    pub(super) fn find() -> Option<Self> {
        match Command::new("valgrind").arg("--version").stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Some(Self),
            Ok(output) => panic!("valgrind --version: {output:?}"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                leave_out("valgrind is not installed (apt-get install valgrind)");
                None
            }
            Err(error) => panic!("valgrind: {error}"),
        }
    }

    /// Instructions of one time that the operation is done. The error says which run failed, and why.
    pub(super) fn count(&self, operation: &Operation) -> Result<u64, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("a folder: {error}"))?;
        let out = folder.path().join("counts");
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", MARK])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(program)
            .args(["--ignored", "--exact", COUNTED, "--nocapture", "--test-threads", "1"])
            .env("CHATCTL_TEST_OPERATION", operation.name)
            .stdin(Stdio::null())
            .output();
        let run = run.map_err(|error| format!("valgrind, for {}: {error}", operation.name))?;
        let said = || {
            let (out, err) =
                (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
            format!(
                "{}: a run under valgrind ended with {}:\n{out}{err}",
                operation.name, run.status
            )
        };
        if !run.status.success() {
            return Err(said());
        }
        // The first part ends at the first mark, the second at the second one; what comes after them is of no interest.
        let between = part(&out, 2).map_err(|error| format!("{error}\n{}", said()))?;
        if part(&out, 3).is_ok() {
            return Err(format!("more than two marks were met\n{}", said()));
        }
        Ok(between.div_ceil(operation.times as u64))
    }
}

/// The instructions of a part: the line `summary:` of its file.
fn part(out: &Path, number: usize) -> Result<u64, String> {
    let path = format!("{}.{number}", out.display());
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let summary = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let count = summary.and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| format!("{path} has no line `summary: <instructions>`"))
}

/// CI has what its tests need; at a desk the run goes on, and the last line of `make test` tells of it.
fn leave_out(reason: &str) {
    assert!(!is_ci(), "what a test needs cannot be had: {reason}");
    let line = format!("instructions: {reason}");
    if let Some(services) = asked::<String>("CHATCTL_TEST_SERVICES") {
        let path = format!("{services}.left-out");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
    eprintln!("LEFT OUT {line}");
}
