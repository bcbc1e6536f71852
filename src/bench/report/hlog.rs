//! All samples as an HdrHistogram interval log, tagged by latency.

use std::io;
use std::time::SystemTime;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::super::recorder::RunRecord;

/// Values are ns; the log's readable column of maxima is in ms.
const NS_PER_MS: f64 = 1_000_000.0;

/// The log of a run that began at `started_at`.
pub fn interval_log(record: &RunRecord, started_at: SystemTime) -> io::Result<Vec<u8>> {
    let (mut log, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[chatctl bench; values in ns, one histogram per interval and latency]")
        .with_start_time(started_at)
        .with_base_time(started_at)
        .with_max_value_divisor(NS_PER_MS);
    let mut writer = builder.begin_log_with(&mut log, &mut serializer)?;
    for interval in record.intervals() {
        let tag = Tag::new(&interval.name);
        writer
            .write_histogram(&interval.histogram, interval.start, interval.width, tag)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base64::Engine as _;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn the_log_reads_back_with_its_tags() {
        let record = super::super::tests::record();
        let log = interval_log(&record, SystemTime::now()).unwrap();
        let mut counts = BTreeMap::new();
        for entry in IntervalLogIterator::new(&log) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let tag = interval.tag().unwrap().as_str().to_owned();
                let encoded = interval.encoded_histogram();
                let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                *counts.entry(tag).or_insert(0) += histogram.len();
            }
        }
        assert_eq!(counts, BTreeMap::from([("write".into(), 1_500), ("read".into(), 10)]));
    }
}
