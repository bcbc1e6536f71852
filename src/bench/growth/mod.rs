//! The workload `growth`: what an operation costs against the size of something.
//!
//! One store grows, and at each size one client does one thing at a time: nothing else is asked of the servers, so that a time is the
//! cost of an operation and no queue. Each kind is done in two halves, forwards and backwards in turn, so that what disturbs the machine
//! meets all of them; steps are at different times, and `ping` shows what else was different between them.

mod axis;
mod desk;
mod operation;
mod options;
mod population;
mod subject;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio_util::sync::CancellationToken;

pub use axis::Axis;
use desk::Desk;
use operation::Operation;
use options::CONVERSATIONS_OF_STEP;
pub use options::GrowthOptions;
use population::Population;
use subject::Subject;

use super::crowd::{Connected, connect_crowd};
use super::error::BenchError;
use super::load_meter::LoadMeter;
use super::progress::Progress;
use super::recorder::Recorder;
use super::report::{Growth, OperationGrowth};
use super::run::{Findings, Finished, Run, RunOptions};
use super::stats::LatencyStats;
use crate::harness::{TargetOptions, Targets};

/// Messages of the conversation that is measured, where something else grows.
const VOLUME: u64 = 1_000;

/// Messages of the one that the warm-up is done in.
const WARM_UP_VOLUME: u64 = 100;

/// Grows, measures, grows on.
pub async fn run(
    run_options: &RunOptions,
    options: &GrowthOptions,
    cancel: &CancellationToken,
) -> Result<Finished, BenchError> {
    options.validate(&run_options.targets)?;
    let names = options.latencies();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut run = Run::begin(options.of.workload(), run_options, &names).await?;
    if options.of == Axis::Nodes {
        let nodes = usize::try_from(options.largest()).unwrap_or(usize::MAX);
        run.targets().check_count(nodes)?;
    }
    let mut findings = Findings {
        config: serde_json::to_value(options).unwrap_or_default(),
        ..Findings::default()
    };
    run.record.start();
    let mut growing = Growing {
        options,
        targets: &run_options.targets,
        cancel,
        crowd: Vec::new(),
        population: None,
        stored: 0,
        cpu_us: Vec::new(),
    };
    for (index, &size) in options.sizes.iter().enumerate() {
        if !cancel.is_cancelled() {
            Box::pin(growing.step(index, size, &mut run, &mut findings)).await?;
        }
    }
    let growth = growth(options, &run.record.totals(), &growing.cpu_us);
    findings.figures.extend(growth.figures());
    findings.growth = Some(growth);
    findings.aborted = cancel.is_cancelled();
    findings.complete = !findings.aborted;
    drop(growing);
    run.finish(findings).await
}

/// What there is so far.
struct Growing<'a> {
    options: &'a GrowthOptions,
    targets: &'a TargetOptions,
    cancel: &'a CancellationToken,
    crowd: Vec<Connected>,
    population: Option<Population>,
    /// Messages in the conversation that grows.
    stored: u64,
    /// What each operation cost the servers, at each size that was measured.
    cpu_us: Vec<Vec<Option<f64>>>,
}

impl Growing<'_> {
    /// Grows to `size`, and measures.
    async fn step(
        &mut self,
        index: usize,
        size: u64,
        run: &mut Run,
        findings: &mut Findings,
    ) -> Result<(), BenchError> {
        let (options, cancel, since) = (self.options, self.cancel, Instant::now());
        eprintln!("{size} {}", options.of.name());
        let subjects = tokio::select! {
            subjects = Box::pin(self.grow(index, size, run)) => subjects?,
            () = cancel.cancelled() => return Ok(()),
        };
        let [mut warm_up, mut subject] = subjects;
        let growing_s = since.elapsed().as_secs_f64();
        findings.durations_s.insert(format!("growing_to_{size}"), growing_s);
        let operations = Operation::of(options.of);
        let until = Instant::now() + Duration::from_millis(options.warmup_ms);
        while Instant::now() < until && !cancel.is_cancelled() {
            for &operation in &operations {
                warm_up.perform(operation).await?;
            }
        }
        let measuring = Measuring { options, cancel, operations: &operations, index };
        let cpu_us = measuring.measure(&mut subject, run, findings).await?;
        if !cancel.is_cancelled() {
            self.cpu_us.push(cpu_us);
        }
        self.stored = subject.stored();
        for subject in [warm_up, subject] {
            subject.finish(&mut findings.correctness, &mut findings.errors);
        }
        Ok(())
    }

    /// Grows to `size`: the one to warm up with, and the one to measure.
    async fn grow(
        &mut self,
        index: usize,
        size: u64,
        run: &mut Run,
    ) -> Result<[Subject; 2], BenchError> {
        let options = self.options;
        let count = usize::try_from(size).unwrap_or(usize::MAX);
        if options.of == Axis::Nodes {
            run.grow(self.targets, count).await?;
        }
        let desk = Desk {
            addresses: run.targets().addresses(),
            user_prefix: &options.user_prefix,
            size_bytes: options.size_bytes,
            seed: options.seed,
            connect_timeout: Duration::from_millis(options.connect_timeout_ms),
            delivery_wait: Duration::from_millis(options.delivery_wait_ms),
        };
        if options.of == Axis::Connections {
            let (prefix, numbers) =
                (format!("{}-idle", options.user_prefix), self.crowd.len()..count);
            let more = connect_crowd(desk.addresses, &prefix, numbers, desk.connect_timeout);
            self.crowd.extend(more.await?);
        }
        let mut warm_up =
            Subject::prepare(&desk, &format!("-warm{index}"), 0, WARM_UP_VOLUME).await?;
        let mut subject = match options.of {
            Axis::Messages => Subject::prepare(&desk, "", self.stored, size).await?,
            _ => Subject::prepare(&desk, &index.to_string(), 0, VOLUME).await?,
        };
        if options.of == Axis::Conversations {
            let population = match &mut self.population {
                Some(population) => population,
                none => none.insert(Population::new(&desk)?),
            };
            let of_steps = CONVERSATIONS_OF_STEP * (index as u64 + 1);
            population.grow(&desk, size - of_steps).await?;
            for subject in [&mut warm_up, &mut subject] {
                subject.list_many(&desk, population.many(), population.of_many()).await?;
            }
        }
        Ok([warm_up, subject])
    }
}

/// One size.
struct Measuring<'a> {
    options: &'a GrowthOptions,
    cancel: &'a CancellationToken,
    operations: &'a [Operation],
    index: usize,
}

impl Measuring<'_> {
    /// Does every operation as often as asked, and says what each cost the servers.
    async fn measure(
        &self,
        subject: &mut Subject,
        run: &Run,
        findings: &mut Findings,
    ) -> Result<Vec<Option<f64>>, BenchError> {
        let (operations, times) = (self.operations, self.options.operations);
        let progress = Progress::start("measuring", Some(times * operations.len() as u64));
        let (meter, mut recorder) = (LoadMeter::start(), Recorder::new());
        let mut order: Vec<usize> = (0..operations.len()).collect();
        let mut cpu_s = vec![Some(0.0); operations.len()];
        let mut before = cpu_of(run.targets()).await;
        for half in [times / 2, times - times / 2] {
            for &place in &order {
                let operation = operations[place];
                subject.settle().await?;
                for _ in 0..half {
                    if self.cancel.is_cancelled() {
                        return Ok(Vec::new());
                    }
                    for (what, completed_at, took) in subject.perform(operation).await? {
                        let place = operations.iter().position(|other| *other == what);
                        let latency = self.index * operations.len() + place.unwrap_or_default();
                        recorder.record(latency, completed_at, took);
                    }
                    progress.add(1);
                }
                run.record.merge(&mut recorder);
                let after = cpu_of(run.targets()).await;
                let used = after.zip(before).map(|(after, before)| after - before);
                cpu_s[place] = cpu_s[place].zip(used).map(|(so_far, used)| so_far + used);
                before = after;
            }
            order.reverse();
        }
        let size = self.options.sizes[self.index];
        let reasons = meter.cost().overload(None);
        findings.overload.extend(reasons.into_iter().map(|reason| format!("at {size}: {reason}")));
        let of_reads = |operation: &&Operation| {
            !matches!(operation, Operation::Ping | Operation::Send | Operation::Delivery)
        };
        let reads = operations.iter().filter(of_reads).count() as u64 * times;
        *findings.counts.entry("sent".to_owned()).or_default() += times;
        *findings.counts.entry("reads".to_owned()).or_default() += reads;
        let each = |(operation, cpu_s): (&Operation, Option<f64>)| {
            // It comes with the send, whose cost it is.
            let is_own = *operation != Operation::Delivery;
            cpu_s.filter(|_| is_own).map(|s| (s * 1e7 / times as f64).round() / 10.0)
        };
        Ok(operations.iter().zip(cpu_s).map(each).collect())
    }
}

/// CPU time of all servers so far, s.
async fn cpu_of(targets: &Targets) -> Option<f64> {
    // Why there is none is a note of the run already.
    let metrics = targets.scrape(&mut Vec::new()).await?;
    metrics.get("chatctl_process_cpu_seconds_total")
}

/// What came of the sizes that were measured to the end.
fn growth(
    options: &GrowthOptions,
    totals: &[(String, Histogram<u64>)],
    cpu_us: &[Vec<Option<f64>>],
) -> Growth {
    let operations = Operation::of(options.of);
    let sizes: Vec<u64> = options.sizes.iter().copied().take(cpu_us.len()).collect();
    let of = |(place, operation): (usize, &Operation)| {
        let stats = (0..sizes.len()).map(|index| {
            let total = totals.get(index * operations.len() + place);
            total.map(|(_, histogram)| LatencyStats::of(histogram)).unwrap_or_default()
        });
        let stats: Vec<LatencyStats> = stats.collect();
        OperationGrowth {
            name: operation.name().to_owned(),
            p50_us: stats.iter().map(|stats| stats.p50_us).collect(),
            p99_us: stats.iter().map(|stats| stats.p99_us).collect(),
            cpu_us: cpu_us.iter().map(|step| step.get(place).copied().flatten()).collect(),
        }
    };
    let of_each = operations.iter().enumerate().map(of).collect();
    Growth { of: options.of.name().to_owned(), sizes, operations: of_each }
}

#[cfg(test)]
mod tests {
    use super::options::tests::options;
    use super::*;

    #[test]
    fn each_latency_is_found_again_at_its_size() {
        let options = options(Axis::Messages, &[10, 1_000]);
        let names = options.latencies();
        let totals: Vec<_> = (1..)
            .zip(&names)
            .map(|(us, name)| {
                let mut histogram = super::super::recorder::new_histogram();
                (0..20).for_each(|_| histogram.record(us * 1_000).unwrap());
                (name.clone(), histogram)
            })
            .collect();
        let cpu_us = vec![vec![Some(1.0); 7], vec![Some(3.0); 7]];
        let whole = growth(&options, &totals, &cpu_us);
        assert_eq!(whole.sizes, [10, 1_000]);
        let send = &whole.operations[1];
        assert_eq!(send.name, "send");
        assert_eq!((names[1].as_str(), names[8].as_str()), ("send-10", "send-1000"));
        assert_eq!(send.p50_us, [1, 8].map(|place| LatencyStats::of(&totals[place].1).p50_us));
        assert_eq!(whole.figures()["send_cpu_growth"], 3.0);
        let stopped = growth(&options, &totals, &cpu_us[..1]);
        assert_eq!((stopped.sizes, stopped.operations[1].p50_us.len()), (vec![10], 1));
    }
}
