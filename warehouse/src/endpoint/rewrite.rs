//! What clients ask catalogues with and the engine lacks: `ARRAY(SELECT …)` becomes an aggregate, and
//! options and privileges of tables, of which ours have none, are null.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, OrderBy,
    OrderByExpr, OrderByKind, Query, SelectItem, SetExpr, Statement, Value, VisitMut, VisitorMut,
};

/// Rewrites all of it; what it does not understand stays, and is refused later.
pub(super) fn rewrite(statements: &mut Vec<Statement>) {
    struct Lacking;
    impl VisitorMut for Lacking {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if is_absent(expr) {
                *expr = nothing();
            } else if let Some(query) = of_rows(expr) {
                if query.to_string().contains(UNNESTED) {
                    *expr = nothing();
                } else if let Some(aggregate) = aggregated(query) {
                    *expr = Expr::Subquery(Box::new(aggregate));
                }
            }
            ControlFlow::Continue(())
        }
    }
    // It never breaks.
    let _ = statements.visit(&mut Lacking);
}

/// Columns of `pg_class` that the catalogue lacks; each would be a list of texts.
const ABSENT: [&str; 2] = ["reloptions", "relacl"];
/// How a client takes such a list apart, once it is known to be none.
const UNNESTED: &str = "unnest(CAST(NULL AS TEXT[]))";

fn is_absent(expr: &Expr) -> bool {
    let Expr::CompoundIdentifier(parts) = expr else { return false };
    parts.last().is_some_and(|name| ABSENT.contains(&name.value.as_str()))
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
        FunctionArguments::Subquery(query)
            if function.name.to_string().eq_ignore_ascii_case("array") =>
        {
            Some(query)
        }
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
    let list = FunctionArgumentList {
        duplicate_treatment: None,
        args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(item))],
        clauses,
    };
    // As a tree and not as text, which might be read in another way than it was meant.
    select.projection = vec![SelectItem::UnnamedExpr(Expr::Function(Function {
        name: Ident::new("array_agg").into(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }))];
    Some(query)
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
    fn what_is_ordered_by_its_place_does_not_grow_without_end() {
        let (begin, end) = ("ARRAY(SELECT ".repeat(6), " ORDER BY 1)".repeat(6));
        let nested = rewritten(&format!("SELECT {begin}'{}'{end}", "a".repeat(600)));
        assert!(nested.len() < 3_000, "{} bytes", nested.len());
    }
}
