//! The services that engines stand on, and the barest program that writes to each: what an engine there costs at least.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::cores::Cores;
use crate::bench::error::BenchError;
use crate::cassandra_link::{self, Cluster};
use crate::clock::thread_cpu;
use crate::harness::fresh_name;
use crate::kafka_link::{self, Brokers};

/// As long as the content of the messages that the real thing is measured with.
const BODY_BYTES: usize = 200;

/// Conversations that the writes are spread over.
const CONVERSATIONS: u64 = 100;

/// More unanswered statements than a connection of Cassandra may have time out.
const CASSANDRA_IN_FLIGHT_MAX: usize = 256;

/// How long a service may take for one thing.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What is read back may come this long after its acknowledgement.
const READING_MAX: Duration = Duration::from_millis(200);

/// A service that an engine stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// Its URL.
    Redis(String),
    /// Nodes, `host:port` each.
    Cassandra(Vec<String>),
    /// Brokers, `host:port` each.
    Kafka(Vec<String>),
}

/// Chat servers whose engines stand on a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Of the engines, for the table.
    pub name: String,
    /// What tells the servers where everything is.
    pub environment: Vec<(String, String)>,
    /// How many servers there are; the two of a pair are on different ones, where there are several.
    pub nodes: usize,
    /// What the bare program writes to.
    pub service: Service,
}

/// What a bare program did.
#[derive(Debug, Default)]
pub(super) struct Looped {
    /// Writes that were acknowledged, in a second.
    pub per_s: f64,
    /// Its CPU time for each of them, µs, without that of the driver's own threads.
    pub cpu_us: f64,
    /// From each write to its acknowledgement.
    pub acks_ns: Vec<u64>,
    /// From each write until it was read back; of Kafka only.
    pub reads_ns: Vec<u64>,
}

impl Service {
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "Redis",
            Self::Cassandra(_) => "Cassandra",
            Self::Kafka(_) => "Kafka",
        }
    }

    /// Writes to it from a thread on the servers' core, with so many unanswered, and takes away what it has written.
    pub(super) async fn written_to(
        &self,
        cores: Cores,
        in_flight: usize,
        time: Duration,
    ) -> Result<Looped, BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(BenchError::Thread)?;
        let (service, (over, ended)) = (self.clone(), oneshot::channel());
        let writing = move || {
            // Where it cannot be kept there, the clients' thread has said so.
            let _ = Cores::stay_on(cores.server);
            let looped = runtime.block_on(async {
                match &service {
                    Self::Redis(url) => redis_loop(url, in_flight, time).await,
                    Self::Cassandra(hosts) => {
                        Box::pin(cassandra_loop(hosts, in_flight, time)).await
                    }
                    Self::Kafka(brokers) => kafka_loop(brokers, in_flight, time).await,
                }
            });
            // Whoever waits for it is there, or does not want to know.
            let _ = over.send(looped);
        };
        let thread = std::thread::Builder::new().name("bare".to_owned()).spawn(writing);
        drop(thread.map_err(BenchError::Thread)?);
        let looped = ended.await.unwrap_or_else(|_| Err("its thread has ended".to_owned()));
        looped.map_err(|reason| {
            BenchError::Unmeasurable(format!("the bare program of {}: {reason}", self.name()))
        })
    }

    /// CPU time that it has taken so far, s; `None` where it does not tell.
    pub(super) async fn cpu_s(&self) -> Option<f64> {
        let Self::Redis(url) = self else { return None };
        let mut connection = redis_connection(url).await.ok()?;
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut connection).await.ok()?;
        let of = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
        };
        Some(of("used_cpu_sys:")? + of("used_cpu_user:")?)
    }
}

async fn redis_connection(url: &str) -> Result<redis::aio::MultiplexedConnection, String> {
    let client = redis::Client::open(url).map_err(text)?;
    client.get_multiplexed_async_connection().await.map_err(text)
}

/// Sets `appendfsync` of a Redis; the result is what it was.
pub async fn set_redis_fsync(url: &str, fsync: &str) -> Result<String, String> {
    let mut connection = redis_connection(url).await?;
    let mut ask = redis::cmd("CONFIG");
    let (_, before): (String, String) =
        ask.arg("GET").arg("appendfsync").query_async(&mut connection).await.map_err(text)?;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("appendfsync").arg(fsync);
    set.exec_async(&mut connection).await.map_err(text)?;
    Ok(before)
}

async fn redis_loop(url: &str, in_flight: usize, time: Duration) -> Result<Looped, String> {
    let connection = redis_connection(url).await?;
    let (key, body) = (fresh_name("floor"), "x".repeat(BODY_BYTES));
    let write = |number: u64| {
        let mut connection = connection.clone();
        let mut command = redis::cmd("RPUSH");
        command.arg(format!("{key}:{}", number % CONVERSATIONS)).arg(&body);
        async move { command.query_async::<u64>(&mut connection).await.map(drop).map_err(text) }
    };
    let looped = driven(in_flight, time, write).await?;
    let mut remove = redis::cmd("UNLINK");
    for number in 0..CONVERSATIONS {
        remove.arg(format!("{key}:{number}"));
    }
    remove.exec_async(&mut connection.clone()).await.map_err(text)?;
    Ok(looped)
}

async fn cassandra_loop(
    hosts: &[String],
    in_flight: usize,
    time: Duration,
) -> Result<Looped, String> {
    let cluster = Cluster { hosts: hosts.to_vec(), ..Cluster::default() };
    let profile = cassandra_link::profile().request_timeout(Some(ANSWER_MAX));
    let session = cassandra_link::connect(&cluster, profile).await.map_err(text)?;
    let keyspace = fresh_name("floor").replace('-', "_");
    let run = async |statement: String| {
        session.query_unpaged(statement, ()).await.map(drop).map_err(text)
    };
    run(format!(
        "CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    ))
    .await?;
    let table = "(conv bigint, seq bigint, body text, PRIMARY KEY (conv, seq))";
    run(format!("CREATE TABLE {keyspace}.messages {table}")).await?;
    let insert = format!("INSERT INTO {keyspace}.messages (conv, seq, body) VALUES (?, ?, ?)");
    let insert = session.prepare(insert).await.map_err(text)?;
    let body = "x".repeat(BODY_BYTES);
    let write = |number: u64| {
        let (session, insert) = (&session, &insert);
        let values = ((number % CONVERSATIONS) as i64, number as i64, body.as_str());
        async move { session.execute_unpaged(insert, values).await.map(drop).map_err(text) }
    };
    let looped = driven(in_flight.min(CASSANDRA_IN_FLIGHT_MAX), time, write).await;
    run(format!("DROP KEYSPACE {keyspace}")).await?;
    looped
}

async fn kafka_loop(
    brokers: &[String],
    in_flight: usize,
    time: Duration,
) -> Result<Looped, String> {
    let mut config = kafka_link::config(&Brokers::from(brokers.to_vec()));
    config.set("acks", "all").set("linger.ms", "0").set("fetch.queue.backoff.ms", "5");
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(text)?;
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_MAX));
    let topic = fresh_name("floor");
    let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    for made in admin.create_topics([&new], &options).await.map_err(text)? {
        made.map_err(|(_, code)| text(code))?;
    }
    let looped = kafka_round(&config, &topic, in_flight, time).await;
    admin.delete_topics(&[&topic], &options).await.map_err(text)?;
    looped
}

async fn kafka_round(
    config: &rdkafka::ClientConfig,
    topic: &str,
    in_flight: usize,
    time: Duration,
) -> Result<Looped, String> {
    let producer: FutureProducer = config.create().map_err(text)?;
    let consumer: StreamConsumer = config.clone().set("group.id", topic).create().map_err(text)?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).map_err(text)?;
    consumer.assign(&partitions).map_err(text)?;
    let epoch = Instant::now();
    let reads_ns = RefCell::new(Vec::new());
    let write = |_| {
        let record = format!("{:020}{}", epoch.elapsed().as_nanos(), "x".repeat(BODY_BYTES - 20));
        let producer = &producer;
        async move {
            let record = FutureRecord::<(), _>::to(topic).partition(0).payload(&record);
            producer.send(record, ANSWER_MAX).await.map(drop).map_err(|(error, _)| text(error))
        }
    };
    let reading = async {
        loop {
            let message = consumer.recv().await.map_err(text)?;
            let written = message.payload_view::<str>().and_then(Result::ok);
            let written = written.and_then(|text| text.get(..20)?.parse::<u64>().ok());
            let now = epoch.elapsed().as_nanos() as u64;
            reads_ns.borrow_mut().extend(written.map(|written| now.saturating_sub(written)));
        }
    };
    let writing = async {
        // The first writes find connections that are being made.
        driven(1, time / 4, &write).await?;
        reads_ns.borrow_mut().clear();
        let looped = driven(in_flight, time, &write).await?;
        tokio::time::sleep(READING_MAX).await;
        Ok::<_, String>(looped)
    };
    let mut looped = tokio::select! {
        looped = writing => looped,
        failed = reading => failed,
    }?;
    looped.reads_ns = reads_ns.take();
    Ok(looped)
}

/// Writes for `time`, with so many unanswered.
async fn driven<F: Future<Output = Result<(), String>>>(
    in_flight: usize,
    time: Duration,
    write: impl Fn(u64) -> F,
) -> Result<Looped, String> {
    let (acks_ns, number) = (RefCell::new(Vec::new()), Cell::new(0));
    let (began, cpu) = (Instant::now(), thread_cpu());
    let writer = async || {
        while began.elapsed() < time {
            let written = Instant::now();
            write(number.replace(number.get() + 1)).await?;
            acks_ns.borrow_mut().push(written.elapsed().as_nanos() as u64);
        }
        Ok::<_, String>(())
    };
    let all = try_join_all((0..in_flight).map(|_| writer()));
    tokio::time::timeout(time + ANSWER_MAX, all)
        .await
        .map_err(|_| format!("no answer in {} s", ANSWER_MAX.as_secs()))??;
    let (took, cpu) = (began.elapsed(), thread_cpu() - cpu);
    let acks_ns = acks_ns.take();
    let count = acks_ns.len() as f64;
    Ok(Looped {
        per_s: count / took.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / count,
        acks_ns,
        reads_ns: Vec::new(),
    })
}

fn text(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_are_unanswered_as_asked_for() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let write = |_| async {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            tokio::time::sleep(Duration::from_millis(5)).await;
            now.set(now.get() - 1);
            Ok(())
        };
        let looped = driven(7, Duration::from_millis(60), write).await.unwrap();
        assert_eq!((now.get(), most.get()), (0, 7));
        assert!(looped.per_s > 0.0 && looped.per_s < 1_401.0, "{looped:?}");
        assert!(looped.acks_ns.iter().all(|&ns| ns >= 5_000_000), "{looped:?}");
        let error = driven(2, Duration::from_millis(10), async |_| Err("no".to_owned())).await;
        assert_eq!(error.unwrap_err(), "no");
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_is_named() {
        let Ok(cores) = Cores::find() else { return };
        let service = Service::Redis("redis://127.0.0.1:1".to_owned());
        let error = service.written_to(cores, 1, Duration::from_millis(10)).await.unwrap_err();
        assert!(error.to_string().contains("the bare program of Redis: "), "{error}");
        assert_eq!(service.cpu_s().await, None);
    }
}
