//! Tells the binary which revision and compiler it was built from; reports print both.

use std::path::Path;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts by the environment")]
fn main() {
    let revision = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed =
        output("git", &["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"]);
    let revision = match (revision, changed) {
        (Some(revision), Some(changed)) if !changed.is_empty() => format!("{revision}-dirty"),
        (Some(revision), _) => revision,
        (None, _) => "unknown".to_owned(),
    };
    println!("cargo::rustc-env=CHATCTL_GIT_REVISION={revision}");
    let rustc = std::env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    println!("cargo::rustc-env=CHATCTL_RUSTC_VERSION={}", rustc.as_deref().unwrap_or("unknown"));
    let profile = std::env::var("PROFILE").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=CHATCTL_PROFILE={profile}");
    // Of this package alone: a profile may say so.
    let opt_level = std::env::var("OPT_LEVEL").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=CHATCTL_OPT_LEVEL={opt_level}");

    // `src` too: whether the tree is dirty changes with it. `--git-path` finds the right files in a
    // worktree, where .git is a file.
    let branch = output("git", &["symbolic-ref", "-q", "HEAD"]);
    let watched = ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
    let watched = watched.filter_map(|name| output("git", &["rev-parse", "--git-path", name]));
    for path in watched.chain(["src".to_owned(), "Cargo.toml".to_owned(), "build.rs".to_owned()]) {
        // A path that does not exist would make every build run this again.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
