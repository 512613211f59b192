//! What conditions have in common. Groups name the same ages, places and states again and again, so
//! a condition is cut where it says AND, and what stands in several is evaluated once for all.
//!
//! A conjunction is true where each of its terms is true, whatever is NULL, so of each term it is
//! enough to know where it is true.

use std::collections::HashMap;

use arrow::buffer::BooleanBuffer;
use sqlparser::ast::{BinaryOperator, Expr};

/// A part of conditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Term {
    pub(super) expression: Expr,
    /// Whether it is a whole condition, which may be of another type than boolean.
    pub(super) alone: bool,
}

/// The terms of many conditions, each once.
#[derive(Debug, Default)]
pub(super) struct Terms {
    terms: Vec<Term>,
    places: HashMap<Term, usize>,
}

impl Terms {
    /// The places of a condition's terms.
    pub(super) fn of(&mut self, condition: &Expr) -> Vec<usize> {
        let parts = parts(condition);
        let alone = parts.len() == 1;
        let terms = parts.into_iter().map(|part| Term { expression: part.clone(), alone });
        terms.map(|term| self.place(term)).collect()
    }

    fn place(&mut self, term: Term) -> usize {
        let next = self.terms.len();
        *self.places.entry(term.clone()).or_insert_with(|| {
            self.terms.push(term);
            next
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Term> {
        self.terms.iter()
    }
}

/// What stands between the ANDs of a condition.
fn parts(condition: &Expr) -> Vec<&Expr> {
    let (mut rest, mut parts) = (vec![condition], Vec::new());
    while let Some(next) = rest.pop() {
        match next {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                rest.extend([&**right, left])
            }
            Expr::Nested(inner) if is_conjunction(inner) => rest.push(inner),
            other => parts.push(other),
        }
    }
    parts
}

fn is_conjunction(expression: &Expr) -> bool {
    match expression {
        Expr::BinaryOp { op: BinaryOperator::And, .. } => true,
        Expr::Nested(inner) => is_conjunction(inner),
        _ => false,
    }
}

/// Where all terms are true; none where one could not be evaluated.
pub(super) fn all<'a>(
    mut terms: impl Iterator<Item = Option<&'a BooleanBuffer>>,
) -> Option<BooleanBuffer> {
    let first = terms.next()??.clone();
    terms.try_fold(first, |all, term| Some(&all & term?))
}

#[cfg(test)]
mod tests {
    use sqlparser::{dialect::GenericDialect, parser::Parser};

    use super::*;

    #[test]
    fn terms_are_cut_at_every_and_and_shared() {
        let parse = |text: &str| {
            let parser = Parser::new(&GenericDialect {}).try_with_sql(text);
            parser.and_then(|mut parser| parser.parse_expr()).expect("an expression")
        };
        let mut terms = Terms::default();
        assert_eq!(terms.of(&parse("a AND (b AND c) AND (d OR e AND f)")), [0, 1, 2, 3]);
        assert_eq!(terms.of(&parse("((c AND a))")), [2, 0]);
        assert_eq!(terms.of(&parse("x BETWEEN 1 AND 2")), [4]);
        // Alone it may be of another type.
        assert_eq!(terms.of(&parse("a")), [5]);
        let texts: Vec<_> = terms.iter().map(|term| term.expression.to_string()).collect();
        assert_eq!(texts, ["a", "b", "c", "(d OR e AND f)", "x BETWEEN 1 AND 2", "a"]);
    }
}
