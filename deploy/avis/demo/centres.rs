//! Generated events of service centres: calls, officials and services, as many as fit the baskets, and the
//! same ones for the same seed. They are what a system of the centres sends, so nothing is bypassed.

use std::io::Read;

use chrono::{DateTime, Datelike, Days, Duration, NaiveDate, SecondsFormat, Utc, Weekday};
use domain::period::{LocalTime, start_of_day};
use serde_json::{Value, json};

use super::generate::{Draw, Plan, reader};

const CENTRES: [&str; 3] = ["centre-daugavpils", "library-ligatne", "mobile-aluksne"];
const INSTITUTIONS: [&str; 3] = ["vsaa", "vid", "ldc"];
/// Officials of the packaged registry, and whose each is.
const PACKAGED: [&str; 4] = ["vsaa", "vsaa", "vid", "ldc"];
const CHANNELS: [&str; 4] = ["in_person", "in_person", "phone", "e-mail"];
/// Services that are given without an official elsewhere.
const BY_ITSELF: [u64; 7] = [1, 2, 4, 5, 6, 7, 8];
/// Baskets for each service, and services at least.
const BASKETS: u64 = 80;
const LEAST: u64 = 40;
/// Calls of a day for each official.
const CALLS_OF_AN_OFFICIAL: u64 = 6;
/// When centres open, and for how long.
const OPENS: Duration = Duration::hours(8);
const OPEN_MINUTES: u64 = 480;

/// What is generated for a span of days.
#[derive(Clone, Debug)]
pub struct Centres {
    plan: Plan,
    days: Vec<NaiveDate>,
    /// Of each official the institution.
    officials: Vec<&'static str>,
}

impl Centres {
    /// What fits a plan, on the working days that lie wholly inside a span.
    #[must_use]
    pub fn of(plan: Plan, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let first = LocalTime::of(from).date;
        // Time goes on until the last basket, and a little further.
        let step = i32::try_from(plan.transactions.max(1)).unwrap_or(i32::MAX);
        let to = to - (to - from) / step;
        let all = (0..).map(|days| first + Days::new(days));
        // After the last day there is time for its calls to be told as ended.
        let fitting = all.take_while(|day| start_of_day(*day) + Duration::hours(20) <= to);
        let works = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let days: Vec<_> = fitting.filter(|day| start_of_day(*day) >= from).filter(works).collect();
        let calls = services(plan) * 2 / 5 / u64::try_from(days.len()).unwrap_or(1).max(1);
        let wanted = usize::try_from(calls / CALLS_OF_AN_OFFICIAL).unwrap_or(0);
        let more = INSTITUTIONS.into_iter().cycle();
        let officials = PACKAGED.into_iter().chain(more).take(wanted.max(PACKAGED.len()));
        Self { plan, days, officials: officials.collect() }
    }

    /// The packaged registry with the officials that are not in it.
    #[must_use]
    pub fn registry(&self, packaged: &str) -> String {
        let more = self.officials.iter().enumerate().skip(PACKAGED.len());
        let entry = |(at, institution): (usize, &&str)| {
            let languages = if speaks_english(at) { "lv, en" } else { "lv" };
            format!(
                "- {{id: {}, institution: {institution}, services: [PAK_03, PAK_10], \
                 languages: [{languages}]}}\n",
                name(at)
            )
        };
        let more: String = more.map(entry).collect();
        packaged.replacen("\nofficials:\n", &format!("\nofficials:\n{more}"), 1)
    }

    /// The events, in order of time.
    #[must_use]
    pub fn events(&self) -> Box<dyn Read + Send> {
        let Self { plan, days, officials } = self.clone();
        let (mut draw, seed) = (Draw::of(plan.seed ^ 0x00ce_17e5), plan.seed);
        let (all, count) = (services(plan), u64::try_from(days.len()).unwrap_or(1).max(1));
        let events = (0_u64..).zip(days).flat_map(move |(number, day)| {
            let share = all * (number + 1) / count - all * number / count;
            let mut events = Day::of(&mut draw, day, &officials).serve(share);
            events.sort_by_key(|event| event.at);
            events
        });
        reader((0_u64..).zip(events).map(move |(number, event)| {
            json!({
                "specversion": "1.0", "id": format!("generated-{seed}-{number}"),
                "source": event.source, "type": format!("lv.vpvkac.{}", event.kind),
                "time": said(event.at), "datacontenttype": "application/json", "data": event.data,
            })
        }))
    }
}

fn services(plan: Plan) -> u64 {
    (plan.transactions / BASKETS).max(LEAST)
}

fn name(official: usize) -> String {
    format!("official-{}", official + 1)
}

/// As the packaged registry says of the first four.
const fn speaks_english(official: usize) -> bool {
    official % 3 != 1
}

fn said(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An event before it has an id.
#[derive(Debug)]
struct Event {
    at: DateTime<Utc>,
    kind: &'static str,
    source: String,
    data: Value,
}

/// One day at all centres.
#[derive(Debug)]
struct Day<'a> {
    draw: &'a mut Draw,
    day: NaiveDate,
    opens: DateTime<Utc>,
    officials: &'a [&'static str],
    /// From when on each official is free.
    free: Vec<DateTime<Utc>>,
    events: Vec<Event>,
}

impl<'a> Day<'a> {
    fn of(draw: &'a mut Draw, day: NaiveDate, officials: &'a [&'static str]) -> Self {
        let opens = start_of_day(day) + OPENS;
        let mut day = Self { draw, day, opens, officials, free: Vec::new(), events: Vec::new() };
        for official in 0..officials.len() {
            let came = opens + day.minutes(0, 30);
            day.free.push(came);
            day.stands(official, "official.available", came);
        }
        day
    }

    fn minutes(&mut self, least: u64, below: u64) -> Duration {
        self.seconds(least * 60, below * 60)
    }

    fn seconds(&mut self, least: u64, below: u64) -> Duration {
        let drawn = least + self.draw.below(below - least);
        Duration::seconds(i64::try_from(drawn).unwrap_or(0))
    }

    fn push(&mut self, kind: &'static str, at: DateTime<Utc>, source: String, data: Value) {
        self.events.push(Event { at, kind, source, data });
    }

    fn stands(&mut self, official: usize, kind: &'static str, at: DateTime<Utc>) {
        let data = json!({"official": name(official), "institution": self.officials[official]});
        self.push(kind, at, "/vpvkac/officials".into(), data);
    }

    /// So many services, and everybody goes home.
    fn serve(mut self, services: u64) -> Vec<Event> {
        let opens = self.opens;
        let mut starts: Vec<_> =
            (0..services).map(|_| opens + self.minutes(0, OPEN_MINUTES)).collect();
        starts.sort_unstable();
        for (number, start) in starts.into_iter().enumerate() {
            self.service(number, start);
        }
        for official in 0..self.officials.len() {
            let closes = opens + Duration::minutes(i64::try_from(OPEN_MINUTES).unwrap_or(0));
            let leaves = closes.max(self.free[official]) + Duration::minutes(1);
            self.stands(official, "official.offline", leaves);
        }
        self.events
    }

    fn service(&mut self, number: usize, started: DateTime<Utc>) {
        let centre = CENTRES[self.draw.below(3) as usize];
        let source = format!("/vpvkac/{centre}");
        let is_remote = self.draw.below(5) < 2;
        let service = match is_remote {
            true => [3, 10][self.draw.below(2) as usize],
            false => BY_ITSELF[self.draw.below(7) as usize],
        };
        let service = format!("PAK_{service:02}");
        let channel = if is_remote { "remote" } else { CHANNELS[self.draw.below(4) as usize] };
        let completed = started + self.minutes(8, 50);
        let outcome = if self.draw.below(3) < 2 { "resolved" } else { "forwarded" };
        let mut begun = json!({"service": service, "centre": centre, "channel": channel});
        if service == "PAK_05" {
            begun["mandate"] = json!(format!("P-{}-{number}", self.day.format("%Y%m%d")));
        }
        let mut done = begun.clone();
        self.push("service.started", started, source.clone(), begun);
        done["started_at"] = json!(said(started));
        done["completed_at"] = json!(said(completed));
        done["outcome"] = json!(outcome);
        if is_remote {
            let call = format!("call-{}-{number}", self.day.format("%Y%m%d"));
            let call = json!({"call": call, "centre": centre, "service": service});
            let Some(official) = self.call(call, &source, started, completed) else { return };
            done["institution"] = json!(self.officials[official]);
            done["official"] = json!(name(official));
        }
        self.push("service.completed", completed, source, done);
    }

    /// A call from `started` on; the official who took it, or none where the client left.
    fn call(
        &mut self,
        mut call: Value,
        source: &str,
        started: DateTime<Utc>,
        completed: DateTime<Utc>,
    ) -> Option<usize> {
        let institution = INSTITUTIONS[self.draw.below(3) as usize];
        let is_english = self.draw.below(4) == 0;
        call["institution"] = json!(institution);
        call["language"] = json!(if is_english { "en" } else { "lv" });
        call["specialist"] = json!(format!("specialist-{}", self.draw.below(6)));
        let offered = started + self.seconds(20, 300);
        // Whoever has been free for the longest, as the desk gives calls.
        let free = (0..self.officials.len()).filter(|official| {
            self.officials[*official] == institution
                && (!is_english || speaks_english(*official))
                && self.free[*official] <= offered
        });
        let official = free.min_by_key(|official| self.free[*official]);
        self.push("call.requested", started, source.into(), call.clone());
        let Some(official) = official.filter(|_| self.draw.below(12) > 0) else {
            self.push("call.abandoned", started + Duration::minutes(6), source.into(), call);
            return None;
        };
        let accepted = offered + self.seconds(2, 20);
        let connected = accepted + self.seconds(2, 20);
        call["official"] = json!(name(official));
        let steps =
            [("call.offered", offered), ("call.accepted", accepted), ("call.connected", connected)];
        for (kind, at) in steps {
            self.push(kind, at, source.into(), call.clone());
        }
        self.stands(official, "official.busy", accepted);
        let (mut ended, mut rated) = (call.clone(), call);
        ended["resolved"] = json!(self.draw.below(5) > 0);
        rated["rating"] = json!(3 + self.draw.below(3));
        self.push("call.ended", completed, source.into(), ended);
        self.push("call.rated", completed + Duration::minutes(1), source.into(), rated);
        self.stands(official, "official.available", completed);
        self.free[official] = completed;
        Some(official)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn centres(transactions: u64, seed: u64) -> Centres {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let plan = Plan { transactions, people: 100, seed };
        Centres::of(plan, at("2024-12-29T09:53:26Z"), at("2025-02-22T20:00:00Z"))
    }

    fn events(centres: &Centres) -> Vec<Value> {
        let mut text = String::new();
        centres.events().read_to_string(&mut text).expect("lines");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_events_in_order_of_time_and_in_proportion() {
        let few = events(&centres(2_000, 1));
        assert_eq!(few, events(&centres(2_000, 1)));
        assert_ne!(few, events(&centres(2_000, 2)));
        let times: Vec<_> = few.iter().map(|event| event["time"].as_str().expect("one")).collect();
        assert!(times.is_sorted());
        let started = |events: &[Value]| {
            events.iter().filter(|event| event["type"] == "lv.vpvkac.service.started").count()
        };
        assert_eq!(started(&few), 40);
        assert_eq!(started(&events(&centres(160_000, 1))), 2_000);
    }

    #[test]
    fn an_official_has_one_call_at_a_time_and_there_are_enough_of_them() {
        let centres = centres(400_000, 7);
        assert!(centres.officials.len() >= PACKAGED.len(), "{}", centres.officials.len());
        let (mut busy, mut calls, mut abandoned) = (BTreeMap::new(), 0, 0);
        for event in events(&centres) {
            let data = &event["data"];
            match event["type"].as_str().expect("a type") {
                "lv.vpvkac.call.accepted" => {
                    let before = busy.insert(data["official"].to_string(), data["call"].clone());
                    assert_eq!(before, None, "{event}");
                    calls += 1;
                }
                "lv.vpvkac.call.ended" => {
                    let taken = busy.remove(&data["official"].to_string());
                    assert_eq!(taken.as_ref(), Some(&data["call"]), "{event}");
                }
                "lv.vpvkac.call.abandoned" => abandoned += 1,
                _ => {}
            }
        }
        assert!(calls > 3 * abandoned, "{calls} were taken, {abandoned} abandoned");
    }
}
