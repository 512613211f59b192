//! What the tables hold of one recipient, for that recipient.

use datafusion::scalar::ScalarValue;

use crate::{
    error::WarehouseError,
    session::{Rows, Session},
};

macro_rules! parts {
    ($($name:literal),*) => {
        /// What is told, each with its query.
        const PARTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../sql/person/", $name, ".sql")))),*];
    };
}

parts!("means", "entitlements", "transactions", "benefits", "points");

/// Everything of a recipient, by the pseudonyms that stand in the tables, one after the other.
///
/// # Errors
/// Where a query fails.
pub async fn export(
    session: &Session,
    pseudonyms: &[String],
) -> Result<Vec<(&'static str, Rows)>, WarehouseError> {
    let mut told = Vec::with_capacity(PARTS.len());
    for (name, query) in PARTS {
        let mut all: Option<Rows> = None;
        for pseudonym in pseudonyms {
            let recipient = ScalarValue::Utf8(Some(pseudonym.clone()));
            let rows = session.query(query, vec![("recipient", recipient)]).await?;
            match &mut all {
                Some(all) => all.batches.extend(rows.batches),
                None => all = Some(rows),
            }
        }
        told.extend(all.map(|rows| (*name, rows)));
    }
    Ok(told)
}
