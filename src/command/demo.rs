//! `chatctl demo`: a server and two people, until a signal.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, print_out};
use crate::demo::{Demo, DemoOptions};
use crate::harness::duration::parse as duration;

/// The shortest time between two acts: a demo is no load.
const PACE_MIN: Duration = Duration::from_millis(10);

/// See it work: a server on a free port, two people who chat there until Ctrl-C.
///
/// Prints where to look and opens nothing. Settings of the environment and of .env do not count: messages are in a temporary folder of the
/// LOCAL engine, and nobody needs a token. Nothing is left when it ends.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Port of the page on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Keep the messages in this folder
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Time from one message to the next
    #[arg(long, default_value = "2s", value_parser = pace)]
    pace: Duration,
}

fn pace(text: &str) -> Result<Duration, String> {
    let pace = duration(text)?;
    match pace >= PACE_MIN {
        true => Ok(pace),
        false => Err(format!("use {} ms or more", PACE_MIN.as_millis())),
    }
}

/// Plays until a signal ends it (`Pass`).
pub async fn run(args: DemoArgs) -> anyhow::Result<Exit> {
    // Before the server starts: a signal must find somebody to take it down.
    let ended = ended_by_signal()?;
    tokio::pin!(ended);
    let data_dir = args.data_dir.map(std::path::absolute).transpose().context("--data-dir")?;
    let options = DemoOptions { port: args.port, data_dir: data_dir.clone(), pace: args.pace };
    let demo = tokio::select! {
        started = Demo::start(options) => started
            .context("the demo cannot start; another --port or --data-dir may help")?,
        () = &mut ended => return Ok(Exit::Pass),
    };
    print_out(&demo.introduction())?;
    let broken = tokio::select! {
        () = &mut ended => None,
        error = demo.play(print_out) => Some(error),
    };
    let wrong = demo.stop().await;
    match (broken, wrong) {
        (Some(error), _) => return Err(error.context("the demo cannot go on")),
        (None, Some(wrong)) => anyhow::bail!("{wrong}"),
        (None, None) => {}
    }
    print_out(&match data_dir {
        None => "\nThe server has ended, and its messages are gone.\n".to_owned(),
        Some(folder) => {
            format!("\nThe server has ended; its messages are in {}.\n", folder.display())
        }
    })?;
    Ok(Exit::Pass)
}

/// Listens from now on; done at Ctrl-C, SIGTERM, or when the terminal is closed.
fn ended_by_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
