//! `json_get(text, step, …)` and its kin: the value at a path of keys and indices.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListBuilder, StringArray,
        StringBuilder, UInt64Array,
    },
    compute::cast,
    datatypes::{DataType, Field, Int64Type},
};
use datafusion::{
    common::{Result, plan_err},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

use super::{
    find::{Step, elements, find, keys},
    value,
};

/// What is read of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `json_get`: whatever it is.
    Value,
    /// `json_get_str`: a string, else NULL.
    Str,
    /// `json_get_int`: a whole number, else NULL.
    Int,
    /// `json_get_float`: a number, else NULL.
    Float,
    /// `json_get_bool`: a boolean, else NULL.
    Bool,
    /// `json_get_json`: its text.
    Json,
    /// `json_as_text`: a string without quotes, anything else as its text, null as NULL.
    Text,
    /// `json_contains`: whether there is one.
    Contains,
    /// `json_length`: how many elements or keys it has.
    Length,
    /// `json_object_keys`: its keys.
    Keys,
    /// `json_get_number`: a number with all its digits, as text; what a cast to DECIMAL reads.
    Number,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Value,
        Self::Str,
        Self::Int,
        Self::Float,
        Self::Bool,
        Self::Json,
        Self::Text,
        Self::Contains,
        Self::Length,
        Self::Keys,
        Self::Number,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "json_get",
            Self::Str => "json_get_str",
            Self::Int => "json_get_int",
            Self::Float => "json_get_float",
            Self::Bool => "json_get_bool",
            Self::Json => "json_get_json",
            Self::Text => "json_as_text",
            Self::Contains => "json_contains",
            Self::Length => "json_length",
            Self::Keys => "json_object_keys",
            Self::Number => "json_get_number",
        }
    }

    fn returns(self) -> DataType {
        match self {
            Self::Value => value::data_type(),
            Self::Str | Self::Json | Self::Text | Self::Number => DataType::Utf8,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Bool | Self::Contains => DataType::Boolean,
            Self::Length => DataType::UInt64,
            Self::Keys => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        }
    }

    fn array(self, found: &[Option<&str>]) -> Result<ArrayRef> {
        let found = found.iter().copied();
        Ok(match self {
            Self::Value => value::array(found.map(|text| text.map(str::to_owned)))?,
            Self::Str => Arc::new(found.map(|text| string(text?)).collect::<StringArray>()),
            Self::Int => Arc::new(
                found.map(|text| text.and_then(|text| text.parse().ok())).collect::<Int64Array>(),
            ),
            Self::Float => Arc::new(
                found
                    .map(|text| text.filter(|text| is_number(text))?.parse().ok())
                    .map(|number: Option<f64>| number.filter(|number| number.is_finite()))
                    .collect::<Float64Array>(),
            ),
            Self::Bool => Arc::new(
                found.map(|text| text.and_then(|text| text.parse().ok())).collect::<BooleanArray>(),
            ),
            Self::Json => Arc::new(found.collect::<StringArray>()),
            Self::Text => Arc::new(found.map(as_text).collect::<StringArray>()),
            Self::Number => Arc::new(found.map(number).collect::<StringArray>()),
            Self::Contains => {
                Arc::new(found.map(|text| Some(text.is_some())).collect::<BooleanArray>())
            }
            Self::Length => Arc::new(found.map(length).collect::<UInt64Array>()),
            Self::Keys => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for text in found {
                    lists.append_option(text.and_then(keys).map(|keys| keys.into_iter().map(Some)));
                }
                Arc::new(lists.finish())
            }
        })
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|letter: char| letter == '-' || letter.is_ascii_digit())
}

/// A number as a cast to DECIMAL reads it: without an exponent.
fn number(text: Option<&str>) -> Option<String> {
    let text = text.filter(|text| is_number(text))?;
    match text.contains(['e', 'E']) {
        false => Some(text.to_owned()),
        true => {
            let number: f64 = text.parse().ok()?;
            number.is_finite().then(|| number.to_string())
        }
    }
}

fn string(text: &str) -> Option<String> {
    text.starts_with('"').then(|| serde_json::from_str(text).ok())?
}

fn as_text(text: Option<&str>) -> Option<String> {
    match text? {
        "null" => None,
        text if text.starts_with('"') => string(text),
        text => Some(text.to_owned()),
    }
}

fn length(text: Option<&str>) -> Option<u64> {
    let text = text?;
    let length = match text.as_bytes().first()? {
        b'[' => elements(text)?,
        b'{' => keys(text)?.len(),
        _ => return None,
    };
    u64::try_from(length).ok()
}

/// The function of a kind.
pub fn function(kind: Kind) -> Arc<ScalarUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Get { kind, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Get {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for Get {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let name = self.name();
        let Some((first, steps)) = arguments.split_first() else {
            return plan_err!("The '{name}' function requires one or more arguments.");
        };
        if self.kind == Kind::Contains && steps.is_empty() {
            return plan_err!("The '{name}' function requires two or more arguments.");
        }
        if !(first.is_string() || first.is_null() || value::is_value(first)) {
            return plan_err!(
                "Unexpected argument type to '{name}' at position 1, expected a string, got \
                 {first:?}."
            );
        }
        for (index, step) in steps.iter().enumerate() {
            if !(step.is_string() || step.is_integer() || step.is_null()) {
                return plan_err!(
                    "Unexpected argument type to '{name}' at position {}, expected string or int, \
                     got {step:?}.",
                    index + 2
                );
            }
        }
        Ok(self.kind.returns())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let Some((first, steps)) = arguments.args.split_first() else {
            return plan_err!("The '{}' function requires one or more arguments.", self.name());
        };
        let first = first.to_array(rows)?;
        let texts = match value::is_value(first.data_type()) {
            true => Arc::new(value::texts(&first)?) as ArrayRef,
            false => cast(&first, &DataType::Utf8)?,
        };
        let texts = texts.as_string::<i32>();
        let steps = steps.iter().map(|step| Steps::of(step, rows));
        let steps: Vec<Steps> = steps.collect::<Result<_>>()?;
        let mut path = Vec::with_capacity(steps.len());
        let mut found = Vec::with_capacity(rows);
        for row in 0..rows {
            path.clear();
            path.extend(steps.iter().map(|steps| steps.at(row)));
            found.push(match texts.is_null(row) {
                true => None,
                false => find(texts.value(row), &path),
            });
        }
        Ok(ColumnarValue::Array(self.kind.array(&found)?))
    }
}

/// One step of the path for each row, or for all.
enum Steps {
    Keys(ArrayRef),
    Indices(ArrayRef),
    Nowhere,
}

impl Steps {
    fn of(step: &ColumnarValue, rows: usize) -> Result<Self> {
        let step = match step {
            ColumnarValue::Scalar(step) => step.to_array_of_size(1)?,
            ColumnarValue::Array(_) => step.to_array(rows)?,
        };
        Ok(match step.data_type() {
            DataType::Null => Self::Nowhere,
            other if other.is_integer() => Self::Indices(cast(&step, &DataType::Int64)?),
            _ => Self::Keys(cast(&step, &DataType::Utf8)?),
        })
    }

    fn at(&self, row: usize) -> Step<'_> {
        let row = |steps: &ArrayRef| if steps.len() == 1 { 0 } else { row };
        match self {
            Self::Keys(steps) if steps.is_valid(row(steps)) => {
                Step::Key(steps.as_string::<i32>().value(row(steps)))
            }
            Self::Indices(steps) if steps.is_valid(row(steps)) => {
                let index = steps.as_primitive::<Int64Type>().value(row(steps));
                usize::try_from(index).map_or(Step::Nowhere, Step::Index)
            }
            Self::Keys(_) | Self::Indices(_) | Self::Nowhere => Step::Nowhere,
        }
    }
}
