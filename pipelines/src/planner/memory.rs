//! Memory tables: one INSERT fills them, and INSERTs below it read them.

use std::collections::BTreeSet;

use sqlparser::ast::Query as SqlQuery;

use super::{names, unplanned, wrong};
use crate::{
    dialect::{Statement, TableType},
    error::PipelineError,
};

/// Refuses what reads a memory table before its INSERT does, where it would be empty on a cluster: one
/// reads the views of a file first, wherever they stand, and then its INSERTs one after the other.
pub fn check_order(file: &str, statements: &[Statement]) -> Result<(), PipelineError> {
    // Of one that nothing fills, whoever reads it tells.
    let mut unfilled = filled(statements);
    for statement in statements {
        let Statement::View { name, query } = statement else { continue };
        if let Some(table) = reads(file, query, &unfilled)? {
            return Err(wrong(
                file,
                format!(
                    "the view {name} reads the memory table {table}, and views are read before any \
                     INSERT: make {name} a memory table"
                ),
            ));
        }
    }
    for statement in statements {
        let Statement::Insert { into, query } = statement else { continue };
        if let Some(table) = reads(file, query, &unfilled)? {
            return Err(wrong(
                file,
                format!(
                    "INSERT INTO {into} reads the memory table {table}, which an INSERT above it has \
                     to fill"
                ),
            ));
        }
        unfilled.remove(into.as_str());
    }
    Ok(())
}

/// The memory tables that a file declares and fills.
fn filled(statements: &[Statement]) -> BTreeSet<&str> {
    let declared = statements.iter().filter_map(|statement| match statement {
        Statement::Table(table) if table.table_type == TableType::Memory => Some(&*table.name),
        _ => None,
    });
    let declared: BTreeSet<&str> = declared.collect();
    let inserted = statements.iter().filter_map(|statement| match statement {
        Statement::Insert { into, .. } => Some(into.as_str()),
        _ => None,
    });
    inserted.filter(|into| declared.contains(into)).collect()
}

/// The first of some tables that a query names.
fn reads(
    file: &str,
    query: &SqlQuery,
    tables: &BTreeSet<&str>,
) -> Result<Option<String>, PipelineError> {
    let names = names(query).map_err(|source| unplanned(file, source))?;
    Ok(names.into_iter().find(|name| tables.contains(name.as_str())))
}
