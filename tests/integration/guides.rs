//! The documents: links lead somewhere, commands are commands.

use std::path::{Path, PathBuf};

use chatctl::cli::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README, what the map says, and everything in `docs/`.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The lines outside fenced blocks, and those inside, with the language of their block.
fn split(text: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let (mut prose, mut code, mut language) = (Vec::new(), Vec::new(), None);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), language) {
            (Some(_), Some(_)) => language = None,
            (Some(begun), None) => language = Some(begun),
            (None, Some(language)) => code.push((language, line)),
            (None, None) => prose.push(line),
        }
    }
    assert!(language.is_none(), "a fenced block without an end");
    (prose, code)
}

/// What `](…)` leads to.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
}

/// The name of a heading in a link, as viewers of repositories make it.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut count = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in split(&text).0.into_iter().flat_map(links) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", document.display());
            if !heading.is_empty() {
                let there = std::fs::read_to_string(&target).unwrap();
                let mut headings = split(&there).0.into_iter().filter(|l| l.starts_with('#'));
                let found = headings.any(|line| anchor(line) == heading);
                assert!(found, "{}: {link} has no such heading", document.display());
            }
        }
    }
    assert!(count > 40, "{count}");
}

/// The arguments of a line that runs chatctl, in whatever way; `None` for any other line.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ").trim_start_matches("- run: ");
    // A shell ends a command there, and begins a comment.
    let mut words = Vec::new();
    for word in shlex::split(line)? {
        if ["|", "&&", ";", ">", ">>"].contains(&word.as_str()) {
            break;
        }
        words.push(word);
    }
    let is_variable = |word: &String| {
        word.split_once('=').is_some_and(|(key, _)| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        })
    };
    let begin = words.iter().position(|word| !is_variable(word))?;
    let rest = match words[begin].as_str() {
        // What a run says of itself: its version.
        "chatctl"
            if words
                .get(begin + 1)
                .is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit())) =>
        {
            return None;
        }
        "chatctl" | "./target/release/chatctl" | "target/release/chatctl" => &words[begin + 1..],
        "cargo" if words.get(begin + 1).is_some_and(|word| word == "run") => {
            let dashes = words.iter().position(|word| word == "--")?;
            &words[dashes + 1..]
        }
        _ => return None,
    };
    // What `…` stands for may be anything, also after a flag.
    let is_left_out = |index: usize| {
        rest[index] == "…"
            || (rest[index] == "--server-env"
                && rest.get(index + 1).is_some_and(|next| next == "…"))
    };
    let rest =
        rest.iter().enumerate().filter(|(index, _)| !is_left_out(*index)).map(|(_, word)| word);
    Some(std::iter::once("chatctl".to_owned()).chain(rest.cloned()).collect())
}

#[test]
fn every_command_in_a_fenced_block_parses() {
    let mut count = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let lines = split(&text).1.into_iter().map(|(_, line)| line);
        let mut joined: Vec<String> = Vec::new();
        let mut open = false;
        for line in lines {
            // Continued lines of a shell, and folded ones of a workflow.
            let line = line.trim_end();
            match joined.last_mut() {
                Some(last) if open => *last += &format!(" {}", line.trim()),
                _ => joined.push(line.trim().to_owned()),
            }
            open = joined.last().is_some_and(|last| last.ends_with('\\'));
            if open {
                let last = joined.last_mut().unwrap();
                last.truncate(last.len() - 1);
            }
        }
        for line in joined {
            let Some(arguments) = arguments(&line) else { continue };
            count += 1;
            if let Err(error) = Cli::read(&arguments) {
                panic!("{}: {line}\n{error}", document.display());
            }
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn a_command_is_found_however_it_is_written() {
    let found = |line: &str| arguments(line).map(|words| words.join(" "));
    assert_eq!(found("A=b X_Y= chatctl serve  # why").as_deref(), Some("chatctl serve"));
    assert_eq!(found("cargo run --release -- demo").as_deref(), Some("chatctl demo"));
    assert_eq!(found("chatctl man | man -l -").as_deref(), Some("chatctl man"));
    assert_eq!(found("- run: ./target/release/chatctl demo").as_deref(), Some("chatctl demo"));
    assert_eq!(found("make test"), None);
    assert_eq!(found("  chatctl 0.1.0 (release) on a machine"), None);
    let wrong = ["chatctl serve --listn x", "chatctl bench pair", "cargo run -- serv"];
    assert!(wrong.iter().all(|line| Cli::read(arguments(line).unwrap()).is_err()));
}

#[test]
fn every_example_in_help_parses() {
    fn examples(command: &mut clap::Command, found: &mut Vec<String>) {
        let help = command.render_help().to_string();
        let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
        found.extend(lines.map(str::to_owned));
        command.get_subcommands_mut().for_each(|below| examples(below, found));
    }
    let (mut tree, mut found) = (Cli::tree(), Vec::new());
    tree.build();
    examples(&mut tree, &mut found);
    assert!(found.len() > 40, "{}", found.len());
    for line in found {
        assert!(line.starts_with("  chatctl "), "wrapped, for it is too long: {line}");
        let arguments = arguments(&line).unwrap_or_else(|| panic!("{line}"));
        if let Err(error) = Cli::read(&arguments) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn the_readme_says_what_a_newcomer_needs() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for needed in ["make test", "cargo build --release", "chatctl demo", "chatctl bench", "MIT OR"]
    {
        assert!(readme.contains(needed), "{needed}");
    }
    let words = readme.split_whitespace().count();
    assert!(words < 1_500, "{words} words are too many to begin with");
}
