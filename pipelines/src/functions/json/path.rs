//! `extract_json(text, path)` and its kin: what a JSONPath finds.

use std::sync::Arc;

use arrow::{
    array::{AsArray, ListBuilder, StringArray, StringBuilder},
    datatypes::{DataType, Field},
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};
use serde_json::Value;
use serde_json_path::JsonPath;

/// Filters and brackets of one path: its parser reads those inside each other anew at every level, and
/// descends without looking at the stack.
const MOST_NESTED: usize = 8;

/// The path that a text says.
///
/// # Errors
/// Why it says none.
pub fn parse(text: &str) -> Result<JsonPath, String> {
    if text.matches(['?', '(']).count() > MOST_NESTED {
        return Err(format!("it has more than {MOST_NESTED} filters and brackets"));
    }
    if ends_in_escape(text) {
        return Err("it ends in an escape".into());
    }
    JsonPath::parse(text).map_err(|error| format!("{error:?}"))
}

/// Whether nothing closes the string of the last escape, at which the parser panics.
fn ends_in_escape(text: &str) -> bool {
    let Some((before, rest)) = text.rsplit_once('\\') else { return false };
    // After two of them the last one is no beginning.
    let begins = before.chars().rev().take_while(|of| *of == '\\').count() % 2 == 0;
    // The escape itself, a quote, and a bracket.
    begins && rest.len() < if rest.starts_with('u') { 7 } else { 3 }
}

/// What is made of what the path finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `extract_json`: all of it, each as JSON.
    All,
    /// `extract_json_string`: the first, where it is a string.
    FirstString,
    /// `get_first_json_object`: the first, as JSON.
    First,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::All, Self::FirstString, Self::First];
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct JsonPathFunction {
    kind: Kind,
    signature: Signature,
}

impl JsonPathFunction {
    pub fn of(kind: Kind) -> Self {
        let arguments = vec![DataType::Utf8, DataType::Utf8];
        Self { kind, signature: Signature::exact(arguments, Volatility::Immutable) }
    }

    fn path(&self, given: &ColumnarValue) -> Result<JsonPath> {
        let name = self.name();
        match given {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(path))) => parse(path)
                .map_err(|reason| exec_datafusion_err!("Invalid json path '{path}': {reason}")),
            ColumnarValue::Scalar(ScalarValue::Utf8(None)) => {
                exec_err!("The path argument to {name} cannot be null")
            }
            ColumnarValue::Scalar(_) => {
                exec_err!("The path argument to {name} must be of type TEXT")
            }
            ColumnarValue::Array(_) => {
                exec_err!("The path argument to {name} must be a literal")
            }
        }
    }
}

impl ScalarUDFImpl for JsonPathFunction {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::All => "extract_json",
            Kind::FirstString => "extract_json_string",
            Kind::First => "get_first_json_object",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::All => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            Kind::FirstString | Kind::First => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, path] = arguments.args.as_slice() else {
            return exec_err!("{} needs a text and a path", self.name());
        };
        let path = self.path(path)?;
        let texts = text.to_array(arguments.number_rows)?;
        // A text that is no JSON is unknown, hence NULL.
        let values = texts
            .as_string::<i32>()
            .iter()
            .map(|text| text.and_then(|text| serde_json::from_str::<Value>(text).ok()));
        Ok(ColumnarValue::Array(match self.kind {
            Kind::All => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for value in values {
                    lists.append_option(value.map(|value| {
                        let found = path.query(&value).all();
                        found.into_iter().map(|value| Some(value.to_string())).collect::<Vec<_>>()
                    }));
                }
                Arc::new(lists.finish())
            }
            Kind::FirstString => {
                let first = values.map(|value| {
                    path.query(&value?).first().and_then(Value::as_str).map(str::to_owned)
                });
                Arc::new(first.collect::<StringArray>())
            }
            Kind::First => {
                let first =
                    values.map(|value| path.query(&value?).first().map(ToString::to_string));
                Arc::new(first.collect::<StringArray>())
            }
        }))
    }
}
