//! Rows of `benefit_lines` against the stream: each benefit of a final line once, at any time at most
//! once, with its cents.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Int32Type, Int64Type},
};
use ingest::{record::Position, wire::v1};

use super::sums::{instant, local_day};

/// Partition and offset of the record, line and instruction.
type Key = (u32, u64, u32, String);

/// What one benefit of one line comes to, as statements add it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who funds it.
    pub grantor: String,
    /// Who gave it.
    pub merchant: String,
    /// The local day that it counts for.
    pub day: chrono::NaiveDate,
    /// The whole of it.
    pub cents: i64,
    /// The grantor's part.
    pub grantor_cents: i64,
}

/// What has to land and what did.
#[derive(Debug, Default)]
pub struct Lines {
    expected: BTreeMap<Key, Line>,
    landed: BTreeMap<Key, i64>,
}

impl Lines {
    /// A record says what was given or came back.
    pub fn given(
        &mut self,
        at: Position,
        (merchant, occurred_at): (&str, i64),
        lines: &[v1::AuthorisationLine],
    ) {
        for line in lines {
            for benefit in &line.benefits {
                let key = (at.partition, at.offset, line.line, benefit.instruction_id.clone());
                let of = Line {
                    grantor: benefit.grantor_id.clone(),
                    merchant: merchant.to_owned(),
                    day: local_day(instant(occurred_at)),
                    cents: benefit.amount_cents,
                    grantor_cents: benefit.grantor_cents,
                };
                self.expected.insert(key, of);
            }
        }
    }

    /// Rows entered a table.
    pub fn land(&mut self, table: &str, rows: &[RecordBatch]) -> Result<(), String> {
        if table != "benefit_lines" {
            return Ok(());
        }
        for rows in rows {
            for (key, cents) in read(rows).ok_or("rows of benefit_lines cannot be read")? {
                let Some(line) = self.expected.get(&key) else {
                    return Err(format!("the row {key:?} is of no record"));
                };
                if line.cents != cents {
                    return Err(format!("the row {key:?} has {cents}, its record {}", line.cents));
                }
                if self.landed.insert(key.clone(), cents).is_some() {
                    return Err(format!("the row {key:?} landed twice"));
                }
            }
        }
        Ok(())
    }

    /// What never landed.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.expected.keys().filter(|key| !self.landed.contains_key(*key));
        missing.map(|key| format!("the row {key:?} never landed")).collect()
    }

    /// All lines, each with where its record stands.
    pub fn all(&self) -> impl Iterator<Item = (Position, &Line)> {
        self.expected.iter().map(|((partition, offset, ..), line)| {
            (Position { partition: *partition, offset: *offset }, line)
        })
    }
}

fn read(rows: &RecordBatch) -> Option<Vec<(Key, i64)>> {
    let column = |name: &str, kind: &DataType| cast(rows.column_by_name(name)?, kind).ok();
    let partition = column("source_partition", &DataType::Int32)?;
    let offset = column("source_offset", &DataType::Int64)?;
    let line = column("line", &DataType::Int32)?;
    let instruction = column("instruction_id", &DataType::Utf8)?;
    let amount = column("amount", &DataType::Decimal128(18, 2))?;
    let partition = partition.as_primitive_opt::<Int32Type>()?;
    let offset = offset.as_primitive_opt::<Int64Type>()?;
    let line = line.as_primitive_opt::<Int32Type>()?;
    let instruction = instruction.as_string_opt::<i32>()?;
    let amount = amount.as_primitive_opt::<Decimal128Type>()?;
    let each = (0..rows.num_rows()).map(|row| {
        if amount.is_null(row) {
            return None;
        }
        let key = (
            u32::try_from(partition.value(row)).ok()?,
            u64::try_from(offset.value(row)).ok()?,
            u32::try_from(line.value(row)).ok()?,
            instruction.value(row).to_owned(),
        );
        Some((key, i64::try_from(amount.value(row)).ok()?))
    });
    each.collect()
}
