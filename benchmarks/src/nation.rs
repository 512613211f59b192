//! A nation made up from a seed: families with their birthdays, what groups follow from them, and
//! the means that people hold, as the streams tell of them.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};
use domain::{
    id::{HouseholdId, MeansToken, RecipientId},
    identification_means::MeansKind,
    period::{age, start_of_day},
};
use ingest::{
    record::{Record, outside_id},
    wire::v1::{EntitlementEvaluated, Event, GroupDays, MeansChanged},
};

/// For how many days memberships are told ahead; also how long ago people were evaluated at most.
const HORIZON_DAYS: u64 = 400;
/// For how many days what was known before matters still.
pub const REACH_DAYS: u64 = 40;
const MUNICIPALITIES: u64 = 43;
const ISSUERS: u64 = 60;
/// Groups by the holder's own age, in full years from the first to before the last.
const BY_AGE: [(&str, i32, i32); 11] = [
    ("infants", 0, 3),
    ("preschool", 1, 7),
    ("pupils", 7, 19),
    ("minors", 0, 18),
    ("youth", 13, 26),
    ("adults", 18, 200),
    ("working-age", 18, 65),
    ("seniors-62", 62, 200),
    ("seniors-65", 65, 200),
    ("seniors-70", 70, 200),
    ("seniors-75", 75, 200),
];
/// The same in each municipality.
const LOCAL_BY_AGE: [(&str, i32, i32); 5] = [
    ("residents", 0, 200),
    ("pupils", 7, 19),
    ("youth", 13, 26),
    ("voters", 16, 200),
    ("seniors", 65, 200),
];
/// Groups by the age of the family's youngest child.
const BY_YOUNGEST: [(&str, i32); 3] =
    [("families-infant", 3), ("families-preschool", 7), ("families", 18)];
/// Groups that some people in a hundred are in, whatever their age.
const BY_STATUS: [(&str, u64); 7] = [
    ("disability", 10),
    ("low-income", 8),
    ("donors", 5),
    ("repressed", 1),
    ("transport-relief", 40),
    ("library-readers", 60),
    ("volunteers", 35),
];

/// Numbers that look random and are the same for a seed.
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub const fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    const fn id(&mut self) -> u128 {
        (self.number() as u128) << 64 | self.number() as u128
    }
}

/// The day on which the nation is looked at.
pub fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 1).unwrap_or_default()
}

/// The n-th person's internal id.
pub fn person(number: u64) -> RecipientId {
    RecipientId::from_u128(Random::new(number ^ 0x7065_7273_6f6e).id())
}

/// The n-th means' token.
pub fn token(number: u64) -> MeansToken {
    MeansToken::from_u128(Random::new(number ^ 0x6d65_616e_7300_0000).id())
}

/// Families one after the other, with the records of `entitlements` that tell of them.
pub struct Families {
    random: Random,
    /// How many people there have been so far.
    pub people: u64,
}

impl Families {
    pub const fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), people: 0 }
    }

    /// The next family: everybody is evaluated on one day, and who was lately was before, too.
    pub fn next(&mut self) -> Vec<Record> {
        let random = &mut self.random;
        let children = [0, 0, 0, 0, 0, 0, 1, 1, 2, 3][random.below(10) as usize];
        let adults = 1 + random.below(2);
        let ages = if children > 0 { 20..50 } else { 18..95 };
        let born = |random: &mut Random, ages: std::ops::Range<u64>| {
            let days = random.below((ages.end - ages.start) * 365) + ages.start * 365;
            today().checked_sub_days(Days::new(days)).unwrap_or_default()
        };
        let mut births: Vec<_> = (0..adults).map(|_| born(random, ages.clone())).collect();
        births.extend((0..children).map(|_| born(random, 0..18)));
        let youngest = births.iter().skip(adults as usize).max().copied();
        let household = random.id();
        let riga = random.below(3) == 0;
        let municipality = if riga { 0 } else { random.below(MUNICIPALITIES) };
        let days_ago = random.below(HORIZON_DAYS);
        let large = children > 2;
        let mut records = Vec::new();
        for born in &births {
            let id = person(self.people);
            self.people += 1;
            let household = if births.len() == 1 { id.as_u128() } else { household };
            let known = Known { id, household, born: *born, youngest, municipality, large };
            let status: Vec<_> =
                BY_STATUS.iter().filter(|(_, share)| random.below(100) < *share).collect();
            if days_ago < REACH_DAYS {
                let before = Days::new(days_ago + random.below(HORIZON_DAYS));
                records.push(known.evaluated(today().checked_sub_days(before), &status));
            }
            let lately = today().checked_sub_days(Days::new(days_ago));
            records.push(known.evaluated(lately, &status));
        }
        records
    }
}

/// What groups depend on.
struct Known {
    id: RecipientId,
    household: u128,
    born: NaiveDate,
    youngest: Option<NaiveDate>,
    municipality: u64,
    large: bool,
}

impl Known {
    fn evaluated(&self, day: Option<NaiveDate>, status: &[&(&str, u64)]) -> Record {
        let day = day.unwrap_or_default();
        let mut groups = Vec::new();
        for (name, from, to) in BY_AGE {
            groups.extend(days(name.into(), self.born, from..to, day));
        }
        for (name, from, to) in LOCAL_BY_AGE {
            let name = format!("municipality-{}-{name}", self.municipality);
            groups.extend(days(name, self.born, from..to, day));
        }
        for (name, to) in BY_YOUNGEST {
            groups.extend(self.youngest.and_then(|born| days(name.into(), born, 0..to, day)));
        }
        if let (true, Some(born)) = (self.large, self.youngest) {
            groups.extend(days("large-families".into(), born, 0..18, day));
        }
        for (name, _) in status {
            groups.extend(days((*name).into(), self.born, 0..200, day));
        }
        let known_from = start_of_day(day) + TimeDelta::hours(5);
        let event = EntitlementEvaluated {
            person: self.id.to_string(),
            household: HouseholdId::from_u128(self.household).to_string(),
            known_from: known_from.timestamp_micros(),
            alive: true,
            groups,
            ..EntitlementEvaluated::default()
        };
        record(known_from, Event::EntitlementEvaluated(event))
    }
}

/// The days in a group for those of these ages, as told ahead on `day`.
fn days(
    group_id: String,
    born: NaiveDate,
    ages: std::ops::Range<i32>,
    day: NaiveDate,
) -> Option<GroupDays> {
    let last = day.checked_add_days(Days::new(HORIZON_DAYS))?;
    if age(born, last) < ages.start || age(born, day) >= ages.end {
        return None;
    }
    let from = birthday(born, ages.start).max(day);
    let until = Some(birthday(born, ages.end)).filter(|until| *until <= last);
    Some(GroupDays { group_id, from: from.to_string(), until: until.map(|day| day.to_string()) })
}

fn birthday(born: NaiveDate, age: i32) -> NaiveDate {
    let first_of_march = NaiveDate::from_ymd_opt(born.year() + age, 3, 1);
    born.with_year(born.year() + age).or(first_of_march).unwrap_or_default()
}

/// The record that tells of the n-th means of a nation of so many people.
pub fn means(number: u64, people: u64) -> Record {
    let mut random = Random::new(number);
    let from = today().checked_sub_days(Days::new(random.below(1_800))).unwrap_or_default();
    let to = from.checked_add_days(Days::new(1_826)).filter(|_| random.below(10) < 7);
    let kind = MeansKind::ALL[random.below(6) as usize];
    let holder = person(random.below(people.max(1)));
    let change = MeansChanged {
        token: token(number).to_string(),
        issuer_id: format!("issuer-{}", random.below(ISSUERS)),
        kind: kind.code().into(),
        person: (random.below(20) > 0).then(|| holder.to_string()),
        valid_from: from.to_string(),
        valid_to: to.map(|day| day.to_string()),
        blocked: random.below(50) == 0,
        offline_hash: random.below(u64::MAX),
        ..MeansChanged::default()
    };
    record(start_of_day(from), Event::MeansChanged(change))
}

fn record(at: DateTime<Utc>, event: Event) -> Record {
    Record {
        id: outside_id("nation", ""),
        key: String::new(),
        source: "nation".into(),
        sequence: 0,
        event_time: at,
        recorded_at: at,
        event,
    }
}
