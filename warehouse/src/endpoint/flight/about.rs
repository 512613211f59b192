//! What the server says of itself. The JDBC driver takes what is missing here for an error, so that all
//! of it is answered.

use std::collections::BTreeMap;

use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel,
    SqlSupportedCaseSensitivity, SqlSupportedGroupBy, SqlSupportedResultSetConcurrency,
    SqlSupportedResultSetType, SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions,
    SqlTransactionIsolationLevel, SupportedSqlGrammar, XdbcDataType, XdbcDatetimeSubcode,
    metadata::{
        SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
    },
};
use datafusion::execution::SessionState;

use crate::endpoint::{Limits, statement::MOST_TABLES};

/// What holds here.
const HOLDS: [SqlInfo; 12] = [
    SqlInfo::FlightSqlServerReadOnly,
    SqlInfo::FlightSqlServerSql,
    SqlInfo::SqlAllTablesAreSelectable,
    SqlInfo::SqlSupportsColumnAliasing,
    SqlInfo::SqlNullPlusNullIsNull,
    SqlInfo::SqlSupportsTableCorrelationNames,
    SqlInfo::SqlSupportsExpressionsInOrderBy,
    SqlInfo::SqlSupportsOrderByUnrelated,
    SqlInfo::SqlSupportsLikeEscapeClause,
    SqlInfo::SqlSupportsNonNullableColumns,
    SqlInfo::SqlCatalogAtStart,
    SqlInfo::SqlCorrelatedSubqueriesSupported,
];

/// What does not: nothing is written or defined, and there are no transactions, for every statement sees
/// one state of all tables.
const DOES_NOT_HOLD: [SqlInfo; 20] = [
    SqlInfo::FlightSqlServerSubstrait,
    SqlInfo::FlightSqlServerCancel,
    SqlInfo::FlightSqlServerBulkIngestion,
    SqlInfo::FlightSqlServerIngestTransactionsSupported,
    SqlInfo::SqlDdlCatalog,
    SqlInfo::SqlDdlSchema,
    SqlInfo::SqlDdlTable,
    SqlInfo::SqlSupportsIntegrityEnhancementFacility,
    SqlInfo::SqlSelectForUpdateSupported,
    SqlInfo::SqlStoredProceduresSupported,
    SqlInfo::SqlMaxRowSizeIncludesBlobs,
    SqlInfo::SqlTransactionsSupported,
    SqlInfo::SqlDataDefinitionCausesTransactionCommit,
    SqlInfo::SqlDataDefinitionsInTransactionsIgnored,
    SqlInfo::SqlBatchUpdatesSupported,
    SqlInfo::SqlSavepointsSupported,
    SqlInfo::SqlNamedParametersSupported,
    SqlInfo::SqlLocatorsUpdateCopy,
    SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported,
    // A table may be called in a statement as another one is.
    SqlInfo::SqlSupportsDifferentTableCorrelationNames,
];

/// Lengths and numbers of which there is no most, or none that is known.
const UNBOUNDED: [SqlInfo; 18] = [
    SqlInfo::SqlMaxBinaryLiteralLength,
    SqlInfo::SqlMaxCharLiteralLength,
    SqlInfo::SqlMaxColumnNameLength,
    SqlInfo::SqlMaxColumnsInGroupBy,
    SqlInfo::SqlMaxColumnsInIndex,
    SqlInfo::SqlMaxColumnsInOrderBy,
    SqlInfo::SqlMaxColumnsInSelect,
    SqlInfo::SqlMaxColumnsInTable,
    SqlInfo::SqlMaxCursorNameLength,
    SqlInfo::SqlMaxIndexLength,
    SqlInfo::SqlDbSchemaNameLength,
    SqlInfo::SqlMaxProcedureNameLength,
    SqlInfo::SqlMaxCatalogNameLength,
    SqlInfo::SqlMaxRowSize,
    SqlInfo::SqlMaxStatementLength,
    SqlInfo::SqlMaxStatements,
    SqlInfo::SqlMaxTableNameLength,
    SqlInfo::SqlMaxUsernameLength,
];

/// Nothing of what a set could have.
const NONE_OF: [SqlInfo; 6] = [
    SqlInfo::SqlSchemasSupportedActions,
    SqlInfo::SqlCatalogsSupportedActions,
    SqlInfo::SqlSupportedPositionedCommands,
    SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified,
    SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive,
    SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive,
];

/// Which functions of the engine are told under which name.
const FUNCTIONS: [(SqlInfo, &str); 4] = [
    (SqlInfo::SqlNumericFunctions, "Math Functions"),
    (SqlInfo::SqlStringFunctions, "String Functions"),
    (SqlInfo::SqlSystemFunctions, "Other Functions"),
    (SqlInfo::SqlDatetimeFunctions, "Time and Date Functions"),
];

/// What the server says of itself and of its SQL.
pub(super) fn server(limits: &Limits, engine: &SessionState) -> SqlInfoData {
    let mut about = SqlInfoDataBuilder::new();
    for of in HOLDS {
        about.append(of, true);
    }
    for of in DOES_NOT_HOLD {
        about.append(of, false);
    }
    for of in UNBOUNDED {
        about.append(of, 0_i64);
    }
    for of in NONE_OF {
        about.append(of, 0_i32);
    }
    for (of, section) in FUNCTIONS {
        about.append(of, functions(engine, section));
    }
    texts(&mut about);
    numbers(&mut about, limits);
    about.build().expect("what is said of the server is well formed")
}

fn texts(about: &mut SqlInfoDataBuilder) {
    for (of, text) in [
        (SqlInfo::FlightSqlServerName, "AVIS"),
        (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
        (SqlInfo::FlightSqlServerArrowVersion, "1.3"),
        (SqlInfo::SqlIdentifierQuoteChar, "\""),
        (SqlInfo::SqlSearchStringEscape, "\\"),
        (SqlInfo::SqlExtraNameCharacters, ""),
        (SqlInfo::SqlSchemaTerm, "schema"),
        (SqlInfo::SqlProcedureTerm, "function"),
        (SqlInfo::SqlCatalogTerm, "database"),
    ] {
        about.append(of, text);
    }
    // Beside those of SQL:2003, which are not to be told.
    about.append(SqlInfo::SqlKeywords, Vec::<String>::new());
    about.append(SqlInfo::SqlSupportsConvert, BTreeMap::<i32, Vec<i32>>::new());
}

fn numbers(about: &mut SqlInfoDataBuilder, limits: &Limits) {
    let timeout = i32::try_from(limits.timeout.as_millis()).unwrap_or(i32::MAX);
    let lower = SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase;
    // As written: what is quoted may have any letters.
    let any = SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive;
    let bit = |at: i32| 1_i32 << at;
    for (of, number) in [
        (SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None.into()),
        (SqlInfo::FlightSqlServerStatementTimeout, timeout),
        (SqlInfo::FlightSqlServerTransactionTimeout, 0),
        (SqlInfo::SqlIdentifierCase, lower.into()),
        (SqlInfo::SqlQuotedIdentifierCase, any.into()),
        (SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh.into()),
        (
            SqlInfo::SqlSupportedGroupBy,
            bit(SqlSupportedGroupBy::SqlGroupByUnrelated.into())
                | bit(SqlSupportedGroupBy::SqlGroupByBeyondSelect.into()),
        ),
        (
            SqlInfo::SqlSupportedGrammar,
            bit(SupportedSqlGrammar::SqlMinimumGrammar.into())
                | bit(SupportedSqlGrammar::SqlCoreGrammar.into()),
        ),
        // Its entry level.
        (SqlInfo::SqlAnsi92SupportedLevel, bit(0)),
        (
            SqlInfo::SqlOuterJoinsSupportLevel,
            bit(SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins.into())
                | bit(SqlOuterJoinsSupportLevel::SqlFullOuterJoins.into()),
        ),
        (
            SqlInfo::SqlSupportedSubqueries,
            bit(SqlSupportedSubqueries::SqlSubqueriesInComparisons.into())
                | bit(SqlSupportedSubqueries::SqlSubqueriesInExists.into())
                | bit(SqlSupportedSubqueries::SqlSubqueriesInIns.into()),
        ),
        (
            SqlInfo::SqlSupportedUnions,
            bit(SqlSupportedUnions::SqlUnion.into()) | bit(SqlSupportedUnions::SqlUnionAll.into()),
        ),
        (
            SqlInfo::SqlDefaultTransactionIsolation,
            SqlTransactionIsolationLevel::SqlTransactionNone.into(),
        ),
        (
            SqlInfo::SqlSupportedTransactionsIsolationLevels,
            bit(SqlTransactionIsolationLevel::SqlTransactionNone.into()),
        ),
        (
            SqlInfo::SqlSupportedResultSetTypes,
            bit(SqlSupportedResultSetType::SqlResultSetTypeForwardOnly.into()),
        ),
        (
            SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly,
            bit(SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly.into()),
        ),
    ] {
        about.append(of, number);
    }
    let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    about.append(SqlInfo::SqlMaxConnections, whole(limits.connections));
    about.append(SqlInfo::SqlMaxTablesInSelect, whole(MOST_TABLES));
}

/// The functions of a section, as the engine has them.
fn functions(engine: &SessionState, section: &str) -> Vec<String> {
    let all = engine.scalar_functions().iter();
    let of = all.filter(|(_, function)| {
        function.documentation().is_some_and(|about| about.doc_section.label == section)
    });
    let mut names: Vec<_> = of.map(|(name, _)| name.clone()).collect();
    names.sort_unstable();
    names
}

/// A type that columns of tables have: how it is called, what it is to JDBC, how many digits or
/// characters it has, and how many of those stand behind the point.
type Known = (&'static str, XdbcDataType, Option<i32>, Option<i32>);

const TYPES: [Known; 8] = [
    ("BOOLEAN", XdbcDataType::XdbcBit, Some(1), None),
    ("INTEGER", XdbcDataType::XdbcInteger, Some(10), Some(0)),
    ("BIGINT", XdbcDataType::XdbcBigint, Some(19), Some(0)),
    ("DECIMAL", XdbcDataType::XdbcDecimal, Some(38), Some(38)),
    ("DOUBLE PRECISION", XdbcDataType::XdbcDouble, Some(15), None),
    ("VARCHAR", XdbcDataType::XdbcVarchar, None, None),
    ("DATE", XdbcDataType::XdbcDate, Some(10), None),
    ("TIMESTAMP WITH TIME ZONE", XdbcDataType::XdbcTimestamp, Some(32), Some(6)),
];

/// The types that columns of tables have.
pub(super) fn types() -> XdbcTypeInfoData {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, data_type, size, scale) in TYPES {
        let is_decimal = data_type == XdbcDataType::XdbcDecimal;
        let is_double = data_type == XdbcDataType::XdbcDouble;
        let is_number = is_decimal
            || is_double
            || matches!(data_type, XdbcDataType::XdbcInteger | XdbcDataType::XdbcBigint);
        let datetime_subcode = match data_type {
            // The code of a day is that of a year.
            XdbcDataType::XdbcDate => Some(XdbcDatetimeSubcode::XdbcSubcodeYear),
            XdbcDataType::XdbcTimestamp => Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
            _ => None,
        };
        let is_quoted = datetime_subcode.is_some() || data_type == XdbcDataType::XdbcVarchar;
        let quote = is_quoted.then(|| "'".to_owned());
        let parameters = ["precision", "scale"].map(str::to_owned).to_vec();
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type,
            column_size: size,
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            create_params: is_decimal.then_some(parameters),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: data_type == XdbcDataType::XdbcVarchar,
            searchable: Searchable::Full,
            unsigned_attribute: is_number.then_some(false),
            fixed_prec_scale: false,
            auto_increment: is_number.then_some(false),
            local_type_name: Some(name.to_owned()),
            minimum_scale: scale.map(|_| 0),
            maximum_scale: scale,
            sql_data_type: match datetime_subcode {
                Some(_) => XdbcDataType::XdbcDatetime,
                None => data_type,
            },
            datetime_subcode,
            num_prec_radix: is_number.then_some(10),
            interval_precision: None,
        });
    }
    types.build().expect("what is said of types is well formed")
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn all_that_the_driver_may_ask_is_answered() {
        let about = server(&Limits::default(), &SessionContext::new().state());
        // The versions of Substrait are those of nothing.
        let known = (0..=11).filter(|number| !matches!(number, 6 | 7));
        for number in known.chain(100..=101).chain(500..=576) {
            let of = SqlInfo::try_from(number).expect("a number that Flight SQL knows");
            let asked = u32::try_from(number).expect("no negative number");
            let told = about.record_batch([asked]).expect("an answer");
            assert_eq!(told.num_rows(), 1, "{of:?}");
        }
    }

    #[test]
    fn functions_are_those_that_the_engine_has() {
        let state = SessionContext::new().state();
        assert!(functions(&state, "String Functions").contains(&"upper".to_owned()));
        assert!(functions(&state, "Time and Date Functions").contains(&"date_trunc".to_owned()));
        assert!(functions(&state, "No Functions").is_empty());
    }

    #[test]
    fn types_are_told_one_by_one_or_all() {
        let types = types();
        assert_eq!(types.record_batch(None).expect("all").num_rows(), TYPES.len());
        let decimal = types.record_batch(i32::from(XdbcDataType::XdbcDecimal)).expect("one");
        assert_eq!(decimal.num_rows(), 1);
    }
}
