//! Folders by values: `merchant_id=m1/date=2025-03-01`.

use std::{collections::BTreeMap, io};

use arrow::{
    array::{Array, AsArray, PrimitiveArray, RecordBatch},
    compute::{cast, take_record_batch},
    datatypes::{DataType, UInt32Type},
};

/// What stands for no value, as readers of such folders have it.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// What no name of a folder should have, besides what is no letter, digit or sign at all.
const ESCAPED: &str = "\"#%'*/:=?\\{}[]^<>|";

/// Rows by the folder that the values of some columns name; rows of one keep their order. Without
/// columns there is one, and it has no name.
///
/// # Errors
/// Where there is no such column, or it cannot be text.
pub(super) fn split(
    fields: &[String],
    rows: &RecordBatch,
) -> io::Result<BTreeMap<String, RecordBatch>> {
    if fields.is_empty() || rows.num_rows() == 0 {
        let all = (rows.num_rows() > 0).then(|| (String::new(), rows.clone()));
        return Ok(all.into_iter().collect());
    }
    let mut folders = vec![String::new(); rows.num_rows()];
    for field in fields {
        let column = rows.column_by_name(field);
        let column = column.ok_or_else(|| io::Error::other(format!("there is no {field}")))?;
        let texts = cast(column, &DataType::Utf8).map_err(io::Error::other)?;
        let texts = texts.as_string::<i32>();
        for (row, folder) in folders.iter_mut().enumerate() {
            let value =
                texts.is_valid(row).then(|| texts.value(row)).filter(|text| !text.is_empty());
            let before = if folder.is_empty() { "" } else { "/" };
            let value = value.map_or_else(|| NULL.to_owned(), escaped);
            *folder += &format!("{before}{}={value}", escaped(field));
        }
    }
    let mut places: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (place, folder) in (0_u32..).zip(folders) {
        places.entry(folder).or_default().push(place);
    }
    let of = |(folder, places): (String, Vec<u32>)| {
        let places = PrimitiveArray::<UInt32Type>::from(places);
        let rows = take_record_batch(rows, &places).map_err(io::Error::other)?;
        Ok((folder, rows))
    };
    places.into_iter().map(of).collect()
}

/// A text as part of a folder's name, as Hive and Spark write it.
fn escaped(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for sign in text.chars() {
        if sign.is_control() || ESCAPED.contains(sign) {
            let mut bytes = [0; 4];
            let bytes = sign.encode_utf8(&mut bytes).bytes();
            made.extend(bytes.map(|byte| format!("%{byte:02X}")));
        } else {
            made.push(sign);
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn values_name_folders_and_lead_nowhere_else() {
        let texts = vec![Some("m1"), Some("../a"), None, Some(""), Some("m1")];
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 3, 1]));
        let rows = RecordBatch::try_from_iter([("shop", texts), ("n", numbers)]).expect("rows");
        let fields = ["shop".to_owned(), "n".to_owned()];
        let split = split(&fields, &rows).expect("split");
        let counts = split.iter().map(|(folder, rows)| (folder.as_str(), rows.num_rows()));
        let wanted = [
            ("shop=..%2Fa/n=2", 1),
            ("shop=__HIVE_DEFAULT_PARTITION__/n=3", 2),
            ("shop=m1/n=1", 2),
        ];
        assert_eq!(counts.collect::<Vec<_>>(), wanted);
        let whole = super::split(&[], &rows).expect("split");
        assert_eq!(whole.keys().map(String::as_str).collect::<Vec<_>>(), [""]);
    }
}
