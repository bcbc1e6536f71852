//! `chatctl check export`: a history in the form of another checker.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::checker::export::{ExportError, Form, Source};
use crate::command::Exit;
use crate::history::HistoryError;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The history.jsonl of an earlier check
    history: PathBuf,
    /// Whose form it is
    #[arg(long, value_enum)]
    form: FormArg,
    /// A new file for it instead of stdout; Elle takes the form from the name, so let it end with .edn
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormArg {
    /// Operations on append-only lists in EDN, for Elle: elle-cli --model list-append
    Elle,
    /// The same as JSON lines, each a porcupine.Operation
    Porcupine,
}

impl From<FormArg> for Form {
    fn from(form: FormArg) -> Self {
        match form {
            FormArg::Elle => Self::Elle,
            FormArg::Porcupine => Self::Porcupine,
        }
    }
}

/// The history goes to stdout or a file, what was left out of it to stderr.
pub(super) fn run(args: ExportArgs) -> anyhow::Result<Exit> {
    let ExportArgs { history, form, out } = args;
    let unreadable = |error: HistoryError| match error {
        HistoryError::Damaged { .. } => {
            eprintln!("{}: {error}", history.display());
            Ok(Exit::Inconclusive)
        }
        HistoryError::Io(_) => Err(anyhow::anyhow!("{}: {error}", history.display())),
    };
    // Before anything is written: no half of an export is left of a damaged history.
    let source = match Source::survey(&history) {
        Ok(source) => source,
        Err(error) => return unreadable(error),
    };
    let (place, exported) = match &out {
        None => {
            let mut stdout = BufWriter::new(std::io::stdout().lock());
            ("stdout".to_owned(), source.write(form.into(), &mut stdout))
        }
        Some(path) => {
            let place = path.display().to_string();
            let file = File::create_new(path);
            let file =
                file.with_context(|| format!("cannot create {place}, choose another place"))?;
            (place, source.write(form.into(), &mut BufWriter::new(file)))
        }
    };
    match exported {
        Ok(summary) => {
            // Where nobody reads it, the export is as good.
            let _ = write!(std::io::stderr(), "{summary}");
            Ok(Exit::Pass)
        }
        Err(ExportError::History(error)) => unreadable(error),
        Err(ExportError::Write(error)) => Err(error).with_context(|| format!("writing to {place}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// A send and its answer.
    const HISTORY: &str = r#"{"index":0,"time_ns":5,"process":0,"user":"ann","conv":"C","type":"invoke","f":"send","value":{"cid":"c","digest":"d","ts":1}}
{"index":1,"time_ns":7,"process":0,"user":"ann","conv":"C","type":"ok","f":"send","value":{"seq":1,"ts":1,"late":false,"dup":false,"epoch":"e"}}
"#;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: ExportArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<ExportArgs, clap::Error> {
        Cli::try_parse_from([&["export"], arguments].concat()).map(|cli| cli.args)
    }

    #[test]
    fn a_whole_history_becomes_a_new_file_and_a_damaged_one_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (history, elle, porcupine) = (path("history.jsonl"), path("1.edn"), path("1.jsonl"));
        std::fs::write(&history, HISTORY).unwrap();
        for (form, out, lines) in [("elle", &elle, 2), ("porcupine", &porcupine, 1)] {
            let args = parsed(&[&history, "--form", form, "--out", out]).unwrap();
            assert_eq!(run(args).unwrap(), Exit::Pass);
            let text = std::fs::read_to_string(out).unwrap();
            assert!(text.lines().count() == lines && text.starts_with('{'), "{text}");
        }
        let again = parsed(&[&history, "--form", "elle", "--out", &history]).unwrap();
        let error = run(again).unwrap_err().to_string();
        assert!(error.contains("history.jsonl, choose another place"), "{error}");
        assert_eq!(std::fs::read_to_string(&history).unwrap(), HISTORY, "nothing is written over");

        let missing = parsed(&["/no/such.jsonl", "--form", "elle"]).unwrap();
        let error = run(missing).unwrap_err().to_string();
        assert!(error.starts_with("/no/such.jsonl: the history cannot be read"), "{error}");

        std::fs::write(&history, &HISTORY[..HISTORY.len() - 9]).unwrap();
        let none = path("2.edn");
        let damaged = parsed(&[&history, "--form", "elle", "--out", &none]).unwrap();
        assert_eq!(run(damaged).unwrap(), Exit::Inconclusive);
        assert!(!std::fs::exists(&none).unwrap());
        assert!(parsed(&[&history, "--form", "knossos"]).is_err());
        assert!(parsed(&[&history]).is_err());
    }
}
