//! What may be asked: a list, and whatever is not on it is refused, whichever door it came through.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        CloseCursor, ContextModifier, CopyLegacyCsvOption, CopyLegacyOption, CopyOption,
        CopySource, CopyTarget, DeclareType, DiscardObject, Expr, FetchDirection, Ident,
        ObjectName, Query, Set, SetExpr, Statement, Value, ValueWithSpan, Visit, VisitMut, Visitor,
        VisitorMut,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

/// A statement that may be asked.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// A query, or how one would be answered.
    Query(Box<Statement>),
    /// `COPY (query) TO STDOUT`.
    Copy(Box<Statement>, CopyForm),
    /// A setting of the connection.
    Set(String, String),
    /// A setting that is taken and means nothing here.
    Ignored(&'static str),
    /// What a setting is.
    Show(String),
    /// A transaction begins, ends, is given up.
    Begin,
    Commit,
    Rollback,
    /// A transaction goes on from a savepoint.
    RollbackTo,
    /// A cursor over a query.
    Declare(String, Box<Statement>),
    /// Rows of a cursor: so many, or all.
    Fetch(String, Option<usize>),
    /// A cursor, or all of them, are closed.
    Close(Option<String>),
    /// Everything that the connection holds is let go.
    DiscardAll,
    /// A prepared statement, or all of them, are let go.
    Deallocate(Option<String>),
}

/// How `COPY` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CopyForm {
    Binary,
    Text { delimiter: String, null: String },
    Csv { delimiter: String, null: String, header: bool },
}

/// Why a statement may not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The class of the refusal: `25006`, only reading is allowed, `0A000`, not supported, or `54001`,
    /// too complex.
    pub(crate) code: &'static str,
    /// In words.
    pub(crate) text: String,
}

fn read_only(statement: &Statement) -> Refused {
    let text = statement.to_string();
    let verb = text.split_whitespace().next().unwrap_or("this").to_uppercase();
    Refused { code: "25006", text: format!("cannot execute {verb}: SQL here only reads") }
}

fn unsupported(text: impl Into<String>) -> Refused {
    Refused { code: "0A000", text: text.into() }
}

/// Tables that one statement may name: to plan it takes their number squared, and cannot be cancelled.
pub(crate) const MOST_TABLES: usize = 200;

/// Sorts a statement into what may be asked.
pub(crate) fn asked(statement: Statement) -> Result<Asked, Refused> {
    few_tables(&statement)?;
    match statement {
        Statement::Query(ref query) => {
            only_reads(query).map_err(|()| read_only(&statement))?;
            Ok(Asked::Query(Box::new(statement)))
        }
        Statement::Explain { statement: ref inner, .. } => {
            let Statement::Query(query) = inner.as_ref() else { return Err(read_only(inner)) };
            only_reads(query).map_err(|()| read_only(inner))?;
            Ok(Asked::Query(Box::new(statement)))
        }
        Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. } => {
            // Their conditions may have queries inside.
            only_reads(&statement).map_err(|()| read_only(&statement))?;
            Ok(Asked::Query(Box::new(statement)))
        }
        Statement::Copy {
            source,
            to: true,
            target: CopyTarget::Stdout,
            mut options,
            legacy_options,
            ..
        } => {
            options.extend(modern(legacy_options)?);
            copy(source, &options)
        }
        Statement::Set(set) => Ok(setting(set)),
        Statement::ShowVariable { variable } => {
            let words = variable.iter().map(|word| word.value.to_lowercase());
            Ok(Asked::Show(words.collect::<Vec<_>>().join("_")))
        }
        Statement::StartTransaction { .. } => Ok(Asked::Begin),
        Statement::Commit { .. } => Ok(Asked::Commit),
        Statement::Rollback { savepoint: Some(_), .. } => Ok(Asked::RollbackTo),
        Statement::Rollback { .. } => Ok(Asked::Rollback),
        Statement::Savepoint { .. } => Ok(Asked::Ignored("SAVEPOINT")),
        Statement::ReleaseSavepoint { .. } => Ok(Asked::Ignored("RELEASE")),
        Statement::Declare { mut stmts } => match (stmts.pop(), stmts.is_empty()) {
            (Some(declared), true) if declared.declare_type == Some(DeclareType::Cursor) => {
                let name = declared.names.first().map(|name| name.value.clone());
                let query = declared.for_query.ok_or_else(|| unsupported("a cursor of nothing"))?;
                let statement = Statement::Query(query.clone());
                only_reads(&query).map_err(|()| read_only(&statement))?;
                Ok(Asked::Declare(name.unwrap_or_default(), Box::new(statement)))
            }
            _ => Err(unsupported("DECLARE is for one cursor")),
        },
        Statement::Fetch { name, direction, .. } => {
            let count =
                fetched(&direction).ok_or_else(|| unsupported("a cursor only goes forward"))?;
            Ok(Asked::Fetch(name.value, count))
        }
        Statement::Close { cursor } => Ok(Asked::Close(match cursor {
            CloseCursor::All => None,
            CloseCursor::Specific { name } => Some(name.value),
        })),
        Statement::Discard { object_type: DiscardObject::ALL } => Ok(Asked::DiscardAll),
        Statement::Discard { .. } => Ok(Asked::Ignored("DISCARD")),
        Statement::Deallocate { name, .. } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            Ok(Asked::Deallocate((!all).then_some(name.value)))
        }
        other => Err(read_only(&other)),
    }
}

fn few_tables(statement: &Statement) -> Result<(), Refused> {
    struct Tables(usize);
    impl Visitor for Tables {
        type Break = ();

        fn pre_visit_relation(&mut self, _: &ObjectName) -> ControlFlow<()> {
            self.0 += 1;
            if self.0 > MOST_TABLES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    match statement.visit(&mut Tables(0)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            let text = format!("a statement names {MOST_TABLES} tables at most");
            Err(Refused { code: "54001", text })
        }
    }
}

/// Whether no query in it does anything but read: writing may hide in a part that is only named.
fn only_reads(asked: &impl Visit) -> Result<(), ()> {
    struct Reads;
    impl Visitor for Reads {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if reads(&query.body) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    match asked.visit(&mut Reads) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(()),
    }
}

fn reads(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => reads(&query.body),
        SetExpr::SetOperation { left, right, .. } => reads(left) && reads(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => false,
    }
}

fn copy(source: CopySource, options: &[CopyOption]) -> Result<Asked, Refused> {
    let query = match source {
        CopySource::Query(query) => Statement::Query(query),
        CopySource::Table { table_name, columns } => {
            let columns = columns.iter().map(ToString::to_string).collect::<Vec<_>>();
            let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
            let text = format!("SELECT {columns} FROM {table_name}");
            let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &text);
            let parsed = parsed.ok().and_then(|mut all| all.pop());
            parsed.ok_or_else(|| unsupported("this COPY is not understood"))?
        }
    };
    if let Statement::Query(query) = &query {
        only_reads(query).map_err(|()| Refused {
            code: "25006",
            text: "cannot execute COPY: SQL here only reads".into(),
        })?;
    }
    Ok(Asked::Copy(Box::new(query), form(options)?))
}

/// Options as they are written since PostgreSQL 9; `\copy … csv header` still sends the older ones.
fn modern(legacy: Vec<CopyLegacyOption>) -> Result<Vec<CopyOption>, Refused> {
    let mut options = Vec::new();
    for option in legacy {
        match option {
            CopyLegacyOption::Binary => options.push(CopyOption::Format(Ident::new("binary"))),
            CopyLegacyOption::Delimiter(with) => options.push(CopyOption::Delimiter(with)),
            CopyLegacyOption::Null(with) => options.push(CopyOption::Null(with)),
            CopyLegacyOption::Csv(more) => {
                options.push(CopyOption::Format(Ident::new("csv")));
                options.extend(more.into_iter().map(|option| match option {
                    CopyLegacyCsvOption::Header => CopyOption::Header(true),
                    CopyLegacyCsvOption::Quote(with) => CopyOption::Quote(with),
                    CopyLegacyCsvOption::Escape(with) => CopyOption::Escape(with),
                    CopyLegacyCsvOption::ForceQuote(of) => CopyOption::ForceQuote(of),
                    CopyLegacyCsvOption::ForceNotNull(of) => CopyOption::ForceNotNull(of),
                }));
            }
            other => return Err(unsupported(format!("COPY with {other} is not supported"))),
        }
    }
    Ok(options)
}

fn form(options: &[CopyOption]) -> Result<CopyForm, Refused> {
    let (mut format, mut delimiter, mut null, mut header) =
        (String::from("text"), None, None, false);
    for option in options {
        match option {
            CopyOption::Format(name) => format = name.value.to_lowercase(),
            // One byte, as values are written byte by byte.
            CopyOption::Delimiter(with) if with.is_ascii() && !matches!(with, '\n' | '\r') => {
                delimiter = Some(with.to_string());
            }
            // As it is written anyway.
            CopyOption::Quote('"') | CopyOption::Escape('"') => {}
            CopyOption::Null(with) => null = Some(with.clone()),
            CopyOption::Header(with) => header = *with,
            CopyOption::Encoding(name) if name.eq_ignore_ascii_case("utf8") => {}
            other => return Err(unsupported(format!("COPY with {other} is not supported"))),
        }
    }
    match format.as_str() {
        "binary" => Ok(CopyForm::Binary),
        "text" => Ok(CopyForm::Text {
            delimiter: delimiter.unwrap_or_else(|| "\t".into()),
            null: null.unwrap_or_else(|| "\\N".into()),
        }),
        "csv" => Ok(CopyForm::Csv {
            delimiter: delimiter.unwrap_or_else(|| ",".into()),
            null: null.unwrap_or_default(),
            header,
        }),
        other => Err(unsupported(format!("COPY knows no format {other}"))),
    }
}

fn setting(set: Set) -> Asked {
    let text = |value: &Expr| match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    match set {
        Set::SingleAssignment { scope, variable, values, .. }
            if scope != Some(ContextModifier::Global) =>
        {
            let values: Vec<_> = values.iter().map(text).collect();
            Asked::Set(variable.to_string().to_lowercase(), values.join(", "))
        }
        Set::SetTimeZone { value, .. } => Asked::Set("timezone".into(), text(&value)),
        // Every transaction reads one state; which isolation is asked for changes nothing.
        _ => Asked::Ignored("SET"),
    }
}

fn fetched(direction: &FetchDirection) -> Option<Option<usize>> {
    let number = |value: &Value| match value {
        Value::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Some(Some(1)),
        FetchDirection::Forward { limit: Some(limit) } | FetchDirection::Count { limit } => {
            number(limit).map(Some)
        }
        FetchDirection::ForwardAll | FetchDirection::All => Some(None),
        _ => None,
    }
}

/// A statement for the query log: with `?` where it has values.
pub(crate) fn without_values(statement: &Statement) -> String {
    struct Hidden;
    impl VisitorMut for Hidden {
        type Break = ();

        fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
            value.value = Value::Placeholder("?".into());
            ControlFlow::Continue(())
        }

        /// Whoever quotes a text as other databases do means a value, though here it is a name.
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::Identifier(name) = expression
                && name.quote_style.is_some()
                && !is_plain(&name.value)
            {
                name.value = "?".into();
            }
            ControlFlow::Continue(())
        }
    }
    let mut statement = statement.clone();
    // Nothing breaks off.
    let _ = VisitMut::visit(&mut statement, &mut Hidden);
    statement.to_string()
}

/// Whether a name is one as columns have it.
fn is_plain(name: &str) -> bool {
    let is_word = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> Statement {
        let mut all = Parser::parse_sql(&PostgreSqlDialect {}, sql).expect("SQL");
        all.pop().expect("a statement")
    }

    #[test]
    fn only_what_is_listed_may_be_asked() {
        for sql in [
            "SELECT 1",
            "WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL VALUES (2)",
            "EXPLAIN ANALYZE SELECT 1",
            "COPY (SELECT 1) TO STDOUT (FORMAT binary)",
            "COPY (SELECT 1) TO STDOUT WITH CSV HEADER QUOTE '\"'",
            "COPY benefit_lines (amount) TO STDOUT",
            "DECLARE c CURSOR FOR SELECT 1",
            "FETCH FORWARD 5 FROM c",
            "SHOW server_version",
            "SET extra_float_digits = 3",
            "BEGIN",
            "DISCARD ALL",
        ] {
            assert!(asked(parsed(sql)).is_ok(), "{sql}");
        }
        let many = format!("SELECT 1 FROM a{}", ", a".repeat(MOST_TABLES));
        assert_eq!(asked(parsed(&many)).expect_err("too many tables").code, "54001");
        for sql in [
            "INSERT INTO a VALUES (1)",
            "DELETE FROM a",
            "UPDATE a SET b = 1",
            "DROP TABLE a",
            "CREATE TABLE a (b INT)",
            "CREATE TABLE a AS SELECT 1",
            "SELECT 1 INTO a",
            "WITH gone AS (DELETE FROM a RETURNING b) SELECT b FROM gone",
            "SELECT b FROM (SELECT 1 AS b INTO c) d",
            "EXPLAIN ANALYZE DELETE FROM a",
            "SHOW TABLES WHERE (WITH gone AS (DELETE FROM a RETURNING b) SELECT b FROM gone)",
            "COPY a FROM STDIN",
            "COPY (SELECT 1) TO '/etc/passwd'",
            "COPY (SELECT 1) TO STDOUT (DELIMITER 'ā')",
            "COPY (SELECT 1) TO STDOUT CSV QUOTE '|'",
            "COPY (SELECT 1) TO STDOUT GZIP",
            "COPY (SELECT 1) TO PROGRAM 'sh'",
            "TRUNCATE a",
            "GRANT ALL ON a TO b",
            "CALL a()",
            "PREPARE p AS DELETE FROM a",
            "EXECUTE p",
            "VACUUM",
        ] {
            let refused = Parser::parse_sql(&PostgreSqlDialect {}, sql).is_err()
                || asked(parsed(sql)).is_err();
            assert!(refused, "{sql}");
        }
    }

    #[test]
    fn older_options_of_copy_mean_what_newer_ones_do() {
        let form = |sql: &str| match asked(parsed(sql)) {
            Ok(Asked::Copy(_, form)) => form,
            other => panic!("{sql}: {other:?}"),
        };
        let older = form("COPY (SELECT 1) TO STDOUT WITH DELIMITER ';' NULL 'none' CSV HEADER");
        let newer =
            form("COPY (SELECT 1) TO STDOUT (FORMAT csv, HEADER, DELIMITER ';', NULL 'none')");
        assert_eq!(older, newer);
        assert_eq!(form("COPY (SELECT 1) TO STDOUT BINARY"), CopyForm::Binary);
    }

    #[test]
    fn the_query_log_has_no_values() {
        let sql = "SELECT a FROM b WHERE recipient = 'secret' AND amount > 12.5 LIMIT 7";
        let text = without_values(&parsed(sql));
        assert_eq!(text, "SELECT a FROM b WHERE recipient = ? AND amount > ? LIMIT ?");
        let sql = r#"DELETE FROM b WHERE "c" = "Jānis" OR d = DATE '1950-03-01' OR e = "320100""#;
        let text = without_values(&parsed(sql));
        assert_eq!(text, r#"DELETE FROM b WHERE "c" = "?" OR d = DATE ? OR e = "?""#);
    }
}
