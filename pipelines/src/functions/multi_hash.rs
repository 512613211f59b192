//! `multi_hash(a, …)`: a fast hash of 128 bits over any values, for keys, not for secrets.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, FixedSizeBinaryBuilder},
    datatypes::DataType,
    row::{RowConverter, SortField},
};
use datafusion::{
    common::{Result, plan_err},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    },
};
use xxhash_rust::xxh3::xxh3_128;

/// The bytes of a hash.
const BYTES: i32 = 16;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MultiHash {
    signature: Signature,
}

impl Default for MultiHash {
    fn default() -> Self {
        Self { signature: Signature::new(TypeSignature::VariadicAny, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MultiHash {
    fn name(&self) -> &'static str {
        "multi_hash"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if arguments.is_empty() {
            return plan_err!("multi_hash must have at least one argument");
        }
        Ok(DataType::FixedSizeBinary(BYTES))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns = arguments.args.iter().map(|argument| argument.to_array(rows));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let mut hashes = FixedSizeBinaryBuilder::with_capacity(rows, BYTES);
        for row in &converter.convert_columns(&columns)? {
            hashes.append_value(xxh3_128(row.as_ref()).to_be_bytes())?;
        }
        Ok(ColumnarValue::Array(Arc::new(hashes.finish())))
    }
}
