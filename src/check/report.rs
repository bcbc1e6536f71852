//! What a check leaves behind: the history, the verdict, and a page that explains them.

use super::drive::{Amount, DriveOptions};
use crate::checker::keep;
use crate::checker::verdict::Verdict;
use crate::harness::{HarnessError, Host, ResultFolder, ServerInfo, Versions};
use crate::history::Event;

/// What the page says beside the verdict.
#[derive(Debug)]
pub struct CheckReport<'a> {
    /// The command that repeats it, secrets left out.
    pub command: &'a str,
    /// All options.
    pub options: &'a DriveOptions,
    /// What was judged.
    pub servers: &'a [ServerInfo],
    /// What the checker said.
    pub verdict: &'a Verdict,
    /// What a reader must know.
    pub notes: &'a [String],
}

impl CheckReport<'_> {
    /// Writes every file of the run.
    pub fn write(&self, folder: &mut ResultFolder, events: &[Event]) -> Result<(), HarnessError> {
        keep(folder, events, self.verdict)?;
        folder.write("summary.txt", self.verdict.to_string().as_bytes())?;
        folder.write("README.md", self.readme().as_bytes())
    }

    fn readme(&self) -> String {
        let Self { command, options, servers, verdict, notes } = self;
        let (versions, host) = (Versions::of_this_binary(), Host::find());
        let servers: String = servers
            .iter()
            .map(|server| {
                let own = if server.own { "started by the check, fresh data" } else { "given" };
                format!(
                    "| {} | {} | {} | {} | {own} |\n",
                    server.url, server.node, server.engine, server.durability
                )
            })
            .collect();
        let notes: String = notes.iter().map(|note| format!("- {note}\n")).collect();
        let outcome = verdict.outcome;
        let amount = match options.amount {
            Amount::Messages(messages) => format!("{messages} messages each"),
            Amount::Time { length, .. } => format!("for {} s", length.as_secs()),
        };
        format!(
            "# check validity: {outcome}\n\n\
            ```sh\n{command}\n```\n\n\
            | | |\n|---|---|\n\
            | chatctl | {} ({}), {}, {} |\n\
            | host | {}: {}, {} cores, {} MiB |\n\
            | kernel | {} |\n\
            | workload | {} clients, {amount}, seed {} |\n\n\
            | server | node | engine | durability | |\n|---|---|---|---|---|\n{servers}\n{notes}\n\
            ```text\n{verdict}```\n\n\
            ## Files\n\n\
            - `history.jsonl`: what clients did and saw, one line each\n\
            - `verdict.json`: the verdict for machines\n\
            - `timeline.html`, where something is wrong: each case among the lines around it\n\
            - `summary.txt`: what was printed\n\n\
            Judge it again: `chatctl check replay history.jsonl`\n",
            versions.chatctl,
            versions.git_revision,
            versions.profile,
            versions.rustc,
            host.name,
            host.cpu_model,
            host.cores,
            host.memory_bytes >> 20,
            host.kernel,
            options.clients,
            options.seed,
        )
    }
}
