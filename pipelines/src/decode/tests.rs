use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::{DataType, Fields, TimeUnit, TimestampMicrosecondType},
    json::{ReaderBuilder, StructMode},
};
use serde::Serializer;
use serde_json::{Value as Json, json};

use super::*;

fn fields(of: &[(&str, DataType)]) -> Fields {
    of.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect()
}

/// What becomes of objects, by field.
fn taken<T: Serialize>(of: &[(&str, DataType)], objects: &[T]) -> Result<Vec<ArrayRef>, String> {
    let mut rows = Object::new(fields(of)).map_err(|fault| fault.to_string())?;
    for object in objects {
        object.serialize(Value::of(&mut rows)).map_err(|fault| fault.to_string())?;
    }
    rows.columns().map_err(|fault| fault.to_string())
}

/// The same as the engine's own reader makes of the objects as text.
fn read(of: &[(&str, DataType)], objects: &[Json]) -> Vec<ArrayRef> {
    let reader = ReaderBuilder::new(Arc::new(Schema::new(fields(of))));
    let mut tape = reader.with_struct_mode(StructMode::ObjectOnly).build_decoder().unwrap();
    tape.serialize(objects).unwrap();
    tape.flush().unwrap().unwrap().columns().to_vec()
}

fn list(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(of, true)))
}

#[test]
fn every_type_is_read_as_the_engine_reads_it() {
    let inner = DataType::Struct(fields(&[("a", DataType::Int32), ("b", list(DataType::Utf8))]));
    let of = [
        ("bool", DataType::Boolean),
        ("int8", DataType::Int8),
        ("int64", DataType::Int64),
        ("uint64", DataType::UInt64),
        ("double", DataType::Float64),
        ("decimal", DataType::Decimal128(10, 2)),
        ("text", DataType::Utf8),
        ("date", DataType::Date32),
        ("second", DataType::Timestamp(TimeUnit::Second, None)),
        ("nano", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("object", inner.clone()),
        ("objects", list(inner)),
    ];
    let objects = [
        json!({
            "bool": true, "int8": -128, "int64": i64::MIN, "uint64": u64::MAX, "double": 0.1,
            "decimal": 12.5, "text": "ā\n", "date": "2025-02-28", "second": "2025-03-30T03:30:00Z",
            "nano": "2025-03-30T03:30:00.123456789Z",
            "object": {"b": ["x", null, ""], "a": 7, "c": {"a": 9}},
            "objects": [{"a": 1}, null, {"b": []}, {}],
        }),
        json!({"int64": "42", "double": 3, "decimal": "7", "second": 5, "objects": []}),
        json!({"text": null, "object": null, "objects": null, "unknown": [1, {"text": 2}]}),
        json!({"object": {}, "text": "again", "int8": 127}),
    ];
    assert_eq!(taken(&of, &objects), Ok(read(&of, &objects)));
}

#[test]
fn what_a_column_does_not_take_is_told_with_its_place() {
    let line = DataType::Struct(fields(&[("cents", DataType::Int32)]));
    let of = [("lines", list(line)), ("at", DataType::Timestamp(TimeUnit::Nanosecond, None))];
    let refused = |object: Json| taken(&of, &[object]).expect_err("refused");
    assert_eq!(refused(json!({"lines": [{"cents": 1.5}]})), "lines.cents: \"1.5\" is no INT");
    assert_eq!(
        refused(json!({"lines": [{"cents": 2_147_483_648_i64}]})),
        "lines.cents: \"2147483648\" is no INT"
    );
    assert_eq!(refused(json!({"lines": {"cents": 1}})), "lines: an object is no ARRAY");
    assert_eq!(refused(json!({"lines": [7]})), "lines: an integer is no STRUCT");
    assert_eq!(refused(json!({"at": "noon"})), "at: \"noon\" is no TIMESTAMP");
    assert_eq!(taken(&of, &[7]).expect_err("refused"), "an integer is no STRUCT");
    let unknown = taken::<Json>(&[("x", DataType::Binary)], &[]).expect_err("refused");
    assert_eq!(unknown, "x: no record has values of the type Binary");
}

#[test]
fn a_field_that_comes_twice_is_refused() {
    #[derive(Serialize)]
    struct Inner {
        a: u8,
    }
    #[derive(Serialize)]
    struct Outer {
        a: u8,
        #[serde(flatten)]
        inner: Inner,
    }
    let twice = Outer { a: 1, inner: Inner { a: 2 } };
    let refused = taken(&[("a", DataType::UInt8)], &[twice]).expect_err("refused");
    assert_eq!(refused, "a: it comes twice");
}

#[test]
fn an_instant_comes_as_a_number_and_stands_as_its_column_wants_it() {
    #[derive(Serialize)]
    struct Told {
        #[serde(serialize_with = "instant")]
        at: i64,
    }
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde hands it")]
    fn instant<S: Serializer>(micros: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_newtype_struct(ingest::wire::INSTANT, micros)
    }
    let told = [Told { at: 1_740_000_000_000_001 }];
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let column = taken(&[("at", micros)], &told).unwrap().remove(0);
    assert_eq!(column.as_primitive::<TimestampMicrosecondType>().value(0), told[0].at);
    let column = taken(&[("at", DataType::Utf8)], &told).unwrap().remove(0);
    assert_eq!(column.as_string::<i32>().value(0), "2025-02-19T21:20:00.000001Z");
    let refused = taken(&[("at", DataType::Int64)], &told).expect_err("refused");
    assert!(refused.contains("is no BIGINT"), "{refused}");
}
