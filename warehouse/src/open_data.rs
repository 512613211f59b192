//! Open data: the sets that anybody may have, as CSV and as linked data, in one catalogue.
//!
//! Identifiers are stable: what a row is about keeps its address. A file whose content has not changed
//! stays untouched, with its date. A count about fewer than five people is left empty, and one in which
//! fewer than five may have made the difference to what was shown last stays as it was, so that neither
//! a count nor the difference of two tells of a few.

use std::path::Path;

use chrono::NaiveDate;
use datafusion::scalar::ScalarValue;
use domain::period::Month;

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

use previous::{Counts, Previous, Written};

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
    /// The first and the last day that its rows are about, where they say so.
    pub covers: Option<[NaiveDate; 2]>,
    /// When there was one for the first time.
    pub issued: NaiveDate,
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
        let most = match set.most {
            Some(sql) => previous::most(set, &session.query_with(sql, []).await?)?,
            None => Counts::new(),
        };
        let rows = previous.steadied(set, rows, &most)?;
        let covers = covers(set, &rows)?;
        let triples = linked::triples(set, &rows, publisher)?;
        for form in Form::ALL {
            let name = format!("{}.{}", set.name, form.ending());
            let bytes = match form {
                Form::Csv => rows.bytes(Format::Csv(Csv::FILE))?,
                Form::Csvw => csvw::metadata(set, publisher)?,
                Form::Turtle => linked::turtle(&triples)?,
                Form::JsonLd => linked::json(&triples)?,
            };
            let Written { issued, modified, is_new } = previous.write(&name, &bytes, today)?;
            published.push(Published {
                set: set.name,
                file: name,
                form,
                rows: rows.count(),
                bytes: bytes.len(),
                checksum: file::checksum(&bytes),
                covers,
                issued,
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

/// The first and the last day of the months that a set's rows are about.
fn covers(set: &Set, rows: &Rows) -> Result<Option<[NaiveDate; 2]>, WarehouseError> {
    let month = set.columns.iter().find(|column| matches!(column.meaning, Meaning::Month(_)));
    let Some(month) = month else { return Ok(None) };
    let months = rows.texts(month.name)?.into_iter().flatten();
    let months = months.filter_map(|month| Month::parse(&month));
    Ok(months.fold(None, |covers, month| {
        let [first, last] = covers.unwrap_or([month.first_day(), month.last_day()]);
        Some([first.min(month.first_day()), last.max(month.last_day())])
    }))
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
