//! What clients ask catalogues with and the engine lacks: `ARRAY(SELECT …)` becomes an aggregate, and
//! options and privileges of tables, of which ours have none, are null.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        ArrayElemTypeDef, CastKind, DataType, Expr, FunctionArguments, GroupByExpr, Query,
        SelectItem, SetExpr, Statement, Value, VisitMut, VisitorMut,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
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

/// The same rows as one array, where the query is plain.
fn aggregated(query: &Query) -> Option<Query> {
    let mut query = query.clone();
    let order = query.order_by.take().map(|order| format!(" {order}")).unwrap_or_default();
    let plain = query.limit_clause.is_none() && query.with.is_none();
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
    // The first column by its place, which an aggregate does not know.
    let order = order.replace(" ORDER BY 1", &format!(" ORDER BY {item}"));
    let text = format!("array_agg({item}{order})");
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&text).ok()?.parse_expr().ok()?;
    select.projection = vec![SelectItem::UnnamedExpr(parsed)];
    Some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).expect("SQL");
        rewrite(&mut parsed);
        parsed[0].to_string()
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
        // What is not plain stays as it is.
        let other = "SELECT ARRAY(SELECT DISTINCT a FROM b)";
        assert_eq!(rewritten(other), other);
    }
}
