//! The names that `pg_catalog` lists: those that a view shows, without opening any table.

use arrow::datatypes::SchemaRef;
use datafusion::{datasource::TableType, error::DataFusionError};
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;

use super::{DATABASE, SCHEMA};
use crate::{access::View, session::restricted};

/// What a view shows.
#[derive(Clone, Debug)]
pub(super) struct Names {
    view: View,
}

impl Names {
    pub(super) fn of(view: &View) -> Self {
        Self { view: view.clone() }
    }
}

#[async_trait::async_trait]
impl CatalogInfo for Names {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(vec![DATABASE.to_owned()])
    }

    async fn schema_names(&self, _: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        let names = [SCHEMA, "pg_catalog", "information_schema"];
        Ok(Some(names.map(str::to_owned).into()))
    }

    async fn table_names(
        &self,
        _: &str,
        schema: &str,
    ) -> Result<Option<Vec<String>>, DataFusionError> {
        if schema != SCHEMA {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(restricted::names(&self.view).into_iter().map(|(name, _)| name).collect()))
    }

    async fn table_schema(
        &self,
        _: &str,
        schema: &str,
        table: &str,
    ) -> Result<Option<SchemaRef>, DataFusionError> {
        let names = restricted::names(&self.view).into_iter();
        let mut found = names.filter(|(name, _)| schema == SCHEMA && name == table);
        Ok(found.next().map(|(_, table)| self.view.readable(table, &table.arrow())))
    }

    async fn table_type(
        &self,
        _: &str,
        _: &str,
        _: &str,
    ) -> Result<Option<TableType>, DataFusionError> {
        Ok(Some(TableType::View))
    }
}
