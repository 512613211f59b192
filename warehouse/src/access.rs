//! What a reader may see of the tables, by role: a merchant its own rows, a grantor its own, analysts the
//! pseudonymous tables, finance the statements. Every door to SQL goes through this.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use crate::schema::Table;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// What they are called in the query log.
    pub name: Arc<str>,
    /// What they see.
    pub view: View,
}

/// What somebody sees of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// All: administrators.
    Everything,
    /// Everything but statements and accounts: analysts.
    Analyst,
    /// Statements, and the lines that they sum: finance.
    Finance,
    /// The rows of one grantor.
    Grantor(Arc<str>),
    /// The rows of one merchant.
    Merchant(Arc<str>),
}

/// Which rows of a table somebody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// None: for them there is no such table.
    Nothing,
    /// All of them.
    All,
    /// Those with a value in a column.
    Rows(&'static str, Arc<str>),
    /// Those of a grantor's benefits, which do not name it themselves.
    OfBenefits(Arc<str>),
}

/// What of the registry anybody may know who may ask at all.
const PUBLIC: [&str; 11] = [
    "registry_grantors",
    "registry_merchants",
    "registry_places",
    "registry_terminals",
    "registry_issuers",
    "registry_benefits",
    "registry_instructions",
    "registry_e_services",
    "registry_centres",
    "registry_institutions",
    "registry_services",
];
/// What finance sees beside statements and the public registry.
const OF_FINANCE: [&str; 3] = ["benefit_lines", "registry_contracts", LIMITS];
/// How much of a benefit there is: its grantor's to know, not its merchants'.
const LIMITS: &str = "registry_limits";
/// Points that a grantor funds, and what undid them.
pub(crate) const POINTS: &str = "points_entries";
pub(crate) const EVENTS: &str = "authorisation_events";
/// What a grantor sees by whose benefit it is about.
const OF_BENEFITS: [&str; 3] = [LIMITS, POINTS, EVENTS];

impl View {
    /// Its name in the query log and in settings.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Everything => "administrator",
            Self::Analyst => "analyst",
            Self::Finance => "finance",
            Self::Grantor(_) => "grantor",
            Self::Merchant(_) => "merchant",
        }
    }

    /// Which rows of a table it shows.
    pub(crate) fn part(&self, table: &Table) -> Part {
        let settles = table.name.starts_with("settlement_");
        let is_public = PUBLIC.contains(&table.name);
        let seen = |seen: bool| if seen { Part::All } else { Part::Nothing };
        match self {
            Self::Everything => Part::All,
            Self::Analyst => seen(!settles),
            Self::Finance => seen(settles || is_public || OF_FINANCE.contains(&table.name)),
            Self::Grantor(id) if OF_BENEFITS.contains(&table.name) => {
                Part::OfBenefits(Arc::clone(id))
            }
            Self::Grantor(id) => own(table, "grantor_id", id, is_public),
            Self::Merchant(id) => own(table, "merchant_id", id, is_public),
        }
    }

    /// Whether a column's values are shown; those of others read as missing.
    pub(crate) fn shows(&self, table: &Table, column: &str) -> bool {
        match (table.name, column) {
            // What stays when pseudonyms rotate would tell who became whom.
            ("means", "token") | ("persons", "sequence") => matches!(self, Self::Everything),
            (_, "iban") => matches!(self, Self::Everything | Self::Finance),
            // Whose benefit it was is nobody's business but the analysts', who see pseudonyms.
            (_, "recipient") => matches!(self, Self::Everything | Self::Analyst),
            _ => true,
        }
    }

    /// A table's columns as it shows them: what is hidden may be missing, though it has to be there.
    pub(crate) fn readable(&self, table: &Table, schema: &SchemaRef) -> SchemaRef {
        let fields = schema.fields().iter().map(|field| {
            let may_be_missing = field.is_nullable() || !self.shows(table, field.name());
            field.as_ref().clone().with_nullable(may_be_missing)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// The rows that name an organisation; what names none is shown where it is public.
fn own(table: &Table, column: &'static str, id: &Arc<str>, is_public: bool) -> Part {
    if table.columns.iter().any(|known| known.name == column) {
        return Part::Rows(column, Arc::clone(id));
    }
    if is_public { Part::All } else { Part::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    fn parts(view: &View) -> Vec<(&'static str, Part)> {
        let tables = schema::TABLES.iter();
        tables.map(|table| (table.name, view.part(table))).collect()
    }

    fn part(view: &View, table: &str) -> Part {
        parts(view).into_iter().find(|(name, _)| *name == table).expect("a table").1
    }

    #[test]
    fn a_merchant_sees_its_own_rows_and_what_is_public() {
        let view = View::Merchant("corner".into());
        let own = Part::Rows("merchant_id", "corner".into());
        for table in ["benefit_lines", "authorisations", "settlement_statements"] {
            assert_eq!(part(&view, table), own, "{table}");
        }
        assert_eq!(part(&view, "registry_benefits"), Part::All);
        for table in ["persons", "entitlements", "means", "dead_letters", "registry_groups"] {
            assert_eq!(part(&view, table), Part::Nothing, "{table}");
        }
        // Whatever is added later: what names no merchant and is not public is not shown.
        for (name, part) in parts(&view) {
            assert!(part != Part::All || PUBLIC.contains(&name), "{name}");
        }
    }

    #[test]
    fn limits_are_told_to_their_grantor_and_to_finance() {
        let limits = |view: View| part(&view, LIMITS);
        assert_eq!(limits(View::Grantor("riga".into())), Part::OfBenefits("riga".into()));
        assert_eq!(limits(View::Finance), Part::All);
        assert_eq!(limits(View::Merchant("corner".into())), Part::Nothing);
    }

    #[test]
    fn a_grantor_sees_rows_that_are_its_own_alone() {
        let view = View::Grantor("riga".into());
        assert_eq!(part(&view, "benefit_lines"), Part::Rows("grantor_id", "riga".into()));
        for table in OF_BENEFITS {
            assert_eq!(part(&view, table), Part::OfBenefits("riga".into()), "{table}");
        }
        for table in ["authorisations", "persons", "means", "transaction_lines"] {
            assert_eq!(part(&view, table), Part::Nothing, "{table}");
        }
        for (name, part) in parts(&view) {
            assert!(part != Part::All || PUBLIC.contains(&name), "{name}");
        }
    }

    #[test]
    fn analysts_see_no_statements_and_finance_sees_no_people() {
        assert_eq!(part(&View::Analyst, "settlement_lines"), Part::Nothing);
        assert_eq!(part(&View::Analyst, "persons"), Part::All);
        assert_eq!(part(&View::Finance, "settlement_lines"), Part::All);
        assert_eq!(part(&View::Finance, "persons"), Part::Nothing);
        let shows = |view: View, table: &str, column: &str| {
            view.shows(schema::table(table).expect("a table"), column)
        };
        assert!(!shows(View::Analyst, "registry_grantors", "iban"));
        assert!(shows(View::Finance, "registry_grantors", "iban"));
        assert!(shows(View::Analyst, "benefit_lines", "recipient"));
        assert!(!shows(View::Finance, "benefit_lines", "recipient"));
        assert!(
            !shows(View::Analyst, "means", "token") && shows(View::Everything, "means", "token")
        );
    }
}
