//! The workload `newest-page`: does a read grow with what is stored?
//!
//! Conversations of different sizes in one store, filled through the protocol; then one client
//! reads them in turn, so that whatever disturbs the machine disturbs all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt, stream};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::correctness::Correctness;
use super::error::BenchError;
use super::progress::Progress;
use super::recorder::Recorder;
use super::run::{Findings, Finished, Run, RunOptions};
use super::stats::LatencyStats;
use crate::client::{Address, Client, ClientError, ClientOptions};
use crate::harness::content::ContentMaker;
use crate::model::{Cid, ConvId, LIMITS, Message, MessageType, Order, Seq, UserName};
use crate::protocol::{Ack, Command, Open, Read, ReadKind, Reply, Send, To};

/// Messages on each page.
const PAGE: usize = 10;

/// Unanswered sends of one filling connection.
const FILL_IN_FLIGHT: usize = 256;

/// Connections that fill one conversation together.
const FILLERS: u64 = 4;

/// Times that a filling send is repeated before the bench gives up.
const FILL_ATTEMPTS_MAX: u32 = 20;

/// The ways of reading a page that are measured.
const WAYS: [&str; 3] = ["open", "read", "read-at-random-ts"];

/// Options of the workload.
#[derive(Debug, Clone, Serialize)]
pub struct NewestPageOptions {
    /// Messages stored in each conversation.
    pub volumes: Vec<u64>,
    /// Reads of each kind in each conversation.
    pub reads: u64,
    /// Bytes of each message's content.
    pub size_bytes: usize,
    /// Decides contents and random times.
    pub seed: u64,
    /// What user names begin with; must be new to the server.
    pub user_prefix: String,
    /// How long one client may take to connect, ms.
    pub connect_timeout_ms: u64,
}

/// A filled conversation, as the reading client has it open.
#[derive(Debug)]
struct Filled {
    open: Open,
    conv: ConvId,
    head: Seq,
    ts_oldest: u64,
    ts_newest: u64,
}

/// Fills, reads, compares.
pub async fn run(
    run_options: &RunOptions,
    options: &NewestPageOptions,
    cancel: &CancellationToken,
) -> Result<Finished, BenchError> {
    validate(options)?;
    let names: Vec<String> = options
        .volumes
        .iter()
        .flat_map(|volume| WAYS.iter().map(move |way| format!("{way}-{volume}")))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = Run::begin("newest-page", run_options, &names).await?;
    let filling_since = Instant::now();
    let address = &run.targets().addresses()[0];
    let filled = tokio::select! {
        filled = fill_all(address, options) => Some(filled?),
        () = cancel.cancelled() => None,
    };
    let filling_s = filling_since.elapsed().as_secs_f64();
    let mut findings = Findings {
        config: serde_json::to_value(options).unwrap_or_default(),
        durations_s: BTreeMap::from([("filling".to_owned(), filling_s)]),
        ..Findings::default()
    };
    if let Some((client, filled)) = filled {
        let stored: u64 = options.volumes.iter().sum();
        findings.messages = stored;
        findings.counts.insert("stored".to_owned(), stored);
        findings.rates.insert("filled_per_s".to_owned(), stored as f64 / filling_s);
        run.record.start();
        let reading = read_all(&client, &filled, options, &run, &mut findings);
        tokio::select! {
            result = reading => result.map_err(BenchError::client("reading pages"))?,
            () = cancel.cancelled() => {}
        }
        client.close().await;
        compare(&run, options, &mut findings.figures);
    }
    findings.aborted = cancel.is_cancelled();
    findings.complete = !findings.aborted;
    run.finish(findings).await
}

fn validate(options: &NewestPageOptions) -> Result<(), BenchError> {
    let refuse = |text: String| Err(BenchError::Usage(text));
    if options.volumes.is_empty() || options.volumes.iter().any(|&volume| volume < PAGE as u64) {
        return refuse(format!(
            "--volumes: give one or more sizes of at least {PAGE}, like 1000,1000000"
        ));
    }
    let mut different = options.volumes.clone();
    different.sort_unstable();
    different.dedup();
    if different.len() != options.volumes.len() {
        return refuse("--volumes: give each size once".into());
    }
    if options.reads == 0 {
        return refuse("--reads 0: give at least 1; p99 needs 1000".into());
    }
    if !(200..=LIMITS.content_bytes_max).contains(&options.size_bytes) {
        let max = LIMITS.content_bytes_max;
        return refuse(format!("--size {}: give 200 to {max} bytes", options.size_bytes));
    }
    match UserName::new(&format!("{}-reader", options.user_prefix)) {
        Ok(_) => Ok(()),
        Err(error) => refuse(format!("--user-prefix: give {error}")),
    }
}

fn user(options: &NewestPageOptions, suffix: &str) -> Result<UserName, BenchError> {
    UserName::new(&format!("{}-{suffix}", options.user_prefix))
        .map_err(|error| BenchError::Usage(format!("--user-prefix: give {error}")))
}

async fn connect(
    address: &Address,
    user: &UserName,
    options: &NewestPageOptions,
) -> Result<Client, BenchError> {
    let connect_timeout = Duration::from_millis(options.connect_timeout_ms);
    let client_options = ClientOptions { connect_timeout, ..ClientOptions::default() };
    Client::connect(address, user, client_options)
        .await
        .map_err(BenchError::client(format!("connecting {user}")))
}

/// Fills one conversation per volume, and opens all of them in the client that will read.
async fn fill_all(
    address: &Address,
    options: &NewestPageOptions,
) -> Result<(Client, Vec<Filled>), BenchError> {
    let reader = user(options, "reader")?;
    let client = connect(address, &reader, options).await?;
    let mut filled = Vec::new();
    for &volume in &options.volumes {
        let writer = user(options, &format!("writer{volume}"))?;
        let progress = Progress::start("filling", Some(volume));
        let filling = (0..FILLERS)
            .map(|filler| fill(address, &writer, &reader, filler, volume, options, &progress));
        stream::iter(filling).buffer_unordered(FILLERS as usize).try_collect::<Vec<()>>().await?;
        filled.push(open_filled(&client, writer, volume).await?);
    }
    Ok((client, filled))
}

/// One connection's share of a conversation: the messages `filler`, `filler + FILLERS`, ….
async fn fill(
    address: &Address,
    writer: &UserName,
    reader: &UserName,
    filler: u64,
    volume: u64,
    options: &NewestPageOptions,
    progress: &Progress,
) -> Result<(), BenchError> {
    let client = connect(address, writer, options).await?;
    let to = To::User(reader.clone());
    let open = Open { to, limit: 0, resume: None, echo: false, push: false };
    let what = format!("filling the conversation of {volume}");
    let opened = client.open(open).await.map_err(BenchError::client(what.clone()))?;
    let maker = ContentMaker::new(options.size_bytes, options.seed);
    let kind = MessageType::new("text")
        .map_err(|error| BenchError::Usage(format!("a type must be {error}")))?;
    let mut unsent = (filler..volume).step_by(FILLERS as usize);
    let mut unanswered = FuturesUnordered::new();
    loop {
        let mut fresh = Vec::new();
        for number in unsent.by_ref().take(FILL_IN_FLIGHT - unanswered.len()) {
            let cid = Cid::new(&format!("fill.{number:x}"))
                .map_err(|error| BenchError::Usage(format!("a cid must be {error}")))?;
            let content = maker.make(opened.conv, writer, &cid, number);
            // Without `ts` nothing is late, whichever connection comes first.
            let (conv, kind) = (opened.conv, kind.clone());
            fresh.push(Command::Send(Send { conv, cid, kind, content, ts: None }));
        }
        if !fresh.is_empty() {
            let answers =
                client.submit_many(&fresh).await.map_err(BenchError::client(what.clone()))?;
            for (command, answer) in fresh.into_iter().zip(answers) {
                unanswered.push(settle(&client, command, answer));
            }
        }
        match unanswered.next().await {
            Some(result) => result.map_err(BenchError::client(what.clone()))?,
            None => break,
        }
        progress.add(1);
    }
    drop(unanswered);
    client.close().await;
    Ok(())
}

/// Waits for the answer to a send, and repeats it while the server says that it may succeed later.
async fn settle(
    client: &Client,
    command: Command,
    answer: crate::client::Answer,
) -> Result<(), ClientError> {
    let mut result = answer.await;
    for attempt in 1..FILL_ATTEMPTS_MAX {
        let wait = match result {
            Ok(_) => return Ok(()),
            Err(error) if error.is_retryable() => {
                error.retry_after().unwrap_or(Duration::from_millis(20) * attempt)
            }
            Err(error) => return Err(error),
        };
        tokio::time::sleep(wait).await;
        result = client.call(&command).await;
    }
    result.map(|_| ())
}

/// Opens a filled conversation as its reader, with everything acknowledged: what is measured is the
/// page, not the counting of unread messages.
async fn open_filled(client: &Client, writer: UserName, volume: u64) -> Result<Filled, BenchError> {
    let failed = || BenchError::client(format!("opening the conversation of {volume}"));
    let open = Open { to: To::User(writer), limit: PAGE, resume: None, echo: false, push: false };
    let opened = client.open(open.clone()).await.map_err(failed())?;
    if opened.head != Seq(volume) {
        return Err(BenchError::Unmeasurable(format!(
            "the conversation of {volume} holds {} messages; take a --user-prefix that the server has not seen",
            opened.head
        )));
    }
    let (conv, head) = (opened.conv, opened.head);
    let ack = Ack { conv, up_to: Some(head), ranges: None };
    client.ack(ack).await.map_err(failed())?;
    let kind = ReadKind::Range { from: None, to: None, order: Order::Asc };
    let oldest = client.read(Read { conv, kind, limit: 1, cursor: None }).await.map_err(failed())?;
    let ts = |items: &[std::sync::Arc<Message>], at: Option<usize>| {
        at.and_then(|at| items.get(at)).map_or(0, |message| message.ts)
    };
    let ts_oldest = ts(&oldest.items, Some(0));
    let ts_newest = ts(&opened.items, opened.items.len().checked_sub(1));
    Ok(Filled { open, conv, head, ts_oldest, ts_newest })
}

/// Reads every conversation in every way, forward and backward in turn (ABBA), so that a drift of
/// the machine falls on all of them alike.
async fn read_all(
    client: &Client,
    filled: &[Filled],
    options: &NewestPageOptions,
    run: &Run,
    findings: &mut Findings,
) -> Result<(), ClientError> {
    let since = Instant::now();
    let total = options.reads * (filled.len() * WAYS.len()) as u64;
    let progress = Progress::start("reading", Some(total));
    let mut random = SmallRng::seed_from_u64(options.seed);
    let mut recorder = Recorder::new();
    let mut order: Vec<usize> = (0..filled.len() * WAYS.len()).collect();
    for round in 0..options.reads {
        for &index in &order {
            let conversation = &filled[index / WAYS.len()];
            let way = WAYS[index % WAYS.len()];
            let to = (way == "read-at-random-ts")
                .then(|| random.random_range(conversation.ts_oldest..=conversation.ts_newest));
            let command = match way {
                "open" => Command::Open(conversation.open.clone()),
                _ => {
                    let kind = ReadKind::Range { from: None, to, order: Order::Desc };
                    Command::Read(Read { conv: conversation.conv, kind, limit: PAGE, cursor: None })
                }
            };
            let asked_at = Instant::now();
            let answered = client.call(&command).await?;
            recorder.record(index, answered.received_at, answered.received_at - asked_at);
            judge(&answered.reply, conversation, to, &mut findings.correctness);
        }
        order.reverse();
        progress.add(order.len() as u64);
        if round % 256 == 0 || round + 1 == options.reads {
            run.record.merge(&mut recorder);
        }
    }
    let reading_s = since.elapsed().as_secs_f64();
    findings.durations_s.insert("reading".to_owned(), reading_s);
    findings.rates.insert("reads_per_s".to_owned(), total as f64 / reading_s);
    findings.counts.insert("reads".to_owned(), total);
    Ok(())
}

/// A fast wrong page is no page: the newest one must be exactly the last ten, any other must be in
/// order, whole, and not above the asked time.
fn judge(reply: &Reply, filled: &Filled, to: Option<u64>, counts: &mut Correctness) {
    counts.pages_checked += 1;
    let mut seqs: Vec<Seq> = match reply {
        Reply::Open(opened) => opened.items.iter().rev().map(|message| message.seq).collect(),
        Reply::Read(page) => {
            counts.corrupt +=
                u64::from(to.is_some_and(|to| page.items.iter().any(|item| item.ts > to)));
            page.items.iter().map(|message| message.seq).collect()
        }
        _ => Vec::new(),
    };
    // The server stamped every message, so `(ts, seq)` order is `seq` order.
    let unsorted = seqs.windows(2).any(|two| two[0] <= two[1]);
    counts.page_unsorted += u64::from(unsorted);
    seqs.sort_unstable_by(|one, other| other.cmp(one));
    let first = if to.is_none() { Some(filled.head) } else { seqs.first().copied() };
    let Some(Seq(first)) = first else {
        counts.page_missing += 1;
        return;
    };
    let expected = (1..=first).rev().take(PAGE).map(Seq);
    let missing = expected.filter(|seq| !seqs.contains(seq)).count();
    counts.page_missing += missing as u64;
}

/// The largest volume against the smallest.
fn compare(run: &Run, options: &NewestPageOptions, figures: &mut BTreeMap<String, f64>) {
    let stats: BTreeMap<String, LatencyStats> = run
        .record
        .totals()
        .iter()
        .map(|(name, histogram)| (name.clone(), LatencyStats::of(histogram)))
        .collect();
    let (Some(least), Some(most)) = (options.volumes.iter().min(), options.volumes.iter().max())
    else {
        return;
    };
    for way in WAYS {
        let of = |volume: &u64| stats.get(&format!("{way}-{volume}"));
        let (Some(small), Some(large)) = (of(least), of(most)) else { continue };
        let ratios =
            [("p50", large.p50_us.zip(small.p50_us)), ("p99", large.p99_us.zip(small.p99_us))];
        for (percentile, both) in ratios {
            if let Some((large, small)) = both.filter(|&(_, small)| small > 0.0) {
                figures.insert(format!("{way}_{percentile}_ratio"), large / small);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::harness::content::tests::{conv, message, user};
    use crate::protocol::ReadReply;

    fn judged(seqs: &[u64], to: Option<u64>) -> Correctness {
        let conv = conv("ann", "bob");
        let to_user = To::User(user("bob"));
        let open = Open { to: to_user, limit: PAGE, resume: None, echo: false, push: false };
        let filled = Filled { open, conv, head: Seq(20), ts_oldest: 0, ts_newest: 0 };
        let items = seqs.iter().map(|&seq| Arc::new(message(conv, "ann", seq))).collect();
        let mut counts = Correctness::default();
        judge(&Reply::Read(ReadReply { items, next: None }), &filled, to, &mut counts);
        counts
    }

    #[test]
    fn only_the_right_page_is_right() {
        let newest: Vec<u64> = (11..=20).rev().collect();
        assert!(judged(&newest, None).is_clean());
        assert_eq!(judged(&newest[1..], None).page_missing, 1);
        assert_eq!(judged(&[], None).page_missing, 10);
        let mut swapped = newest.clone();
        swapped.swap(0, 1);
        assert_eq!(judged(&swapped, None).page_unsorted, 1);
        let older: Vec<u64> = (1..=5).rev().collect();
        assert!(judged(&older, Some(1_005)).is_clean());
        assert_eq!(judged(&older, Some(1_004)).corrupt, 1, "above the asked time");
        assert_eq!(judged(&[5, 3, 2, 1], Some(1_005)).page_missing, 1);
        assert_eq!(judged(&[], Some(1_005)).page_missing, 1);
    }
}
