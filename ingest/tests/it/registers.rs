//! The compact registers answer as one does that keeps every record as it came.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use domain::{
    id::{ConsentId, GroupId, HouseholdId, IssuerId, MeansToken, PanelId, RecipientId},
    identification_means::{Means, MeansKind, MeansStatus},
    period::Validity,
    recipient::{Entitlement, GroupDays, Recipient},
};
use ingest::{
    record::{Position, Record, Stored, outside_id},
    register::{
        consents::Consents,
        entitlements::{self, Entitlements},
        holders::Holders,
        means::{self, MeansRegister},
        panels::{self, Panels},
    },
    wire::v1::{self, ConsentChanged, EntitlementEvaluated, Event, MeansChanged, PanelChanged},
};
use proptest::{collection::vec, option, prelude::*};

const PEOPLE: u128 = 5;
const REACH_DAYS: i64 = 40;

fn stored(recorded_at: DateTime<Utc>, event: Event) -> Stored {
    let record = Record {
        id: outside_id("test", ""),
        key: String::new(),
        source: "test".into(),
        sequence: 0,
        event_time: recorded_at,
        recorded_at,
        event,
    };
    Stored { position: Position { partition: 0, offset: 0 }, record }
}

/// Days about 29 February 2024, few enough that the same ones come again.
fn day() -> impl Strategy<Value = NaiveDate> {
    let first = NaiveDate::from_ymd_opt(2024, 1, 20).expect("a day");
    (0..80_u64).prop_map(move |days| first + Days::new(days))
}

/// Instants of those days, many of them just before and after local midnight.
fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    let micros = prop_oneof![Just(0), Just(-1), Just(1), 0..86_400_000_000_i64];
    (day(), micros).prop_map(|(day, micros)| {
        domain::period::start_of_day(day) + TimeDelta::microseconds(micros)
    })
}

fn group_days() -> impl Strategy<Value = v1::GroupDays> {
    // A record is passed over whole where one of its groups is none.
    let group = prop_oneof![30 => "[a-d]", 1 => Just("not a group".to_owned())];
    (group, day(), option::of(day())).prop_map(|(group_id, from, until)| v1::GroupDays {
        group_id,
        from: from.to_string(),
        until: until.map(|until| until.to_string()),
    })
}

prop_compose! {
    fn evaluated()(
        person in 0..PEOPLE,
        household in 0..3_u128,
        known_from in instant(),
        alive in any::<bool>(),
        mut groups in vec(group_days(), 0..4),
        from_then_on in any::<bool>(),
        removed in prop::bool::weighted(0.1),
    ) -> EntitlementEvaluated {
        if from_then_on {
            let since = domain::period::LocalTime::of(known_from).date.to_string();
            groups.iter_mut().for_each(|days| days.from.clone_from(&since));
        }
        if removed {
            groups.clear();
        }
        EntitlementEvaluated {
            person: RecipientId::from_u128(person).to_string(),
            household: HouseholdId::from_u128(household).to_string(),
            known_from: known_from.timestamp_micros(),
            alive: alive && !removed,
            groups,
            removed,
            ..EntitlementEvaluated::default()
        }
    }
}

/// Everything that was ever told of each person, the last of an instant only.
#[derive(Default)]
struct Everything(BTreeMap<(RecipientId, DateTime<Utc>), Entitlement>);

impl Everything {
    fn apply(&mut self, event: &EntitlementEvaluated) {
        let group = |days: &v1::GroupDays| {
            Some(GroupDays {
                group: GroupId::new(&days.group_id).ok()?,
                from: days.from.parse().expect("a day"),
                until: days.until.as_ref().map(|until| until.parse().expect("a day")),
            })
        };
        let Some(groups) = event.groups.iter().map(group).collect() else { return };
        let person = RecipientId::parse(&event.person).expect("an id");
        let known_from = DateTime::from_timestamp_micros(event.known_from).expect("an instant");
        let household = HouseholdId::parse(&event.household).expect("an id");
        let alive = event.alive;
        let known = Entitlement { person, household, known_from, alive, groups };
        self.0.insert((person, known_from), known);
    }

    fn at(&self, person: RecipientId, instant: DateTime<Utc>) -> Option<&Entitlement> {
        let until = (person, DateTime::<Utc>::MIN_UTC)..=(person, instant);
        self.0.range(until).next_back().map(|(_, known)| known)
    }
}

fn groups_on(known: &Entitlement, day: NaiveDate) -> Recipient {
    let groups = known.groups.iter().filter(|days| days.contains(day));
    Recipient {
        id: known.person,
        household: known.household,
        groups: groups.map(|days| days.group.clone()).collect(),
    }
}

prop_compose! {
    fn means_changed()(
        token in 0..6_u128,
        issuer in prop_oneof![20 => "[a-c]", 1 => Just(String::new())],
        kind in prop::sample::select(MeansKind::ALL.to_vec()),
        person in option::of(0..PEOPLE),
        from in day(),
        to in option::of(day()),
        blocked in any::<bool>(),
    ) -> MeansChanged {
        MeansChanged {
            token: MeansToken::from_u128(token).to_string(),
            issuer_id: issuer,
            kind: kind.code().into(),
            person: person.map(|person| RecipientId::from_u128(person).to_string()),
            valid_from: from.to_string(),
            valid_to: to.map(|to| to.to_string()),
            blocked,
            ..MeansChanged::default()
        }
    }
}

fn as_it_came(change: &MeansChanged) -> Option<Means> {
    let person = change.person.as_ref();
    Some(Means {
        token: MeansToken::parse(&change.token).expect("a token"),
        issuer: IssuerId::new(&change.issuer_id).ok()?,
        kind: MeansKind::parse(&change.kind).expect("a kind"),
        person: person.map(|person| RecipientId::parse(person).expect("an id")),
        valid: Validity {
            from: change.valid_from.parse().expect("a day"),
            to: change.valid_to.as_ref().map(|to| to.parse().expect("a day")),
        },
        blocked: change.blocked,
    })
}

prop_compose! {
    fn consent_changed()(
        person in 0..PEOPLE,
        // A record is passed over where its consent has no identifier.
        consent_id in prop_oneof![20 => "[a-c]", 1 => Just("not an id".to_owned())],
        purpose in "[pq]",
        given in any::<bool>(),
        text_version in "[12]",
    ) -> ConsentChanged {
        ConsentChanged {
            person: RecipientId::from_u128(person).to_string(),
            consent_id,
            purpose,
            given,
            text_version,
            recorded_by: "recipient".into(),
        }
    }
}

/// An item that is put for somebody or nobody, put away, or taken away.
fn panel_changed() -> impl Strategy<Value = PanelChanged> {
    let panel = |number: u128| PanelId::from_u128(number).to_string();
    let who = option::of((0..2_u128).prop_map(RecipientId::from_u128));
    let put = (0..60_u128, "[ab]", who, day(), any::<u8>()).prop_map(
        move |(number, e_service_id, person, until, said)| PanelChanged {
            panel: panel(number),
            e_service_id,
            person: person.map(|id| id.to_string()).unwrap_or_default(),
            request_hash: vec![said],
            until: until.to_string(),
            ..PanelChanged::default()
        },
    );
    let changed = (0..60_u128, any::<bool>()).prop_map(move |(number, dismissed)| PanelChanged {
        panel: panel(number),
        e_service_id: "a".into(),
        dismissed,
        ..PanelChanged::default()
    });
    prop_oneof![6 => put, 1 => changed]
}

proptest! {
    #[test]
    fn panels_are_what_was_told_last_and_of_a_service_the_newest(
        told in vec((panel_changed(), option::weighted(0.05, day())), 1..160),
    ) {
        let mut panels = Panels::default();
        // In the order in which they were put.
        let mut everything: Vec<(u64, PanelChanged)> = Vec::new();
        for (offset, (change, today)) in (0..).zip(told) {
            let mut record = stored(DateTime::UNIX_EPOCH, Event::PanelChanged(change.clone()));
            record.position.offset = offset;
            panels.apply(&record);
            if change.dismissed {
                let same = everything.iter_mut().find(|(_, of)| of.panel == change.panel);
                same.into_iter().for_each(|(_, of)| of.dismissed = true);
            } else {
                everything.retain(|(_, of)| of.panel != change.panel);
                if !change.until.is_empty() {
                    everything.push((offset, change.clone()));
                }
                let is_same = |of: &PanelChanged| {
                    !of.person.is_empty()
                        && (&of.person, &of.e_service_id) == (&change.person, &change.e_service_id)
                };
                let same = everything.iter().filter(|(_, of)| is_same(of)).count();
                if same > panels::MOST_OF_A_SERVICE {
                    let oldest = everything.iter().position(|(_, of)| is_same(of));
                    everything.remove(oldest.expect("there are some"));
                }
            }
            if let Some(today) = today {
                panels.expire(today);
                everything.retain(|(_, of)| of.until.parse::<NaiveDate>().expect("a day") >= today);
            }
            prop_assert_eq!(panels.len(), everything.len());
            for (offset, of) in &everything {
                let found = panels.get(PanelId::parse(&of.panel).expect("an id"));
                let found = found.expect("it is there");
                prop_assert_eq!(found.place, (0, *offset));
                prop_assert_eq!(found.dismissed, of.dismissed);
                prop_assert_eq!(found.request_hash, &of.request_hash);
                prop_assert_eq!(found.until.to_string(), of.until.clone());
            }
            for person in (0..2).map(RecipientId::from_u128) {
                let mut own: Vec<_> = panels.of(person).map(|of| of.place.1).collect();
                own.sort_unstable();
                let expected = everything.iter().filter(|(_, of)| of.person == person.to_string());
                prop_assert_eq!(own, expected.map(|(offset, _)| *offset).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn consents_are_what_was_told_in_order(
        told in vec((consent_changed(), instant()), 1..40),
    ) {
        let mut consents = Consents::default();
        let mut everything: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (event, at) in told {
            let Ok(id) = ConsentId::new(&event.consent_id) else {
                consents.apply(&stored(at, Event::ConsentChanged(event)));
                continue;
            };
            let said = (at, event.purpose.clone(), event.given, event.text_version.clone());
            everything.entry((event.person.clone(), id)).or_default().push(said);
            consents.apply(&stored(at, Event::ConsentChanged(event)));
            for person in (0..PEOPLE).map(RecipientId::from_u128) {
                let known = consents.of(person);
                let expected = everything.iter().filter(|((of, _), _)| *of == person.to_string());
                prop_assert_eq!(known.len(), expected.clone().count());
                let mut changes = 0;
                for ((_, id), expected) in expected {
                    let said: Vec<_> = known[id].iter().map(|change| {
                        let terms = &change.terms;
                        let (purpose, version) = (&terms.purpose, &terms.text_version);
                        (change.at, purpose.to_string(), terms.given, version.to_string())
                    }).collect();
                    prop_assert_eq!(&said, expected);
                    let newest = consents.newest(person, id);
                    prop_assert_eq!(newest.as_ref(), known[id].last());
                    changes += expected.len();
                }
                prop_assert_eq!(consents.changes(person), changes);
            }
        }
    }

    #[test]
    fn means_are_found_by_their_holder(told in vec(means_changed(), 1..60)) {
        let (mut register, mut holders) = (MeansRegister::default(), Holders::default());
        for change in told {
            let stored = stored(DateTime::UNIX_EPOCH, Event::MeansChanged(change));
            register.apply(&stored);
            holders.apply(&stored);
            for person in (0..PEOPLE).map(RecipientId::from_u128) {
                let is_own = |means: &Means| means.person == Some(person);
                let all = (0..6).filter_map(|token| register.get(MeansToken::from_u128(token)));
                let expected: Vec<_> = all.filter(is_own).collect();
                let found = holders.tokens(person).filter_map(|token| register.get(token));
                prop_assert_eq!(found.filter(is_own).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn entitlements_are_what_was_told(
        told in vec((evaluated(), instant()), 1..60),
        asked in vec((instant(), day()), 12),
    ) {
        let (mut all, mut everything) = (Entitlements::default(), Everything::default());
        let reach = TimeDelta::days(REACH_DAYS);
        let mut lately = Entitlements::reaching_back(reach);
        let mut newest = DateTime::<Utc>::UNIX_EPOCH;
        for (event, recorded_at) in told {
            everything.apply(&event);
            let stored = stored(recorded_at, Event::EntitlementEvaluated(event));
            all.apply(&stored);
            lately.apply(&stored);
            newest = newest.max(recorded_at);
            for (number, (instant, day)) in (0..).zip(&asked) {
                let person = RecipientId::from_u128(number % PEOPLE);
                let expected = everything.at(person, *instant);
                prop_assert_eq!(all.at(person, *instant), expected.cloned());
                if *instant >= newest - reach {
                    prop_assert_eq!(lately.at(person, *instant), expected.cloned());
                }
                if let Some(known) = expected {
                    let recipient = entitlements::recipient(known.clone(), *day);
                    prop_assert_eq!(recipient, groups_on(known, *day));
                }
            }
        }
    }

    #[test]
    fn means_are_what_was_told_last(
        told in vec(means_changed(), 1..60),
        asked in vec(day(), 6),
    ) {
        let (mut register, mut last) = (MeansRegister::default(), BTreeMap::new());
        for change in told {
            if let Some(means) = as_it_came(&change) {
                last.insert(means.token, means);
            }
            register.apply(&stored(DateTime::UNIX_EPOCH, Event::MeansChanged(change)));
            for (number, day) in (0..).zip(&asked) {
                let token = MeansToken::from_u128(number);
                let (found, expected) = (register.get(token), last.get(&token));
                prop_assert_eq!(found.as_ref(), expected);
                let status = match expected {
                    None => MeansStatus::Unknown,
                    Some(means) if means.blocked => MeansStatus::Blocked,
                    Some(means) if means.valid.contains(*day) => MeansStatus::Valid,
                    Some(_) => MeansStatus::Expired,
                };
                prop_assert_eq!(means::status(found.as_ref(), *day), status);
            }
            prop_assert_eq!(register.len(), last.len());
        }
    }
}
