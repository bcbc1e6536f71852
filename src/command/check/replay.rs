//! `chatctl check replay`: a recorded history, judged again.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{exit_of, print};
use crate::checker::verdict::Verdict;
use crate::checker::{judge_file, timeline_of_file};
use crate::command::Exit;
use crate::command::format::FormatArgs;
use crate::history::HistoryError;

/// The page of cases, beside the history.
const TIMELINE: &str = "timeline";

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The history.jsonl of an earlier check
    history: PathBuf,
    /// Where the page goes that shows what is wrong among the lines around it; must not be there yet. Without: timeline.html beside
    /// the history, or timeline-2.html where another one is there
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let path = &args.history;
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        eprintln!(
            "error: --out {}: it is there already, and nothing is written over",
            out.display()
        );
        return Ok(Exit::Usage);
    }
    let (verdict, page) = match judged(path) {
        Ok(judged) => judged,
        Err(error @ HistoryError::Damaged { .. }) => {
            eprintln!("{}: {error}", path.display());
            return Ok(Exit::Inconclusive);
        }
        Err(error) => anyhow::bail!("{}: {error}", path.display()),
    };
    print(&verdict, args.format.is_json()).context("writing to stdout")?;
    if let Some(page) = page {
        // What the history says counts for more than that it could not be drawn.
        match keep(page.as_bytes(), path, args.out.as_deref()) {
            Ok(kept) => eprintln!("shown in {}", kept.display()),
            Err(error) => {
                eprintln!(
                    "error: the page of what is wrong cannot be written: {error}; give --out FILE"
                );
            }
        }
    }
    Ok(exit_of(&verdict))
}

fn judged(path: &Path) -> Result<(Verdict, Option<String>), HistoryError> {
    let verdict = judge_file(path)?;
    let page = timeline_of_file(path, &verdict)?;
    Ok((verdict, page))
}

/// Writes a page to `out`, or beside the history under the first name that is free or has the same page already.
fn keep(page: &[u8], history: &Path, out: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(out) = out {
        write_new(out, page)?;
        return Ok(out.to_owned());
    }
    let mut number = 1;
    loop {
        let name = match number {
            1 => format!("{TIMELINE}.html"),
            number => format!("{TIMELINE}-{number}.html"),
        };
        let path = history.with_file_name(name);
        match write_new(&path, page) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if std::fs::read(&path).is_ok_and(|there| there == page) {
                    return Ok(path);
                }
            }
            written => return written.map(|()| path),
        }
        number += 1;
    }
}

fn write_new(path: &Path, page: &[u8]) -> io::Result<()> {
    File::create_new(path)?.write_all(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_beside_its_history_and_over_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let history = folder.path().join("history.jsonl");
        let name = |page: &str| {
            let kept = keep(page.as_bytes(), &history, None).unwrap();
            assert_eq!(std::fs::read_to_string(&kept).unwrap(), page);
            kept.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name("one"), "timeline.html");
        assert_eq!(name("one"), "timeline.html", "it is there already");
        assert_eq!(name("two"), "timeline-2.html");
        assert_eq!(name("one"), "timeline.html");
        let out = folder.path().join("page.html");
        assert_eq!(keep(b"three", &history, Some(&out)).unwrap(), out);
        assert!(keep(b"four", &history, Some(&out)).is_err());
        assert_eq!(std::fs::read(&out).unwrap(), b"three");
    }
}
