//! Running a program to its end, without a shell.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// A fetch that takes longer is stuck. The slowest measured took 20 s.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Longer reasons are cut: somebody reads them.
const REASON_CHARACTERS_MAX: usize = 400;

/// How a program ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Whether it said that all is well.
    pub(super) success: bool,
    /// All that it wrote, stdout before stderr.
    pub(super) text: String,
}

impl Outcome {
    /// The last line that it wrote, for when nothing better is known.
    pub(super) fn last_line(&self) -> String {
        let mut lines = self.text.lines().map(str::trim).rev();
        lines.find(|line| !line.is_empty()).map_or_else(|| "it says nothing".into(), shortened)
    }
}

/// Runs it in our environment plus `variables`, and ends it when we are no longer waited for.
pub(super) async fn run<A: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, &str)],
) -> Result<Outcome, String> {
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let name = program.display();
    let output = match timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{name} cannot be run: {error}")),
        Err(_) => {
            return Err(format!("{name} did not end within {} minutes", LIMIT.as_secs() / 60));
        }
    };
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(Outcome { success: output.status.success(), text })
}

/// A line that fits into a message.
pub(super) fn shortened(line: &str) -> String {
    match line.char_indices().nth(REASON_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
