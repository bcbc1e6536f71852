//! G25 and G26 of engines that stand on a service, beside the barest program that writes to it.

use std::time::Duration;

use super::super::figure::{Figure, quantile};
use super::super::load::{closed, paced};
use super::super::service::{Served, Service};
use super::pairs::{ACK_MS_MAX, DELIVERY_MS_MAX, IN_FLIGHT, PAIRS, RATES, of_server};
use super::{Bench, Failure, MS, middle, ratio};

/// Connections are warm, and scripts and statements are known, after this long.
const WARM_UP: Duration = Duration::from_millis(500);

/// A figure in each round.
type Column = Vec<Option<f64>>;

/// Of what is measured in each round: its rounds.
#[derive(Debug, Default)]
struct Rounds {
    per_s: Column,
    cost_us: Column,
    service_us: Column,
    bare_per_s: Column,
    bare_us: Column,
    bare_ack_ms: Column,
    bare_read_ms: Column,
    /// Of each rate: ack p50 and delivery p50, ms.
    paced: [[Column; 2]; RATES.len()],
}

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for served in &bench.served {
        figures.extend(of_one(bench, served).await?);
    }
    Ok(figures)
}

async fn of_one(bench: &Bench, served: &Served) -> Result<Vec<Figure>, Failure> {
    let server = bench.served_subject(served).await?;
    let mut lines = server.pairs(PAIRS).await?;
    closed(&mut lines, &mut [], IN_FLIGHT, WARM_UP).await?;
    let mut found = Rounds::default();
    for round in 0..bench.rounds {
        for step in bench.order(round, 2 + RATES.len()) {
            match step {
                0 => {
                    let before = served.service.cpu_s().await;
                    let (slice, cpu_s) = of_server(&server, &mut lines, bench).await?;
                    let after = served.service.cpu_s().await;
                    let us = |s: f64| s * 1e6 / slice.acked as f64;
                    let of_service = before.zip(after).map(|(before, after)| us(after - before));
                    found.per_s.push(Some(slice.done_per_s()));
                    found.cost_us.push(cpu_s.map(us));
                    found.service_us.push(of_service);
                }
                1 => {
                    let many = 2 * PAIRS * IN_FLIGHT;
                    let all = served.service.written_to(bench.cores, many, bench.slice).await?;
                    let mut one = served.service.written_to(bench.cores, 1, bench.slice).await?;
                    let ms = |samples: &mut [u64]| quantile(samples, 0.5).map(|ns| ns / MS);
                    found.bare_per_s.push(Some(all.per_s));
                    found.bare_us.push(Some(all.cpu_us));
                    found.bare_ack_ms.push(ms(&mut one.acks_ns));
                    found.bare_read_ms.push(ms(&mut one.reads_ns));
                }
                step => {
                    let rate = RATES[step - 2];
                    let mut slice = paced(&mut lines, rate, bench.slice).await?;
                    let [acks, deliveries] = &mut found.paced[step - 2];
                    acks.push(quantile(&mut slice.acks_ns, 0.5).map(|ns| ns / MS));
                    deliveries.push(quantile(&mut slice.deliveries_ns, 0.5).map(|ns| ns / MS));
                }
            }
        }
    }
    let engine = server.engine();
    server.stop().await?;
    Ok(found.figures(served, &engine))
}

impl Rounds {
    fn figures(self, served: &Served, engine: &str) -> Vec<Figure> {
        let Served { name, service, .. } = served;
        let is_asked = |figure: Figure, goal: fn(Figure) -> Figure| match service {
            Service::Redis(_) => goal(figure),
            Service::Cassandra(_) | Service::Kafka(_) => figure,
        };
        let work = format!("{PAIRS} pairs × {IN_FLIGHT} in flight");
        let of = service.name();
        let per_s = Figure::new(
            "G25",
            format!("acked and delivered messages/s, {work}, {name}"),
            &self.per_s,
        );
        let cost = format!("server CPU µs per acked and delivered message, {name}");
        let cost = Figure::new("G25", cost, &self.cost_us);
        let cost = match middle(&self.service_us) {
            us if us.is_nan() => cost,
            us => cost.of(format!("and {us:.1} µs of {of}")),
        };
        let share = format!("messages/s, {name} ÷ writes/s of a bare program to {of}");
        let (real, bare) = (middle(&self.per_s), middle(&self.bare_per_s));
        let share = Figure::new("G25", share, &ratio(&self.per_s, &self.bare_per_s));
        let bare_us = middle(&self.bare_us);
        let mut figures = vec![
            is_asked(per_s.of(engine), |figure| figure.at_least(30_000.0)),
            is_asked(cost, |figure| figure.at_most(25.0)),
            share.of(format!("{real:.0}/s ÷ {bare:.0}/s, which costs it {bare_us:.1} µs")),
        ];
        let (ack, read) = (middle(&self.bare_ack_ms), middle(&self.bare_read_ms));
        for (rate, [acks, deliveries]) in RATES.iter().zip(&self.paced) {
            let what = format!("ack p50 ms at {rate:.0} messages/s, {name}");
            let figure = Figure::new("G26", what, acks);
            let figure = figure.of(format!("a bare program's write to {of}: {ack:.3} ms"));
            figures.push(is_asked(figure, |figure| figure.at_most(ACK_MS_MAX)));
            let what = format!("delivery p50 ms at {rate:.0} messages/s, {name}");
            let figure = Figure::new("G26", what, deliveries);
            let figure = match read {
                read if read.is_nan() => figure,
                read => figure.of(format!("a bare program reads it back after {read:.3} ms")),
            };
            figures.push(is_asked(figure, |figure| figure.at_most(DELIVERY_MS_MAX)));
        }
        figures
    }
}
