//! Acknowledged writes a second.

use super::*;

/// `redis-benchmark` with the script that the engine calls, on one conversation of its own.
struct Base<'a> {
    server: &'a Server,
    cmd: Cmd,
    meta_key: String,
    requests: u32,
}

impl Base<'_> {
    fn head(&self) -> u64 {
        let head = command(self.server, &["HGET", &self.meta_key, "head"]).unwrap();
        redis::from_redis_value::<Option<u64>>(head).unwrap().unwrap_or_default()
    }

    /// Writes a second.
    fn rate(&self) -> f64 {
        let before = self.head();
        let rate = benchmark(self.server, &self.cmd, self.requests);
        let (stored, requests) = (self.head() - before, u64::from(self.requests));
        // A few numbers come twice by chance. Answers to what is stored already would be no base.
        assert!(stored * 1_000 > requests * 999, "{stored} of {requests} are stored");
        rate
    }
}

/// Beside `redis-benchmark` with the same script.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a minute and a half"]
async fn beside_the_benchmark() {
    for sync in ["no", "always"] {
        let Some(server) = server(&["--appendonly", "yes", "--appendfsync", sync]) else { return };
        let settings = fresh_settings(&server);
        let first = engine(&settings).await;
        let room_of_base = room("benchmark");
        let life = first.life().expect("known");
        let mut cmd = first.keys.call(&first.scripts.append, room_of_base.conv, &life);
        cmd.arg("ann __rand_int__")
            .arg(300)
            .arg(format!("ann __rand_int__ text {}", content()))
            .arg(PAST)
            .arg(LIMITS.future_skew_ms_max)
            .arg("ann")
            .arg(0)
            .arg("")
            .arg("");
        let meta_key = format!("{}{{{}}}:h", settings.prefix, room_of_base.conv);
        let requests = if sync == "no" { 100_000 } else { 60_000 };
        let base = Base { server: &server, cmd, meta_key, requests };
        let mut before = base.rate();
        for lanes in [1, 2, 4] {
            for rooms in [1, CONCURRENCY] {
                let engine = open_with(settings.clone(), &SCRIPTS, lanes).await.expect("it runs");
                let shared = Arc::clone(&engine);
                let cpu_times = || [cpu_time(server.pid()), cpu_time(std::process::id())];
                let cpu_before = cpu_times();
                let rate = rate(move |worker, number| {
                    let room = room(&format!("writes-{lanes}-{rooms}-{}", worker % rooms));
                    // As long as those of the benchmark.
                    let cid = format!("{worker:04}{number:08}");
                    let call = shared.append(room.named(&ann(), &cid, &content(), PAST));
                    async move {
                        let outcome = call.await.unwrap();
                        assert!(matches!(outcome, AppendOutcome::Stored(stored) if !stored.dup));
                    }
                });
                let rate = rate.await;
                let cpu_after = cpu_times();
                engine.close().await;
                let cpu_us = [0, 1].map(|at| {
                    let seconds = (cpu_after[at] - cpu_before[at]).as_secs_f64();
                    seconds * 1e6 / (rate * MEASURED.as_secs_f64())
                });
                // Beside it, because a machine is not equally fast for long.
                let after = base.rate();
                let both = f64::midpoint(before, after);
                before = after;
                println!(
                    "appendfsync {sync}, {lanes} lanes, {rooms} conversations: {rate:.0}/s ÷ {both:.0}/s = {:.2}; \
                     CPU µs a write: server {:.1}, engine and callers {:.1}",
                    rate / both,
                    cpu_us[0],
                    cpu_us[1],
                );
            }
        }
        println!("load {}", machine_load());
    }
}
