//! The operators `->`, `->>` and `?`, and casts of what `->` gives.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{
        Cast, Expr, TryCast,
        expr::ScalarFunction,
        expr_rewriter::FunctionRewrite,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
        sqlparser::ast::BinaryOperator,
    },
};

use super::get::{Kind, function};

/// `->` is `json_get`, `->>` is `json_as_text`, `?` is `json_contains`.
#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expression: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let kind = match expression.op {
            BinaryOperator::Arrow => Kind::Value,
            BinaryOperator::LongArrow => Kind::Text,
            BinaryOperator::Question => Kind::Contains,
            _ => return Ok(PlannerResult::Original(expression)),
        };
        let RawBinaryExpr { left, op, right } = expression;
        let name = format!("{} {op} {}", written(&left), written(&right));
        let call = function(kind).call(vec![left, right]);
        Ok(PlannerResult::Planned(call.alias(name)))
    }
}

/// How an operand was written, for the column's name.
fn written(expression: &Expr) -> String {
    match expression {
        Expr::Column(column) => column.name.clone(),
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => format!("'{text}'"),
        Expr::Literal(value, _) => value.to_string(),
        Expr::Cast(cast) => written(&cast.expr),
        other => other.to_string(),
    }
}

/// `CAST(a -> 'b' AS BIGINT)` reads a whole number, and so on: a value of any kind has no cast.
#[derive(Debug)]
pub struct ReadAsCast;

impl FunctionRewrite for ReadAsCast {
    fn name(&self) -> &'static str {
        "read JSON as what it is cast to"
    }

    fn rewrite(
        &self,
        expression: Expr,
        _schema: &DFSchema,
        _config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        Ok(match expression {
            Expr::Cast(Cast { expr, field }) => match read(&expr, field.data_type()) {
                Some(read) => Transformed::yes(Expr::Cast(Cast { expr: Box::new(read), field })),
                None => Transformed::no(Expr::Cast(Cast { expr, field })),
            },
            Expr::TryCast(TryCast { expr, field }) => match read(&expr, field.data_type()) {
                Some(read) => {
                    Transformed::yes(Expr::TryCast(TryCast { expr: Box::new(read), field }))
                }
                None => Transformed::no(Expr::TryCast(TryCast { expr, field })),
            },
            other => Transformed::no(other),
        })
    }
}

fn read(expression: &Expr, wanted: &DataType) -> Option<Expr> {
    let call = json_get(expression)?;
    let kind = match wanted {
        DataType::Boolean => Kind::Bool,
        DataType::Float32 | DataType::Float64 => Kind::Float,
        DataType::Decimal128(..) | DataType::Decimal256(..) => Kind::Number,
        other if other.is_integer() => Kind::Int,
        other if other.is_string() => Kind::Str,
        _ => return None,
    };
    Some(function(kind).call(call.args.clone()))
}

fn json_get(expression: &Expr) -> Option<&ScalarFunction> {
    match expression {
        Expr::ScalarFunction(call) if call.func.name() == Kind::Value.name() => Some(call),
        Expr::Alias(alias) => json_get(&alias.expr),
        _ => None,
    }
}
