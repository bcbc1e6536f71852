//! G25 and G26: fifty pairs who write to each other, as fast as they can and at a rate.

use std::time::Duration;

use super::super::figure::{Figure, quantile};
use super::super::load::{Slice, closed, paced};
use super::super::subject::Subject;
use super::{Bench, DURABLE, Failure, MEMORY, MS, US, middle, ratio};
use crate::bench::floor::bare::Kind;
use crate::bench::floor::line::Line;
use crate::clock::process_cpu;

pub(super) const PAIRS: usize = 50;
pub(super) const IN_FLIGHT: usize = 8;

/// Rates of the open loop, messages/s.
pub(super) const RATES: [f64; 2] = [500.0, 2_000.0];

/// Most that an ack and a delivery may take in the middle, ms.
pub(super) const ACK_MS_MAX: f64 = 0.53;
pub(super) const DELIVERY_MS_MAX: f64 = 0.41;

pub(super) async fn flat_out(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let servers = [bench.subject(MEMORY).await?, bench.subject(DURABLE).await?];
    let [memory, durable] = &servers;
    let mut talks = [memory.pairs(PAIRS).await?, durable.pairs(PAIRS).await?];
    let bare = bench.bare(Kind::Relay)?;
    let mut relayed = bench.bare_lines(&bare, 2 * PAIRS, Some(2)).await?;
    for lines in talks.iter_mut().chain([&mut relayed]) {
        closed(lines, &mut [], IN_FLIGHT, Duration::from_millis(300)).await?;
    }
    let (mut rates, mut costs): ([Vec<_>; 3], [Vec<_>; 3]) = Default::default();
    let mut clients = Vec::new();
    for round in 0..bench.rounds {
        for step in bench.order(round, 3) {
            let (slice, cpu_s) = match servers.get(step) {
                Some(server) => of_server(server, &mut talks[step], bench).await?,
                None => {
                    let cpu = process_cpu();
                    let slice = closed(&mut relayed, &mut [], IN_FLIGHT, bench.slice).await?;
                    let servers = (process_cpu() - cpu).saturating_sub(slice.clients_cpu);
                    (slice, Some(servers.as_secs_f64()))
                }
            };
            rates[step].push(Some(slice.acked_per_s()));
            costs[step].push(cpu_s.map(|s| s * 1e6 / slice.acked as f64));
            if step == 0 {
                clients.push(slice.clients_cpu.as_secs_f64() * 1e6 / slice.acked as f64);
            }
        }
    }
    let engines = servers.iter().map(Subject::engine).collect::<Vec<_>>();
    for server in servers {
        server.stop().await?;
    }
    let [memory, durable, relay] = rates;
    let [memory_cost, durable_cost, relay_cost] = costs;
    let work = format!("{PAIRS} pairs × {IN_FLIGHT} in flight");
    let of_clients = format!("clients: {:.1} µs", middle(&clients));
    Ok(vec![
        Figure::new("G25", format!("acked messages/s, {work}, memory"), &memory)
            .at_least(120_000.0)
            .of(&engines[0]),
        Figure::new("G25", "server CPU µs per acked and delivered message, memory", &memory_cost)
            .at_most(8.0)
            .of(of_clients),
        Figure::new("G25", format!("acked messages/s, {work}, LOCAL durable"), &durable)
            .at_least(60_000.0)
            .of(&engines[1]),
        Figure::new("G25", "server CPU µs per message, LOCAL durable", &durable_cost).at_most(15.0),
        Figure::new("G25", "acked messages/s, bare relay", &relay),
        Figure::new("G25", "server CPU µs per message, bare relay", &relay_cost),
    ])
}

pub(super) async fn of_server(
    server: &Subject,
    lines: &mut [Line],
    bench: &Bench,
) -> Result<(Slice, Option<f64>), Failure> {
    let mark = server.mark().await?;
    let slice = closed(lines, &mut [], IN_FLIGHT, bench.slice).await?;
    let grown = server.since(&mark).await?;
    Ok((slice, grown.get("chatctl_process_cpu_seconds_total").copied()))
}

pub(super) async fn at_a_rate(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let server = bench.subject(DURABLE).await?;
    let bare = bench.bare(Kind::Relay)?;
    let mut lines =
        [server.pairs(PAIRS).await?, bench.bare_lines(&bare, 2 * PAIRS, Some(2)).await?];
    let mut figures = Vec::new();
    for rate in RATES {
        // Of each: ack p50, ack p90, delivery p50, delivery p90.
        let mut found: [Vec<[Option<f64>; 4]>; 2] = Default::default();
        for round in 0..bench.rounds {
            for step in bench.order(round, 2) {
                let mut slice = paced(&mut lines[step], rate, bench.slice).await?;
                found[step].push([
                    quantile(&mut slice.acks_ns, 0.5),
                    quantile(&mut slice.acks_ns, 0.9),
                    quantile(&mut slice.deliveries_ns, 0.5),
                    quantile(&mut slice.deliveries_ns, 0.9),
                ]);
            }
        }
        let [real, relay] = &found;
        let column = |of: &[[Option<f64>; 4]], index: usize, unit: f64| {
            of.iter().map(|round| Some(round[index]? / unit)).collect::<Vec<_>>()
        };
        let known = |of: &[[Option<f64>; 4]], index: usize| middle(&column(of, index, US));
        for (name, index, goal) in [("ack", 0, ACK_MS_MAX), ("delivery", 2, DELIVERY_MS_MAX)] {
            let what = format!("{name} p50 ms at {rate:.0} messages/s, LOCAL durable");
            let figure = Figure::new("G26", what, &column(real, index, MS)).at_most(goal);
            figures.push(figure.of(format!("bare relay {:.0} µs", known(relay, index))));
            let index = index + 1;
            let of_relay = ratio(&column(real, index, US), &column(relay, index, US));
            let what = format!("{name} p90 at {rate:.0} messages/s ÷ bare relay's");
            let basis = format!("{:.0} µs ÷ {:.0} µs", known(real, index), known(relay, index));
            figures.push(Figure::new("G26", what, &of_relay).at_most(1.5).of(basis));
        }
    }
    server.stop().await?;
    Ok(figures)
}
