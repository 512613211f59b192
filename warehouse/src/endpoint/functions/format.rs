//! `format` as PostgreSQL has it, for what clients put names together with: `%s`, `%I`, `%L` and `%%`.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, StringArray},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::Result,
    error::DataFusionError,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    prelude::SessionContext,
};

/// Adds the function to a context.
pub(super) fn register(context: &SessionContext) {
    let signature = Signature::variadic_any(Volatility::Immutable);
    context.register_udf(ScalarUDF::from(Format { signature }));
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Format {
    signature: Signature,
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let texts = args.args.iter().map(|arg| -> Result<StringArray> {
            let values = arg.to_array(rows)?;
            Ok(cast(&values, &DataType::Utf8)?.as_string::<i32>().clone())
        });
        let texts = texts.collect::<Result<Vec<StringArray>>>()?;
        let Some((forms, values)) = texts.split_first() else {
            return Err(wrong("format() takes a text that says how"));
        };
        let made = (0..rows).map(|row| -> Result<Option<String>> {
            let value = |of: &StringArray| of.is_valid(row).then(|| of.value(row).to_owned());
            let Some(form) = value(forms) else { return Ok(None) };
            formatted(&form, values.iter().map(value)).map(Some)
        });
        let made = made.collect::<Result<StringArray>>()?;
        Ok(ColumnarValue::Array(Arc::new(made)))
    }
}

fn formatted(form: &str, mut values: impl Iterator<Item = Option<String>>) -> Result<String> {
    let mut made = String::new();
    let mut rest = form.chars();
    while let Some(next) = rest.next() {
        if next != '%' {
            made.push(next);
            continue;
        }
        let how = rest.next();
        if how == Some('%') {
            made.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| wrong("too few arguments for format()"))?;
        match (how, value) {
            (Some('s'), value) => made.push_str(&value.unwrap_or_default()),
            (Some('I'), Some(name)) => made.push_str(&quoted(&name)),
            (Some('L'), Some(text)) => {
                made.push('\'');
                made.push_str(&text.replace('\'', "''"));
                made.push('\'');
            }
            (Some('L'), None) => made.push_str("NULL"),
            (Some('I'), None) => return Err(wrong("nothing is no name")),
            _ => return Err(wrong("format() knows %s, %I, %L and %%")),
        }
    }
    Ok(made)
}

/// A name as a statement has it.
fn quoted(name: &str) -> String {
    let is_word = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    if begins && name.bytes().all(is_word) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn wrong(text: &str) -> DataFusionError {
    DataFusionError::Execution(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(form: &str, values: &[Option<&str>]) -> Option<String> {
        formatted(form, values.iter().map(|value| value.map(str::to_owned))).ok()
    }

    #[test]
    fn values_are_put_where_the_form_says() {
        let names = [Some("public"), Some("Odd \"name\"")];
        assert_eq!(made("%s", &[Some("text")]).as_deref(), Some("text"));
        assert_eq!(made("%I.%I", &names).as_deref(), Some("public.\"Odd \"\"name\"\"\""));
        assert_eq!(made("%L, %L", &[Some("it's"), None]).as_deref(), Some("'it''s', NULL"));
        assert_eq!(made("100 %% %s", &[None]).as_deref(), Some("100 % "));
        let refused: [(&str, &[Option<&str>]); 4] =
            [("%s %s", &names[..1]), ("%I", &[None]), ("%d", &names), ("%", &names)];
        for (form, values) in refused {
            assert_eq!(made(form, values), None, "{form}");
        }
    }

    #[tokio::test]
    async fn every_row_has_its_own() {
        let context = SessionContext::new();
        register(&context);
        let sql =
            "SELECT format('%s-%s', a, 'x') AS made FROM (VALUES (1), (2)) AS t(a) ORDER BY a";
        let batches = context.sql(sql).await.expect("a plan").collect().await.expect("rows");
        let rows = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter());
        assert_eq!(rows.collect::<Vec<_>>(), [Some("1-x"), Some("2-x")]);
    }
}
