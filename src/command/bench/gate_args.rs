//! The flags of performance gates, and where their outcomes are written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::bench::gate::{Gate, Gates, gates_of_file};
use crate::bench::report::{Report, junit, markdown};

#[derive(Debug, Args)]
pub(super) struct GateArgs {
    /// Bound that the run must keep, like 'write.p99<20ms'; repeat for several
    ///
    /// Written as QUANTITY OPERATOR LIMIT, in quotes because of the shell.
    ///
    /// QUANTITY is one of: <latency>.<number>, where the latency is one that the workload measures
    /// (write, delivery, read, …) and the number min, mean, p50, p90, p99, p999, p9999, max or count;
    /// errors, the share of error answers among all answers, or errors.<code>; and by their names in
    /// report.json rate.<name>, figure.<name>, count.<name>, correctness.<name>, duration.<name>, and
    /// server.<name>: a figure, a counter (syncs_total, with or without chatctl_) or a counter per stored
    /// message (syncs_per_message).
    ///
    /// OPERATOR is <, <=, >, >= or ==.
    ///
    /// LIMIT is a number with its unit: ns, us, µs, ms, s or m for latencies and durations, % for errors,
    /// k, M or none for the rest.
    ///
    /// Examples: 'write.p99<20ms' 'delivery.max<=1s' 'errors<0.1%' 'rate.messages_per_s>5k'
    /// 'server.cpu_us_per_message<120' 'correctness.lost==0'.
    ///
    /// A gate that cannot be judged (too few samples for the percentile, no such number in this run, a run
    /// that is incomplete) is inconclusive, never passed: exit code 2, or 3 when another one failed.
    #[arg(long = "gate", value_name = "EXPRESSION")]
    gates: Vec<Gate>,
    /// File with one gate a line, # begins a comment; repeat for several
    #[arg(long = "gate-file", value_name = "FILE", value_parser = gates_of_file)]
    gate_files: Vec<GatesOfFile>,
    /// Write validity and gates as JUnit XML, one test case each
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Append a summary in Markdown, as for "$GITHUB_STEP_SUMMARY"
    #[arg(long, value_name = "FILE")]
    summary_md: Option<PathBuf>,
}

/// One value of `--gate-file`. By this name clap does not take it for a flag with many values.
type GatesOfFile = Vec<Gate>;

impl GateArgs {
    /// Those of the command line, then those of files.
    pub(super) fn gates(&self) -> Gates {
        let of_files = self.gate_files.iter().flatten();
        Gates::new(self.gates.iter().chain(of_files).cloned().collect())
    }

    /// Opens what will be written, so that no run is lost for want of a place. A JUnit file is emptied:
    /// should the run fail, nobody takes the last one's for this one's.
    pub(super) fn open_outputs(&self) -> anyhow::Result<GateOutputs> {
        let mut replacing = OpenOptions::new();
        replacing.write(true).create(true).truncate(true);
        let mut appending = OpenOptions::new();
        appending.append(true).create(true);
        Ok(GateOutputs {
            junit: open("--junit", self.junit.as_deref(), &replacing)?,
            summary_md: open("--summary-md", self.summary_md.as_deref(), &appending)?,
        })
    }
}

fn open(
    flag: &str,
    path: Option<&Path>,
    options: &OpenOptions,
) -> anyhow::Result<Option<OutputFile>> {
    let Some(path) = path else { return Ok(None) };
    let opened = || -> io::Result<File> {
        // Of a name alone it is empty.
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => fs::create_dir_all(folder)?,
            _ => {}
        }
        options.open(path)
    };
    let what = format!("{flag} {}", path.display());
    let file = opened().with_context(|| format!("cannot write {what}, choose another place"))?;
    Ok(Some(OutputFile { what, file }))
}

/// What `--junit` and `--summary-md` name, open.
#[derive(Debug)]
pub(super) struct GateOutputs {
    junit: Option<OutputFile>,
    summary_md: Option<OutputFile>,
}

#[derive(Debug)]
struct OutputFile {
    /// Flag and path, for people.
    what: String,
    file: File,
}

impl GateOutputs {
    /// Writes the outcome of a run to each of them.
    pub(super) fn write(self, report: &Report) -> anyhow::Result<()> {
        if let Some(output) = self.junit {
            output.write(&junit(report))?;
        }
        if let Some(output) = self.summary_md {
            let begun = output.file.metadata().is_ok_and(|metadata| metadata.len() > 0);
            // What is there may not end with a line's end.
            let before = if begun { "\n" } else { "" };
            output.write(&format!("{before}{}", markdown(report)))?;
        }
        Ok(())
    }
}

impl OutputFile {
    fn write(mut self, text: &str) -> anyhow::Result<()> {
        let written = self.file.write_all(text.as_bytes());
        written.with_context(|| format!("cannot write {}", self.what))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        gating: GateArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<GateArgs, clap::Error> {
        Cli::try_parse_from([&["bench"], arguments].concat()).map(|cli| cli.gating)
    }

    #[test]
    fn gates_come_from_flags_and_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("one"), "read.p99<1s\nerrors==0").unwrap();
        fs::write(path("two"), "count.sent>1 # some").unwrap();
        let (one, two) = (path("one"), path("two"));
        let arguments = [
            "--gate-file",
            &one,
            "--gate",
            "write.p99<1s",
            "--gate-file",
            &two,
            "--gate=errors<1%",
        ];
        let gates = format!("{:?}", parsed(&arguments).unwrap().gates());
        let order = ["write.p99<1s", "errors<1%", "read.p99<1s", "errors==0", "count.sent>1"];
        let places = order.map(|gate| gates.find(&format!("{gate:?}")).unwrap());
        assert!(places.is_sorted(), "{gates}");

        fs::write(path("two"), "\n count.sent>\n").unwrap();
        let error = parsed(&arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ValueValidation);
        let text = error.to_string();
        assert!(text.contains("two, line 2, column 13: expected a number"), "{text}");
    }

    #[test]
    fn a_wrong_gate_is_shown_with_a_caret() {
        let text = parsed(&["--gate", "write.p99<<1s"]).unwrap_err().to_string();
        assert!(text.contains("\n  write.p99<<1s\n            ^"), "{text}");
    }

    #[test]
    fn outputs_that_cannot_be_written_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        for flag in ["--junit", "--summary-md"] {
            for wrong in [folder.path(), &file.join("below")] {
                let args = parsed(&[flag, wrong.to_str().unwrap()]).unwrap();
                let error = format!("{:#}", args.open_outputs().unwrap_err());
                assert!(error.starts_with(&format!("cannot write {flag} ")), "{error}");
            }
            assert!(parsed(&[flag, ""]).is_err(), "a variable that is not set");
        }
        let new = folder.path().join("new/folder/junit.xml");
        parsed(&["--junit", new.to_str().unwrap()]).unwrap().open_outputs().unwrap();
        assert_eq!(fs::read(&new).unwrap(), b"");
        let args = parsed(&["--summary-md", file.to_str().unwrap()]).unwrap();
        args.open_outputs().unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"old", "what is there stays");
    }
}
