//! `COPY … TO STDOUT` as text and as CSV: every value can be told from every other again.

use serde_json::json;

use super::{Doors, client::Client};
use crate::world::World;

async fn copied(client: &mut Client, sql: &str) -> String {
    let answer = client.ask(sql).await.unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
    String::from_utf8(answer.copied).unwrap()
}

#[tokio::test]
async fn text_tells_nothing_from_empty_and_escapes_what_parts_values() {
    let world = World::new();
    let line = json!({
        "grantor_id": "tab\there", "merchant_id": "line\nbreak", "item": "back\\slash",
        "authorisation_id": "", "amount": "-12.50", "quantity": "0.125",
        "occurred_at": "2025-01-31T23:59:59.123456Z", "date": "2025-02-01",
    });
    world.land("benefit_lines", 1, &[line]).await;
    let doors = Doors::open(&world).await;
    let mut client = Client::connect(doors.postgres, "administrator").await.unwrap();
    let query = "SELECT grantor_id, merchant_id, item, authorisation_id, category, amount, quantity, \
        occurred_at, date, line, line = 0 AS yes FROM benefit_lines";
    let told = copied(&mut client, &format!("COPY ({query}) TO STDOUT")).await;
    let wanted = [
        r"tab\there",
        r"line\nbreak",
        r"back\\slash",
        "",
        r"\N",
        "-12.50",
        "0.125",
        "2025-01-31 23:59:59.123456+00",
        "2025-02-01",
        "0",
        "t",
    ];
    assert_eq!(told, format!("{}\n", wanted.join("\t")));
    // A client's own mark for what is missing, and between values.
    let sql = "COPY (SELECT category, 'a|b' AS text FROM benefit_lines) \
        TO STDOUT (DELIMITER '|', NULL 'none')";
    assert_eq!(copied(&mut client, sql).await, "none|a\\|b\n");
    let sql = format!("COPY ({query} WHERE date < DATE '2025-01-01') TO STDOUT");
    assert_eq!(copied(&mut client, &sql).await, "");
}

#[tokio::test]
async fn csv_tells_nothing_from_empty_and_quotes_what_parts_values() {
    let world = World::new();
    let line = json!({
        "grantor_id": "a,b\tc", "merchant_id": "line\nbreak", "item": "say \"yes\" \\n",
        "authorisation_id": "", "amount": "-12.50", "date": "2025-02-01",
    });
    world.land("benefit_lines", 1, &[line]).await;
    let doors = Doors::open(&world).await;
    let mut client = Client::connect(doors.postgres, "administrator").await.unwrap();
    let query = "SELECT grantor_id, merchant_id, item, authorisation_id, category, amount, date, \
        line = 0 AS yes FROM benefit_lines";
    let wanted = [
        "\"a,b\tc\"",
        "\"line\nbreak\"",
        r#""say ""yes"" \n""#,
        r#""""#,
        "",
        "-12.50",
        "2025-02-01",
        "t",
    ];
    let told = copied(&mut client, &format!("COPY ({query}) TO STDOUT (FORMAT csv)")).await;
    assert_eq!(told, format!("{}\n", wanted.join(",")));
    // What a client calls missing is quoted where it is a value, and nothing else is then.
    let sql = "COPY (SELECT category, 'none' AS a, '' AS b, 'none such' AS c, 'x;y' AS d, \
        '\\N' AS e FROM benefit_lines) TO STDOUT (FORMAT csv, DELIMITER ';', NULL 'none')";
    assert_eq!(copied(&mut client, sql).await, "none;\"none\";;none such;\"x;y\";\\N\n");
    let sql = "COPY (SELECT CAST(NULL AS TEXT) AS a, '' AS b) TO STDOUT (FORMAT csv)";
    assert_eq!(copied(&mut client, sql).await, ",\"\"\n");
}

#[tokio::test]
async fn older_options_are_heard() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let mut client = Client::connect(doors.postgres, "analyst").await.unwrap();
    // As psql's `\copy … csv header` has it.
    let sql = "COPY (SELECT 1 AS a, 'x,y' AS b) TO STDOUT csv header";
    assert_eq!(copied(&mut client, sql).await, "\"a\",\"b\"\n1,\"x,y\"\n");
}

#[tokio::test]
async fn a_table_is_copied_as_its_reader_sees_it() {
    let world = World::new();
    let line = |grantor: &str| json!({"grantor_id": grantor, "recipient": "R"});
    world.land("benefit_lines", 2, &[line("riga"), line("other")]).await;
    let doors = Doors::open(&world).await;
    let mut client = Client::connect(doors.postgres, "grantor:riga").await.unwrap();
    let sql = "COPY benefit_lines (grantor_id, recipient) TO STDOUT";
    assert_eq!(copied(&mut client, sql).await, "riga\t\\N\n");
}
