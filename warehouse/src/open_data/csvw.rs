//! What the columns of a CSV file are, as CSV on the Web (W3C) says it.

use serde_json::{Map, Value, json};

use super::{Meaning, Publisher, Set};
use crate::{error::WarehouseError, export::unwritten};

/// The metadata of a set's CSV file.
pub(super) fn metadata(set: &Set, publisher: &Publisher) -> Result<Vec<u8>, WarehouseError> {
    let columns = set.columns.iter().map(|column| {
        let mut described = Map::new();
        described.insert("name".into(), json!(column.name));
        described.insert("titles".into(), json!(column.name));
        let [lv, en] = column.about;
        let about = json!([{"@value": lv, "@language": "lv"}, {"@value": en, "@language": "en"}]);
        described.insert("dc:description".into(), about);
        described.insert("datatype".into(), json!(data_type(column.meaning)));
        if matches!(column.meaning, Meaning::Subject | Meaning::Key(_)) {
            described.insert("required".into(), json!(true));
        }
        Value::Object(described)
    });
    let [lv, en] = set.title;
    let keys: Vec<_> = set
        .columns
        .iter()
        .filter(|column| {
            matches!(column.meaning, Meaning::Subject | Meaning::Month(_))
                || (matches!(column.meaning, Meaning::Key(_)) && column.name != "id")
        })
        .map(|column| column.name)
        .collect();
    let metadata = json!({
        "@context": "http://www.w3.org/ns/csvw",
        "@id": format!("{}/dataset/{}", publisher.base, set.name),
        "url": format!("{}.csv", set.name),
        "dc:title": [{"@value": lv, "@language": "lv"}, {"@value": en, "@language": "en"}],
        "dc:license": {"@id": publisher.licence},
        "dialect": {"lineTerminators": ["\r\n"], "header": true},
        "tableSchema": {"columns": columns.collect::<Vec<_>>(), "primaryKey": keys},
    });
    let mut bytes =
        serde_json::to_vec_pretty(&metadata).map_err(|error| unwritten("CSVW", &error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

const fn data_type(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Subject | Meaning::Link(_) => "anyURI",
        Meaning::Degrees(_) => "decimal",
        Meaning::Month(_) => "gYearMonth",
        Meaning::People(_) => "integer",
        Meaning::Suppressed => "boolean",
        _ => "string",
    }
}
