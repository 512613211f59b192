//! Columns that are filled value by value.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, ArrowPrimitiveType, BooleanBuilder, Decimal128Builder, ListArray,
        NullBufferBuilder, PrimitiveBuilder, StringBuilder,
    },
    buffer::OffsetBuffer,
    compute::kernels::cast_utils::{Parser, parse_decimal, string_to_datetime},
    datatypes::{
        DataType, Date32Type, Decimal128Type, FieldRef, Float32Type, Float64Type, Int8Type,
        Int16Type, Int32Type, Int64Type, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
};
use chrono::{DateTime, Utc};
use ingest::wire::{instant, rfc3339};

use super::{fault::Fault, object::Object};

type Filled = Result<(), Fault>;

/// A column that takes one value after the other. What one does not take is a fault.
pub trait Column: Send + Sync {
    /// What it holds, for faults.
    fn name(&self) -> &'static str;

    /// NULL.
    fn null(&mut self);

    /// All values since this was asked last.
    fn finish(&mut self) -> Result<ArrayRef, Fault>;

    fn boolean(&mut self, _: bool) -> Filled {
        Err(Fault::not(self.name(), "a truth value"))
    }

    fn integer(&mut self, _: i128) -> Filled {
        Err(Fault::not(self.name(), "an integer"))
    }

    fn real(&mut self, _: f64) -> Filled {
        Err(Fault::not(self.name(), "a fraction"))
    }

    fn text(&mut self, _: &str) -> Filled {
        Err(Fault::not(self.name(), "a text"))
    }

    /// Microseconds since 1970; where it is not the form that it has in JSON.
    fn instant(&mut self, micros: i64) -> Filled {
        self.text(&rfc3339(micros))
    }

    fn object(&mut self) -> Result<&mut Object, Fault> {
        Err(Fault::not(self.name(), "an object"))
    }

    fn list(&mut self) -> Result<&mut List, Fault> {
        Err(Fault::not(self.name(), "a list"))
    }
}

/// An empty column of a type.
///
/// # Errors
/// Where the type is none that records have.
pub fn column(of: &DataType) -> Result<Box<dyn Column>, Fault> {
    Ok(match of {
        DataType::Boolean => Box::new(Booleans(BooleanBuilder::new())),
        DataType::Int8 => Number::<Int8Type>::integers("TINYINT"),
        DataType::Int16 => Number::<Int16Type>::integers("SMALLINT"),
        DataType::Int32 => Number::<Int32Type>::integers("INT"),
        DataType::Int64 => Number::<Int64Type>::integers("BIGINT"),
        DataType::UInt8 => Number::<UInt8Type>::integers("TINYINT UNSIGNED"),
        DataType::UInt16 => Number::<UInt16Type>::integers("SMALLINT UNSIGNED"),
        DataType::UInt32 => Number::<UInt32Type>::integers("INT UNSIGNED"),
        DataType::UInt64 => Number::<UInt64Type>::integers("BIGINT UNSIGNED"),
        DataType::Float32 => Number::<Float32Type>::read("FLOAT"),
        DataType::Float64 => Number::<Float64Type>::read("DOUBLE"),
        DataType::Decimal128(precision, scale) => Box::new(Decimals {
            values: Decimal128Builder::new().with_data_type(of.clone()),
            precision: *precision,
            scale: *scale,
        }),
        DataType::Utf8 => Box::new(Texts(StringBuilder::new())),
        DataType::Date32 => Number::<Date32Type>::read("DATE"),
        DataType::Time64(TimeUnit::Nanosecond) => Number::<Time64NanosecondType>::read("TIME"),
        DataType::Timestamp(unit, None) => match unit {
            TimeUnit::Second => Instants::<TimestampSecondType>::of(|at| Some(at.timestamp())),
            TimeUnit::Millisecond => {
                Instants::<TimestampMillisecondType>::of(|at| Some(at.timestamp_millis()))
            }
            TimeUnit::Microsecond => {
                Instants::<TimestampMicrosecondType>::of(|at| Some(at.timestamp_micros()))
            }
            TimeUnit::Nanosecond => {
                Instants::<TimestampNanosecondType>::of(|at| at.timestamp_nanos_opt())
            }
        },
        DataType::Struct(fields) => Box::new(Object::new(fields.clone())?),
        DataType::List(item) => Box::new(List {
            item: column(item.data_type())?,
            field: Arc::clone(item),
            items: 0,
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
        }),
        other => return Err(Fault::new(format!("no record has values of the type {other}"))),
    })
}

struct Booleans(BooleanBuilder);

impl Column for Booleans {
    fn name(&self) -> &'static str {
        "BOOLEAN"
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Fault> {
        Ok(Arc::new(self.0.finish()))
    }

    fn boolean(&mut self, value: bool) -> Filled {
        self.0.append_value(value);
        Ok(())
    }
}

struct Texts(StringBuilder);

impl Column for Texts {
    fn name(&self) -> &'static str {
        "TEXT"
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Fault> {
        Ok(Arc::new(self.0.finish()))
    }

    fn text(&mut self, text: &str) -> Filled {
        self.0.append_value(text);
        Ok(())
    }
}

/// Values that lie beside each other. What is no integer is read from its text.
struct Number<T: ArrowPrimitiveType> {
    name: &'static str,
    values: PrimitiveBuilder<T>,
    of_integer: fn(i128) -> Option<T::Native>,
}

impl<T: ArrowPrimitiveType + Parser> Number<T> {
    fn integers(name: &'static str) -> Box<dyn Column>
    where
        T::Native: TryFrom<i128>,
    {
        let of_integer = |integer| T::Native::try_from(integer).ok();
        Box::new(Self { name, values: PrimitiveBuilder::new(), of_integer })
    }

    fn read(name: &'static str) -> Box<dyn Column> {
        Box::new(Self { name, values: PrimitiveBuilder::new(), of_integer: |_| None })
    }
}

impl<T: ArrowPrimitiveType + Parser> Column for Number<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn null(&mut self) {
        self.values.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Fault> {
        Ok(Arc::new(self.values.finish()))
    }

    fn integer(&mut self, value: i128) -> Filled {
        match (self.of_integer)(value) {
            Some(value) => {
                self.values.append_value(value);
                Ok(())
            }
            None => self.text(&value.to_string()),
        }
    }

    fn real(&mut self, value: f64) -> Filled {
        self.text(&value.to_string())
    }

    fn text(&mut self, text: &str) -> Filled {
        let value = T::parse(text);
        let value = value.ok_or_else(|| Fault::new(format!("{text:?} is no {}", self.name)))?;
        self.values.append_value(value);
        Ok(())
    }
}

struct Decimals {
    values: Decimal128Builder,
    precision: u8,
    scale: i8,
}

impl Column for Decimals {
    fn name(&self) -> &'static str {
        "DECIMAL"
    }

    fn null(&mut self) {
        self.values.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Fault> {
        Ok(Arc::new(self.values.finish()))
    }

    fn integer(&mut self, value: i128) -> Filled {
        self.text(&value.to_string())
    }

    fn real(&mut self, value: f64) -> Filled {
        self.text(&value.to_string())
    }

    fn text(&mut self, text: &str) -> Filled {
        let value = parse_decimal::<Decimal128Type>(text, self.precision, self.scale)?;
        self.values.append_value(value);
        Ok(())
    }
}

struct Instants<T: ArrowPrimitiveType<Native = i64>> {
    values: PrimitiveBuilder<T>,
    /// So many units since 1970, where there are not too many.
    units: fn(DateTime<Utc>) -> Option<i64>,
}

impl<T: ArrowPrimitiveType<Native = i64>> Instants<T> {
    fn of(units: fn(DateTime<Utc>) -> Option<i64>) -> Box<dyn Column> {
        Box::new(Self { values: PrimitiveBuilder::new(), units })
    }

    fn put(&mut self, at: Option<DateTime<Utc>>, told: impl std::fmt::Display) -> Filled {
        let units = at.and_then(self.units);
        let units = units.ok_or_else(|| Fault::new(format!("{told} is no TIMESTAMP")))?;
        self.values.append_value(units);
        Ok(())
    }
}

impl<T: ArrowPrimitiveType<Native = i64>> Column for Instants<T> {
    fn name(&self) -> &'static str {
        "TIMESTAMP"
    }

    fn null(&mut self) {
        self.values.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Fault> {
        Ok(Arc::new(self.values.finish()))
    }

    fn integer(&mut self, value: i128) -> Filled {
        let units = i64::try_from(value).ok();
        let units = units.ok_or_else(|| Fault::new(format!("{value} is no TIMESTAMP")))?;
        // Of the column's own unit, as a cluster reads it.
        self.values.append_value(units);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Filled {
        self.put(string_to_datetime(&Utc, text).ok(), format_args!("{text:?}"))
    }

    fn instant(&mut self, micros: i64) -> Filled {
        self.put(instant(micros), micros)
    }
}

/// Lists of values.
pub struct List {
    item: Box<dyn Column>,
    field: FieldRef,
    items: usize,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl List {
    /// Where the next item goes.
    pub fn item(&mut self) -> &mut dyn Column {
        self.items += 1;
        self.item.as_mut()
    }

    /// The list that was begun has no more items.
    pub fn end(&mut self) -> Filled {
        let end = i32::try_from(self.items).map_err(|_| Fault::new("too many items".into()))?;
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }
}

impl Column for List {
    fn name(&self) -> &'static str {
        "ARRAY"
    }

    fn null(&mut self) {
        self.offsets.extend(self.offsets.last().copied());
        self.nulls.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Fault> {
        self.items = 0;
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let offsets = OffsetBuffer::new(offsets.into());
        let (field, items) = (Arc::clone(&self.field), self.item.finish()?);
        Ok(Arc::new(ListArray::try_new(field, offsets, items, self.nulls.finish())?))
    }

    fn list(&mut self) -> Result<&mut List, Fault> {
        Ok(self)
    }
}
