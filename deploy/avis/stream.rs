//! `avis stream`: what the streams hold.

use std::io::Write;

use ingest::{error::LogError, log::Log, record::Stored, topic::Topic, wire::Flat};

use crate::{
    cli::{From, RecordFormat, StreamCommand},
    commands::streams,
    failure::Failure,
    pull::streams::PartitionTold,
    remote::stream as remote,
};

/// Records read at once.
const AT_ONCE: usize = 1_024;

/// Runs it.
///
/// # Errors
/// Where there is no such stream or it cannot be read. What stands before that which is damaged is
/// written first, of every partition.
pub async fn run(command: StreamCommand) -> Result<(), Failure> {
    match command {
        StreamCommand::List { at } => {
            let (partitions, damages) = match &at.server {
                Some(server) => (remote::list(server).await?, Vec::new()),
                None => {
                    let (log, damages) = streams(&at.data())?;
                    (partitions(&*log)?, damages)
                }
            };
            list(&partitions)?;
            all_read(&damages)
        }
        StreamCommand::Tail { topic, from, most, format, at } => {
            let known = || Topic::ALL.map(Topic::name).join(", ");
            let parsed = Topic::parse(&topic);
            let topic = parsed.ok_or_else(|| {
                Failure::Usage(format!("there is no stream {topic}; known are {}", known()))
            })?;
            if let Some(server) = &at.server {
                return remote::tail(server, topic.name(), from, most, format).await;
            }
            let (log, damages) = streams(&at.data())?;
            let mut lost = Vec::new();
            for partition in 0..log.partitions(topic) {
                match tail(&*log, topic, partition, from, most, format).await {
                    Err(Failure::Log(error @ LogError::Damaged { .. })) => {
                        lost.push(error.to_string());
                    }
                    other => other?,
                }
            }
            lost.extend(damages);
            all_read(&lost)
        }
    }
}

fn all_read(lost: &[String]) -> Result<(), Failure> {
    if lost.is_empty() { Ok(()) } else { Err(Failure::Lost(lost.join("\n  "))) }
}

fn list(partitions: &[PartitionTold]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<24} {:>9} {:>12} {:>12}", "stream", "partition", "first", "next")?;
    for PartitionTold { stream, partition, first, next } in partitions {
        writeln!(out, "{stream:<24} {partition:>9} {first:>12} {next:>12}")?;
    }
    Ok(())
}

/// Every partition of every stream.
///
/// # Errors
/// Where the log is stopped or broken.
pub fn partitions(log: &dyn Log) -> Result<Vec<PartitionTold>, LogError> {
    let mut partitions = Vec::new();
    for topic in Topic::ALL {
        for partition in 0..log.partitions(topic) {
            let (first, next) = (log.start(topic, partition)?, log.end(topic, partition)?);
            let stream = topic.name().to_owned();
            partitions.push(PartitionTold { stream, partition, first, next });
        }
    }
    Ok(partitions)
}

async fn tail(
    log: &dyn Log,
    topic: Topic,
    partition: u32,
    from: Option<From>,
    most: usize,
    format: RecordFormat,
) -> Result<(), Failure> {
    let (start, end) = (log.start(topic, partition)?, log.end(topic, partition)?);
    let mut next = match from {
        None => end.saturating_sub(most as u64).max(start),
        Some(From::Earliest) => start,
        Some(From::Offset(offset)) => offset,
        Some(From::Instant(instant)) => log.at(topic, partition, instant).await?,
    };
    let mut left = most;
    while left > 0 {
        let batch = log.read(topic, partition, next, left.min(AT_ONCE)).await?;
        let Some(last) = batch.last() else { break };
        next = last.position.offset + 1;
        left -= batch.len();
        print(&batch, format)?;
    }
    Ok(())
}

fn print(batch: &[Stored], format: RecordFormat) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for stored in batch {
        match format {
            RecordFormat::Json => {
                serde_json::to_writer(&mut out, &Flat::new(stored))
                    .map_err(std::io::Error::from)?;
                writeln!(out)?;
            }
            RecordFormat::Table => {
                let Stored { position, record } = stored;
                writeln!(
                    out,
                    "{}/{:<10} {} {:<24} {}",
                    position.partition,
                    position.offset,
                    record.recorded_at.format("%FT%T%.3fZ"),
                    record.event.name(),
                    record.key,
                )?;
            }
        }
    }
    Ok(())
}
