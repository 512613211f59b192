//! Columns of JSON on their way from a source to a sink of JSON, which writes them as the JSON that they
//! are.
//!
//! As on a cluster, that is what a query hands on as it is, under whatever name. What it computes is a
//! text.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::{
    common::Column,
    logical_expr::{Expr, LogicalPlan},
};

use super::Catalogue;
use crate::dialect::{Origin, TableDefinition, format::Format, table::told_as_json};

/// Which columns of a query, as it was read, its sink writes as JSON: none where it writes no JSON.
pub fn of(catalogue: &Catalogue, sink: &TableDefinition, plan: &LogicalPlan) -> Vec<bool> {
    if !matches!(sink.format, Some(Format::Json(_))) {
        return Vec::new();
    }
    (0..plan.schema().fields().len()).map(|at| is_json(catalogue, plan, at)).collect()
}

/// The columns that a query makes, of which those say so that are JSON.
pub fn told(columns: &SchemaRef, json: &[bool]) -> SchemaRef {
    let fields = columns.fields().iter().enumerate();
    let fields = fields.map(|(at, field)| match json.get(at) {
        Some(true) => Arc::new(told_as_json(field)),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
}

fn is_json(catalogue: &Catalogue, plan: &LogicalPlan, at: usize) -> bool {
    let made = |expressions: &[Expr], input: &LogicalPlan| {
        expressions.get(at).is_some_and(|made| is_handed_on(catalogue, made, input))
    };
    match plan {
        LogicalPlan::TableScan(scan) => {
            let at = scan.projection.as_ref().map_or(Some(&at), |places| places.get(at));
            let table = catalogue.tables.get(scan.table_name.table());
            let column = table.zip(at).and_then(|(table, at)| table.columns.get(*at));
            column.is_some_and(|column| column.json && column.origin == Origin::Declared)
        }
        LogicalPlan::Projection(node) => made(&node.expr, &node.input),
        // The aggregates come after the keys.
        LogicalPlan::Aggregate(node) => made(&node.group_expr, &node.input),
        LogicalPlan::SubqueryAlias(node) => is_json(catalogue, &node.input, at),
        LogicalPlan::Union(node) => node.inputs.iter().all(|one| is_json(catalogue, one, at)),
        // Filters, joins and the like have their inputs' columns by their names.
        other => {
            let column = Column::from(other.schema().qualified_field(at));
            other.inputs().into_iter().any(|input| is_column(catalogue, &column, input))
        }
    }
}

fn is_handed_on(catalogue: &Catalogue, made: &Expr, input: &LogicalPlan) -> bool {
    match made {
        Expr::Alias(alias) => is_handed_on(catalogue, &alias.expr, input),
        // Of what is a text already nothing is made.
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Utf8 => {
            is_handed_on(catalogue, &cast.expr, input)
        }
        Expr::Column(column) => is_column(catalogue, column, input),
        _ => false,
    }
}

fn is_column(catalogue: &Catalogue, column: &Column, input: &LogicalPlan) -> bool {
    let at = input.schema().maybe_index_of_column(column);
    at.is_some_and(|at| is_json(catalogue, input, at))
}
