//! Reports: the shipped queries over some days, for people and for their tools.

use chrono::NaiveDate;

use crate::{
    error::WarehouseError,
    page,
    session::{Rows, Session, day},
};

/// A report.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its title in Latvian.
    pub title_lv: &'static str,
    /// Its title in English.
    pub title_en: &'static str,
    sql: &'static str,
}

/// Every report.
pub const REPORTS: &[Report] = &[
    Report {
        name: "use-per-instruction",
        title_lv: "Atvieglojumu izmantošana pa norādījumiem",
        title_en: "Use of benefits per instruction",
        sql: include_str!("../sql/reports/use-per-instruction.sql"),
    },
    Report {
        name: "use-per-merchant-and-day",
        title_lv: "Darījumi un atvieglojumi pa tirgotājiem un dienām",
        title_en: "Sales and benefits per merchant and day",
        sql: include_str!("../sql/reports/use-per-merchant-and-day.sql"),
    },
    Report {
        name: "use-per-territory",
        title_lv: "Atvieglojumu izmantošana pa teritorijām",
        title_en: "Use of benefits per territory",
        sql: include_str!("../sql/reports/use-per-territory.sql"),
    },
];

impl Report {
    /// The report of a name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn named(name: &str) -> Result<&'static Self, WarehouseError> {
        let found = REPORTS.iter().find(|report| report.name == name);
        found.ok_or_else(|| WarehouseError::NoReport { name: name.to_owned() })
    }

    /// Its rows over the local days from `from` to `to`, both included.
    ///
    /// # Errors
    /// Where the query fails.
    pub async fn rows(
        &self,
        session: &Session,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Rows, WarehouseError> {
        session.query(self.sql, vec![("from", day(from)), ("to", day(to))]).await
    }

    /// Its rows as a page of their own.
    ///
    /// # Errors
    /// Where a column has no written form.
    pub fn html(
        &self,
        rows: &Rows,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<String, WarehouseError> {
        page::table_page(self.title_en, self.title_lv, &format!("{from} – {to}"), rows)
    }
}
