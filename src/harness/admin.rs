//! What a server says on its admin listener: its counters, and whether it is ready.

use std::collections::BTreeMap;
use std::io;

use axum::body::Body;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};

use super::http::ask;

/// The server's histogram of stages.
const STAGES: &str = "chatctl_delivery_stage_seconds";

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The admin listener is not there or stops in the middle.
    #[error(
        "cannot read http://{admin}/metrics: {source}; is {admin} the server's CHATCTL_ADMIN_LISTEN?"
    )]
    Io {
        /// `host:port`.
        admin: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something answers, but not with metrics.
    #[error(
        "http://{admin}/metrics answered {status} instead of metrics; is {admin} the server's CHATCTL_ADMIN_LISTEN?"
    )]
    NoMetrics {
        /// `host:port`.
        admin: String,
        /// What it answered.
        status: StatusCode,
    },
}

/// The values of one scrape: series with the same name are summed over their labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    values: BTreeMap<String, f64>,
    stages: BTreeMap<String, Stage>,
}

/// How long one stage of deliveries took, as a histogram of the server's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stage {
    count: f64,
    sum_s: f64,
    /// Times up to each upper bound, µs, cumulative; the one without a bound is left out.
    buckets: BTreeMap<u64, f64>,
}

impl Stage {
    fn combine(&self, other: &Self, sign: f64) -> Self {
        let mut both = self.clone();
        both.count += sign * other.count;
        both.sum_s += sign * other.sum_s;
        for (bound, count) in &other.buckets {
            *both.buckets.entry(*bound).or_insert(0.0) += sign * count;
        }
        both
    }

    /// How often.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// The mean, µs; `None` when there was none.
    pub fn mean_us(&self) -> Option<f64> {
        (self.count >= 1.0).then(|| self.sum_s * 1e6 / self.count)
    }

    /// The bound, µs, of the bucket that a quantile falls into: it is no higher. `None`: beyond all bounds, or nothing to tell from.
    pub fn quantile_below_us(&self, quantile: f64) -> Option<u64> {
        let rank = self.count * quantile;
        let found = self.buckets.iter().find(|(_, count)| **count >= rank);
        found.filter(|_| self.count >= 1.0).map(|(bound, _)| *bound)
    }
}

impl Metrics {
    /// Asks the admin listener at `host:port`.
    pub async fn scrape(admin: &str) -> Result<Self, ScrapeError> {
        let failed = |source| ScrapeError::Io { admin: admin.to_owned(), source };
        let request = Request::get("/metrics").header(HOST, admin).header(ACCEPT, "text/plain");
        let request =
            request.body(Body::empty()).map_err(|error| failed(io::Error::other(error)))?;
        let (status, body) = ask(admin, request).await.map_err(failed)?;
        if status != StatusCode::OK {
            return Err(ScrapeError::NoMetrics { admin: admin.to_owned(), status });
        }
        Ok(Self::parse(&body))
    }

    /// Reads the Prometheus text format. Lines that are no sample are skipped; `_bucket` series and
    /// quantiles are left out, since their sum means nothing.
    pub fn parse(text: &str) -> Self {
        let mut values = BTreeMap::new();
        let mut stages = BTreeMap::<String, Stage>::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // A label's value may hold spaces and braces: the sample follows the last brace.
            let (name, labels, rest) = match (line.find('{'), line.rfind('}')) {
                (Some(open), Some(close)) if open < close => {
                    (&line[..open], &line[open..close], &line[close + 1..])
                }
                _ => match line.split_once(' ') {
                    Some((name, rest)) => (name, "", rest),
                    None => continue,
                },
            };
            let value = rest.split_whitespace().next().and_then(|value| value.parse::<f64>().ok());
            if let (Some(part), Some(stage), Some(value)) =
                (name.strip_prefix(STAGES), label(labels, "stage"), value)
            {
                let stage = stages.entry(stage.to_owned()).or_default();
                match part {
                    "_count" => stage.count += value,
                    "_sum" => stage.sum_s += value,
                    _ => {
                        let bound = label(labels, "le").and_then(|bound| bound.parse::<f64>().ok());
                        if let Some(bound) = bound.filter(|bound| bound.is_finite()) {
                            let bound_us = (bound * 1e6).round() as u64;
                            *stage.buckets.entry(bound_us).or_insert(0.0) += value;
                        }
                    }
                }
                continue;
            }
            if name.ends_with("_bucket") || labels.contains("quantile=") {
                continue;
            }
            if let Some(value) = value {
                *values.entry(name.to_owned()).or_insert(0.0) += value;
            }
        }
        Self { values, stages }
    }

    /// The value of a metric, if the server has it.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    /// Adds the values of another node.
    pub fn add(&mut self, other: &Self) {
        for (name, value) in &other.values {
            *self.values.entry(name.clone()).or_insert(0.0) += value;
        }
        for (name, stage) in &other.stages {
            let both = self.stages.get(name).cloned().unwrap_or_default().combine(stage, 1.0);
            self.stages.insert(name.clone(), both);
        }
    }

    /// The stages of deliveries since `before`, by name.
    pub fn stages_since(&self, before: &Self) -> BTreeMap<String, Stage> {
        let none = Stage::default();
        let since = |name: &String| before.stages.get(name).unwrap_or(&none);
        let grown =
            |(name, stage): (&String, &Stage)| (name.clone(), stage.combine(since(name), -1.0));
        self.stages.iter().map(grown).collect()
    }

    /// How much each counter (`…_total`, `…_count`, `…_sum`) grew since `before`. A counter that
    /// was not there before began at zero; one that fell belongs to a restarted server and is left out.
    pub fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let is_counter =
            |name: &str| ["_total", "_count", "_sum"].iter().any(|suffix| name.ends_with(suffix));
        self.values
            .iter()
            .filter(|(name, _)| is_counter(name))
            .map(|(name, value)| (name.clone(), value - before.get(name).unwrap_or(0.0)))
            .filter(|&(_, grown)| grown >= 0.0)
            .collect()
    }
}

/// Whether the server behind an admin listener says that it is ready; the error is what it says instead.
pub(super) async fn readiness(admin: &str) -> Result<(), String> {
    let request = Request::get("/readyz").header(HOST, admin).body(Body::empty());
    let request = request.map_err(|error| error.to_string())?;
    match ask(admin, request).await {
        Ok((StatusCode::OK, _)) => Ok(()),
        Ok((_, body)) => Err(body),
        Err(error) => Err(error.to_string()),
    }
}

/// What a label says.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP chatctl_syncs_total syncs\n# TYPE chatctl_syncs_total counter\n\
        chatctl_syncs_total 12\n\
        chatctl_messages_appended_total{engine=\"LOCAL\"} 30\n\
        chatctl_messages_appended_total{engine=\"a } b\"} 4 1700000000000\n\
        chatctl_append_seconds_bucket{le=\"0.1\"} 7\n\
        chatctl_append_seconds{quantile=\"0.5\"} 0.25\n\
        chatctl_append_seconds_sum 1.5\n\
        chatctl_process_resident_bytes 1e6\nnonsense\n\n";

    #[test]
    fn the_text_format_is_read_and_labels_are_summed() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.get("chatctl_syncs_total"), Some(12.0));
        assert_eq!(metrics.get("chatctl_messages_appended_total"), Some(34.0));
        assert_eq!(metrics.get("chatctl_process_resident_bytes"), Some(1e6));
        assert_eq!(metrics.get("chatctl_append_seconds"), None);
        assert_eq!(metrics.values.len(), 4);
    }

    #[test]
    fn differences_are_of_counters_only() {
        let before = Metrics::parse("chatctl_syncs_total 10\nchatctl_process_resident_bytes 5\n");
        let grown = Metrics::parse(TEXT).since(&before);
        assert_eq!(grown.get("chatctl_syncs_total"), Some(&2.0));
        assert_eq!(grown.get("chatctl_append_seconds_sum"), Some(&1.5));
        assert_eq!(grown.get("chatctl_process_resident_bytes"), None);
    }

    #[test]
    fn stages_are_told_apart_and_summed_over_nodes() {
        let text = |count: u32, sum: &str| {
            format!(
                "{STAGES}_bucket{{stage=\"told\",le=\"0.001\"}} 1\n{STAGES}_bucket{{stage=\"told\",le=\"0.0025\"}} {count}\n\
                 {STAGES}_bucket{{stage=\"told\",le=\"+Inf\"}} {count}\n{STAGES}_sum{{stage=\"told\"}} {sum}\n\
                 {STAGES}_count{{stage=\"told\"}} {count}\n"
            )
        };
        let mut metrics = Metrics::parse(&text(4, "0.004"));
        metrics.add(&Metrics::parse(&text(4, "0.004")));
        let stages = metrics.stages_since(&Metrics::parse(&text(3, "0.002")));
        let told = &stages["told"];
        assert_eq!((told.count(), told.mean_us().map(f64::round)), (5.0, Some(1_200.0)));
        assert_eq!(
            (told.quantile_below_us(0.2), told.quantile_below_us(0.99)),
            (Some(1_000), Some(2_500))
        );
        assert!(metrics.values.is_empty() && stages.len() == 1);
    }

    #[tokio::test]
    async fn a_listener_that_is_no_admin_is_named() {
        let error = Metrics::scrape("127.0.0.1:1").await.unwrap_err().to_string();
        assert!(error.contains("CHATCTL_ADMIN_LISTEN"), "{error}");
    }
}
