//! A table on disk grows with its schema: columns are added, never changed or removed.

use deltalake::{
    DeltaTableError,
    kernel::{
        Action, MetadataExt, StructField, StructType, engine::arrow_conversion::TryIntoKernel,
    },
    protocol::DeltaOperation,
};

use super::log::Log;
use crate::{error::WarehouseError, schema, table::Positions};

/// Adds the columns that the schema has and the table lacks; whether there were any.
pub(super) async fn evolve(
    table: &deltalake::DeltaTable,
    schema: &'static schema::Table,
) -> Result<bool, WarehouseError> {
    let open = |source| WarehouseError::Open { table: schema.name, source };
    let metadata = table.snapshot().map_err(open)?.metadata();
    let wanted: StructType = {
        let wanted: Result<StructType, _> = schema.arrow().as_ref().try_into_kernel();
        wanted.map_err(|error| open(error.into()))?
    };
    let there = metadata.parse_schema().map_err(|error| open(error.into()))?;
    let partitions: &[&str] = if schema.by_date { &["date"] } else { &[] };
    if metadata.partition_columns() != partitions {
        let reason = format!("it is partitioned by {:?}", metadata.partition_columns());
        return Err(WarehouseError::Schema { table: schema.name, reason });
    }
    let added = added(&there, &wanted)
        .map_err(|reason| WarehouseError::Schema { table: schema.name, reason })?;
    if added.is_empty() {
        return Ok(false);
    }
    let names: Vec<_> = added.iter().map(|column| column.name().clone()).collect();
    add(table, &wanted, added).await.map_err(open)?;
    tracing::info!(table = schema.name, columns = ?names, "columns were added to the table");
    Ok(true)
}

async fn add(
    table: &deltalake::DeltaTable,
    wanted: &StructType,
    added: Vec<StructField>,
) -> Result<(), DeltaTableError> {
    let metadata = table.snapshot()?.metadata().clone().with_schema(wanted)?;
    let operation = DeltaOperation::AddColumn { fields: added };
    let actions = vec![Action::Metadata(metadata)];
    Log::of(table)?.append(actions, operation, &Positions::new()).await
}

/// The columns that are wanted and not there; what else differs is said.
fn added(there: &StructType, wanted: &StructType) -> Result<Vec<StructField>, String> {
    for column in there.fields() {
        let name = column.name();
        let Some(same) = wanted.field(name) else {
            return Err(format!("on disk it has the column {name}, which the schema lacks"));
        };
        if same.data_type() != column.data_type() {
            let (is, was) = (same.data_type(), column.data_type());
            return Err(format!("the column {name} is {was} on disk and {is} in the schema"));
        }
        if same.is_nullable() != column.is_nullable() {
            let may = |nullable| if nullable { "may" } else { "may not" };
            let (is, was) = (may(same.is_nullable()), may(column.is_nullable()));
            return Err(format!(
                "the column {name} {was} lack a value on disk and {is} in the schema"
            ));
        }
    }
    let new: Vec<_> =
        wanted.fields().filter(|column| there.field(column.name()).is_none()).cloned().collect();
    match new.iter().find(|column| !column.is_nullable()) {
        Some(must) => Err(format!(
            "the new column {} must have a value, and the rows on disk have none",
            must.name()
        )),
        None => Ok(new),
    }
}
