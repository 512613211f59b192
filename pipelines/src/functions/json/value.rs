//! A JSON value of any kind, as a union of JSON's kinds.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, NullArray,
        StringArray, StringBuilder, UnionArray,
    },
    datatypes::{DataType, Field, Float64Type, Int64Type, UnionFields, UnionMode},
};
use datafusion::{
    common::{Result, exec_err, plan_err},
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility,
    },
    prelude::Column,
};

const NULL: i8 = 0;
const BOOL: i8 = 1;
const INT: i8 = 2;
const FLOAT: i8 = 3;
const STR: i8 = 4;
const ARRAY: i8 = 5;
const OBJECT: i8 = 6;

static FIELDS: LazyLock<UnionFields> = LazyLock::new(|| {
    let json = HashMap::from([("is_json".to_owned(), "true".to_owned())]);
    let field = |name: &str, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
    let text =
        |name: &str| Arc::new(Field::new(name, DataType::Utf8, false).with_metadata(json.clone()));
    UnionFields::from_iter([
        (NULL, field("null", DataType::Null, true)),
        (BOOL, field("bool", DataType::Boolean, false)),
        (INT, field("int", DataType::Int64, false)),
        (FLOAT, field("float", DataType::Float64, false)),
        (STR, field("str", DataType::Utf8, false)),
        (ARRAY, text("array")),
        (OBJECT, text("object")),
    ])
});

/// The type of a JSON value.
pub fn data_type() -> DataType {
    DataType::Union(FIELDS.clone(), UnionMode::Sparse)
}

/// Whether a column holds JSON values, which no sink can write before [`serialise`].
#[must_use]
pub fn is_value(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Union(fields, UnionMode::Sparse) if *fields == *FIELDS)
}

/// Each value's kind by how its text begins.
pub fn array(texts: impl Iterator<Item = Option<String>>) -> Result<ArrayRef> {
    let (mut kinds, mut bools) = (Vec::new(), BooleanBuilder::new());
    let (mut ints, mut floats) = (Int64Builder::new(), Float64Builder::new());
    let [mut strings, mut arrays, mut objects] = [(); 3].map(|()| StringBuilder::new());
    for text in texts {
        let text = text.as_deref();
        let kind = text.map_or(NULL, kind);
        let of = |wanted: i8| text.filter(|_| kind == wanted);
        kinds.push(kind);
        bools.append_option(of(BOOL).map(|text| text == "true"));
        ints.append_option(of(INT).and_then(|text| text.parse().ok()));
        floats.append_option(of(FLOAT).and_then(|text| text.parse().ok()));
        strings.append_option(of(STR).and_then(|text| serde_json::from_str::<String>(text).ok()));
        arrays.append_option(of(ARRAY));
        objects.append_option(of(OBJECT));
    }
    let children: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(kinds.len())),
        Arc::new(bools.finish()),
        Arc::new(ints.finish()),
        Arc::new(floats.finish()),
        Arc::new(strings.finish()),
        Arc::new(arrays.finish()),
        Arc::new(objects.finish()),
    ];
    Ok(Arc::new(UnionArray::try_new(FIELDS.clone(), kinds.into(), None, children)?))
}

/// What is no value is `null`: a whole number beyond 64 bits, or a number beyond a double.
fn kind(text: &str) -> i8 {
    match text.as_bytes().first() {
        Some(b'{') => OBJECT,
        Some(b'[') => ARRAY,
        Some(b'"') => STR,
        Some(b't' | b'f') => BOOL,
        Some(b'-' | b'0'..=b'9') if !text.contains(['.', 'e', 'E']) => {
            text.parse::<i64>().map_or(NULL, |_| INT)
        }
        Some(b'-' | b'0'..=b'9') => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => FLOAT,
            _ => NULL,
        },
        _ => NULL,
    }
}

/// The values of a column of JSON values, each as JSON; `null` where there is none.
pub fn texts(values: &dyn Array) -> Result<StringArray> {
    let Some(values) = values.as_any().downcast_ref::<UnionArray>() else {
        return exec_err!("no column of JSON values: {}", values.data_type());
    };
    Ok((0..values.len()).map(|row| Some(text(values, row))).collect())
}

fn text(values: &UnionArray, row: usize) -> String {
    let kind = values.type_id(row);
    let child = values.child(kind);
    match kind {
        _ if child.is_null(row) => "null".into(),
        BOOL => child.as_boolean().value(row).to_string(),
        INT => child.as_primitive::<Int64Type>().value(row).to_string(),
        FLOAT => child.as_primitive::<Float64Type>().value(row).to_string(),
        STR => serde_json::Value::from(child.as_string::<i32>().value(row)).to_string(),
        ARRAY | OBJECT => child.as_string::<i32>().value(row).to_owned(),
        _ => "null".into(),
    }
}

/// A plan whose JSON values are texts, as sinks and memory tables hold them.
///
/// # Errors
/// Where the plan cannot be built upon.
pub fn serialise(plan: LogicalPlan) -> Result<LogicalPlan> {
    let schema = plan.schema();
    if !schema.fields().iter().any(|field| is_value(field.data_type())) {
        return Ok(plan);
    }
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match is_value(field.data_type()) {
            true => function().call(vec![column]).alias(field.name()),
            false => column,
        }
    });
    let expressions: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::new(plan).project(expressions)?.build()
}

/// `serialize_json_union(value)`, the function that [`serialise`] adds.
pub fn function() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Serialise {
            signature: Signature::any(1, Volatility::Immutable),
        }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Serialise {
    signature: Signature,
}

impl ScalarUDFImpl for Serialise {
    fn name(&self) -> &'static str {
        "serialize_json_union"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [value] if is_value(value) => Ok(DataType::Utf8),
            _ => plan_err!("serialize_json_union needs a JSON value"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = arguments.args.as_slice() else {
            return exec_err!("serialize_json_union needs a JSON value");
        };
        let values = value.to_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(texts(&values)?)))
    }
}
