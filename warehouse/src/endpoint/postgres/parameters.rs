//! Parameters of prepared statements: of the types that the client names, else of those that the query
//! lets one infer.

use std::{collections::HashMap, ops::ControlFlow};

use arrow::datatypes::DataType;
use arrow_pg::datatypes::into_pg_type;
use datafusion::{
    common::{
        Result,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan},
    sql::sqlparser::ast::{
        self, CastKind, ExactNumberInfo, Statement, TimezoneInfo, Value, VisitMut, VisitorMut,
    },
};
use pgwire::api::Type;

/// A parameter: as the client sends it, and as the engine takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) wire: Type,
    pub(super) engine: Option<DataType>,
}

/// What a parameter of a type is cast to; none where the engine infers better.
fn cast_to(wire: &Type) -> Option<ast::DataType> {
    Some(match *wire {
        Type::BOOL => ast::DataType::Boolean,
        Type::INT2 | Type::INT4 | Type::INT8 => ast::DataType::BigInt(None),
        Type::FLOAT4 | Type::FLOAT8 => ast::DataType::DoublePrecision,
        Type::NUMERIC => ast::DataType::Decimal(ExactNumberInfo::PrecisionAndScale(38, 9)),
        Type::DATE => ast::DataType::Date,
        Type::TIMESTAMP => ast::DataType::Timestamp(None, TimezoneInfo::None),
        Type::TIMESTAMPTZ => ast::DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        _ => return None,
    })
}

/// A statement with its parameters cast to the types that a client names; those that it does not name
/// are cast to `otherwise`, where that is given.
pub(super) fn typed(
    mut statement: Statement,
    named: &[Option<Type>],
    otherwise: Option<&Type>,
) -> Statement {
    struct Casts<'a>(&'a [Option<Type>], Option<&'a Type>);
    impl VisitorMut for Casts<'_> {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
            let ast::Expr::Value(value) = &*expr else { return ControlFlow::Continue(()) };
            let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
            let at = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
            let named = at.and_then(|at| self.0.get(at.checked_sub(1)?)?.as_ref());
            if let Some(data_type) = named.or(self.1).and_then(cast_to) {
                *expr = ast::Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(expr.clone()),
                    data_type,
                    array: false,
                    format: None,
                };
            }
            ControlFlow::Continue(())
        }
    }
    // Nothing breaks off.
    let _ = VisitMut::visit(&mut statement, &mut Casts(named, otherwise));
    statement
}

/// The parameters of a plan, in their order.
pub(super) fn parameters(plan: &LogicalPlan, named: &[Option<Type>]) -> Result<Vec<Parameter>> {
    let mut inferred = plan.get_parameter_types()?;
    for (name, cast) in casts(plan)? {
        let known = inferred.entry(name).or_insert(None);
        known.get_or_insert(cast);
    }
    let number = |name: &String| name.trim_start_matches('$').parse::<usize>().unwrap_or(0);
    let count = inferred.keys().map(number).max().unwrap_or(0).max(named.len());
    let parameter = |at: usize| {
        let engine = inferred.get(&format!("${at}")).cloned().flatten();
        let named = named.get(at - 1).cloned().flatten();
        let wire = named.or_else(|| engine.as_ref().and_then(|engine| into_pg_type(engine).ok()));
        // What nobody knows the type of is a text, as in PostgreSQL.
        Parameter { wire: wire.unwrap_or(Type::TEXT), engine }
    };
    Ok((1..=count).map(parameter).collect())
}

/// What parameters are cast to, where a plan casts them.
fn casts(plan: &LogicalPlan) -> Result<HashMap<String, DataType>> {
    let mut casts = HashMap::new();
    plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                {
                    casts.insert(placeholder.id.clone(), cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(casts)
}
