//! Rust types that functions take and give, and the columns they stand in.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray},
    datatypes::{
        DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
};

/// A Rust type with a column type of its own.
pub trait Value: Sized + 'static {
    /// The column type.
    fn data_type() -> DataType;
    /// The value of a row that is not NULL.
    fn read(column: &ArrayRef, row: usize) -> Self;
    /// A column of values.
    fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef;
}

/// A [`Value`] or an `Option` of one.
pub trait Argument: Sized + 'static {
    /// The value.
    type Of: Value;
    /// From a row; none where it is NULL and this type has no NULL.
    fn of(value: Option<Self::Of>) -> Option<Self>;
    /// To a row.
    fn value(self) -> Option<Self::Of>;
}

impl<T: Value> Argument for T {
    type Of = T;

    fn of(value: Option<T>) -> Option<T> {
        value
    }

    fn value(self) -> Option<T> {
        Some(self)
    }
}

impl<T: Value> Argument for Option<T> {
    type Of = T;

    fn of(value: Self) -> Option<Self> {
        Some(value)
    }

    fn value(self) -> Self {
        self
    }
}

/// A row of a column as an argument.
pub fn read<A: Argument>(column: &ArrayRef, row: usize) -> Option<A> {
    A::of(column.is_valid(row).then(|| A::Of::read(column, row)))
}

macro_rules! numbers {
    ($($rust:ty => $arrow:ty, $type:ident;)*) => {$(
        impl Value for $rust {
            fn data_type() -> DataType {
                DataType::$type
            }

            fn read(column: &ArrayRef, row: usize) -> Self {
                column.as_primitive::<$arrow>().value(row)
            }

            fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef {
                Arc::new(values.collect::<PrimitiveArray<$arrow>>())
            }
        }
    )*};
}

numbers! {
    i8 => Int8Type, Int8;
    i16 => Int16Type, Int16;
    i32 => Int32Type, Int32;
    i64 => Int64Type, Int64;
    u8 => UInt8Type, UInt8;
    u16 => UInt16Type, UInt16;
    u32 => UInt32Type, UInt32;
    u64 => UInt64Type, UInt64;
    f32 => Float32Type, Float32;
    f64 => Float64Type, Float64;
}

impl Value for bool {
    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn read(column: &ArrayRef, row: usize) -> Self {
        column.as_boolean().value(row)
    }

    fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef {
        Arc::new(values.collect::<BooleanArray>())
    }
}

impl Value for String {
    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn read(column: &ArrayRef, row: usize) -> Self {
        column.as_string::<i32>().value(row).to_owned()
    }

    fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    }
}

impl Value for Vec<u8> {
    fn data_type() -> DataType {
        DataType::Binary
    }

    fn read(column: &ArrayRef, row: usize) -> Self {
        column.as_binary::<i32>().value(row).to_owned()
    }

    fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef {
        Arc::new(values.collect::<BinaryArray>())
    }
}
