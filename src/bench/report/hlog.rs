//! All samples as an HdrHistogram interval log, tagged by latency.

use std::io;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::interval_log::{
    IntervalLogHistogram, IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::super::recorder::{Interval, RunRecord};

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

/// The intervals of a log, in its order. The error says what is wrong with it.
pub fn read_interval_log(log: &[u8]) -> Result<Vec<Interval>, String> {
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(log) {
        match entry {
            Ok(LogEntry::Interval(entry)) => {
                let number = intervals.len() + 1;
                let read = read_interval(&entry);
                intervals.push(read.map_err(|reason| format!("its histogram {number} {reason}"))?);
            }
            Ok(_) => {}
            Err(error) => {
                let read = intervals.len();
                return Err(format!("it is no interval log after {read} histograms: {error:?}"));
            }
        }
    }
    Ok(intervals)
}

fn read_interval(entry: &IntervalLogHistogram) -> Result<Interval, String> {
    let Some(tag) = entry.tag() else { return Err("has no tag".to_owned()) };
    let bytes = STANDARD
        .decode(entry.encoded_histogram())
        .map_err(|error| format!("is no base64: {error}"))?;
    let histogram = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("cannot be decoded: {error}"))?;
    let (start, width) = (entry.start_timestamp(), entry.duration());
    Ok(Interval { start, width, name: tag.as_str().to_owned(), histogram })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_log_reads_back_as_it_was_recorded() {
        let record = super::super::tests::record();
        let log = interval_log(&record, SystemTime::now()).unwrap();
        let (read, recorded) = (read_interval_log(&log).unwrap(), record.intervals());
        assert_eq!(read.len(), 2);
        for (read, recorded) in read.iter().zip(&recorded) {
            assert_eq!(read.name, recorded.name);
            assert_eq!((read.start, read.width), (Duration::ZERO, Duration::from_secs(1)));
            assert_eq!(read.histogram, recorded.histogram);
        }
    }

    #[test]
    fn what_is_no_log_says_where() {
        let record = super::super::tests::record();
        let log = String::from_utf8(interval_log(&record, SystemTime::now()).unwrap()).unwrap();
        let untagged = log.replace("Tag=read,", "");
        let error = read_interval_log(untagged.as_bytes()).unwrap_err();
        assert_eq!(error, "its histogram 2 has no tag");
        let cut = &log.as_bytes()[..log.len() - 9];
        let error = read_interval_log(cut).unwrap_err();
        assert!(error.contains("after 1 histograms"), "{error}");
    }
}
