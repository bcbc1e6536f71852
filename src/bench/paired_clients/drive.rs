//! Connects everybody, warms up, measures, waits for the last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::dispatcher::{Dispatched, Dispatcher};
use super::super::error::BenchError;
use super::super::load_meter::{LoadCost, LoadMeter};
use super::super::load_profile::{Arrivals, LoadProfile};
use super::super::progress::Progress;
use super::super::recorder::RunRecord;
use super::super::report::time;
use super::super::warm_up::{WINDOW, is_warm};
use super::chatter::Chatter;
use super::finale::Finale;
use super::options::{Load, PairedClientsOptions, Volume};
use super::pair::{Pair, Parted};
use super::phase::Phase;
use super::tally::Tally;
use super::{DELIVERY, LATENCIES, READ, WRITE};
use crate::client::Address;
use crate::harness::content::ContentMaker;
use crate::history::Recorder;

/// What a run did, and how long its parts took.
#[derive(Debug)]
pub struct Driven {
    /// The sum over all pairs, the warm-up included.
    pub tally: Tally,
    /// Until every client was connected and had its conversation open.
    pub connecting: Duration,
    /// From then on until all conversations are filled.
    pub filling: Duration,
    /// From then on until what is done counts.
    pub warming_up: Duration,
    /// What counts.
    pub measured: Measured,
    /// Messages of an open loop that were intended, the warm-up included.
    pub scheduled: Option<u64>,
    /// Of those, never handed to a pair.
    pub dropped: u64,
    /// What the measured part cost the generator.
    pub cost: LoadCost,
    /// How late intended times were handed out in an open loop, ns.
    pub lag: Option<Histogram<u64>>,
    /// Where everything is recorded: what is left to do for a verdict.
    pub finale: Option<Finale>,
}

/// The measured part of a run.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// From its begin to the last answer.
    pub duration: Duration,
    /// Sends that were answered `ok`.
    pub written: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Pages.
    pub read: u64,
}

/// Connects everybody, then lets all pairs talk at once; what they do is written down where there is a `recorder`. `measure` is run when the warm-up is over and nothing counts yet.
pub async fn drive(
    addresses: &[Address],
    options: &PairedClientsOptions,
    record: &Arc<RunRecord>,
    recorder: Option<&Arc<Recorder>>,
    cancel: &CancellationToken,
    measure: impl Future<Output = ()>,
) -> Result<Driven, BenchError> {
    options.validate()?;
    let begun = Instant::now();
    let chatters = connect(addresses, options, recorder, cancel).await?;
    let connecting = begun.elapsed();

    let total = match (&options.load, options.volume) {
        (Load::Closed, Volume::MessagesPerClient(messages)) => {
            Some(messages * options.clients as u64)
        }
        _ => None,
    };
    let last = Arc::clone(record);
    let progress = Progress::with_details("messages", total, move || details(&last));
    let (dispatcher, dues) = dispatcher(options)?;
    let mut dues = dues.into_iter();
    let phase = Arc::new(Phase::new());
    let filling_since = Instant::now();
    let mut pairs = JoinSet::new();
    let mut chatters = chatters.into_iter();
    while let (Some(one), Some(other)) = (chatters.next(), chatters.next()) {
        let pair = Pair::new(one, other, options, progress.counter(), dues.next());
        let (phase, record, cancel) = (Arc::clone(&phase), Arc::clone(record), cancel.clone());
        pairs.spawn(async move { Box::pin(pair.run(&phase, &record, &cancel)).await });
    }
    let mut load = OpenLoad { dispatcher, scheduled: 0, dropped: 0, lag: None };
    let mut warming_since = filling_since;
    let running = async {
        if options.fill_to > 0 {
            progress.enter("filling", Some(options.fill_each() * options.clients as u64 / 2));
        }
        phase.all_filled(pairs.len()).await;
        warming_since = Instant::now();
        record.start();
        if options.warms_up() {
            progress.enter("warming up", None);
            phase.talk();
            load.warm_up(options, record).await;
        }
        measure.await;
        progress.enter("messages", total);
        let from = Instant::now() + options.lead();
        record.reset(from);
        phase.measure(from);
        phase.talk();
        let meter = LoadMeter::start();
        load.measured(options, from).await;
        // Whoever waits for more learns that there is none.
        load.dispatcher = None;
        (from, meter)
    };
    let started = tokio::select! {
        started = running => Some(started),
        () = cancel.cancelled() => None,
    };
    load.dispatcher = None;
    let (from, meter) = started.unwrap_or_else(|| {
        (phase.measured_from().unwrap_or_else(Instant::now), LoadMeter::start())
    });
    let mut tally = Tally::default();
    let mut clients = Vec::new();
    while let Some(joined) = pairs.join_next().await {
        match joined {
            Ok(Parted { tally: talked, clients: both }) => {
                tally.add(talked);
                clients.extend(both);
            }
            Err(error) => tally.broke(format!("a pair's task ended by itself: {error}")),
        }
    }
    let (cost, totals, duration) = (meter.cost(), record.totals(), from.elapsed());
    let count = |latency: usize| totals.get(latency).map_or(0, |(_, total)| total.len());
    Ok(Driven {
        tally,
        connecting,
        filling: warming_since.saturating_duration_since(filling_since),
        warming_up: from.saturating_duration_since(warming_since),
        measured: Measured {
            duration,
            written: count(WRITE),
            delivered: count(DELIVERY),
            read: count(READ),
        },
        scheduled: load.lag.is_some().then_some(load.scheduled),
        dropped: load.dropped,
        cost,
        lag: load.lag,
        finale: Finale::of(recorder.cloned(), clients).await,
    })
}

/// The last interval, for people who wait.
fn details(record: &RunRecord) -> String {
    let shown =
        [WRITE, DELIVERY].map(|latency| LATENCIES[latency]).into_iter().filter_map(|name| {
            let last = record.last(name)?;
            let at = |quantile| time(Some(last.value_at_quantile(quantile) as f64 / 1e3));
            Some(format!("{name} p50 {} p99 {}", at(0.5), at(0.99)))
        });
    shown.collect::<Vec<_>>().join(", ")
}

async fn connect(
    addresses: &[Address],
    options: &PairedClientsOptions,
    recorder: Option<&Arc<Recorder>>,
    cancel: &CancellationToken,
) -> Result<Vec<Chatter>, BenchError> {
    let progress = Progress::start("connecting", Some(options.clients as u64));
    let maker = Arc::new(ContentMaker::new(options.size_bytes, options.seed));
    let joining = stream::iter(0..options.clients).map(|index| {
        let (maker, progress) = (Arc::clone(&maker), &progress);
        async move {
            let peer = options.user(index ^ 1)?;
            let chatter = Chatter::join(addresses, index, peer, options, maker, recorder).await?;
            progress.add(1);
            Ok::<_, BenchError>(chatter)
        }
    });
    // In order, so that neighbours are pairs.
    let joining = joining.buffered(options.connecting).try_collect::<Vec<_>>();
    tokio::select! {
        chatters = joining => chatters,
        () = cancel.cancelled() => Ok(Vec::new()),
    }
}

/// Who hands out intended times, and what each pair gets of them; nobody in a closed loop.
fn dispatcher(
    options: &PairedClientsOptions,
) -> Result<(Option<Dispatcher>, Vec<mpsc::Receiver<Instant>>), BenchError> {
    if matches!(options.load, Load::Closed) {
        return Ok((None, Vec::new()));
    }
    let (dispatcher, dues) =
        Dispatcher::start(options.clients / 2, options.waiting_max).map_err(BenchError::Thread)?;
    Ok((Some(dispatcher), dues))
}

/// The load of an open loop, and what came of it; of a closed one the pairs take care themselves.
struct OpenLoad {
    dispatcher: Option<Dispatcher>,
    scheduled: u64,
    dropped: u64,
    lag: Option<Histogram<u64>>,
}

impl OpenLoad {
    /// Makes load until the server is warm.
    async fn warm_up(&mut self, options: &PairedClientsOptions, record: &RunRecord) {
        let begun = Instant::now();
        let longest = Duration::from_millis(options.warmup_ms);
        let mut next = begun + options.lead();
        while begun.elapsed() < longest {
            match &options.load {
                Load::Closed => tokio::time::sleep(WINDOW).await,
                Load::Open { profile, arrivals } => {
                    let profile = LoadProfile::constant(profile.first_per_s(), WINDOW);
                    match self.make(profile, *arrivals, options.seed, next).await {
                        Some(dispatched) => next = dispatched.ended,
                        None => return,
                    }
                }
            }
            if is_warm(&record.intervals(), LATENCIES[WRITE], begun.elapsed()) {
                return;
            }
        }
    }

    /// Makes the load that counts.
    async fn measured(&mut self, options: &PairedClientsOptions, from: Instant) {
        if let Load::Open { profile, arrivals } = &options.load {
            let made = self.make(profile.clone(), *arrivals, options.seed, from).await;
            self.lag = made.map(|dispatched| dispatched.lag);
        }
    }

    async fn make(
        &mut self,
        profile: LoadProfile,
        arrivals: Arrivals,
        seed: u64,
        begin: Instant,
    ) -> Option<Dispatched> {
        let dispatcher = self.dispatcher.as_ref()?;
        let dispatched = dispatcher.run(profile, arrivals, seed, begin).await?;
        self.scheduled += dispatched.scheduled;
        self.dropped += dispatched.dropped;
        Some(dispatched)
    }
}
