//! Validation by the schemas of the documents, by ajv in a node process (`tests/documents/validate.mjs`). What they do not name is an error
//! there: else a field could be left out of them unnoticed.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::npm::Modules;

/// Where `package.json` is.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documents");
/// Where the documents are.
pub const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");

/// What reads the documents, which npm installs on first use.
pub static MODULES: Modules = Modules::of(FOLDER);

/// The schemas of one document.
pub struct Validator {
    document: &'static str,
    _node: Child,
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Validator {
    /// `None`: the test is to be left out.
    pub async fn new(document: &'static str) -> Option<Self> {
        MODULES.get().await?;
        let mut node = Command::new("node")
            .args(["validate.mjs", DOCS])
            .current_dir(FOLDER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = node.stdin.take().unwrap();
        let answers = BufReader::new(node.stdout.take().unwrap()).lines();
        Some(Self { document, _node: node, input, answers })
    }

    /// What is wrong with a value by the schema at this pointer; `None`: nothing.
    pub async fn violation(&mut self, pointer: &str, value: &Value) -> Option<String> {
        let line = json!({"document": self.document, "pointer": pointer, "value": value});
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let answer = timeout(PATIENCE, self.answers.next_line()).await.expect("in time").unwrap();
        let answer: Value = serde_json::from_str(&answer.expect("the validator goes on")).unwrap();
        answer.as_str().map(|wrong| format!("{value}: {wrong}"))
    }
}
