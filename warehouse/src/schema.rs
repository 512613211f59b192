//! The tables' schemas, once. Columns are added, never re-meant.

use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

mod anomalies;
mod authorisation_events;
mod authorisations;
mod benefit_lines;
mod calls;
mod centre_quality;
mod dead_letters;
mod entitlements;
mod indicators;
mod late_rows;
mod means;
mod official_availability;
mod persons;
mod points_entries;
mod portal_usage;
mod registry;
mod services;
mod settlement_lines;
mod settlement_statements;
mod transaction_lines;
mod usage_by_minute;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    /// True or false.
    Flag,
    /// Euro with two decimals, `DECIMAL(18,2)`.
    Money,
    /// A quantity with three decimals, `DECIMAL(18,3)`.
    Quantity,
    /// A number of double precision: degrees, means; never money.
    Float,
    /// An instant in UTC, in microseconds.
    Instant,
    /// A local day.
    Day,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be missing.
    pub optional: bool,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// What a row is.
    pub about: &'static str,
    /// Whether it is partitioned by the local `date`: facts are, states are not.
    pub by_date: bool,
    /// Of a state: what identifies a thing, whose newest row stands in `<name>_current`.
    pub key: &'static [&'static str],
    /// Its columns, in order; those that queries filter by come first.
    pub columns: &'static [Column],
}

/// Every table, facts first.
pub const TABLES: &[&Table] = &[
    &authorisations::TABLE,
    &authorisation_events::TABLE,
    &benefit_lines::TABLE,
    &transaction_lines::TABLE,
    &points_entries::TABLE,
    &calls::TABLE,
    &services::TABLE,
    &portal_usage::TABLE,
    &dead_letters::TABLE,
    &usage_by_minute::TABLE,
    &anomalies::TABLE,
    &late_rows::TABLE,
    &persons::TABLE,
    &means::TABLE,
    &entitlements::TABLE,
    &official_availability::TABLE,
    &centre_quality::TABLE,
    &settlement_statements::TABLE,
    &settlement_lines::TABLE,
    &indicators::TABLE,
    &registry::GRANTORS,
    &registry::MERCHANTS,
    &registry::PLACES,
    &registry::TERMINALS,
    &registry::CATALOGUE,
    &registry::CONTRACTS,
    &registry::ISSUERS,
    &registry::GROUPS,
    &registry::BENEFITS,
    &registry::INSTRUCTIONS,
    &registry::LIMITS,
    &registry::E_SERVICES,
    &registry::CENTRES,
    &registry::INSTITUTIONS,
    &registry::OFFICIALS,
    &registry::SERVICES,
    &registry::SUBSIDIES,
];

/// Tables beside ours: an operator's own, each as long as the process lives.
static MORE: RwLock<Vec<&'static Table>> = RwLock::new(Vec::new());

/// Every table that this process knows, ours first.
#[must_use]
pub fn all() -> Vec<&'static Table> {
    let more = MORE.read().unwrap_or_else(PoisonError::into_inner);
    TABLES.iter().chain(more.iter()).copied().collect()
}

/// The table of a name.
#[must_use]
pub fn table(name: &str) -> Option<&'static Table> {
    all().into_iter().find(|table| table.name == name)
}

/// Makes a table of an operator's own known to this process, once; whoever tells the same again gets
/// the same. None where another one of its name is known.
#[must_use]
pub fn add(name: &str, columns: Vec<(String, Kind, bool)>) -> Option<&'static Table> {
    let alike = |known: &Table| {
        let known = known.columns.iter();
        known
            .map(|known| (known.name, known.kind, known.optional))
            .eq(columns.iter().map(|(name, kind, optional)| (name.as_str(), *kind, *optional)))
    };
    let mut more = MORE.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = TABLES.iter().chain(more.iter()).find(|known| known.name == name) {
        return alike(known).then_some(*known);
    }
    let table = unlisted(name, columns);
    more.push(table);
    Some(table)
}

/// A table that nobody asks: what a pipeline fills outside the warehouse. It stays for as long as the
/// process lives.
#[must_use]
pub fn unlisted(name: &str, columns: Vec<(String, Kind, bool)>) -> &'static Table {
    let by_date = columns.iter().any(|of| *of == ("date".to_owned(), Kind::Day, false));
    let column = |(name, kind, optional): (String, Kind, bool)| {
        let name: &'static str = name.leak();
        Column { name, kind, optional }
    };
    Box::leak(Box::new(Table {
        name: name.to_owned().leak(),
        about: "an operator's own",
        by_date,
        key: &[],
        columns: columns.into_iter().map(column).collect::<Vec<_>>().leak(),
    }))
}

impl Table {
    /// The table's schema.
    #[must_use]
    pub fn arrow(&self) -> SchemaRef {
        let fields = self
            .columns
            .iter()
            .map(|column| Field::new(column.name, column.kind.arrow(), column.optional));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The table's schema as queries work on it.
    pub(crate) fn as_queried(&self) -> SchemaRef {
        let schema = self.arrow();
        let fields = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Utf8 => field.as_ref().clone().with_data_type(DataType::Utf8View),
            _ => field.as_ref().clone(),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// How rows are sorted within a file: by day, then by what queries filter by.
    #[must_use]
    pub fn order(&self) -> Vec<&'static str> {
        let day = self.by_date.then_some("date");
        let first = self.columns.iter().map(|column| column.name).filter(|name| *name != "date");
        day.into_iter().chain(first.take(SORTED)).collect()
    }

    /// The columns whose least and greatest values are kept for each file: the first ones, by which
    /// queries filter, and where and when a row's record stands.
    #[must_use]
    pub fn indexed(&self) -> Vec<&'static str> {
        let placed = ["source_partition", "source_offset", "occurred_at", "recorded_at"];
        let names = self.columns.iter().map(|column| column.name).filter(|name| *name != "date");
        let wanted = names.enumerate().filter(|(at, name)| *at < INDEXED || placed.contains(name));
        wanted.map(|(_, name)| name).collect()
    }

    /// What says of two rows of a key which one is newer: the place of its record in the stream, or
    /// when it was computed.
    #[must_use]
    pub fn newer_by(&self) -> &'static str {
        if self.is_placed() { OFFSET.name } else { COMPUTED.name }
    }

    /// Whether each row says which record it is of.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        self.columns.iter().any(|column| column.name == OFFSET.name)
    }

    /// The stream that the pipeline of one of our tables reads. What is made of several streams, or of
    /// other tables, has none; so has an operator's own, whose columns say what its author likes.
    #[must_use]
    pub fn stream(&self) -> Option<&'static str> {
        let is_ours = TABLES.iter().any(|table| table.name == self.name);
        match self.name {
            _ if !is_ours => None,
            "authorisations"
            | "authorisation_events"
            | "benefit_lines"
            | "transaction_lines"
            | "points_entries"
            | "usage_by_minute"
            | "anomalies" => Some("authorisations"),
            "persons" | "entitlements" => Some("entitlements"),
            "calls" | "services" | "official_availability" => Some("service-events"),
            "means" => Some("means-changes"),
            "portal_usage" => Some("portal-events"),
            "dead_letters" => Some("dead-letters"),
            name if name.starts_with("registry_") => Some("registry-changes"),
            _ => None,
        }
    }

    /// The columns by which single things are looked up; large files have bloom filters for them.
    pub fn looked_up(&self) -> impl Iterator<Item = &'static str> {
        let columns = self.columns.iter().map(|column| column.name);
        columns.filter(|name| LOOKED_UP.contains(name))
    }
}

/// Columns that rows are sorted by, after the day.
const SORTED: usize = 3;
/// Columns that have statistics because they come first.
const INDEXED: usize = 8;
/// What single things are looked up by.
const LOOKED_UP: &[&str] = &["authorisation_id", "recipient", "token", "terminal_id"];

impl Kind {
    /// What holds values of a type as queries make them, if anything does.
    #[must_use]
    pub fn of(data_type: &DataType) -> Option<Self> {
        const KINDS: [Kind; 9] = [
            Kind::Text,
            Kind::Integer,
            Kind::Long,
            Kind::Flag,
            Kind::Money,
            Kind::Quantity,
            Kind::Float,
            Kind::Instant,
            Kind::Day,
        ];
        if *data_type == DataType::Timestamp(TimeUnit::Microsecond, None) {
            return Some(Self::Instant);
        }
        KINDS.into_iter().find(|kind| kind.arrow() == *data_type)
    }

    /// The type in Arrow.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Flag => DataType::Boolean,
            Self::Money => DataType::Decimal128(18, 2),
            Self::Quantity => DataType::Decimal128(18, 3),
            Self::Float => DataType::Float64,
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Day => DataType::Date32,
        }
    }
}

const fn must(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, optional: false }
}

const fn may(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, optional: true }
}

/// Where a row's record stands in its stream.
const PARTITION: Column = must("source_partition", Kind::Integer);
/// Its offset there.
const OFFSET: Column = must("source_offset", Kind::Long);
/// When the record was recorded.
const RECORDED: Column = must("recorded_at", Kind::Instant);
/// When it happened.
const OCCURRED: Column = must("occurred_at", Kind::Instant);
/// When a summary's row was computed.
const COMPUTED: Column = must("computed_at", Kind::Instant);
/// The local day.
const DATE: Column = must("date", Kind::Day);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_a_date_and_states_a_key() {
        for table in TABLES {
            let has = |name: &str| table.columns.iter().any(|column| column.name == name);
            assert_eq!(table.by_date, has("date"), "{}", table.name);
            assert_eq!(table.by_date, table.key.is_empty(), "{}", table.name);
            assert!(table.key.iter().all(|key| has(key)), "{}", table.name);
            assert!(table.key.is_empty() || has(table.newer_by()), "{}", table.name);
        }
    }

    #[test]
    fn rows_are_sorted_and_found_by_columns_that_are_there() {
        for table in TABLES {
            let has = |name: &&str| table.columns.iter().any(|column| column.name == *name);
            assert!(table.order().iter().all(has), "{}", table.name);
            assert!(table.order().len() > 1, "{}", table.name);
            assert!(table.indexed().iter().all(has), "{}", table.name);
            assert!(!table.indexed().contains(&"date"), "{}: its folder says it", table.name);
        }
        let lines = table("benefit_lines").expect("a table");
        assert_eq!(lines.order(), ["date", "grantor_id", "merchant_id", "instruction_id"]);
        let looked_up: Vec<_> = lines.looked_up().collect();
        assert_eq!(looked_up, ["terminal_id", "authorisation_id", "recipient"]);
    }

    #[test]
    fn no_table_holds_what_identifies_a_person() {
        for column in TABLES.iter().flat_map(|table| table.columns) {
            let forbidden = ["person_code", "birth_date", "card", "value", "person"];
            assert!(!forbidden.contains(&column.name), "{}", column.name);
        }
    }
}
