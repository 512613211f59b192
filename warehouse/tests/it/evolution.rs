//! Tables on disk grow with their schemas.

use serde_json::json;
use warehouse::{
    error::WarehouseError,
    metrics::Metrics,
    schema::{self, Column, Table as Schema},
    table::{Positions, Table, delta::DeltaTable},
};

use crate::world::{World, batch};

/// Every column that a version ever wrote: its table, name and kind, whether a row may lack it, and the
/// version that brought it. Lines are added; none is changed or taken away.
const KEPT: &str = include_str!("../golden/columns.csv");

#[test]
fn every_column_that_was_ever_written_is_there_as_it_was() {
    let rows: Vec<Vec<&str>> = KEPT.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for row in &rows {
        let [table, column, kind, lacks, since] = row[..] else { panic!("{row:?}: five fields") };
        let columns = schema::table(table).unwrap_or_else(|| panic!("{table} is gone")).columns;
        let found = columns.iter().find(|known| known.name == column);
        let found = found.unwrap_or_else(|| panic!("{table}.{column} is gone"));
        let is = (format!("{:?}", found.kind), found.optional);
        assert_eq!(is, (kind.to_owned(), lacks == "may"), "{table}.{column}");
        // Rows of before have no value of it, unless the table came with it.
        let first = rows.iter().find(|row| row[0] == table).map(|row| row[4]);
        let is_added = first != Some(since);
        assert!(found.optional || !is_added, "{table}.{column}: old rows lack it");
    }
    for table in schema::TABLES {
        for column in table.columns {
            let is_kept = rows.iter().any(|row| row[..2] == [table.name, column.name]);
            let (kind, lacks) = (column.kind, if column.optional { "may" } else { "must" });
            let line = format!("{},{},{kind:?},{lacks},VERSION", table.name, column.name);
            assert!(is_kept, "what this version adds is kept in tests/golden/columns.csv: {line}");
        }
    }
}

/// A table of the same name with other columns.
fn other(name: &str, change: impl Fn(Vec<Column>) -> Vec<Column>) -> &'static Schema {
    let table = schema::table(name).unwrap();
    let columns = change(table.columns.to_vec());
    Box::leak(Box::new(Schema { columns: Box::leak(columns.into_boxed_slice()), ..*table }))
}

async fn open(world: &World, schema: &'static Schema) -> Result<DeltaTable, WarehouseError> {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    DeltaTable::open(&world.url, schema, metrics).await
}

fn without(name: &'static str) -> impl Fn(Vec<Column>) -> Vec<Column> {
    move |columns| columns.into_iter().filter(|column| column.name != name).collect()
}

#[tokio::test]
async fn new_columns_are_added_and_old_rows_have_no_value() {
    let world = World::new();
    let old = open(&world, other("benefit_lines", without("category"))).await.unwrap();
    let row = |id: &str, category: &str| {
        batch("benefit_lines", &[json!({"authorisation_id": id, "category": category})])
    };
    let mut before = row("old", "x");
    before.remove_column(before.schema().index_of("category").unwrap());
    let positions = |next| Positions::from([("benefit_lines/0".to_owned(), next)]);
    old.commit(vec![before], &positions(1)).await.unwrap();
    drop(old);

    let table = world.table("benefit_lines").await;
    let known = table.positions(&["benefit_lines/0".to_owned()]).await.unwrap();
    assert_eq!(known, positions(1));
    table.commit(vec![row("new", "milk")], &positions(2)).await.unwrap();
    let sql = "SELECT authorisation_id, category FROM benefit_lines ORDER BY authorisation_id";
    assert_eq!(world.rows(sql).await, [["new", "milk"], ["old", ""]]);
    let sql = "SELECT authorisation_id FROM benefit_lines WHERE category IS NULL";
    assert_eq!(world.rows(sql).await, [["old"]]);
    // What was added is there the next time.
    let again = world.table("benefit_lines").await;
    again.commit(vec![row("third", "milk")], &positions(3)).await.unwrap();
    let sql = "SELECT COUNT(line) AS n FROM benefit_lines WHERE category = 'milk'";
    assert_eq!(world.rows(sql).await, [["2"]]);
}

#[tokio::test]
async fn what_an_earlier_version_wrote_is_read_before_anybody_adds_its_columns() {
    let world = World::new();
    let old = open(&world, other("centre_quality", without("ratings"))).await.unwrap();
    let row = json!({"month": "2025-01-01", "centre_id": "ogre", "answered": 7});
    let mut rows = batch("centre_quality", &[row]);
    rows.remove_column(rows.schema().index_of("ratings").unwrap());
    let positions = Positions::from([("centre_quality/0".to_owned(), 1)]);
    old.commit(vec![rows], &positions).await.unwrap();
    for name in ["centre_quality", "centre_quality_current"] {
        let sql = format!("SELECT answered, ratings FROM {name} WHERE centre_id = 'ogre'");
        assert_eq!(world.rows(&sql).await, [["7", ""]], "{name}");
    }
}

#[tokio::test]
async fn columns_are_never_changed_or_removed() {
    let world = World::new();
    world.land("means", 1, &[json!({"token": "T"})]).await;
    let means = schema::table("means").unwrap();
    let may = means.columns.iter().find(|column| column.optional).unwrap().name;
    let must = means.columns.iter().find(|column| !column.optional).unwrap().name;
    let changed = |name: &'static str, change: fn(&mut Column)| {
        other("means", move |mut columns| {
            columns.iter_mut().filter(|column| column.name == name).for_each(change);
            columns
        })
    };
    let added = |optional| {
        other("means", move |mut columns| {
            columns.push(Column { name: "new", kind: schema::Kind::Text, optional });
            columns
        })
    };
    let cases = [
        (other("means", without(may)), "which the schema lacks"),
        (changed(must, |column| column.kind = schema::Kind::Float), "on disk and"),
        (changed(must, |column| column.optional = true), "may not lack a value on disk and may"),
        (changed(may, |column| column.optional = false), "may lack a value on disk and may not"),
        (added(false), "the new column new must have a value"),
    ];
    for (schema, reason) in cases {
        let refused = open(&world, schema).await.unwrap_err();
        assert!(matches!(refused, WarehouseError::Schema { table: "means", .. }));
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    assert_eq!(world.rows("SELECT token FROM means").await, [["T"]]);
    open(&world, added(true)).await.unwrap();
    assert_eq!(world.rows("SELECT token, new FROM means").await, [["T", ""]]);
}
