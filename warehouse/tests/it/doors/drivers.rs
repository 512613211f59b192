//! Flight SQL as its JDBC and ADBC drivers speak it.

use std::{net::SocketAddr, sync::Arc};

use arrow::{
    array::{RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    error::FlightError,
    sql::{
        CommandGetCrossReference, CommandGetExportedKeys, CommandGetImportedKeys,
        CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo,
        client::FlightSqlServiceClient,
    },
};
use futures::TryStreamExt;
use prost::Message;
use serde_json::json;
use tonic::{Code, transport::Channel};
use warehouse::session::Rows;

use super::Doors;
use crate::world::{World, cells};

pub type Driver = FlightSqlServiceClient<Channel>;

/// Connects in a role.
pub async fn connect(to: SocketAddr, role: &str) -> Driver {
    let channel = Channel::from_shared(format!("http://{to}")).unwrap().connect().await.unwrap();
    let mut driver = FlightSqlServiceClient::new(channel);
    driver.set_token(role.to_owned());
    driver
}

/// The rows that a flight says where to fetch, which have the columns that it says.
pub async fn fetch(driver: &mut Driver, info: FlightInfo) -> Result<Rows, FlightError> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let said = info.try_decode_schema().unwrap();
    let mut rows = driver.do_get(ticket).await?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        batches.push(batch);
    }
    let schema: SchemaRef = Arc::clone(rows.schema().unwrap());
    assert_eq!(columns(&schema), columns(&said));
    Ok(Rows { schema, batches })
}

/// Asks a statement.
pub async fn ask(driver: &mut Driver, sql: &str) -> Result<Rows, FlightError> {
    let info = driver.execute(sql.to_owned(), None).await?;
    fetch(driver, info).await
}

/// Asks a statement as the JDBC driver does, which prepares all of them.
pub async fn prepared(driver: &mut Driver, sql: &str) -> Result<Rows, FlightError> {
    let mut statement = driver.prepare(sql.to_owned(), None).await?;
    let info = statement.execute().await?;
    let rows = fetch(driver, info).await?;
    statement.close().await?;
    Ok(rows)
}

fn code(error: &FlightError) -> Code {
    match error {
        FlightError::Tonic(status) => status.code(),
        other => panic!("{other}"),
    }
}

fn columns(schema: &Schema) -> Vec<(&str, &DataType)> {
    schema.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect()
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

#[tokio::test]
async fn the_server_says_what_it_is_and_which_types_it_has() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let mut driver = connect(doors.flight, "analyst").await;
    // The JDBC driver asks for everything at once.
    let info = driver.get_sql_info(Vec::new()).await.unwrap();
    assert!(fetch(&mut driver, info).await.unwrap().count() > 80);
    let info = driver.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await.unwrap();
    let told = format!("{:?}", cells(&fetch(&mut driver, info).await.unwrap()));
    assert!(told.contains("AVIS"), "{told}");
    let all = CommandGetXdbcTypeInfo { data_type: None };
    let info = driver.get_xdbc_type_info(all).await.unwrap();
    let types = fetch(&mut driver, info).await.unwrap().texts("type_name").unwrap();
    assert!(types.contains(&Some("DECIMAL".to_owned())), "{types:?}");
    let info = driver.get_table_types().await.unwrap();
    assert_eq!(cells(&fetch(&mut driver, info).await.unwrap()), [["VIEW"]]);
}

#[tokio::test]
async fn tables_have_no_keys_and_this_is_told_in_the_right_columns() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let mut driver = connect(doors.flight, "analyst").await;
    let table = || "benefit_lines".to_owned();
    let (catalog, db_schema) = (Some("avis".to_owned()), Some("public".to_owned()));
    let primary = CommandGetPrimaryKeys {
        catalog: catalog.clone(),
        db_schema: db_schema.clone(),
        table: table(),
    };
    let primary = driver.get_primary_keys(primary).await.unwrap();
    let primary = fetch(&mut driver, primary).await.unwrap();
    assert_eq!(primary.count(), 0);
    let wanted =
        ["catalog_name", "db_schema_name", "table_name", "column_name", "key_name", "key_sequence"];
    assert_eq!(names(&primary.schema), wanted);
    let exported = CommandGetExportedKeys {
        catalog: catalog.clone(),
        db_schema: db_schema.clone(),
        table: table(),
    };
    let imported = CommandGetImportedKeys {
        catalog: catalog.clone(),
        db_schema: db_schema.clone(),
        table: table(),
    };
    let crossed = CommandGetCrossReference {
        pk_catalog: catalog.clone(),
        pk_db_schema: db_schema.clone(),
        pk_table: table(),
        fk_catalog: catalog,
        fk_db_schema: db_schema,
        fk_table: table(),
    };
    for info in [
        driver.get_exported_keys(exported).await,
        driver.get_imported_keys(imported).await,
        driver.get_cross_reference(crossed).await,
    ] {
        let keys = fetch(&mut driver, info.unwrap()).await.unwrap();
        assert_eq!(keys.count(), 0);
        let columns = names(&keys.schema);
        assert_eq!(
            (columns.len(), columns[0], columns[12]),
            (13, "pk_catalog_name", "delete_rule")
        );
        assert_eq!(keys.schema.field(12).data_type(), &DataType::UInt8);
    }
}

#[tokio::test]
async fn a_prepared_statement_takes_other_values_each_time() {
    let world = World::new();
    let line = |merchant: &str| json!({"merchant_id": merchant});
    world.land("benefit_lines", 3, &[line("corner"), line("corner"), line("market")]).await;
    let doors = Doors::open(&world).await;
    let mut driver = connect(doors.flight, "analyst").await;
    let sql = "SELECT COUNT(*) AS n FROM benefit_lines WHERE merchant_id = $1";
    let mut statement = driver.prepare(sql.to_owned(), None).await.unwrap();
    // Without columns the JDBC driver takes it for one that writes.
    assert_eq!(names(statement.dataset_schema().unwrap()), ["n"]);
    assert_eq!(names(statement.parameter_schema().unwrap()), ["$1"]);
    for (merchant, count) in [("corner", "2"), ("market", "1"), ("nowhere", "0")] {
        let schema = Schema::new(vec![Field::new("$1", DataType::Utf8, true)]);
        let value = Arc::new(StringArray::from(vec![merchant]));
        let values = RecordBatch::try_new(Arc::new(schema), vec![value]).unwrap();
        statement.set_parameters(values).unwrap();
        let info = statement.execute().await.unwrap();
        assert_eq!(cells(&fetch(&mut driver, info).await.unwrap()), [[count]], "{merchant}");
    }
    // Nobody else has it, whatever they know of it.
    let info = statement.execute().await.unwrap();
    let mut other = connect(doors.flight, "grantor:riga").await;
    assert_eq!(code(&fetch(&mut other, info).await.unwrap_err()), Code::NotFound);
    statement.close().await.unwrap();
}

#[tokio::test]
async fn tables_are_listed_as_a_role_sees_them() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    for (role, sees, not) in [
        ("analyst", "persons", "settlement_lines"),
        ("finance", "settlement_lines", "persons"),
        ("grantor:riga", "settlement_lines", "persons"),
    ] {
        let mut driver = connect(doors.flight, role).await;
        let all = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
        let info = driver.get_tables(all).await.unwrap();
        let tables = fetch(&mut driver, info).await.unwrap().texts("table_name").unwrap();
        assert!(tables.contains(&Some(sees.to_owned())), "{role}: {tables:?}");
        assert!(!tables.contains(&Some(not.to_owned())), "{role}: {tables:?}");
        let some = CommandGetTables {
            table_name_filter_pattern: Some("benefit_lines".to_owned()),
            table_types: vec!["VIEW".to_owned()],
            ..CommandGetTables::default()
        };
        let info = driver.get_tables(some).await.unwrap();
        let tables = fetch(&mut driver, info).await.unwrap().texts("table_name").unwrap();
        assert_eq!(tables, [Some("benefit_lines".to_owned())], "{role}");
    }
}

#[tokio::test]
async fn actions_that_are_not_done_are_refused_as_drivers_expect() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let mut driver = connect(doors.flight, "analyst").await;
    let action = |name: &str, body: Vec<u8>| Action { r#type: name.to_owned(), body: body.into() };
    let info = driver.execute("SELECT 1 AS one".to_owned(), None).await.unwrap();
    let cancel = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
    let cancel = action("CancelFlightInfo", cancel);
    let mut told = driver.do_action(cancel.clone()).await.unwrap();
    let told = told.message().await.unwrap().unwrap();
    let told = CancelFlightInfoResult::decode(told.body).unwrap();
    assert_eq!(told.status(), CancelStatus::NotCancellable);
    for (name, wanted) in [
        ("SetSessionOptions", Code::Unimplemented),
        ("GetSessionOptions", Code::Unimplemented),
        ("CloseSession", Code::Unimplemented),
        ("Shutdown", Code::InvalidArgument),
    ] {
        let refused = driver.do_action(action(name, Vec::new())).await.err().unwrap();
        assert_eq!(code(&refused), wanted, "{name}");
    }
    let refused = driver.execute_update("DELETE FROM means".to_owned(), None).await.unwrap_err();
    assert_eq!(code(&refused), Code::PermissionDenied);
    driver.set_token("nobody".to_owned());
    let refused = driver.do_action(cancel).await.err().unwrap();
    assert_eq!(code(&refused), Code::Unauthenticated);
}
