//! What clients ask catalogues with and the engine lacks: `ARRAY(SELECT …)` becomes an aggregate,
//! options, privileges and descriptions of tables, of which ours have none, are null, and functions that
//! types name are compared by name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Ident, ObjectName, ObjectNamePart, OrderBy, OrderByExpr, OrderByKind, Query, SelectItem,
    SetExpr, Statement, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
    visit_expressions,
};

use super::SCHEMA;

/// Rewrites all of it; what it does not understand stays, and is refused later.
pub(super) fn rewrite(statements: &mut Vec<Statement>) {
    struct Lacking;
    impl VisitorMut for Lacking {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if is_absent(expr) {
                *expr = nothing();
            } else if let Some(arguments) = described(expr) {
                *arguments = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(nothing()))];
            } else if let Some(name) = searched(expr) {
                *expr = within_schema(name);
            } else if let Some((number, name)) = by_number(expr) {
                *number = name;
            } else if let Some(item) = looked_up(expr) {
                *item = aggregate("max", item.clone(), Vec::new());
            } else if let Some(query) = of_rows(expr) {
                if takes_nothing_apart(query) {
                    *expr = nothing();
                } else if let Some(aggregate) = aggregated(query) {
                    *expr = Expr::Subquery(Box::new(aggregate));
                }
            }
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            by_what_is_asked(query);
            ControlFlow::Continue(())
        }
    }
    // It never breaks.
    let _ = statements.visit(&mut Lacking);
}

/// Columns of `pg_class` that the catalogue lacks; each would be a list of texts.
const ABSENT: [&str; 2] = ["reloptions", "relacl"];
/// Columns of `pg_type` that name a function where PostgreSQL has its number.
const FUNCTIONS: [&str; 7] =
    ["typanalyze", "typinput", "typmodin", "typmodout", "typoutput", "typreceive", "typsend"];

fn is_absent(expr: &Expr) -> bool {
    let Expr::CompoundIdentifier(parts) = expr else { return false };
    parts.last().is_some_and(|name| ABSENT.contains(&name.value.as_str()))
}

/// Whether a query takes apart, somewhere, a list of texts that is known to be none.
fn takes_nothing_apart(query: &Query) -> bool {
    struct Unnested;
    impl Visitor for Unnested {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            stop_if(match factor {
                TableFactor::Table { name, args: Some(given), .. } => unnests(name, &given.args),
                TableFactor::Function { name, args, .. } => unnests(name, args),
                TableFactor::UNNEST { array_exprs, .. } => array_exprs.contains(&nothing()),
                _ => false,
            })
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            stop_if(match expr {
                Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) => {
                    unnests(name, &list.args)
                }
                _ => false,
            })
        }
    }
    query.visit(&mut Unnested).is_break()
}

/// Whether a call takes such a list apart.
fn unnests(name: &ObjectName, args: &[FunctionArg]) -> bool {
    let called = name.0.last().and_then(ObjectNamePart::as_ident);
    called.is_some_and(|called| called.value.eq_ignore_ascii_case("unnest"))
        && first(args).is_some_and(|list| *list == nothing())
}

fn stop_if(found: bool) -> ControlFlow<()> {
    if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// What a column's description is asked for by. It is null whatever that is, and the engine may not
/// understand it: a name that is put together and cast to the number of a table.
fn described(expr: &mut Expr) -> Option<&mut Vec<FunctionArg>> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &mut function.args else { return None };
    is_called(&function.name, "col_description").then_some(&mut list.args)
}

/// What is looked for on the search path: in rows that a client takes it apart into, as no table of the
/// engine does, or by `quote_ident(…) IN ('')`, which the parser leaves of Grafana's words for that.
fn searched(expr: &Expr) -> Option<Expr> {
    let (of, is_asked) = match expr {
        Expr::InSubquery { expr: of, subquery, negated: false } => (of, takes_path_apart(subquery)),
        Expr::InList { expr: of, list, negated: false } => {
            let Expr::Function(function) = of.as_ref() else { return None };
            let [Expr::Value(name)] = list.as_slice() else { return None };
            let is_empty = name.value == Value::SingleQuotedString(String::new());
            (of, is_empty && is_called(&function.name, "quote_ident"))
        }
        _ => return None,
    };
    is_asked.then(|| of.as_ref().clone())
}

/// Whether rows come of `string_to_array(current_setting('search_path'), …)`, all of them.
fn takes_path_apart(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let takes_apart = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: Some(given), .. } => {
            is_called(name, "string_to_array") && first(&given.args).is_some_and(is_search_path)
        }
        _ => false,
    };
    select.selection.is_none() && select.from.iter().any(|from| takes_apart(&from.relation))
}

/// `current_setting('search_path')`.
fn is_search_path(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let FunctionArguments::List(list) = &function.args else { return false };
    let Some(Expr::Value(name)) = first(&list.args) else { return false };
    let is_path = matches!(&name.value, Value::SingleQuotedString(name) if name == "search_path");
    is_path && is_called(&function.name, "current_setting")
}

fn first(args: &[FunctionArg]) -> Option<&Expr> {
    match args.first() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => Some(expr),
        _ => None,
    }
}

fn is_called(name: &ObjectName, known: &str) -> bool {
    name.to_string().eq_ignore_ascii_case(known)
}

/// Whether a name is on the search path, which is our one schema.
fn within_schema(name: Expr) -> Expr {
    let schema = Expr::value(Value::SingleQuotedString(SCHEMA.to_owned()));
    Expr::InList { expr: Box::new(name), list: vec![schema], negated: false }
}

/// The number that a column is compared with which names a function, and the name that it has to be
/// compared with.
fn by_number(expr: &mut Expr) -> Option<(&mut Expr, Expr)> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = expr else { return None };
    let number = match (names_function(left), names_function(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return None,
    };
    let name = match number.as_ref() {
        Expr::CompoundIdentifier(parts) => {
            let (last, of) = parts.split_last().filter(|(last, _)| last.value == "oid")?;
            let name = Ident { value: "proname".to_owned(), ..last.clone() };
            Expr::CompoundIdentifier(of.iter().cloned().chain([name]).collect())
        }
        Expr::Subquery(query) => Expr::value(Value::SingleQuotedString(function_of(query)?)),
        _ => return None,
    };
    Some((&mut **number, name))
}

/// What a query of one value asks of one table of the catalogue: the engine has to see that there is one
/// row at most, which a look-up by a number has.
fn looked_up(expr: &mut Expr) -> Option<&mut Expr> {
    let Expr::Subquery(query) = expr else { return None };
    let plain = query.limit_clause.is_none() && query.fetch.is_none() && query.with.is_none();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, args: None, .. } = &from.relation else { return None };
    let of = name.to_string();
    // A function is looked up by its name, of which there may be several.
    let is_known = of.starts_with("pg_catalog.pg_") && of != "pg_catalog.pg_proc";
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if !plain || !is_known || !from.joins.is_empty() || grouped || select.distinct.is_some() {
        return None;
    }
    let [SelectItem::UnnamedExpr(item)] = select.projection.as_mut_slice() else { return None };
    is_of_columns(item).then_some(item)
}

/// Whether a value is made of columns without any function, which might count rows: that is one value
/// already, and no aggregate is of another one.
fn is_of_columns(item: &Expr) -> bool {
    let is_value =
        matches!(item, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::BinaryOp { .. });
    let found = visit_expressions(item, |part| stop_if(matches!(part, Expr::Function(_))));
    is_value && found.is_continue()
}

/// Orders by the column that is asked for where a name is that of one, as PostgreSQL does: several tables
/// may have it.
fn by_what_is_asked(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(OrderByKind::Expressions(by)) = query.order_by.as_mut().map(|by| &mut by.kind) else {
        return;
    };
    for by in by {
        let Expr::Identifier(name) = &by.expr else { continue };
        let asked = select.projection.iter().filter(|item| match item {
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                parts.last().is_some_and(|last| last.value == name.value)
            }
            SelectItem::ExprWithAlias { alias, .. } => alias.value == name.value,
            _ => false,
        });
        if let [SelectItem::UnnamedExpr(column)] = asked.collect::<Vec<_>>().as_slice() {
            by.expr = column.clone();
        }
    }
}

fn names_function(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => name,
            None => return false,
        },
        _ => return false,
    };
    FUNCTIONS.contains(&name.value.as_str())
}

/// The function that `'…'::regproc` names, which the parser has made a query for its number.
fn function_of(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [SelectItem::UnnamedExpr(Expr::Identifier(asked))] = select.projection.as_slice() else {
        return None;
    };
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name: table, alias: None, args: None, .. } = &from.relation else {
        return None;
    };
    let Some(Expr::BinaryOp { left, op: BinaryOperator::Eq, right }) = &select.selection else {
        return None;
    };
    let (Expr::Identifier(by), Expr::Value(value)) = (left.as_ref(), right.as_ref()) else {
        return None;
    };
    let Value::SingleQuotedString(name) = &value.value else { return None };
    let plain = query.with.is_none() && from.joins.is_empty();
    let of_name = asked.value == "oid" && by.value == "proname";
    (plain && of_name && is_called(table, "pg_catalog.pg_proc"))
        .then(|| name.strip_prefix("pg_catalog.").unwrap_or(name).to_owned())
}

/// No list of texts.
fn nothing() -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::value(Value::Null)),
        data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
        array: false,
        format: None,
    }
}

/// The query of an `ARRAY(SELECT …)`.
fn of_rows(expr: &Expr) -> Option<&Query> {
    let Expr::Function(function) = expr else { return None };
    match &function.args {
        FunctionArguments::Subquery(query) if is_called(&function.name, "array") => Some(query),
        _ => None,
    }
}

/// The longest item by which rows are ordered: it then stands there twice, and so would one inside it.
const LONGEST_ITEM: usize = 1_000;

/// The same rows as one array, where the query is plain.
fn aggregated(query: &Query) -> Option<Query> {
    let mut query = query.clone();
    let order = query.order_by.take();
    let plain = query.limit_clause.is_none() && query.fetch.is_none() && query.with.is_none();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    if !plain || grouped || select.distinct.is_some() {
        return None;
    }
    let item = item.clone();
    let clauses = match order {
        Some(order) => vec![FunctionArgumentClause::OrderBy(ordered(order, &item)?)],
        None => Vec::new(),
    };
    // As a tree and not as text, which might be read in another way than it was meant.
    select.projection = vec![SelectItem::UnnamedExpr(aggregate("array_agg", item, clauses))];
    Some(query)
}

fn aggregate(name: &str, item: Expr, clauses: Vec<FunctionArgumentClause>) -> Expr {
    let list = FunctionArgumentList {
        duplicate_treatment: None,
        args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(item))],
        clauses,
    };
    Expr::Function(Function {
        name: Ident::new(name).into(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// What rows are ordered by; the only column by its place, which an aggregate does not know, is the
/// item itself.
fn ordered(order: OrderBy, item: &Expr) -> Option<Vec<OrderByExpr>> {
    let OrderBy { kind: OrderByKind::Expressions(mut by), interpolate: None } = order else {
        return None;
    };
    if let Some(first) = by.first_mut().filter(|first| is_first_column(&first.expr)) {
        if item.to_string().len() > LONGEST_ITEM {
            return None;
        }
        first.expr = item.clone();
    }
    Some(by)
}

fn is_first_column(expr: &Expr) -> bool {
    let Expr::Value(value) = expr else { return false };
    matches!(&value.value, Value::Number(digits, _) if digits == "1")
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn parsed(sql: &str) -> Vec<Statement> {
        Parser::parse_sql(&PostgreSqlDialect {}, sql).expect("SQL")
    }

    /// What is made of a text, which is SQL again and says the same.
    fn rewritten(sql: &str) -> String {
        let mut statements = parsed(sql);
        rewrite(&mut statements);
        let text = statements[0].to_string();
        assert_eq!(parsed(&text)[0].to_string(), text);
        text
    }

    #[test]
    fn rows_become_one_array() {
        assert_eq!(
            rewritten(
                "SELECT ARRAY(SELECT b.name FROM m JOIN b ON m.id = b.id WHERE m.of = r.id ORDER BY 1) AS x FROM r"
            ),
            "SELECT (SELECT array_agg(b.name ORDER BY b.name) FROM m JOIN b ON m.id = b.id WHERE m.of = r.id) AS x FROM r"
        );
        assert_eq!(rewritten("SELECT c.reloptions FROM c"), "SELECT CAST(NULL AS TEXT[]) FROM c");
        assert_eq!(
            rewritten("SELECT ARRAY(SELECT a FROM b ORDER BY 10, ' ORDER BY 1')"),
            "SELECT (SELECT array_agg(a ORDER BY 10, ' ORDER BY 1') FROM b)"
        );
        // What is not plain stays as it is.
        let other = "SELECT ARRAY(SELECT DISTINCT a FROM b)";
        assert_eq!(rewritten(other), other);
    }

    #[test]
    fn no_list_has_no_rows() {
        // As psql asks for the options of a table's overflow.
        for list in [
            "SELECT 'toast.' || x FROM pg_catalog.unnest(c.reloptions) AS x",
            "SELECT x FROM unnest(c.relacl) AS x ORDER BY 1",
            "SELECT unnest(c.reloptions)",
        ] {
            assert_eq!(
                rewritten(&format!("SELECT ARRAY({list}) AS o FROM c")),
                "SELECT CAST(NULL AS TEXT[]) AS o FROM c",
                "{list}"
            );
        }
        // A text that reads like that is one.
        assert_eq!(
            rewritten("SELECT ARRAY(SELECT 'unnest(CAST(NULL AS TEXT[]))' FROM b)"),
            "SELECT (SELECT array_agg('unnest(CAST(NULL AS TEXT[]))') FROM b)"
        );
    }

    #[test]
    fn functions_that_types_name_are_compared_by_name() {
        // As Npgsql asks for types, and pgjdbc for one.
        assert_eq!(
            rewritten("SELECT 1 FROM t LEFT JOIN pg_proc AS proc ON proc.oid = t.typreceive"),
            "SELECT 1 FROM t LEFT JOIN pg_proc AS proc ON proc.proname = t.typreceive"
        );
        assert_eq!(
            rewritten(
                "SELECT typinput = (SELECT oid FROM pg_catalog.pg_proc WHERE proname = 'pg_catalog.array_in') AS a FROM t"
            ),
            "SELECT typinput = 'array_in' AS a FROM t"
        );
        for other in [
            "SELECT 1 FROM t JOIN e ON e.oid = t.typelem WHERE t.typinput = 'boolin'",
            "SELECT typinput = (SELECT oid FROM pg_catalog.pg_proc WHERE proname = 'a' OR 'b') AS a FROM t",
            "SELECT typinput = (SELECT oid FROM pg_catalog.pg_proc WHERE proname = 'a' <> 'b') AS a FROM t",
        ] {
            assert_eq!(rewritten(other), other);
        }
    }

    #[test]
    fn what_is_looked_up_is_one_value() {
        assert_eq!(
            rewritten(
                "SELECT (SELECT r.a FROM pg_catalog.pg_range AS r WHERE r.b = t.c) AS x FROM t"
            ),
            "SELECT (SELECT max(r.a) FROM pg_catalog.pg_range AS r WHERE r.b = t.c) AS x FROM t"
        );
        // One value already: the engine knows no aggregate of another one.
        let other = "SELECT (SELECT count(*) + 1 FROM pg_catalog.pg_class AS c) AS x FROM t";
        assert_eq!(rewritten(other), other);
        // Of a table of ours it is the reader's to say which row is meant.
        let other = "SELECT (SELECT a FROM public.means WHERE b = t.c) AS x FROM t";
        assert_eq!(rewritten(other), other);
    }

    #[test]
    fn a_name_that_is_asked_for_is_what_rows_are_ordered_by() {
        assert_eq!(
            rewritten("SELECT t.oid, label FROM e JOIN t ON t.oid = e.of ORDER BY oid, label"),
            "SELECT t.oid, label FROM e JOIN t ON t.oid = e.of ORDER BY t.oid, label"
        );
        let other = "SELECT t.oid, e.oid AS oid FROM e JOIN t ON t.oid = e.of ORDER BY oid";
        assert_eq!(rewritten(other), other);
    }

    #[test]
    fn the_search_path_is_our_schema_and_nothing_is_described() {
        assert_eq!(
            rewritten("SELECT 1 FROM t WHERE quote_ident(table_schema) IN ('')"),
            "SELECT 1 FROM t WHERE quote_ident(table_schema) IN ('public')"
        );
        assert_eq!(
            rewritten(
                "SELECT 1 FROM t WHERE a IN (SELECT p[i] FROM \
                 string_to_array(Current_Setting('search_path'), ',') AS p, generate_series(1, 2) AS i)"
            ),
            "SELECT 1 FROM t WHERE a IN ('public')"
        );
        for other in [
            "SELECT 1 FROM t WHERE a IN ('') AND quote_ident(b) IN ('', 'c')",
            "SELECT 1 FROM t WHERE a IN (SELECT b FROM u WHERE c = current_setting('search_path'))",
            "SELECT 1 FROM t WHERE a IN (SELECT b FROM string_to_array('public', ',') AS b)",
        ] {
            assert_eq!(rewritten(other), other);
        }
        assert_eq!(
            rewritten("SELECT col_description(CAST(format('%I', a) AS REGCLASS), 1) AS d FROM t"),
            "SELECT col_description(CAST(NULL AS TEXT[])) AS d FROM t"
        );
    }

    #[test]
    fn what_is_ordered_by_its_place_does_not_grow_without_end() {
        let (begin, end) = ("ARRAY(SELECT ".repeat(6), " ORDER BY 1)".repeat(6));
        let nested = rewritten(&format!("SELECT {begin}'{}'{end}", "a".repeat(600)));
        assert!(nested.len() < 3_000, "{} bytes", nested.len());
    }
}
