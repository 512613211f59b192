//! Closures as the bodies of functions.

use std::iter::once;

use arrow::{
    array::{Array, ArrayRef},
    datatypes::DataType,
};

use super::value::{Argument, Value, read};

/// What a scalar function does; closures of one to four arguments are such bodies.
pub trait ScalarBody<A>: Send + Sync + 'static {
    /// The types of its arguments.
    fn arguments(&self) -> Vec<DataType>;
    /// The type of what it gives.
    fn returns(&self) -> DataType;
    /// What it gives for each row.
    fn call(&self, columns: &[ArrayRef]) -> ArrayRef;
}

/// What an aggregate function does; closures of one to four vectors are such bodies.
pub trait AggregateBody<A>: Send + Sync + 'static {
    /// The types of its arguments.
    fn arguments(&self) -> Vec<DataType>;
    /// The type of what it gives.
    fn returns(&self) -> DataType;
    /// What it gives for a group's rows, a column of one row.
    fn call(&self, columns: &[ArrayRef]) -> ArrayRef;
}

macro_rules! bodies {
    ($($argument:ident $index:tt),*) => {
        impl<F, R, $($argument),*> ScalarBody<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R + Send + Sync + 'static,
            R: Argument,
            $($argument: Argument,)*
        {
            fn arguments(&self) -> Vec<DataType> {
                vec![$($argument::Of::data_type()),*]
            }

            fn returns(&self) -> DataType {
                R::Of::data_type()
            }

            fn call(&self, columns: &[ArrayRef]) -> ArrayRef {
                let rows = columns.first().map_or(0, |column| column.len());
                R::Of::column((0..rows).map(|row| {
                    self($(read::<$argument>(&columns[$index], row)?),*).value()
                }))
            }
        }

        impl<F, R, $($argument),*> AggregateBody<($($argument,)*)> for F
        where
            F: Fn($(Vec<$argument>),*) -> R + Send + Sync + 'static,
            R: Argument,
            $($argument: Argument,)*
        {
            fn arguments(&self) -> Vec<DataType> {
                vec![$($argument::Of::data_type()),*]
            }

            fn returns(&self) -> DataType {
                R::Of::data_type()
            }

            fn call(&self, columns: &[ArrayRef]) -> ArrayRef {
                R::Of::column(once(self($(values::<$argument>(&columns[$index])),*).value()))
            }
        }
    };
}

bodies!(A 0);
bodies!(A 0, B 1);
bodies!(A 0, B 1, C 2);
bodies!(A 0, B 1, C 2, D 3);

fn values<A: Argument>(column: &ArrayRef) -> Vec<A> {
    (0..column.len()).filter_map(|row| read(column, row)).collect()
}
