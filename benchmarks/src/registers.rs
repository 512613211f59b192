//! Memory and start-up time at national size: what the authoriser looks people and means up in.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use domain::period::start_of_day;
use ingest::{
    record::{Position, Record, Stored},
    register::{
        entitlements::{self, Entitlements},
        means::{self, MeansRegister},
    },
    wire,
};

use crate::nation::{self, Families, Random};

const PEOPLE: u64 = 2_030_000;
const MEANS: u64 = 5_000_000;
const LOOK_UPS: u64 = 1_000_000;
/// Records that are made up, encoded and then taken together.
const AT_ONCE: usize = 1_024;

/// Prints look-ups beside one read of as much memory, and a line of JSON.
pub fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let registers = Registers::build(PEOPLE, MEANS)?;
    let looked_up = registers.look_up();
    let read = memory_reads(registers.means.memory());
    let rate = |of: &Times| 1e9 / of.mean();
    crate::row("who holds a means", rate(&looked_up.holder), "reading a word", rate(&read));
    crate::say(format!("\n    {}\n", registers.json(&looked_up, &read)));
    Ok(())
}

/// The registers of a nation, and what they took.
struct Registers {
    entitlements: Entitlements,
    means: MeansRegister,
    people_took: Took,
    means_took: Took,
    memberships: u64,
    versions: u64,
    /// The most that the process ever held until they were built, the records' own making included.
    peak_bytes: u64,
}

/// What building a register took.
struct Took {
    resident_bytes: u64,
    time: Duration,
}

impl Registers {
    fn build(people: u64, means_count: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let reach = TimeDelta::days(i64::try_from(nation::REACH_DAYS)?);
        let mut entitlements = Entitlements::reaching_back(reach);
        let mut families = Families::new(1);
        let (mut memberships, mut versions) = (0, 0);
        let people_took = taken(
            || {
                let mut records = Vec::new();
                while records.len() < AT_ONCE && families.people < people {
                    records.extend(families.next());
                }
                records
            },
            |stored| {
                entitlements.apply(&stored);
                let wire::v1::Event::EntitlementEvaluated(event) = stored.record.event else {
                    return;
                };
                versions += 1;
                memberships += event.groups.len() as u64;
            },
        )?;
        let mut means = MeansRegister::default();
        let mut numbers = (0..means_count).map(|number| nation::means(number, people));
        let means_took =
            taken(|| numbers.by_ref().take(AT_ONCE).collect(), |stored| means.apply(&stored))?;
        let peak_bytes = memory("VmHWM:");
        Ok(Self { entitlements, means, people_took, means_took, memberships, versions, peak_bytes })
    }

    /// Times of looking up people, means, and the people who hold means, in random order.
    fn look_up(&self) -> LookedUp {
        let day = nation::today();
        let now = start_of_day(day) + TimeDelta::hours(12);
        let mut random = Random::new(7);
        let (people, means_count) = (self.entitlements.len() as u64, self.means.len() as u64);
        let mut tokens = || nation::token(random.below(means_count));
        LookedUp {
            means: times(&mut tokens, |token| self.means.get(token)),
            holder: times(&mut tokens, |token| {
                let means = self.means.get(token);
                let status = means::status(means.as_ref(), day);
                let person = means.and_then(|means| means.person)?;
                let known = self.entitlements.at(person, now)?;
                Some((status, entitlements::recipient(known, day)))
            }),
            person: times(
                || nation::person(random.below(people)),
                |person| Some(entitlements::recipient(self.entitlements.at(person, now)?, day)),
            ),
        }
    }

    fn json(&self, looked_up: &LookedUp, read: &Times) -> String {
        let (people, means) = (self.entitlements.len() as u64, self.means.len() as u64);
        let Self { people_took, means_took, .. } = self;
        let resident = people_took.resident_bytes + means_took.resident_bytes;
        format!(
            "{{\"bench\":\"registers\",\"people\":{people},\"means\":{means},\
             \"versions\":{},\"memberships_per_version\":{:.2},\"lists\":{},\
             \"resident_mib\":{},\"peak_mib\":{},\
             \"bytes_per_person\":{:.1},\"counted_per_person\":{:.1},\
             \"bytes_per_means\":{:.1},\"counted_per_means\":{:.1},\
             \"people_s\":{:.2},\"means_s\":{:.2},{},{},{},{}}}",
            self.versions,
            self.memberships as f64 / self.versions as f64,
            self.entitlements.lists(),
            resident >> 20,
            self.peak_bytes >> 20,
            people_took.resident_bytes as f64 / people as f64,
            self.entitlements.memory() as f64 / people as f64,
            means_took.resident_bytes as f64 / means as f64,
            self.means.memory() as f64 / means as f64,
            people_took.time.as_secs_f64(),
            means_took.time.as_secs_f64(),
            looked_up.person.json("person"),
            looked_up.means.json("means"),
            looked_up.holder.json("holder"),
            read.json("read"),
        )
    }
}

/// Takes all records that `make` makes, as they come out of the log; only the taking is timed.
fn taken(
    mut make: impl FnMut() -> Vec<Record>,
    mut take: impl FnMut(Stored),
) -> Result<Took, wire::WireError> {
    let mut encoded = || -> Vec<_> { make().iter().map(wire::encode).collect() };
    // What the making of records needs is there before anything is measured.
    let mut batch = encoded();
    let before = memory("VmRSS:");
    let mut time = Duration::ZERO;
    while !batch.is_empty() {
        let started = Instant::now();
        for bytes in batch {
            let record = wire::decode(&bytes)?;
            take(Stored { position: Position { partition: 0, offset: 0 }, record });
        }
        time += started.elapsed();
        batch = encoded();
    }
    Ok(Took { resident_bytes: memory("VmRSS:").saturating_sub(before), time })
}

struct LookedUp {
    person: Times,
    means: Times,
    holder: Times,
}

/// Nanoseconds that something took, each time, from the shortest.
struct Times(Vec<u64>);

impl Times {
    fn at(&self, share: f64) -> u64 {
        self.0[(self.0.len() as f64 * share) as usize]
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<u64>() as f64 / self.0.len() as f64
    }

    fn json(&self, of: &str) -> String {
        format!("\"{of}_p50_ns\":{},\"{of}_p99_ns\":{}", self.at(0.5), self.at(0.99))
    }
}

fn times<K, T>(mut key: impl FnMut() -> K, mut once: impl FnMut(K) -> T) -> Times {
    let mut times: Vec<_> = (0..LOOK_UPS)
        .map(|_| {
            let key = key();
            let started = Instant::now();
            black_box(once(key));
            u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    times.sort_unstable();
    Times(times)
}

/// Reading one word anywhere in so many bytes: the least that a look-up can take.
fn memory_reads(bytes: usize) -> Times {
    let words: Vec<u64> = (0..bytes as u64 / 8).collect();
    let mut random = Random::new(9);
    times(|| random.below(words.len() as u64) as usize, |place| words[place])
}

/// Bytes of this process's memory that the kernel knows under a name.
pub fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0_u64) << 10
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Says that this process runs no other test.
    const ALONE: &str = "AVIS_TEST_ALONE";

    #[test]
    fn a_tenth_of_the_nation_takes_a_tenth_of_a_gibibyte_at_most() {
        // What is measured is the memory of a whole process.
        if std::env::var_os(ALONE).is_none() {
            let tests = std::env::current_exe().expect("this file");
            let name =
                "registers::tests::a_tenth_of_the_nation_takes_a_tenth_of_a_gibibyte_at_most";
            let ran = Command::new(tests).args(["--exact", name]).env(ALONE, "1").output();
            let ran = ran.expect("it runs");
            let said = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let registers = Registers::build(200_000, 500_000).expect("built");
        let Registers { entitlements, means, people_took, means_took, .. } = registers;
        let per_person = entitlements.memory() / entitlements.len();
        let per_means = means.memory() / means.len();
        assert!(per_person < 160, "{per_person} bytes");
        assert!(per_means < 74, "{per_means} bytes");
        // The process has grown by what is counted, give or take what the allocator keeps free.
        let counted = (entitlements.memory() + means.memory()) as u64;
        let resident = people_took.resident_bytes + means_took.resident_bytes;
        let spare = counted / 4 + (16 << 20);
        assert!(resident.abs_diff(counted) < spare, "{resident} of {counted}");
    }
}
