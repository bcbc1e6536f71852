//! `chatctl dump`: conversations as the message engine has them, without a server in between. For `check validity`, which compares
//! what servers say with it.

use std::io::{BufRead as _, stdin};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::engines::open_store;
use super::{Exit, print_out};
use crate::config::{Config, Sources, VariableArgs};
use crate::harness::content::message_digest;
use crate::history::{Dumped, Item, hash_chain};
use crate::model::{ConvId, Seq};
use crate::persistence::Persistence;

/// Messages that are read at once.
const PAGE: usize = 200;

/// Print conversations as the message engine has them: ids from stdin, one a line.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// The flags, made from the table of variables.
    #[command(flatten)]
    pub variables: VariableArgs,
}

/// Prints each conversation as one line of JSON, in the order of the ids.
pub async fn run(args: DumpArgs) -> anyhow::Result<Exit> {
    let sources = Sources::of_process(&args.variables)?;
    let store = open_store(&Config::load(&sources)?).await?;
    for line in stdin().lock().lines() {
        let line = line.context("cannot read stdin")?;
        let conv = ConvId::parse(line.trim())
            .with_context(|| format!("{line:?} is no conversation's id"))?;
        let dumped = read_all(&store.persistence, conv).await?;
        print_out(&(serde_json::to_string(&dumped)? + "\n"))?;
    }
    store.persistence.close().await;
    Ok(Exit::Pass)
}

async fn read_all(engine: &Arc<dyn Persistence>, conv: ConvId) -> anyhow::Result<Dumped> {
    let (mut items, mut after) = (Vec::new(), Seq::ZERO);
    loop {
        let following = engine.after(conv, after, PAGE).await;
        let following = following.with_context(|| format!("cannot read {conv}"))?;
        let page = following.page;
        items.extend(page.items.iter().map(|message| {
            Item::of(message, message_digest(message.kind.as_str(), &message.content))
        }));
        match page.items.last() {
            Some(last) if page.more => after = last.seq,
            _ => {
                let (conv, epoch) = (conv.to_string(), following.epoch.to_string());
                return Ok(Dumped { conv, epoch, chain: hash_chain(&items), items });
            }
        }
    }
}
