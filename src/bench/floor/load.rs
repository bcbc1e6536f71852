//! Load from one thread: as many connections as it takes, each with so many sends in flight, or at a rate.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::line::{Line, Scan};
use super::wire::Incoming;
use crate::clock::thread_cpu;

/// After the last answer messages are waited for until none came for so long.
const QUIET: Duration = Duration::from_millis(50);

/// Longer than any answer takes (`answer_ms_max`).
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What went over the lines in a while.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// Sends that were answered.
    pub acked: u64,
    /// Messages that came.
    pub delivered: u64,
    /// From a send to its answer, ns; from the intended time where there is a rate.
    pub acks_ns: Vec<u64>,
    /// From a send to its arrival, ns; likewise.
    pub deliveries_ns: Vec<u64>,
    /// From the first send to the last answer.
    pub took: Duration,
    /// From the first send to the last message that came.
    pub delivering: Duration,
    /// CPU time of this thread until the last answer.
    pub clients_cpu: Duration,
    /// What was sent before is of an earlier step.
    begun_at: Option<Instant>,
    last_at: Option<Instant>,
}

impl Slice {
    fn begun() -> Self {
        Self { begun_at: Some(Instant::now()), ..Self::default() }
    }

    /// Frames that were sent and that came, a second.
    pub fn frames_per_s(&self) -> f64 {
        (2 * self.acked + self.delivered) as f64 / self.took.as_secs_f64()
    }

    /// Answered sends a second.
    pub fn acked_per_s(&self) -> f64 {
        self.acked as f64 / self.took.as_secs_f64()
    }

    /// Answered sends a second, until the last of them came to whom it was for.
    pub fn done_per_s(&self) -> f64 {
        self.acked as f64 / self.took.max(self.delivering).as_secs_f64()
    }

    /// Messages that came, a second.
    pub fn delivered_per_s(&self) -> f64 {
        self.delivered as f64 / self.delivering.as_secs_f64()
    }
}

/// All `senders` keep `in_flight` sends unanswered for `time`; `listeners` hear. Then everything is answered.
pub(super) async fn closed(
    senders: &mut [Line],
    listeners: &mut [Line],
    in_flight: usize,
    time: Duration,
) -> io::Result<Slice> {
    let slice = RefCell::new(Slice::begun());
    // Of nobody nothing is heard, which would be over at once.
    let is_heard = !listeners.is_empty();
    let (began, cpu) = (Instant::now(), thread_cpu());
    let until = began + time;
    let talking = async {
        let going_on = |_| Instant::now() < until;
        try_join_all(senders.iter_mut().map(|line| talk(line, in_flight, going_on, &slice)))
            .await?;
        {
            let mut slice = slice.borrow_mut();
            (slice.took, slice.clients_cpu) = (began.elapsed(), thread_cpu() - cpu);
        }
        // What is still on its way belongs to this step, not to the next.
        let hearing = try_join_all(senders.iter_mut().map(|line| {
            let (incoming, _, frame) = line.parts();
            hear(incoming, &slice, frame.scan(), |_| None)
        }));
        tokio::select! {
            () = until_quiet(&slice) => {}
            heard = hearing => drop(heard?),
        }
        Ok::<_, io::Error>(())
    };
    let hearing = try_join_all(listeners.iter_mut().map(|line| {
        let (incoming, _, frame) = line.parts();
        hear(incoming, &slice, frame.scan(), |_| None)
    }));
    let all = async {
        tokio::select! {
            talked = talking => talked,
            heard = hearing, if is_heard => heard.map(drop),
        }
    };
    match tokio::time::timeout(time + ANSWER_MAX, all).await {
        Ok(done) => done?,
        Err(_) => return Err(unanswered()),
    }
    Ok(slice.into_inner().since(began))
}

/// Waits until no message has come for a while.
async fn until_quiet(slice: &RefCell<Slice>) {
    let mut delivered = None;
    while delivered.replace(slice.borrow().delivered) != Some(slice.borrow().delivered) {
        tokio::time::sleep(QUIET).await;
    }
}

fn unanswered() -> io::Error {
    let text = format!("sends are unanswered after {} s", ANSWER_MAX.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// Each of `lines` sends so many, with `in_flight` of them unanswered, however long that takes.
pub(super) async fn send_each(lines: &mut [Line], in_flight: usize, count: u64) -> io::Result<()> {
    let slice = RefCell::new(Slice::default());
    let going_on = |sent| sent < count;
    try_join_all(lines.iter_mut().map(|line| talk(line, in_flight, going_on, &slice))).await?;
    Ok(())
}

/// Sends while it is `going_on`, which is asked with what was sent, and waits for the answers.
async fn talk(
    line: &mut Line,
    in_flight: usize,
    going_on: impl Fn(u64) -> bool,
    slice: &RefCell<Slice>,
) -> io::Result<()> {
    let (incoming, outgoing, frame) = line.parts();
    let mut sent_at = vec![Instant::now(); in_flight];
    let (mut unanswered, mut sent) = (0, 0);
    let mut now = Instant::now();
    let mut scan = frame.scan();
    loop {
        while unanswered < in_flight && going_on(sent) {
            let id = frame.put(outgoing, now);
            sent_at[id as usize % in_flight] = now;
            unanswered += 1;
            sent += 1;
        }
        outgoing.flush().await?;
        if unanswered == 0 {
            return Ok(());
        }
        incoming.fill().await?;
        now = Instant::now();
        let mut slice = slice.borrow_mut();
        while let Some(text) = incoming.next()? {
            match scan.read(text)? {
                Heard::Answer(id) => {
                    unanswered -= 1;
                    slice.acked += 1;
                    slice.acks_ns.push(ns(now - sent_at[id as usize % in_flight]));
                }
                Heard::Message(sent) => slice.message(now, sent),
                Heard::Other => {}
            }
        }
    }
}

/// All that comes; `intended` gives the time of a send of ours. Ends by an error only.
async fn hear(
    incoming: &mut Incoming,
    slice: &RefCell<Slice>,
    mut scan: Scan,
    intended: impl Fn(u64) -> Option<Instant>,
) -> io::Result<()> {
    loop {
        incoming.fill().await?;
        let now = Instant::now();
        let mut slice = slice.borrow_mut();
        while let Some(text) = incoming.next()? {
            match scan.read(text)? {
                Heard::Answer(id) => {
                    slice.acked += 1;
                    slice.acks_ns.extend(intended(id).map(|at| ns(now - at)));
                }
                Heard::Message(sent) => slice.message(now, sent),
                Heard::Other => {}
            }
        }
    }
}

impl Slice {
    fn since(mut self, began: Instant) -> Self {
        self.delivering = self.last_at.map_or(Duration::ZERO, |last| last - began);
        self
    }

    fn message(&mut self, now: Instant, sent: Option<Instant>) {
        if sent < self.begun_at && sent.is_some() {
            return;
        }
        self.delivered += 1;
        self.last_at = Some(now);
        self.deliveries_ns.extend(sent.map(|sent| ns(now - sent)));
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The answer to the send of this number.
    Answer(u64),
    /// A message, and when it was sent.
    Message(Option<Instant>),
    /// Something that nobody counts.
    Other,
}

/// `lines` send in turn, at a rate, for `time`: each at its intended time, however long answers take. The thread does nothing else
/// meanwhile and looks at its clock all the time: a timer would be up to a millisecond late.
pub(super) async fn paced(
    lines: &mut [Line],
    rate_per_s: f64,
    time: Duration,
) -> io::Result<Slice> {
    let slice = RefCell::new(Slice::begun());
    let sends = (rate_per_s * time.as_secs_f64()) as u64;
    let count = lines.len() as u64;
    let (began, cpu) = (Instant::now(), thread_cpu());
    let intended = |number: u64| began + Duration::from_secs_f64(number as f64 / rate_per_s);
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for (index, line) in lines.iter_mut().enumerate() {
        let (incoming, outgoing, frame) = line.parts();
        let first = frame.next_id();
        let scan = frame.scan();
        let of_id = move |id: u64| Some(intended((id - first) * count + index as u64));
        readers.push(hear(incoming, &slice, scan, of_id));
        writers.push((outgoing, frame));
    }
    let over = Cell::new(None);
    let sending = async {
        for number in 0..sends {
            let at = intended(number);
            while Instant::now() < at {
                tokio::task::yield_now().await;
            }
            let (outgoing, frame) = &mut writers[(number % count) as usize];
            frame.put(outgoing, at);
            outgoing.flush().await?;
        }
        let deadline = Instant::now() + ANSWER_MAX;
        while slice.borrow().acked < sends {
            if Instant::now() > deadline {
                return Err(unanswered());
            }
            tokio::task::yield_now().await;
        }
        over.set(Some((began.elapsed(), thread_cpu() - cpu)));
        until_quiet(&slice).await;
        Ok::<_, io::Error>(())
    };
    tokio::select! {
        sent = sending => sent?,
        heard = try_join_all(readers) => drop(heard?),
    }
    let mut slice = slice.into_inner().since(began);
    (slice.took, slice.clients_cpu) = over.get().unwrap_or_default();
    Ok(slice)
}

fn ns(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::floor::bare::{BareServer, Kind};
    use crate::bench::floor::cores::Cores;

    const SHORT: Duration = Duration::from_millis(50);

    async fn lines(server: &BareServer, count: usize, in_a_room: usize) -> Vec<Line> {
        // One for all: a time that one line tells another is counted from it.
        let (mut lines, epoch) = (Vec::new(), Instant::now());
        for number in 0..count {
            let room = number.checked_div(in_a_room).map(|room| format!("room {room}"));
            let line = Line::bare(server.address(), room.as_deref(), epoch).await;
            lines.push(line.unwrap());
        }
        lines
    }

    /// Where there is one core, servers share it with the test.
    fn cores() -> Cores {
        Cores::find().unwrap_or(Cores { server: 0, clients: 0 })
    }

    #[tokio::test]
    async fn every_frame_goes_back() {
        let server = BareServer::start(Kind::Echo, cores()).unwrap();
        let mut lines = lines(&server, 3, 0).await;
        for in_flight in [1, 16] {
            let slice = closed(&mut lines, &mut [], in_flight, SHORT).await.unwrap();
            assert!(slice.acked >= 3 * in_flight as u64, "{slice:?}");
            assert_eq!((slice.acks_ns.len() as u64, slice.delivered), (slice.acked, 0));
            assert!(slice.took >= SHORT && slice.clients_cpu > Duration::ZERO, "{slice:?}");
        }
    }

    #[tokio::test]
    async fn all_others_in_a_room_hear_it() {
        let server = BareServer::start(Kind::Relay, cores()).unwrap();
        let mut room = lines(&server, 5, 5).await;
        let (speaks, hear) = room.split_at_mut(1);
        let slice = closed(speaks, hear, 4, SHORT).await.unwrap();
        assert_eq!(slice.delivered, 4 * slice.acked, "{slice:?}");
        assert_eq!(slice.deliveries_ns.len() as u64, slice.delivered);
        assert!(slice.deliveries_ns.iter().all(|&ns| ns < 5_000_000_000), "{slice:?}");
    }

    #[tokio::test]
    async fn a_rate_is_kept() {
        let server = BareServer::start(Kind::Relay, cores()).unwrap();
        let mut pairs = lines(&server, 4, 2).await;
        let slice = paced(&mut pairs, 400.0, 4 * SHORT).await.unwrap();
        assert_eq!((slice.acked, slice.delivered), (80, 80));
        assert_eq!((slice.acks_ns.len(), slice.deliveries_ns.len()), (80, 80));
        assert!(slice.took >= Duration::from_millis(195), "{slice:?}");
    }

    #[tokio::test]
    async fn a_server_that_goes_away_is_an_error() {
        let server = BareServer::start(Kind::Echo, cores()).unwrap();
        let mut lines = lines(&server, 3, 0).await;
        drop(server);
        assert!(closed(&mut lines, &mut [], 1, SHORT).await.is_err());
    }
}
