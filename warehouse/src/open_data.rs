//! Open data: the sets that anybody may have, as CSV and as linked data, in one catalogue.
//!
//! Identifiers are stable: what a row is about keeps its address. A file whose content has not changed
//! stays untouched, with its date. A count about fewer than five people is left empty, and one that
//! has changed by fewer than five since it was published stays as it was, so that neither a count nor
//! the difference of two tells of a few.

use std::path::Path;

use chrono::NaiveDate;
use datafusion::scalar::ScalarValue;

use crate::{
    error::WarehouseError,
    export::{Csv, Format},
    file,
    report::FEWEST,
    session::{Rows, Session, day},
};

mod catalogue;
pub mod ckan;
mod csvw;
mod linked;
mod previous;
mod sets;
mod vocabulary;

pub use sets::{Column, Meaning, SETS, Set};

use previous::Previous;

/// Who publishes, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// Where identifiers live; an identifier never changes.
    pub base: String,
    /// Where the files can be had.
    pub files: String,
    /// The publisher's name in Latvian and in English.
    pub name: [String; 2],
    /// The publisher's address on the web.
    pub homepage: String,
    /// Where to ask.
    pub contact: String,
    /// The licence's address.
    pub licence: String,
}

impl Default for Publisher {
    fn default() -> Self {
        Self {
            base: "https://latvija.lv/avis/id".into(),
            files: "https://latvija.lv/avis/open-data".into(),
            name: [
                "Viedās administrācijas un reģionālās attīstības ministrija".into(),
                "Ministry of Smart Administration and Regional Development".into(),
            ],
            homepage: "https://www.varam.gov.lv".into(),
            contact: "mailto:opendata@varam.gov.lv".into(),
            licence: "http://publications.europa.eu/resource/authority/licence/CC_BY_4_0".into(),
        }
    }
}

/// A file that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The set's name.
    pub set: &'static str,
    /// The file's name in the folder.
    pub file: String,
    /// Which form it is in.
    pub form: Form,
    /// Its rows, without the header.
    pub rows: usize,
    /// Its size.
    pub bytes: usize,
    /// Its SHA-256.
    pub checksum: String,
    /// When its content last changed.
    pub modified: NaiveDate,
    /// Whether that is now.
    pub is_new: bool,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated values.
    Csv,
    /// What the columns of the CSV are (CSV on the Web).
    Csvw,
    /// Linked data as Turtle.
    Turtle,
    /// Linked data as JSON.
    JsonLd,
}

impl Form {
    const ALL: [Self; 4] = [Self::Csv, Self::Csvw, Self::Turtle, Self::JsonLd];

    /// What the file's name ends with.
    const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Csvw => "csv-metadata.json",
            Self::Turtle => "ttl",
            Self::JsonLd => "jsonld",
        }
    }
}

/// Writes every set and the catalogue into a folder; a file whose content has not changed stays as it
/// is.
///
/// # Errors
/// Where a query fails or a file cannot be written.
pub async fn publish(
    session: &Session,
    publisher: &Publisher,
    today: NaiveDate,
    folder: &Path,
) -> Result<Vec<Published>, WarehouseError> {
    let mut previous = Previous::of(folder)?;
    let mut published = Vec::with_capacity(SETS.len() * Form::ALL.len());
    for set in SETS {
        let rows = set.rows(session, publisher, today).await?;
        let rows = previous.steadied(set, rows)?;
        let triples = linked::triples(set, &rows, publisher)?;
        for form in Form::ALL {
            let name = format!("{}.{}", set.name, form.ending());
            let bytes = match form {
                Form::Csv => rows.bytes(Format::Csv(Csv::FILE))?,
                Form::Csvw => csvw::metadata(set, publisher)?,
                Form::Turtle => linked::turtle(&triples)?,
                Form::JsonLd => linked::json(&triples)?,
            };
            let (modified, is_new) = previous.write(&name, &bytes, today)?;
            published.push(Published {
                set: set.name,
                file: name,
                form,
                rows: rows.count(),
                bytes: bytes.len(),
                checksum: file::checksum(&bytes),
                modified,
                is_new,
            });
        }
    }
    let triples = catalogue::triples(publisher, &published);
    previous.write("catalogue.ttl", &linked::turtle(&triples)?, today)?;
    previous.write("catalogue.jsonld", &linked::json(&triples)?, today)?;
    previous.keep()?;
    Ok(published)
}

impl Set {
    /// Its rows on a day, as the newest commits have them.
    ///
    /// # Errors
    /// Where the query fails.
    pub async fn rows(
        &self,
        session: &Session,
        publisher: &Publisher,
        today: NaiveDate,
    ) -> Result<Rows, WarehouseError> {
        let base = ("base", ScalarValue::Utf8(Some(publisher.base.clone())));
        let fewest = ("fewest", ScalarValue::Int64(Some(FEWEST)));
        session.query_with(self.sql, [base, fewest, ("day", day(today))]).await
    }
}
