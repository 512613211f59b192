//! Reports: the shipped queries over some days, for people and for their tools.

use chrono::NaiveDate;
use datafusion::scalar::ScalarValue;

use crate::{
    error::WarehouseError,
    page::{self, Picture},
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
    /// What its picture shows.
    pub picture: Picture,
    sql: &'static str,
}

/// The smallest count of people that anything published or reported shows.
pub const FEWEST: i64 = 5;

macro_rules! reports {
    ($($name:literal $title_lv:literal $title_en:literal $picture:ident $of:tt;)*) => {
        /// Every report.
        pub const REPORTS: &[Report] = &[$(Report {
            name: $name,
            title_lv: $title_lv,
            title_en: $title_en,
            picture: Picture::$picture $of,
            sql: include_str!(concat!("../sql/reports/", $name, ".sql")),
        }),*];
    };
}

reports! {
    "use-per-instruction" "Atvieglojumu izmantošana pa norādījumiem" "Use of benefits per instruction"
        Bars("instruction", "benefit_eur");
    "use-per-benefit" "Atvieglojumu izmantošana pa atvieglojumiem" "Use of benefits per benefit"
        Bars("benefit", "benefit_eur");
    "use-per-grantor" "Atvieglojumu izmantošana pa devējiem" "Use of benefits per grantor"
        Bars("grantor", "grantor_eur");
    "use-per-merchant" "Atvieglojumu izmantošana pa tirgotājiem" "Use of benefits per merchant"
        Bars("merchant", "benefit_eur");
    "use-per-merchant-and-day" "Darījumi un atvieglojumi pa tirgotājiem un dienām"
        "Sales and benefits per merchant and day" Days("benefit_eur");
    "use-per-place" "Atvieglojumu izmantošana pa vietām" "Use of benefits per place"
        Bars("place", "benefit_eur");
    "use-per-territory" "Atvieglojumu izmantošana pa teritorijām" "Use of benefits per territory"
        Bars("territory", "benefit_eur");
    "use-per-age-band" "Atvieglojumu izmantošana pa vecuma grupām" "Use of benefits per age band"
        Bars("age_band", "benefit_eur");
    "budgets" "Budžeti, to atlikums un prognoze" "Budgets, what is left, and a forecast"
        Bars("instruction", "left_over");
    "budgets-settled" "Budžeti un no tiem norēķinātais" "Budgets against what was settled"
        Bars("instruction", "settled_eur");
    "refusals" "Kāpēc atvieglojums netika piemērots" "Why nothing was given"
        Bars("reason", "authorisations");
    "points" "Lojalitātes punkti" "Loyalty points" Bars("benefit", "owed");
    "settled" "Norēķini pa devējiem un mēnešiem" "Settled per grantor and month"
        Bars("grantor", "payable_eur");
    "centre-quality" "Klientu apkalpošanas centru kvalitāte un subsīdija"
        "Quality of service centres, and the subsidy" Sums("centre", "subsidy_eur", "service");
    "remote-consultations" "Attālinātās konsultācijas" "Remote consultations"
        Bars("centre", "consultations");
    "e-services" "Tirgotāju e-pakalpojumu izmantošana" "Use of merchants' e-services"
        Bars("e_service", "uses");
    "indicators" "Rādītāji RR1–RR6" "Indicators RR1 to RR6"
        Bars("indicator", "percent_of_target");
    "data-quality" "Datu kvalitāte" "Data quality" Bars("kind", "found");
}

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
        // Whoever got another pseudonym meanwhile counts once more.
        let names = i64::try_from(session.names(from, to)).unwrap_or(i64::MAX);
        let fewest = ScalarValue::Int64(Some(FEWEST.saturating_mul(names)));
        let parameters = [("from", day(from)), ("to", day(to)), ("fewest", fewest)];
        session.query_with(self.sql, parameters).await
    }

    /// Its rows as a page of their own, with a picture where they have anything to show.
    ///
    /// # Errors
    /// Where a column has no written form.
    pub fn html(
        &self,
        rows: &Rows,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<String, WarehouseError> {
        page::report((self.title_en, self.title_lv), (from, to), rows, self.picture)
    }
}
