//! How rows of the index are written: fixed widths, big-endian, so that they sort.

use chrono::{Datelike, NaiveDate};
use domain::{
    id::{AuthorisationId, BenefitId, HouseholdId, InstructionId, RecipientId},
    limit::{CounterKey, Holder, Measure, Period},
};
use ingest::record::Position;

use super::{Place, Used, uses::Came};

const PERIODS: [Period; 6] =
    [Period::Basket, Period::Day, Period::Week, Period::Month, Period::Year, Period::Validity];
const MEASURES: [Measure; 3] = [Measure::Uses, Measure::Units, Measure::AmountCents];

pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

pub(super) fn signed(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

pub(super) fn wide(bytes: &[u8]) -> Option<u128> {
    Some(u128::from_be_bytes(bytes.try_into().ok()?))
}

pub(super) fn of_position(position: Position) -> [u8; 12] {
    let mut row = [0; 12];
    row[..4].copy_from_slice(&position.partition.to_be_bytes());
    row[4..].copy_from_slice(&position.offset.to_be_bytes());
    row
}

pub(super) fn position(bytes: &[u8]) -> Option<Position> {
    let (partition, offset) = bytes.split_at_checked(4)?;
    let partition = u32::from_be_bytes(partition.try_into().ok()?);
    Some(Position { partition, offset: number(offset)? })
}

/// The row of what a key did.
#[must_use]
pub fn of_used(used: &Used) -> [u8; 28] {
    let mut row = [0; 28];
    row[..12].copy_from_slice(&of_position(used.position));
    row[12..].copy_from_slice(&used.body);
    row
}

/// What a row says that a key did.
#[must_use]
pub fn used(bytes: &[u8]) -> Option<Used> {
    let (place, body) = bytes.split_at_checked(12)?;
    Some(Used { position: position(place)?, body: body.try_into().ok()? })
}

pub(super) fn change(id: AuthorisationId, step: u32) -> [u8; 20] {
    let mut row = [0; 20];
    row[..16].copy_from_slice(&id.as_u128().to_be_bytes());
    row[16..].copy_from_slice(&step.to_be_bytes());
    row
}

/// What the rows of households' counters begin with.
pub(super) const HOUSEHOLD: u8 = 1;

/// What the rows of one holder's counters begin with.
pub(super) fn holder(holder: Holder) -> [u8; 17] {
    let (kind, id) = match holder {
        Holder::Recipient(id) => (0, id.as_u128()),
        Holder::Household(id) => (HOUSEHOLD, id.as_u128()),
        Holder::Instruction => (2, 0),
    };
    let mut row = [kind; 17];
    row[1..].copy_from_slice(&id.to_be_bytes());
    row
}

/// The row of a counter.
#[must_use]
pub fn counter(key: &CounterKey) -> Vec<u8> {
    let instruction = key.instruction.as_str().as_bytes();
    let mut row = Vec::with_capacity(23 + instruction.len());
    row.extend_from_slice(&holder(key.holder));
    row.push(number_of(&PERIODS, key.period));
    row.push(number_of(&MEASURES, key.measure));
    row.extend_from_slice(&key.period_start.num_days_from_ce().to_be_bytes());
    row.extend_from_slice(instruction);
    row
}

/// Whose row of a counter it is.
#[must_use]
pub fn counter_key(bytes: &[u8]) -> Option<CounterKey> {
    let (head, rest) = bytes.split_at_checked(17)?;
    let (codes, rest) = rest.split_at_checked(2)?;
    let (start, instruction) = rest.split_at_checked(4)?;
    let id = wide(&head[1..])?;
    let holder = match head[0] {
        0 => Holder::Recipient(RecipientId::from_u128(id)),
        HOUSEHOLD => Holder::Household(HouseholdId::from_u128(id)),
        _ => Holder::Instruction,
    };
    let start = i32::from_be_bytes(start.try_into().ok()?);
    Some(CounterKey {
        instruction: InstructionId::new(std::str::from_utf8(instruction).ok()?).ok()?,
        holder,
        period: *PERIODS.get(usize::from(codes[0]))?,
        period_start: NaiveDate::from_num_days_from_ce_opt(start)?,
        measure: *MEASURES.get(usize::from(codes[1]))?,
    })
}

/// A recipient's part of a household's counter.
pub(super) fn of_use(who: RecipientId, came: Came, key: &CounterKey) -> Vec<u8> {
    let mut row = who.as_u128().to_be_bytes().to_vec();
    row.push(match came {
        Came::Decided => 0,
        Came::Brought => 1,
    });
    row.extend_from_slice(&counter(key));
    row
}

pub(super) fn use_key(bytes: &[u8]) -> Option<(RecipientId, Came, CounterKey)> {
    let (who, rest) = bytes.split_at_checked(16)?;
    let (came, key) = rest.split_first()?;
    let came = if *came == 0 { Came::Decided } else { Came::Brought };
    Some((RecipientId::from_u128(wide(who)?), came, counter_key(key)?))
}

/// An authorisation of a recipient's: the recipient, and where it comes among all of them.
pub(super) fn place(recipient: RecipientId, place: Place) -> [u8; 36] {
    let mut row = [0; 36];
    row[..16].copy_from_slice(&recipient.as_u128().to_be_bytes());
    row[16..24].copy_from_slice(&place.order.to_be_bytes());
    row[24..].copy_from_slice(&of_position(place.position));
    row
}

pub(super) fn of_place(bytes: &[u8]) -> Option<Place> {
    let (order, position) = bytes.get(16..)?.split_at_checked(8)?;
    Some(Place { order: number(order)?, position: self::position(position)? })
}

/// The row of a recipient's points under a benefit.
#[must_use]
pub fn points(recipient: RecipientId, benefit: &BenefitId) -> Vec<u8> {
    let mut row = recipient.as_u128().to_be_bytes().to_vec();
    row.extend_from_slice(benefit.as_str().as_bytes());
    row
}

/// Whose row of points it is.
#[must_use]
pub fn points_key(bytes: &[u8]) -> Option<(RecipientId, BenefitId)> {
    let (recipient, benefit) = bytes.split_at_checked(16)?;
    let benefit = BenefitId::new(std::str::from_utf8(benefit).ok()?).ok()?;
    Some((RecipientId::from_u128(wide(recipient)?), benefit))
}

fn number_of<T: PartialEq>(all: &[T], one: T) -> u8 {
    let at = all.iter().position(|known| *known == one).unwrap_or(0);
    u8::try_from(at).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back() {
        let holders = [
            Holder::Recipient(RecipientId::from_u128(7)),
            Holder::Household(HouseholdId::from_u128(u128::MAX)),
            Holder::Instruction,
        ];
        for holder in holders {
            for (period, measure) in PERIODS.into_iter().zip(MEASURES.into_iter().cycle()) {
                let key = CounterKey {
                    instruction: InstructionId::new("club-milk").expect("an id"),
                    holder,
                    period,
                    period_start: "2024-02-29".parse().expect("a day"),
                    measure,
                };
                assert_eq!(counter_key(&counter(&key)), Some(key.clone()));
                for came in [Came::Decided, Came::Brought] {
                    let who = RecipientId::from_u128(5);
                    let row = of_use(who, came, &key);
                    assert_eq!(use_key(&row), Some((who, came, key.clone())));
                }
            }
        }
        let used = Used { position: Position { partition: 3, offset: u64::MAX }, body: [9; 16] };
        assert_eq!(super::used(&of_used(&used)), Some(used));
        let place = Place { order: u64::MAX - 1, position: used.position };
        assert_eq!(of_place(&super::place(RecipientId::from_u128(5), place)), Some(place));
        let benefit = BenefitId::new("club").expect("an id");
        let row = points(RecipientId::from_u128(5), &benefit);
        assert_eq!(points_key(&row), Some((RecipientId::from_u128(5), benefit)));
    }
}
