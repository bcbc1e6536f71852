//! The bus of a simulated world: loses, doubles, delays and reorders hints, and is cut between nodes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::broken::Broken;
use super::weather::{Weather, between};
use crate::distribution::{Concerned, Distribution, Hint, HintSink, MessageHint, StartError};
use crate::harness::seeds::dice;
use crate::model::Place;

/// Between two notices of a node that it does not hear the bus.
const GAP_TOLD_EACH: Duration = Duration::from_millis(500);

/// The bus between all nodes.
pub struct Bus {
    weather: Arc<Weather>,
    broken: Option<Broken>,
    places: Vec<Arc<Place>>,
    state: Mutex<State>,
}

struct State {
    dice: SmallRng,
    ends: Vec<Option<End>>,
    /// From, to.
    cuts: BTreeSet<(usize, usize)>,
}

#[derive(Clone)]
struct End {
    sink: Arc<dyn HintSink>,
    dead: CancellationToken,
}

/// A node's end of it.
pub struct BusNode {
    /// The bus.
    pub bus: Arc<Bus>,
    /// Which node.
    pub node: usize,
    /// The node was killed.
    pub dead: CancellationToken,
}

impl Bus {
    /// A bus between so many nodes.
    pub fn new(
        seed: u64,
        nodes: usize,
        weather: Arc<Weather>,
        broken: Option<Broken>,
        places: Vec<Arc<Place>>,
    ) -> Arc<Self> {
        let (dice, ends) = (dice(seed, "bus"), vec![None; nodes]);
        let state = Mutex::new(State { dice, ends, cuts: BTreeSet::new() });
        Arc::new(Self { weather, broken, places, state })
    }

    /// Nothing gets from one node to the other for a while.
    pub async fn cut(&self, from: usize, to: usize, time: Duration) {
        self.state.lock().unwrap().cuts.insert((from, to));
        let until = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < until && !self.weather.is_calm() {
            self.tell_gap(to);
            sleep(GAP_TOLD_EACH.min(time)).await;
        }
        self.state.lock().unwrap().cuts.remove(&(from, to));
        self.tell_gap(to);
    }

    fn tell_gap(&self, to: usize) {
        let end = self.state.lock().unwrap().ends[to].clone();
        if let Some(end) = end.filter(|end| self.weather.tells_gaps && !end.dead.is_cancelled()) {
            end.sink.gap(Concerned::All);
        }
    }

    /// When each copy of a hint arrives, ms; none when it is lost.
    fn arrivals(&self, from: usize, to: usize) -> Vec<u64> {
        let state = &mut *self.state.lock().unwrap();
        let dice = &mut state.dice;
        if self.weather.is_calm() {
            return vec![dice.random_range(0..=1)];
        }
        if state.cuts.contains(&(from, to)) || dice.random_bool(self.weather.hint_loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(dice.random_bool(self.weather.hint_double));
        let mut arrival = || {
            let is_late = dice.random_bool(self.weather.hint_late);
            between(dice, if is_late { 1..=3_000 } else { 0..=10 })
        };
        (0..copies).map(|_| arrival()).collect()
    }

    fn publish(self: &Arc<Self>, from: usize, hint: &Hint) {
        let count = self.state.lock().unwrap().ends.len();
        for to in 0..count {
            for arrival_ms in self.arrivals(from, to) {
                let (bus, hint) = (Arc::clone(self), self.spoilt(hint.clone()));
                tokio::spawn(async move {
                    sleep(Duration::from_millis(arrival_ms)).await;
                    let end = bus.state.lock().unwrap().ends[to].clone();
                    if let Some(end) = end.filter(|end| !end.dead.is_cancelled()) {
                        end.sink.deliver(hint);
                    }
                });
            }
        }
    }

    fn spoilt(&self, hint: Hint) -> Hint {
        match hint {
            Hint::Message(hint) if self.broken == Some(Broken::MisroutedHints) => {
                let dice = &mut self.state.lock().unwrap().dice;
                let place = match dice.random_bool(0.1) {
                    true => Arc::clone(&self.places[dice.random_range(0..self.places.len())]),
                    false => Arc::clone(&hint.place),
                };
                Hint::Message(MessageHint { conv: place.conv_id(), place, ..hint })
            }
            hint => hint,
        }
    }
}

#[async_trait]
impl Distribution for BusNode {
    fn name(&self) -> &'static str {
        "SIMULATED"
    }

    async fn start(&self, sink: Arc<dyn HintSink>) -> Result<(), StartError> {
        let end = End { sink, dead: self.dead.clone() };
        self.bus.state.lock().unwrap().ends[self.node] = Some(end);
        Ok(())
    }

    fn publish(&self, hint: Hint) {
        if !self.dead.is_cancelled() {
            self.bus.publish(self.node, &hint);
        }
    }
}
