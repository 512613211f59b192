//! What a query says before it is planned: its source, its window, and what is refused by name.

use std::{collections::BTreeMap, ops::ControlFlow};

use sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, Value, VisitMut, VisitorMut,
};

use crate::{dialect::TableDefinition, error::PipelineError};

/// What a query reads.
#[derive(Debug)]
pub struct Reading {
    /// Its one source.
    pub source: String,
    /// Its window, if it groups by time.
    pub window: Option<Window>,
}

/// `tumble(width)` over a source's event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The width in microseconds.
    pub width: i64,
    /// The column of the source that holds event time.
    pub event_time: String,
}

/// Reads a query: finds its source, gives `tumble` the source's event time, refuses by name what
/// the engine would take but a stream cannot do.
///
/// # Errors
/// What is refused.
pub fn read(
    file: &str,
    query: &mut Query,
    streams: &BTreeMap<String, TableDefinition>,
) -> Result<Reading, PipelineError> {
    let mut reader = Reader { streams, source: None, window: None, aliases: Vec::new() };
    match query.visit(&mut reader) {
        ControlFlow::Break(Refusal::Unsupported(construct)) => {
            return Err(PipelineError::Unsupported { file: file.to_owned(), construct });
        }
        ControlFlow::Break(Refusal::Wrong(reason)) => {
            return Err(PipelineError::Definition { file: file.to_owned(), reason });
        }
        ControlFlow::Continue(()) => {}
    }
    let source = reader.source.ok_or_else(|| PipelineError::Definition {
        file: file.to_owned(),
        reason: "reads no source".into(),
    })?;
    Ok(Reading { source, window: reader.window })
}

enum Refusal {
    /// The dialect has it, this runtime has not.
    Unsupported(String),
    /// Nobody has it.
    Wrong(String),
}

struct Reader<'a> {
    streams: &'a BTreeMap<String, TableDefinition>,
    source: Option<String>,
    window: Option<Window>,
    aliases: Vec<String>,
}

fn unsupported(construct: impl Into<String>) -> ControlFlow<Refusal> {
    ControlFlow::Break(Refusal::Unsupported(construct.into()))
}

impl VisitorMut for Reader<'_> {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Refusal> {
        if query.order_by.is_some() {
            return unsupported("ORDER BY");
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            return unsupported("LIMIT");
        }
        if let Some(with) = &query.with {
            if with.recursive {
                return unsupported("WITH RECURSIVE");
            }
            let names = with.cte_tables.iter().map(|table| table.alias.name.value.to_lowercase());
            self.aliases.extend(names);
        }
        match union_all(&query.body) {
            Some(other) => unsupported(other),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Refusal> {
        if select.from.iter().any(|table| !table.joins.is_empty()) || select.from.len() > 1 {
            return unsupported("JOIN");
        }
        if select.distinct.is_some() {
            return unsupported("DISTINCT");
        }
        let mut unnests = 0;
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                    return unsupported("SELECT * (columns are explicit)");
                }
                SelectItem::UnnamedExpr(expression)
                | SelectItem::ExprWithAlias { expr: expression, .. } => {
                    unnests += usize::from(named(expression, "unnest"));
                }
                SelectItem::ExprWithAliases { .. } => return unsupported("several aliases"),
            }
        }
        if unnests > 1 {
            unsupported("more than one UNNEST per projection")
        } else {
            ControlFlow::Continue(())
        }
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Refusal> {
        let name = relation.to_string().to_lowercase();
        if self.aliases.contains(&name) {
            return ControlFlow::Continue(());
        }
        if !self.streams.contains_key(&name) {
            return ControlFlow::Break(Refusal::Wrong(format!("there is no source {name}")));
        }
        if self.source.as_ref().is_some_and(|known| *known != name) {
            return unsupported("reading more than one source");
        }
        self.source = Some(name);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Refusal> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expression)
            | SelectItem::ExprWithAlias { expr: expression, .. } = item
                && let Expr::Function(function) = expression
                && named_function(function, "tumble")
            {
                self.add_event_time(function)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Refusal> {
        if matches!(expression, Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. }) {
            return unsupported("a subquery in an expression");
        }
        let Expr::Function(function) = expression else { return ControlFlow::Continue(()) };
        for (name, construct) in
            [("hop", "hop(): sliding windows"), ("session", "session() windows")]
        {
            if named_function(function, name) {
                return unsupported(construct);
            }
        }
        if function.over.is_some() {
            return unsupported("a window function (OVER)");
        }
        ControlFlow::Continue(())
    }
}

impl Reader<'_> {
    /// `tumble(width)` becomes `tumble(microseconds, event time)`, which the engine can execute.
    fn add_event_time(&mut self, function: &mut Function) -> ControlFlow<Refusal> {
        let wrong = |reason: &str| ControlFlow::Break(Refusal::Wrong(reason.to_owned()));
        let source = self.source.as_ref().and_then(|name| self.streams.get(name));
        let Some(watermark) = source.and_then(|source| source.watermark.as_ref()) else {
            return wrong("tumble() needs a source with WATERMARK FOR");
        };
        let FunctionArguments::List(list) = &mut function.args else {
            return wrong("tumble() needs its width");
        };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(given))] = list.args.as_slice() else {
            return wrong("tumble() has one argument, its width");
        };
        let Some(width) = width(given) else {
            return wrong(
                "tumble() needs a literal width of whole seconds, minutes, hours or days",
            );
        };
        let window = Window { width, event_time: watermark.column.clone() };
        if self.window.as_ref().is_some_and(|known| *known != window) {
            return wrong("window in group by does not match input window");
        }
        // The engine reads a bare number as a 64-bit integer; columns of a source are never quoted
        // differently from their declaration.
        let width = Expr::value(Value::Number(width.to_string(), false));
        let event_time = Expr::Identifier(Ident::with_quote('"', &window.event_time));
        list.args = [width, event_time]
            .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
            .to_vec();
        self.window = Some(window);
        ControlFlow::Continue(())
    }
}

/// The set operation in a query's body that is not `UNION ALL`, if there is one.
fn union_all(body: &SetExpr) -> Option<String> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return None };
    match (op, set_quantifier) {
        (SetOperator::Union, SetQuantifier::All) => union_all(left).or_else(|| union_all(right)),
        (SetOperator::Union, _) => Some("UNION without ALL".into()),
        (other, _) => Some(other.to_string()),
    }
}

fn named(expression: &Expr, name: &str) -> bool {
    matches!(expression, Expr::Function(function) if named_function(function, name))
}

fn named_function(function: &Function, name: &str) -> bool {
    function.name.to_string().eq_ignore_ascii_case(name)
}

/// `INTERVAL '1 minute'`, `INTERVAL '1' MINUTE` or `'1 minute'` in microseconds.
fn width(expression: &Expr) -> Option<i64> {
    let (text, unit) = match expression {
        Expr::Interval(interval) => {
            let unit = interval.leading_field.as_ref().map(ToString::to_string);
            (literal(&interval.value)?, unit)
        }
        Expr::TypedString(typed) if matches!(typed.data_type, DataType::Interval { .. }) => {
            (typed.value.clone().into_string()?, None)
        }
        other => (literal(other)?, None),
    };
    let text = match unit {
        Some(unit) => format!("{text} {unit}"),
        None => text,
    };
    let (number, unit) = text.trim().split_once(' ')?;
    let number: i64 = number.trim().parse().ok()?;
    let seconds = match unit.trim().to_lowercase().trim_end_matches('s') {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    let width = number.checked_mul(seconds)?.checked_mul(1_000_000)?;
    (width > 0).then_some(width)
}

fn literal(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(value) => value.clone().into_string(),
        _ => None,
    }
}
