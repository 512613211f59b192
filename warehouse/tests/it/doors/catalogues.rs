//! What tools ask catalogues, in statements of our own that are made of what theirs are made of: each gets
//! an answer in which a tool finds the tables.

use super::{Doors, client::Client};
use crate::world::World;

/// The number of the type of text, as which drivers send patterns of names.
const VARCHAR: u32 = 1043;
/// Numbers of types that columns have.
const TEXT: &str = "25";
const NUMERIC: &str = "1700";
const TIMESTAMPTZ: &str = "1184";

/// A question without what is said of it.
macro_rules! question {
    ($name:literal) => {
        asked(include_str!(concat!("../../golden/clients/", $name, ".txt")))
    };
}

fn asked(written: &str) -> String {
    let lines = written.lines().skip_while(|line| line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

async fn analyst(doors: &Doors) -> Client {
    Client::connect(doors.postgres, "analyst").await.unwrap()
}

#[tokio::test]
async fn npgsql_loads_the_types_that_it_needs() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let answers = analyst(&doors).await.simple(&question!("npgsql_types")).await.unwrap();
    let [version, types, fields, labels] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(version.value().starts_with("PostgreSQL 16"));
    assert!(fields.rows.is_empty() && labels.rows.is_empty());
    let names = types.column("typname");
    let kinds = types.column("kind");
    let items = types.column("item");
    for (name, kind, item) in [
        ("text", "b", ""),
        ("numeric", "b", ""),
        ("timestamptz", "b", ""),
        ("_text", "a", TEXT),
        ("_numeric", "a", NUMERIC),
        ("int4range", "r", "23"),
    ] {
        let at = names.iter().position(|known| *known == name);
        let at = at.unwrap_or_else(|| panic!("no {name}"));
        assert_eq!((kinds[at], items[at]), (kind, item), "{name}");
    }
}

#[tokio::test]
async fn grafana_lists_tables_and_the_columns_of_one() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let mut client = analyst(&doors).await;
    let tables = client.ask(&question!("grafana_tables")).await.unwrap();
    let tables = tables.column("called");
    // By their names alone, as they are on the search path.
    assert!(tables.contains(&"benefit_lines") && tables.contains(&"persons_current"), "{tables:?}");
    assert!(!tables.contains(&"settlement_lines"), "{tables:?}");
    let columns = client.ask(&question!("grafana_columns")).await.unwrap();
    let found: Vec<_> = columns.column("called").into_iter().zip(columns.column("kind")).collect();
    for wanted in [
        ("amount", "numeric"),
        ("occurred_at", "timestamp with time zone"),
        ("date", "date"),
        ("units", "bigint"),
    ] {
        assert!(found.contains(&wanted), "{wanted:?}: {found:?}");
    }
}

#[tokio::test]
async fn metabase_syncs_tables_and_fields() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let mut client = analyst(&doors).await;
    let tables = client.bound(&question!("metabase_tables"), &[]).await.unwrap();
    assert!(tables.column("called").contains(&"benefit_lines"));
    assert!(tables.column("kind").iter().all(|kind| *kind == "VIEW"));
    let fields = client.bound(&question!("metabase_fields"), &[]).await.unwrap();
    let found: Vec<_> = fields.column("called").into_iter().zip(fields.column("of-type")).collect();
    for wanted in [("amount", "numeric"), ("occurred_at", "timestamptz"), ("item", "text")] {
        assert!(found.contains(&wanted), "{wanted:?}: {found:?}");
    }
    assert!(fields.column("of-table").iter().all(|table| *table == "benefit_lines"));
}

#[tokio::test]
async fn pgjdbc_describes_tables_and_their_columns() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let mut client = analyst(&doors).await;
    let patterns = [(VARCHAR, Some("public")), (VARCHAR, Some("benefit_lines"))];
    let tables = client.bound(&question!("pgjdbc_tables"), &patterns).await.unwrap();
    assert_eq!(tables.column("CALLED"), ["benefit_lines"]);
    assert_eq!(tables.column("KIND"), ["VIEW"]);
    let columns = client.bound(&question!("pgjdbc_columns"), &patterns).await.unwrap();
    let found: Vec<_> =
        columns.column("called").into_iter().zip(columns.column("of_type")).collect();
    for wanted in [("amount", NUMERIC), ("occurred_at", TIMESTAMPTZ), ("item", TEXT)] {
        assert!(found.contains(&wanted), "{wanted:?}: {found:?}");
    }
    // Numbered from one, in their order.
    let numbers = columns.column("place");
    assert_eq!((numbers[0], numbers.len()), ("1", found.len()));
}

#[tokio::test]
async fn pgjdbc_finds_out_what_an_unknown_type_is() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let found = analyst(&doors).await.ask(&question!("pgjdbc_type")).await.unwrap();
    assert_eq!(found.column("is_list"), ["t"]);
    assert_eq!(found.column("typname"), ["_aclitem"]);
}

#[tokio::test]
async fn dbeaver_unfolds_its_tree() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let answers = analyst(&doors).await.simple(&question!("dbeaver_objects")).await.unwrap();
    let [schemas, database, setting, words, types, tables, indexes, rules] = answers.as_slice()
    else {
        panic!("{answers:?}")
    };
    assert!(schemas.column("nspname").contains(&"public"));
    assert_eq!(database.column("datname"), ["avis"]);
    assert_eq!(setting.column("setting"), ["on"]);
    let words: Vec<_> = words.value().split(',').collect();
    assert!(words.contains(&"abort") && !words.contains(&"select"), "{words:?}");
    let (names, bases) = (types.column("typname"), types.column("base"));
    let at = names.iter().position(|known| *known == "numeric").unwrap();
    assert_eq!(bases[at], "", "it is made of no other type");
    assert!(tables.column("relname").contains(&"benefit_lines"));
    // Sizes are the operator's to know, and nothing is parted by a key.
    for column in ["bytes", "parted_by"] {
        assert!(tables.column(column).iter().all(|value| value.is_empty()), "{column}");
    }
    // Tables have no indexes and no rules that a client would be told of.
    assert_eq!((indexes.columns.len(), indexes.rows.len()), (4, 0));
    assert_eq!((rules.columns.len(), rules.rows.len()), (4, 0));
}
