//! What recipients used themselves of limits per household, in rows of their own.
//!
//! Most people shop under one household all their lives. Of those who live alone nothing is kept here:
//! their household's counter says it all. Of others there is a row for each counter.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{
    id::{HouseholdId, RecipientId},
    limit::{CounterMovement, Holder, Per},
    recipient::alone,
};
use ingest::{
    log::Log,
    record::Stored,
    wire::v1::{self, Event},
};

use super::{AuthoriserError, Entered, Index, Part, Write, row};
use crate::{publish, uses::Uses};

/// Says in `progress` that the uses of every record before those offsets are in their rows.
const USES_ARE_IN: &[u8] = b"uses";
/// Bits of [`Users`]: two megabytes.
const BITS: u64 = 1 << 24;

/// How a use came to stand in a household's counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It was decided under that household.
    Decided,
    /// It was brought there.
    Brought,
}

/// Who may have used a limit per household: of everybody else a move costs one look here. It never
/// forgets, and takes some for users who are none.
#[derive(Debug)]
pub(super) struct Users(Box<[AtomicU64]>);

impl Default for Users {
    fn default() -> Self {
        Self((0..BITS / 64).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Users {
    fn add(&self, who: RecipientId) {
        let (word, bit) = Self::place(who);
        self.0[word].fetch_or(bit, Ordering::AcqRel);
    }

    fn may_have(&self, who: RecipientId) -> bool {
        let (word, bit) = Self::place(who);
        self.0[word].load(Ordering::Acquire) & bit != 0
    }

    fn place(who: RecipientId) -> (usize, u64) {
        let folded = (who.as_u128() >> 64) as u64 ^ who.as_u128() as u64;
        let bit = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS.ilog2());
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    }
}

impl Index {
    /// Notes that a recipient uses a limit per household, before the index has it.
    pub fn uses(&self, who: RecipientId) {
        self.users.add(who);
    }

    /// Whether the recipient may have used a limit per household.
    #[must_use]
    pub fn may_have_used(&self, who: RecipientId) -> bool {
        self.users.may_have(who)
    }

    /// Held by whoever brings uses to another household, from reading what there is until the record
    /// of it is entered, so that nobody brings them a second time.
    #[must_use]
    pub const fn bringing(&self) -> &tokio::sync::Mutex<()> {
        &self.bringing
    }

    /// What is to be brought to the household where a recipient lives; nothing where all is there.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn to_bring(
        &self,
        who: RecipientId,
        home: HouseholdId,
    ) -> Result<Vec<CounterMovement>, AuthoriserError> {
        let (mut uses, own) = (Uses::default(), alone(who));
        for row in self.store.prefix(Part::Uses, &who.as_u128().to_be_bytes()) {
            let (key, value) = row?;
            let Some(((_, came, key), change)) = row::use_key(&key).zip(row::signed(&value)) else {
                continue;
            };
            match came {
                Came::Decided => uses.decide(&key, change),
                Came::Brought => {
                    uses.bring(&key, change);
                    if key.household() == Some(own) {
                        // The rest of that counter was decided there.
                        uses.decide(&key, -change);
                    }
                }
            }
        }
        for (key, used) in self.counters(Holder::Household(own))? {
            uses.decide(&key, used);
        }
        Ok(uses.to_bring(home))
    }

    /// Everybody of whom uses may stand elsewhere than where they live. Notes who may have used
    /// anything, on the way.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn moved(
        &self,
        home: impl Fn(RecipientId) -> HouseholdId,
    ) -> Result<BTreeSet<RecipientId>, AuthoriserError> {
        let mut moved = BTreeSet::new();
        for row in self.store.prefix(Part::Uses, &[]) {
            let Some((who, came, key)) = row::use_key(&row?.0) else { continue };
            self.users.add(who);
            if came == Came::Brought || key.household() != Some(home(who)) {
                moved.insert(who);
            }
        }
        for row in self.store.prefix(Part::Counters, &[row::HOUSEHOLD]) {
            let key = row::counter_key(&row?.0);
            let Some(household) = key.and_then(|key| key.household()) else { continue };
            // A family's has the number of no recipient: it is taken for a user for nothing.
            let who = RecipientId::from_u128(household.as_u128());
            self.users.add(who);
            if home(who) != household {
                moved.insert(who);
            }
        }
        Ok(moved)
    }

    /// Enters the uses of what an index of before these rows has read already, once.
    pub(super) async fn enter_uses(&self, log: &Arc<dyn Log>) -> Result<(), AuthoriserError> {
        if self.store.get(Part::Progress, USES_ARE_IN)?.is_some() {
            return Ok(());
        }
        // What an earlier attempt was cut off from is begun anew: sums do not bear a second time.
        let rows = self.store.prefix(Part::Uses, &[]);
        let removed = rows.map(|row| Ok(Write::remove(Part::Uses, row?.0)));
        let removed: Vec<Write> = removed.collect::<Result<_, AuthoriserError>>()?;
        self.store.write(removed)?;
        self.read_again(log, |records| {
            let mut entered = Entered::default();
            records.iter().for_each(|stored| entered.uses_of(stored));
            let sums = self.changed(Part::Uses, &HashMap::new(), entered.uses)?.into_iter();
            Ok(sums.map(|(key, sum)| Write::put(Part::Uses, key, sum.to_be_bytes())).collect())
        })
        .await?;
        Ok(self.store.write(vec![Write::put(Part::Progress, USES_ARE_IN, [1_u8])])?)
    }
}

impl Entered {
    /// What a record says of uses. One that cannot be read is refused where its movements are read.
    pub(super) fn uses_of(&mut self, stored: &Stored) {
        let per_household = |counters: &[v1::CounterMovement]| {
            counters.iter().any(|moved| moved.per == Per::Household.code())
        };
        let (who, home, own, came) = match &stored.record.event {
            Event::AuthorisationDecided(event) if per_household(&event.counters) => {
                let own = publish::own_movements_of(event);
                (event.recipient_id.as_deref(), event.home_id.as_deref(), own, Came::Decided)
            }
            Event::AuthorisationChanged(event) if per_household(&event.counters) => {
                let own = publish::own_movements_of_change(event);
                (event.recipient_id.as_deref(), event.home_id.as_deref(), own, Came::Decided)
            }
            Event::HouseholdJoined(event) => {
                let own = publish::movements_of_joined(event);
                (Some(event.recipient_id.as_str()), None, own, Came::Brought)
            }
            _ => return,
        };
        let (Some(who), Some(own)) = (who.and_then(RecipientId::parse), own) else { return };
        let counters = || own.counters.iter().filter(|moved| moved.key.household().is_some());
        for moved in counters() {
            if came == Came::Brought || moved.key.household() != Some(alone(who)) {
                *self.uses.entry(row::of_use(who, came, &moved.key)).or_default() += moved.change;
            }
        }
        let Some(home) = home.and_then(HouseholdId::parse) else { return };
        for moved in publish::at_home(home, &own.counters) {
            let row = row::of_use(who, Came::Brought, &moved.key);
            *self.uses.entry(row).or_default() += moved.change;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ingest::{
        log::model::ModelLog,
        record::{Record, outside_id},
        topic::Topic,
    };

    use super::*;

    /// A use of the first recipient's in the first household, brought to the second when it moved there.
    fn records() -> [Record; 2] {
        let (who, [left, home]) =
            (RecipientId::from_u128(1), [100, 200].map(HouseholdId::from_u128));
        let counters = vec![v1::CounterMovement {
            instruction_id: "milk".into(),
            per: "household".into(),
            period: "month".into(),
            period_start: "2025-06-01".into(),
            measure: "units".into(),
            change: 5,
        }];
        let decided = v1::AuthorisationDecided {
            authorisation_id: outside_id("T", "1").to_string(),
            recipient_id: Some(who.to_string()),
            household_id: Some(left.to_string()),
            counters: counters.clone(),
            ..v1::AuthorisationDecided::default()
        };
        let joined = v1::HouseholdJoined {
            recipient_id: who.to_string(),
            household_id: home.to_string(),
            counters,
            ..v1::HouseholdJoined::default()
        };
        let at = DateTime::from_timestamp_micros(1).expect("an instant");
        let record = |id, event| Record {
            id: outside_id("T", id),
            key: id.into(),
            source: "T".into(),
            sequence: 1,
            event_time: at,
            recorded_at: at,
            event,
        };
        let decided = record("1", Event::AuthorisationDecided(decided.into()));
        [decided, record("2", Event::HouseholdJoined(joined))]
    }

    fn due(index: &Index, home: u128) -> Vec<i64> {
        let due = index.to_bring(RecipientId::from_u128(1), HouseholdId::from_u128(home));
        due.expect("readable").into_iter().map(|moved| moved.change).collect()
    }

    #[tokio::test]
    async fn an_index_of_before_uses_gets_them_from_the_stream() {
        let folder = tempfile::tempdir().expect("a folder");
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        log.append(Topic::Authorisations, &records()).await.expect("appended");
        let index = Index::open(folder.path(), &log).await.expect("an index");
        let all = |index: &Index| [100, 200, 1].map(|home| due(index, home));
        assert_eq!(all(&index), [vec![], vec![], vec![5]]);
        let somebody = RecipientId::from_u128(1);
        let home = |who| if who == somebody { HouseholdId::from_u128(200) } else { alone(who) };
        let found = index.moved(home).expect("readable");
        assert_eq!(found, [somebody].into(), "whom a start looks at");
        assert!(index.may_have_used(somebody));
        let first = index.store.prefix(Part::Uses, &[]).next().expect("a row").expect("readable");
        // One that was cut off while it did this before has entered some.
        let cut_off =
            vec![Write::remove(Part::Uses, first.0), Write::remove(Part::Progress, USES_ARE_IN)];
        index.store.write(cut_off).expect("removed");
        drop(index);
        let index = Index::open(folder.path(), &log).await.expect("an index");
        assert_eq!(all(&index), [vec![], vec![], vec![5]]);
    }

    #[test]
    fn a_user_is_never_forgotten() {
        let users = Users::default();
        let mut taken = 0;
        for who in (0..10_000).map(|who| RecipientId::from_u128(who * 977)) {
            taken += u32::from(users.may_have(who));
            users.add(who);
            assert!(users.may_have(who));
        }
        assert!(taken < 100, "{taken} were taken for others");
    }
}
