//! Open data: the sets that anybody may have, as files.

use std::path::Path;

use datafusion::scalar::ScalarValue;

use crate::{
    error::WarehouseError,
    export::{Csv, Format},
    file,
    session::Session,
};

/// Where identifiers of open data live, unless configured otherwise. An identifier never changes.
pub const BASE: &str = "https://latvija.lv/avis/id";

/// The smallest count about people that is shown.
const FEWEST: i64 = 5;

/// A data set.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// Its name, and its file's.
    pub name: &'static str,
    /// Its title in Latvian.
    pub title_lv: &'static str,
    /// Its title in English.
    pub title_en: &'static str,
    sql: &'static str,
}

/// Every data set.
pub const SETS: &[Set] = &[
    Set {
        name: "benefit-classifier",
        title_lv: "Atvieglojumu klasifikators",
        title_en: "Benefit classifier",
        sql: include_str!("../sql/open_data/benefit-classifier.sql"),
    },
    Set {
        name: "means-issuers",
        title_lv: "Identifikācijas līdzekļu izsniedzēji",
        title_en: "Issuers of identification means",
        sql: include_str!("../sql/open_data/means-issuers.sql"),
    },
    Set {
        name: "ids-terminals",
        title_lv: "Identifikācijas un darījumu sistēmu termināļi",
        title_en: "Terminals of identification and transaction systems",
        sql: include_str!("../sql/open_data/ids-terminals.sql"),
    },
    Set {
        name: "identification-means",
        title_lv: "Identifikācijas līdzekļu skaits",
        title_en: "Number of identification means",
        sql: include_str!("../sql/open_data/identification-means.sql"),
    },
    Set {
        name: "e-services",
        title_lv: "Tirgotāju e-pakalpojumi",
        title_en: "E-services of merchants",
        sql: include_str!("../sql/open_data/e-services.sql"),
    },
    Set {
        name: "remote-official-usage",
        title_lv: "Attālinātā ierēdņa izmantošana",
        title_en: "Use of the remote official",
        sql: include_str!("../sql/open_data/remote-official-usage.sql"),
    },
    Set {
        name: "contact-points",
        title_lv: "Klientu apkalpošanas centru tīkla kontaktpunkti",
        title_en: "Contact points of the service centres' network",
        sql: include_str!("../sql/open_data/contact-points.sql"),
    },
];

/// A file that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The set's name.
    pub set: &'static str,
    /// The file's name in the folder.
    pub file: String,
    /// Its rows, without the header.
    pub rows: usize,
    /// Its size.
    pub bytes: usize,
}

/// Writes every set into a folder, as `<name>.csv`; a file that is there is replaced whole.
///
/// # Errors
/// Where a query fails or a file cannot be written.
pub async fn publish(session: &Session, folder: &Path) -> Result<Vec<Published>, WarehouseError> {
    let mut published = Vec::with_capacity(SETS.len());
    for set in SETS {
        let rows = set.rows(session).await?;
        let bytes = rows.bytes(Format::Csv(Csv::FILE))?;
        let name = format!("{}.csv", set.name);
        file::write(&folder.join(&name), &bytes)?;
        let (rows, bytes) = (rows.count(), bytes.len());
        published.push(Published { set: set.name, file: name, rows, bytes });
    }
    Ok(published)
}

impl Set {
    /// Its rows, as the newest commits have them.
    ///
    /// # Errors
    /// Where the query fails.
    pub async fn rows(&self, session: &Session) -> Result<crate::session::Rows, WarehouseError> {
        let base = ("base", ScalarValue::Utf8(Some(BASE.to_owned())));
        let fewest = ("fewest", ScalarValue::Int64(Some(FEWEST)));
        // A query that has no such parameter takes none.
        let wanted = |(name, _): &(&str, _)| self.sql.contains(&format!("${name}"));
        let parameters: Vec<_> = [base, fewest].into_iter().filter(wanted).collect();
        session.query(self.sql, parameters).await
    }
}
