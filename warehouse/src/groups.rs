//! How many people are in a group.

use chrono::NaiveDate;
use datafusion::scalar::ScalarValue;

use crate::{
    error::WarehouseError,
    report::FEWEST,
    session::{self, Session},
};

const MEMBERS: &str = include_str!("../sql/registers/group_members.sql");

/// How many people are in a group on a local day; `None` where they are fewer than are counted, be it none:
/// a condition could else be made to ask about one person.
///
/// # Errors
/// Where the query fails.
pub async fn members(
    session: &Session,
    group: &str,
    day: NaiveDate,
) -> Result<Option<i64>, WarehouseError> {
    let parameters = vec![("group", ScalarValue::from(group)), ("day", session::day(day))];
    let rows = session.query(MEMBERS, parameters).await?;
    let count = rows.longs("members")?.first().copied().flatten().unwrap_or_default();
    Ok((count >= FEWEST).then_some(count))
}
