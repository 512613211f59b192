//! Conditions: SQL booleans over attributes, checked at load, evaluated over rows of people.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    buffer::BooleanBuffer,
    datatypes::SchemaRef,
};
use datafusion::{
    common::DFSchema,
    error::DataFusionError,
    logical_expr::{cast, lit},
    physical_plan::PhysicalExpr,
    prelude::SessionContext,
};
use domain::id::GroupId;
use sqlparser::{
    ast::{
        Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, VisitMut,
        VisitorMut,
    },
    dialect::GenericDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use warehouse::nesting;

use super::{
    Rows, columns,
    terms::{self, Term, Terms},
};
use crate::session::session;

/// For so many combinations of the attributes' types conditions stay planned.
const KEPT_PLANS: usize = 16;

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
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| error.to_string())?;
    nesting::check(tokens.iter().map(|of| &of.token))?;
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
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

impl Reader {
    fn note(&mut self, name: String) {
        if !self.attributes.contains(&name) {
            self.attributes.push(name);
        }
    }
}

impl VisitorMut for Reader {
    type Break = String;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<String> {
        ControlFlow::Break("a condition has no subquery".into())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<String> {
        match expression {
            Expr::Identifier(name) => {
                let name = attribute(name);
                // The evaluation's own columns are named where `age` is read.
                if name == columns::DAY || name.starts_with(columns::AGE_OF) {
                    return ControlFlow::Break(format!("no attribute has the name {name}"));
                }
                self.note(name);
            }
            Expr::CompoundIdentifier(_) => {
                return ControlFlow::Break("an attribute has no dot in its name".into());
            }
            Expr::Function(function) => check_function(function)?,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// What `age` needs is added once its argument was read: a date's age is a column, that of
    /// anything else is counted to the column of the day.
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<String> {
        let Expr::Function(function) = expression else { return ControlFlow::Continue(()) };
        if function.name.to_string().to_lowercase() != "age" {
            return ControlFlow::Continue(());
        }
        let FunctionArguments::List(list) = &mut function.args else {
            return ControlFlow::Continue(());
        };
        let column = |name: &str| Expr::Identifier(Ident::with_quote('"', name));
        match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(date)))] => {
                let age = format!("{}{}", columns::AGE_OF, attribute(date));
                *expression = column(&age);
                self.note(age);
            }
            _ => {
                let day = FunctionArgExpr::Expr(column(columns::DAY));
                list.args.push(FunctionArg::Unnamed(day));
                self.note(columns::DAY.to_owned());
            }
        }
        ControlFlow::Continue(())
    }
}

/// The attribute that an identifier names.
fn attribute(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

fn check_function(function: &Function) -> ControlFlow<String> {
    let name = function.name.to_string().to_lowercase();
    if function.over.is_some() || !FUNCTIONS.contains(&name.as_str()) {
        let known = FUNCTIONS.join(", ");
        return ControlFlow::Break(format!("there is no function {name}; known are {known}"));
    }
    if name == "age" {
        let alone = matches!(&function.args, FunctionArguments::List(list) if list.args.len() == 1);
        if !alone {
            return ControlFlow::Break("age(date) has one argument".into());
        }
    }
    ControlFlow::Continue(())
}

/// The conditions of all groups.
pub(super) struct Conditions {
    context: SessionContext,
    /// One that does not parse has been refused when the registry was checked.
    conditions: Vec<Described>,
    terms: Terms,
    attributes: Vec<String>,
    /// The conditions as they were planned lately, the last one first: people who are evaluated together
    /// mostly have attributes of the same types.
    planned: Mutex<VecDeque<Arc<Planned>>>,
}

/// A group, by its condition.
#[derive(Debug)]
struct Described {
    group: GroupId,
    condition: Condition,
    /// The places of the condition's terms.
    terms: Vec<usize>,
}

/// The terms over columns of these types; none where one fails over them.
struct Planned {
    schema: SchemaRef,
    terms: Vec<Option<Arc<dyn PhysicalExpr>>>,
}

impl std::fmt::Debug for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.conditions.fmt(f)
    }
}

impl Conditions {
    pub(super) fn new(conditions: Vec<(GroupId, String)>) -> Self {
        let mut terms = Terms::default();
        let described = conditions.into_iter().filter_map(|(group, text)| {
            let condition = parse(&text).ok()?;
            let terms = terms.of(&condition.expression);
            Some(Described { group, condition, terms })
        });
        let conditions: Vec<_> = described.collect();
        let named = conditions.iter().flat_map(|described| &described.condition.attributes);
        let mut attributes: Vec<String> = named.cloned().collect();
        attributes.sort_unstable();
        attributes.dedup();
        Self { context: session(), conditions, terms, attributes, planned: Mutex::default() }
    }

    /// Which rows are in each group.
    pub(super) fn evaluate(
        &self,
        rows: Rows<'_>,
    ) -> Result<Vec<(GroupId, BooleanBuffer)>, DataFusionError> {
        let batch = columns::batch(rows, &self.attributes)?;
        let planned = self.planned(&batch);
        let true_for_term = |term: &Option<Arc<_>>| true_for(term.as_deref()?, &batch).ok();
        let holding: Vec<_> = planned.terms.iter().map(true_for_term).collect();
        let mut members = Vec::with_capacity(self.conditions.len());
        for Described { group, condition, terms } in &self.conditions {
            let holds = terms::all(terms.iter().map(|term| holding[*term].as_ref()));
            // A term may fail where those before it keep it from being asked.
            let holds = holds.or_else(|| self.holds_together(condition, rows).ok());
            let holds = holds.unwrap_or_else(|| {
                // What the engine says may quote an attribute, so it is not told.
                tracing::warn!(%group, "a condition fails for some people; they are no members");
                BooleanBuffer::from(self.holds_apart(condition, rows))
            });
            members.push((group.clone(), holds));
        }
        Ok(members)
    }

    fn planned(&self, batch: &RecordBatch) -> Arc<Planned> {
        let mut kept = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|planned| planned.schema == batch.schema());
        let planned = known.and_then(|at| kept.remove(at)).unwrap_or_else(|| {
            let schema = batch.schema();
            let terms = self.terms.iter().map(|term| self.plan(term, &schema).ok()).collect();
            Arc::new(Planned { schema, terms })
        });
        kept.push_front(Arc::clone(&planned));
        kept.truncate(KEPT_PLANS);
        planned
    }

    /// Whether rows are in a group whose condition fails over all of them together, as where one
    /// attribute of one person is of another type: by halves, down to the rows that it fails for.
    /// For those it is unknown, and they are no members.
    fn holds_apart(&self, condition: &Condition, rows: Rows<'_>) -> Vec<bool> {
        if rows.rows.len() <= 1 {
            return vec![false; rows.rows.len()];
        }
        let (first, second) = rows.rows.split_at(rows.rows.len() / 2);
        let mut found = Vec::with_capacity(rows.rows.len());
        for half in [first, second] {
            let half = Rows { rows: half, ..rows };
            match self.holds_together(condition, half) {
                Ok(together) => found.extend(together.iter()),
                Err(_) => found.extend(self.holds_apart(condition, half)),
            }
        }
        found
    }

    fn holds_together(
        &self,
        condition: &Condition,
        rows: Rows<'_>,
    ) -> Result<BooleanBuffer, DataFusionError> {
        let batch = columns::batch(rows, &condition.attributes)?;
        let whole = Term { expression: condition.expression.clone(), alone: true };
        true_for(&*self.plan(&whole, &batch.schema())?, &batch)
    }

    fn plan(
        &self,
        term: &Term,
        schema: &SchemaRef,
    ) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        let schema = DFSchema::try_from(schema.as_ref().clone())?;
        let expression = self.context.parse_sql_expr(&term.expression.to_string(), &schema)?;
        let boolean = match term.alone {
            true => cast(expression, arrow::datatypes::DataType::Boolean),
            // What AND refuses in the whole condition is refused of a part.
            false => lit(true).and(expression),
        };
        self.context.create_physical_expr(boolean, &schema)
    }

    /// Plans a condition over a row where nothing is known, to find what the engine refuses.
    fn plan_check(&self, condition: &Condition) -> Option<String> {
        let nobody = Rows { people: &[], rows: &[] };
        let batch = columns::batch(nobody, &condition.attributes).ok()?;
        let schema = DFSchema::try_from(batch.schema().as_ref().clone()).ok()?;
        let text = condition.expression.to_string();
        // Types are known only with the attributes; names and functions are known now.
        match self.context.parse_sql_expr(&text, &schema) {
            Ok(_) => None,
            Err(error) => Some(error.strip_backtrace()),
        }
    }
}

/// The rows for which a condition is true; what is NULL is not.
fn true_for(
    condition: &dyn PhysicalExpr,
    batch: &RecordBatch,
) -> Result<BooleanBuffer, DataFusionError> {
    let value = condition.evaluate(batch)?.into_array(batch.num_rows())?;
    let value = value.as_boolean();
    Ok(match value.nulls() {
        Some(nulls) => value.values() & nulls.inner(),
        None => value.values().clone(),
    })
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
            "\"evaluated day\" IS NULL",
            "\"evaluated age of birth_date\" > 3",
        ] {
            assert!(check(wrong).is_some(), "{wrong}");
        }
    }
}
