//! A simulated world: nodes, devices, and what happens to them, all of it decided by a seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::time::{Instant, sleep};

use super::broken::Broken;
use super::bus::Bus;
use super::connection::Connection;
use super::device::Device;
use super::node::Node;
use super::store::Store;
use super::weather::{Weather, between};
use crate::harness::seeds::dice;
use crate::history::simulated::Trace;
use crate::history::{Event, NemesisPhase, NemesisTarget, Seen};
use crate::model::{ChannelName, ConvId, GroupId, Place, UserName};

/// When every world begins, ms since 1970.
const BEGINS_MS: u64 = 1_700_000_000_000;
/// Longer than any call that was begun in bad weather.
const SETTLING: Duration = Duration::from_secs(15);
/// Longer than a room goes without being compared with the store.
const CATCHING_UP: Duration = Duration::from_secs(45);

/// The right time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Ms since 1970.
    pub fn unix_ms(self) -> u64 {
        BEGINS_MS + self.started.elapsed().as_millis() as u64
    }
}

/// Everything that there is.
pub struct World {
    /// What decides all of it.
    pub seed: u64,
    /// What is broken on purpose.
    pub broken: Option<Broken>,
    /// What goes wrong.
    pub weather: Arc<Weather>,
    /// The right time.
    pub clock: Clock,
    /// What everybody did and saw.
    pub trace: Arc<Trace>,
    /// Where messages live.
    pub store: Arc<Store>,
    /// How they travel.
    pub bus: Arc<Bus>,
    /// The conversations.
    pub places: Vec<Arc<Place>>,
    /// The clock of each node's machine, ms ahead.
    offsets_ms: Vec<i64>,
    nodes: Mutex<Vec<Option<Arc<Node>>>>,
    connections: AtomicU64,
}

impl World {
    /// The history of the world of a seed.
    pub async fn history(seed: u64, broken: Option<Broken>) -> Vec<Event> {
        let mut dice = dice(seed, "world");
        let user = |name| UserName::new(name).unwrap();
        let users: Vec<UserName> = ["ann", "bob", "cay"].map(user).into();
        let [ann, bob, cay] = [0, 1, 2].map(|at| users[at].clone());
        let places: Vec<Arc<Place>> = [
            Place::direct(ann.clone(), bob.clone()),
            Place::direct(bob.clone(), cay.clone()),
            Place::direct(ann.clone(), ann.clone()),
            Place::Channel(ChannelName::new("lobby").unwrap()),
            Place::Group(GroupId::new("a-group-of-three-users").unwrap()),
        ]
        .map(Arc::new)
        .into();
        let node_count = dice.random_range(1..=3);
        let weather = Arc::new(Weather::of(seed));
        let started = Instant::now();
        let clock = Clock { started };
        let world = Arc::new(Self {
            seed,
            broken,
            clock,
            trace: Trace::new(move || started.elapsed().as_nanos() as u64),
            store: Store::new(Arc::clone(&weather), clock, broken),
            bus: Bus::new(seed, node_count, Arc::clone(&weather), broken, places.clone()),
            weather,
            places,
            offsets_ms: (0..node_count).map(|_| dice.random_range(-1_500..=1_500)).collect(),
            nodes: Mutex::new(vec![None; node_count]),
            connections: AtomicU64::new(0),
        });
        world.store.make_groups(&world.places, &users);
        for at in 0..node_count {
            world.start(at, 1).await;
        }
        let names = ["ann-phone", "ann-desk", "bob-phone", "bob-desk", "cay-phone"];
        let devices: Vec<_> = names
            .iter()
            .map(|name| Device::new(&world, name, &user(&name[..3])))
            .map(|device| tokio::spawn(device.live()))
            .collect();
        world.go_wrong(&mut dice).await;
        let mut kept = Vec::new();
        for device in devices {
            kept.extend(device.await.unwrap());
        }
        world.end(&users).await;
        drop::<Vec<Connection>>(kept);
        world.trace.take()
    }

    async fn start(&self, at: usize, life: usize) {
        let node = Node::start(self, at, life, self.offsets_ms[at]).await;
        self.nodes.lock().unwrap()[at] = Some(node);
    }

    /// A number for one more connection.
    pub fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// A node, if it is up.
    pub fn node(&self, at: usize) -> Option<Arc<Node>> {
        self.nodes.lock().unwrap()[at].clone()
    }

    /// Any node, if that one is up.
    pub fn some_node(&self, dice: &mut SmallRng) -> Option<Arc<Node>> {
        self.node(dice.random_range(0..self.offsets_ms.len()))
    }

    /// How long a frame travels.
    pub fn way(&self, dice: &mut SmallRng) -> Duration {
        let ms_max = if self.weather.is_calm() { 1 } else { self.weather.step_ms_max };
        Duration::from_millis(dice.random_range(0..=ms_max))
    }

    fn convs(&self) -> Vec<ConvId> {
        self.places.iter().map(|place| place.conv_id()).collect()
    }

    /// A few things happen, one after the other; in the end everything is whole.
    async fn go_wrong(self: &Arc<Self>, dice: &mut SmallRng) {
        let count = self.offsets_ms.len();
        let mut lives = vec![1; count];
        for _ in 0..dice.random_range(3..=9) {
            sleep(Duration::from_millis(between(dice, 100..=2_500))).await;
            let time = Duration::from_millis(between(dice, 50..=3_000));
            let at = dice.random_range(0..count);
            match dice.random_range(0..6) {
                0 | 1 if self.weather.is_killing => {
                    let node = self.nodes.lock().unwrap()[at].take().unwrap();
                    if dice.random() {
                        node.kill();
                    } else {
                        node.stop().await;
                    }
                    sleep(time).await;
                    lives[at] += 1;
                    self.start(at, lives[at]).await;
                }
                2 | 3 if self.weather.is_cutting => {
                    let (bus, to) = (Arc::clone(&self.bus), dice.random_range(0..count));
                    tokio::spawn(async move { bus.cut(at, to, time).await });
                }
                4 if self.weather.refused + self.weather.lost > 0.0 => {
                    self.weather.set_out(true);
                    sleep(time).await;
                    self.weather.set_out(false);
                }
                5 if self.weather.is_losing => self.lose(dice),
                _ => sleep(time).await,
            }
        }
        self.weather.calm_down();
        sleep(SETTLING).await;
        self.note_healed();
    }

    /// The store loses its end; the nodes hear of it by their next call, or a little later.
    fn lose(self: &Arc<Self>, dice: &mut SmallRng) {
        self.store.lose(&self.convs(), dice);
        for at in 0..self.offsets_ms.len() {
            let (world, wait_ms) = (Arc::clone(self), dice.random_range(0..300));
            tokio::spawn(async move {
                sleep(Duration::from_millis(wait_ms)).await;
                if let Some(node) = world.node(at) {
                    node.store.notice();
                }
            });
        }
    }

    fn note_healed(&self) {
        let (on, phase) = (NemesisTarget::Everything, NemesisPhase::Healed);
        let (act, target) = ("heal".to_owned(), "all".to_owned());
        self.trace.note(Seen::Nemesis { act, on, target, phase });
    }

    /// Everybody comes to every node and says something; when all is quiet they read everything.
    async fn end(self: &Arc<Self>, users: &[UserName]) {
        let mut last = Vec::new();
        for at in 0..self.offsets_ms.len() {
            for user in users {
                let mut device = Device::new(self, &format!("{user}-last-{at}"), user);
                let connection = device.come_back(at).await;
                last.push((device, connection));
            }
        }
        sleep(CATCHING_UP).await;
        for (device, connection) in &mut last {
            device.read_everything(connection).await;
        }
    }
}
