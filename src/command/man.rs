//! `chatctl man`: manual pages, made from the tree of commands.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use super::{Exit, print_out};
use crate::cli::Cli;

/// Print the manual page chatctl(1), or write the pages of all commands.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write chatctl.1, chatctl-serve.1, … into this folder, over what is there under these names, and print nothing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the page, or writes all of them.
pub fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    let mut tree = Cli::tree();
    // Names of commands below become those of their pages.
    tree.build();
    match &args.out {
        None => print_out(&page(&Man::new(tree))?)?,
        Some(folder) => std::fs::create_dir_all(folder)
            .and_then(|()| write_all(&tree, folder))
            .with_context(|| {
                format!(
                    "cannot write manual pages to {}; give --out a folder that you may write to",
                    folder.display()
                )
            })?,
    }
    Ok(Exit::Pass)
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    let man = Man::new(command.clone());
    std::fs::write(folder.join(man.get_filename()), page(&man)?)?;
    let mut below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.try_for_each(|below| write_all(below, folder))
}

/// A page whose examples have a heading of their own, and their lines as they are.
fn page(man: &Man) -> io::Result<String> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = String::from_utf8_lossy(&page);
    Ok(match page.split_once(".SH EXTRA\nExamples:\n") {
        None => page.into_owned(),
        Some((before, examples)) => {
            let (lines, after) = examples.split_once(".SH ").unwrap_or((examples, ""));
            let rest = if after.is_empty() { String::new() } else { format!(".SH {after}") };
            format!("{before}.SH EXAMPLES\n.nf\n{}\n.fi\n{rest}", lines.trim_end())
        }
    })
}
