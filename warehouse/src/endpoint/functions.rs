//! Functions of PostgreSQL that clients call before they ask anything.

use arrow::datatypes::DataType;
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    prelude::SessionContext,
};

use super::postgres::settings;

mod bounded;
mod format;

/// A function that answers the same whatever it is asked.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    answer: ScalarValue,
    signature: Signature,
}

/// Descriptions and definitions: our objects have none that PostgreSQL would show.
const SILENT: [&str; 13] = [
    "obj_description",
    "col_description",
    "shobj_description",
    "pg_get_viewdef",
    "pg_get_indexdef",
    "pg_get_ruledef",
    "pg_get_triggerdef",
    "pg_tablespace_location",
    "pg_get_functiondef",
    "pg_get_function_result",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_size_pretty",
];
/// Sizes: those of our tables are nobody's business but the operator's.
const SIZES: [&str; 5] = [
    "pg_table_size",
    "pg_relation_size",
    "pg_total_relation_size",
    "pg_indexes_size",
    "pg_database_size",
];

/// Adds the functions to a context.
pub(super) fn register(context: &SessionContext) {
    let add = |name, answer| {
        let signature = Signature::variadic_any(Volatility::Stable);
        context.register_udf(ScalarUDF::from(Constant { name, answer, signature }));
    };
    for name in SILENT {
        add(name, ScalarValue::Utf8(None));
    }
    for name in SIZES {
        add(name, ScalarValue::Int64(None));
    }
    for name in ["pg_function_is_visible", "pg_type_is_visible"] {
        add(name, ScalarValue::Boolean(Some(true)));
    }
    add("pg_is_in_recovery", ScalarValue::Boolean(Some(false)));
    add("pg_my_temp_schema", ScalarValue::Int32(Some(0)));
    add("txid_current", ScalarValue::Int64(Some(1)));
    always(context, "version", settings::VERSION_TEXT);
    let signature = Signature::variadic(vec![DataType::Utf8], Volatility::Stable);
    context.register_udf(ScalarUDF::from(CurrentSetting { signature }));
    bounded::register(context);
    format::register(context);
}

/// `current_user`, which the parser calls so, and `session_user`.
pub(super) fn reader(context: &SessionContext, name: &str) {
    always(context, "session_user", name);
}

/// A function without arguments that answers one text.
fn always(context: &SessionContext, name: &'static str, answer: &str) {
    let answer = ScalarValue::Utf8(Some(answer.to_owned()));
    let signature = Signature::nullary(Volatility::Stable);
    context.register_udf(ScalarUDF::from(Constant { name, answer, signature }));
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.answer.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.answer.clone()))
    }
}

/// `current_setting('server_version_num')`: what `SHOW` says at the start of a connection.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CurrentSetting {
    signature: Signature,
}

impl ScalarUDFImpl for CurrentSetting {
    fn name(&self) -> &'static str {
        "current_setting"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = match args.args.first() {
            Some(ColumnarValue::Scalar(name)) => name.try_as_str().flatten().map(str::to_lowercase),
            _ => None,
        };
        let answer = name.and_then(|name| settings::fixed(&name)).map(str::to_owned);
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(answer)))
    }
}
