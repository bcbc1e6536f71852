//! The examples in the help of each command: one table, so that a test can hold every line against the tree.

use clap::Command;

/// The commands to give somebody who wants `path`, each with what it is for.
type Examples = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// By the words that lead to a command; none for what needs no example.
const EXAMPLES: &[Examples] = &[
    (
        &[],
        &[
            ("chatctl demo", "see it: two people who chat"),
            ("chatctl serve", "run one: http://127.0.0.1:8080/"),
            ("chatctl bench paired-clients --clients 50", "measure one, check all"),
            ("chatctl check validity", "does it keep its promises?"),
        ],
    ),
    (
        &["serve"],
        &[
            ("chatctl serve", "messages in ./data"),
            ("chatctl serve --listen 127.0.0.1:9000 --data-dir /var/lib/chatctl", ""),
            ("chatctl serve --with-services --persistence-engine REDIS", ""),
            ("chatctl serve --with-services --persistence-engine CASSANDRA", ""),
        ],
    ),
    (
        &["demo"],
        &[
            ("chatctl demo", "a free port; Ctrl-C leaves nothing"),
            ("chatctl demo --port 8080 --pace 500ms", "at this address, in a hurry"),
            ("chatctl demo --data-dir ./demo", "keep what was said"),
        ],
    ),
    (
        &["init-env"],
        &[
            ("chatctl init-env", "Redis, Kafka and Cassandra"),
            ("chatctl init-env --services redis", "only what the REDIS engine needs"),
            ("chatctl init-env --check", "are they healthy, and how durable?"),
            ("chatctl init-env --down", "stop them; their data stays"),
        ],
    ),
    (
        &["bench"],
        &[
            ("chatctl bench paired-clients --clients 50", "the main job"),
            ("chatctl bench paired-clients --engines local,redis,cassandra", "one table"),
            ("chatctl bench compare --a-binary ./chatctl-before", "is it slower?"),
        ],
    ),
    (
        &["bench", "paired-clients"],
        &[
            ("chatctl bench paired-clients --clients 200 --messages 500", ""),
            ("chatctl bench paired-clients --rate 2000 --duration 30s", "an open loop"),
            ("chatctl bench paired-clients --gate 'write.p99<20ms' --check", "for CI"),
            ("chatctl bench paired-clients --url ws://127.0.0.1:8080/v1/ws", "yours"),
            ("chatctl bench paired-clients --find-max 'delivery.p99<20ms'", ""),
        ],
    ),
    (
        &["bench", "newest-page"],
        &[("chatctl bench newest-page --volumes 1000,1000000", "do reads grow?")],
    ),
    (
        &["bench", "growth"],
        &[
            ("chatctl bench growth --of messages --sizes 1e3,1e4,1e5", "one conversation"),
            ("chatctl bench growth --of conversations --sizes 1e2,1e3,1e4 --engine redis", ""),
            ("chatctl bench growth --of connections --sizes 100,1000,10000", ""),
        ],
    ),
    (&["bench", "idle-connections"], &[("chatctl bench idle-connections --clients 5000", "")]),
    (
        &["bench", "report"],
        &[
            ("chatctl bench report results/A", "make report.html again"),
            ("chatctl bench report results/A results/B", "side by side"),
        ],
    ),
    (
        &["bench", "compare"],
        &[
            ("chatctl bench compare --a-binary ./chatctl-before", "is this one slower?"),
            ("chatctl bench compare --a-env CHATCTL_LOCAL_SYNC=never", "two settings"),
        ],
    ),
    (
        &["bench", "baseline"],
        &[
            ("chatctl bench baseline save before.json", ""),
            ("chatctl bench baseline check before.json --max-slowdown 10%", ""),
        ],
    ),
    (
        &["bench", "floor"],
        &[
            ("chatctl bench floor", "the whole table, in some minutes"),
            ("chatctl bench floor --only G1,G25 --rounds 3", ""),
        ],
    ),
    (
        &["check"],
        &[
            ("chatctl check validity", "a server of its own"),
            ("chatctl check equivalence --engines local,redis,cassandra", ""),
            ("chatctl check replay results/A/history.jsonl", "judge it again"),
        ],
    ),
    (
        &["check", "validity"],
        &[
            ("chatctl check validity", ""),
            ("chatctl check validity --url ws://127.0.0.1:8080/v1/ws --clients 20", ""),
            ("chatctl check validity --engine redis --nemesis kill,pause --every 10s", ""),
        ],
    ),
    (
        &["check", "equivalence"],
        &[("chatctl check equivalence --engines local,redis,cassandra", "")],
    ),
    (&["check", "replay"], &[("chatctl check replay results/A/history.jsonl", "")]),
    (
        &["check", "export"],
        &[("chatctl check export history.jsonl --form elle --out history.edn", "")],
    ),
    (
        &["doctor"],
        &[
            ("chatctl doctor", "the settings of this folder and environment"),
            ("chatctl doctor --persistence-engine REDIS --json", ""),
        ],
    ),
    (&["config"], &[("chatctl config show", "what holds, and where it comes from")]),
    (&["config", "show"], &[("chatctl config show --json", "for a program")]),
    (
        &["token"],
        &[
            ("chatctl token --user ann --ttl 1h", ""),
            ("chatctl token --user ann --key key.pem", ""),
        ],
    ),
    (&["revoke"], &[("chatctl revoke --user ann", "on every node within two seconds")]),
    (&["export"], &[("chatctl export chats.jsonl", "from the engine that the settings name")]),
    (&["import"], &[("chatctl import chats.jsonl", "into the engine that the settings name")]),
    (
        &["completions"],
        &[
            ("chatctl completions bash > /etc/bash_completion.d/chatctl", ""),
            ("chatctl completions zsh > ~/.zfunc/_chatctl", ""),
        ],
    ),
    (
        &["man"],
        &[
            ("chatctl man | man -l -", "read chatctl(1)"),
            ("chatctl man --out ~/.local/share/man/man1", "install all pages"),
        ],
    ),
];

/// The command with the examples of it and of all below it.
pub(super) fn with_examples(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (path, lines)| at(command, path, &section(lines)))
}

fn at(command: Command, path: &[&str], text: &str) -> Command {
    match path {
        [] => command.after_help(text.to_owned()),
        [name, below @ ..] => command.mut_subcommand(name, |command| at(command, below, text)),
    }
}

fn section(lines: &[(&str, &str)]) -> String {
    let explained = lines.iter().filter(|(_, purpose)| !purpose.is_empty());
    let columns = explained.map(|(command, _)| command.len()).max().unwrap_or_default();
    let mut text = "Examples:".to_owned();
    for (command, purpose) in lines {
        let line = match purpose.is_empty() {
            true => (*command).to_owned(),
            false => format!("{command:columns$}  # {purpose}"),
        };
        text += &format!("\n  {line}");
    }
    text
}
