//! Conditions: SQL booleans over attributes, checked at load, evaluated over rows of people.

use std::ops::ControlFlow;

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::{
    common::DFSchema, error::DataFusionError, logical_expr::cast, prelude::SessionContext,
};
use domain::id::GroupId;
use sqlparser::{
    ast::{
        Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, VisitMut,
        VisitorMut,
    },
    dialect::GenericDialect,
    parser::Parser,
    tokenizer::Token,
};

use super::{Row, columns};
use crate::session::session;

/// Scalar functions that conditions may call; each gives the same for the same attributes.
const FUNCTIONS: [&str; 12] = [
    "age",
    "coalesce",
    "nullif",
    "lower",
    "upper",
    "trim",
    "length",
    "substr",
    "starts_with",
    "abs",
    "date_part",
    "left",
];

/// What is wrong with a condition; `None` where it can be evaluated.
#[must_use]
pub fn check(text: &str) -> Option<String> {
    match parse(text) {
        Err(message) => Some(message),
        Ok(parsed) => Conditions::new(Vec::new()).plan_check(&parsed),
    }
}

/// A parsed condition and the attributes that it names.
#[derive(Clone, Debug)]
struct Condition {
    expression: Expr,
    attributes: Vec<String>,
}

fn parse(text: &str) -> Result<Condition, String> {
    let parser = Parser::new(&GenericDialect {}).try_with_sql(text);
    let mut parser = parser.map_err(|error| error.to_string())?;
    let mut expression = parser.parse_expr().map_err(|error| error.to_string())?;
    if parser.peek_token().token != Token::EOF {
        return Err(format!("unexpected {} after the condition", parser.peek_token()));
    }
    let mut reader = Reader { attributes: Vec::new() };
    match expression.visit(&mut reader) {
        ControlFlow::Break(message) => Err(message),
        ControlFlow::Continue(()) => Ok(Condition { expression, attributes: reader.attributes }),
    }
}

/// Notes attributes, gives `age` the evaluated day, and refuses what is not a condition over one
/// person.
struct Reader {
    attributes: Vec<String>,
}

impl VisitorMut for Reader {
    type Break = String;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<String> {
        ControlFlow::Break("a condition has no subquery".into())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<String> {
        match expression {
            Expr::Identifier(name) if name.value != columns::DAY => {
                let attribute = match name.quote_style {
                    Some(_) => name.value.clone(),
                    None => name.value.to_lowercase(),
                };
                if !self.attributes.contains(&attribute) {
                    self.attributes.push(attribute);
                }
            }
            Expr::CompoundIdentifier(_) => {
                return ControlFlow::Break("an attribute has no dot in its name".into());
            }
            Expr::Function(function) => return check_function(function),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn check_function(function: &mut Function) -> ControlFlow<String> {
    let name = function.name.to_string().to_lowercase();
    if function.over.is_some() || !FUNCTIONS.contains(&name.as_str()) {
        let known = FUNCTIONS.join(", ");
        return ControlFlow::Break(format!("there is no function {name}; known are {known}"));
    }
    if name == "age" {
        let FunctionArguments::List(list) = &mut function.args else {
            return ControlFlow::Break("age(date) has one argument".into());
        };
        if list.args.len() != 1 {
            return ControlFlow::Break("age(date) has one argument".into());
        }
        let day = Expr::Identifier(Ident::with_quote('"', columns::DAY));
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(day)));
    }
    ControlFlow::Continue(())
}

/// The conditions of all groups.
pub(super) struct Conditions {
    context: SessionContext,
    /// One that does not parse has been refused when the registry was checked.
    conditions: Vec<(GroupId, Condition)>,
    attributes: Vec<String>,
}

impl std::fmt::Debug for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.conditions.fmt(f)
    }
}

impl Conditions {
    pub(super) fn new(conditions: Vec<(GroupId, String)>) -> Self {
        let parsed = conditions.into_iter().filter_map(|(id, text)| Some((id, parse(&text).ok()?)));
        let conditions: Vec<_> = parsed.collect();
        let mut attributes: Vec<String> =
            conditions.iter().flat_map(|(_, condition)| condition.attributes.clone()).collect();
        attributes.sort_unstable();
        attributes.dedup();
        Self { context: session(), conditions, attributes }
    }

    /// Whether each row is in each group.
    pub(super) async fn evaluate(
        &self,
        rows: &[Row<'_>],
    ) -> Result<Vec<(GroupId, Vec<bool>)>, DataFusionError> {
        let batch = columns::batch(rows, &self.attributes)?;
        let mut members = Vec::with_capacity(self.conditions.len());
        for (group, condition) in &self.conditions {
            let holds = match self.holds(condition, &batch) {
                Ok(holds) => holds,
                Err(_) => {
                    // What the engine says may quote an attribute, so it is not told.
                    tracing::warn!(%group, "a condition fails for some people; they are no members");
                    self.holds_apart(condition, rows)
                }
            };
            members.push((group.clone(), holds));
        }
        Ok(members)
    }

    /// Whether rows are in a group whose condition fails over all of them together, as where one
    /// attribute of one person is of another type: by halves, down to the rows that it fails for.
    /// For those it is unknown, and they are no members.
    fn holds_apart(&self, condition: &Condition, rows: &[Row<'_>]) -> Vec<bool> {
        if rows.len() <= 1 {
            return vec![false; rows.len()];
        }
        let (first, second) = rows.split_at(rows.len() / 2);
        let mut holds = Vec::with_capacity(rows.len());
        for half in [first, second] {
            let together = columns::batch(half, &condition.attributes)
                .map_err(DataFusionError::from)
                .and_then(|batch| self.holds(condition, &batch));
            holds.extend(together.unwrap_or_else(|_| self.holds_apart(condition, half)));
        }
        holds
    }

    fn holds(
        &self,
        condition: &Condition,
        batch: &RecordBatch,
    ) -> Result<Vec<bool>, DataFusionError> {
        let schema = DFSchema::try_from(batch.schema().as_ref().clone())?;
        let text = condition.expression.to_string();
        let expression = self.context.parse_sql_expr(&text, &schema)?;
        let boolean = cast(expression, arrow::datatypes::DataType::Boolean);
        let physical = self.context.create_physical_expr(boolean, &schema)?;
        let value = physical.evaluate(batch)?.into_array(batch.num_rows())?;
        let value = value.as_boolean();
        Ok((0..value.len()).map(|row| value.is_valid(row) && value.value(row)).collect())
    }

    /// Plans a condition over a row where nothing is known, to find what the engine refuses.
    fn plan_check(&self, condition: &Condition) -> Option<String> {
        let batch = columns::batch(&[], &condition.attributes).ok()?;
        let schema = DFSchema::try_from(batch.schema().as_ref().clone()).ok()?;
        let text = condition.expression.to_string();
        // Types are known only with the attributes; names and functions are known now.
        match self.context.parse_sql_expr(&text, &schema) {
            Ok(_) => None,
            Err(error) => Some(error.strip_backtrace()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_over_one_person() {
        assert_eq!(check("age(birth_date) >= 65 AND territory LIKE 'LV0001%'"), None);
        assert_eq!(check("disability_group IN (1, 2, 3) AND NOT student"), None);
        for wrong in [
            "age(birth_date) >=",
            "territory = (SELECT 1)",
            "random() > 0.5",
            "a.b = 1",
            "true; DROP TABLE x",
            "age() > 3",
        ] {
            assert!(check(wrong).is_some(), "{wrong}");
        }
    }
}
