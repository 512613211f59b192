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

/// Everything of a recipient, by the pseudonym that stands in the tables.
///
/// # Errors
/// Where a query fails.
pub async fn export(
    session: &Session,
    recipient: &str,
) -> Result<Vec<(&'static str, Rows)>, WarehouseError> {
    let mut told = Vec::with_capacity(PARTS.len());
    for (name, query) in PARTS {
        let recipient = ScalarValue::Utf8(Some(recipient.to_owned()));
        told.push((*name, session.query(query, vec![("recipient", recipient)]).await?));
    }
    Ok(told)
}
