//! Objects as columns of their fields.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, NullBufferBuilder, StructArray},
    datatypes::Fields,
};

use super::{
    column::{Column, column},
    fault::Fault,
};

/// How many names are known by where they came; of documents there may be any number.
const MOST_KNOWN: usize = 256;

/// A column of objects: of their fields those that anybody wants.
pub struct Object {
    fields: Fields,
    columns: Vec<Box<dyn Column>>,
    by_name: HashMap<String, usize>,
    /// Names in the order in which they have come, with their columns: the next object mostly has
    /// them in the same order, and a look at one text is cheaper than a hash.
    known: Vec<(String, Option<usize>)>,
    /// Of `known`, the name that is expected next.
    next: usize,
    /// Objects that have been begun.
    rows: usize,
    /// By column, the row of its last value, counted from 1.
    filled: Vec<usize>,
    nulls: NullBufferBuilder,
}

impl Object {
    /// No objects yet, of which these fields are wanted.
    pub fn new(fields: Fields) -> Result<Self, Fault> {
        let columns = fields
            .iter()
            .map(|field| column(field.data_type()).map_err(|fault| fault.within(field.name())));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let named = fields.iter().enumerate().map(|(at, field)| (field.name().clone(), at));
        Ok(Self {
            by_name: named.collect(),
            filled: vec![0; columns.len()],
            columns,
            fields,
            known: Vec::new(),
            next: 0,
            rows: 0,
            nulls: NullBufferBuilder::new(0),
        })
    }

    /// An object comes.
    pub fn begin(&mut self) {
        self.rows += 1;
        self.next = 0;
    }

    /// Where the value of a field goes, if anybody wants it.
    ///
    /// # Errors
    /// Where it came before.
    pub fn field(&mut self, name: &str) -> Result<Option<&mut dyn Column>, Fault> {
        let Some(at) = self.place(name) else { return Ok(None) };
        if std::mem::replace(&mut self.filled[at], self.rows) == self.rows {
            return Err(Fault::new("it comes twice".into()).within(name));
        }
        Ok(Some(self.columns[at].as_mut()))
    }

    fn place(&mut self, name: &str) -> Option<usize> {
        let ahead = self.known[self.next..].iter().position(|(known, _)| known == name);
        if let Some(ahead) = ahead {
            self.next += ahead + 1;
            return self.known[self.next - 1].1;
        }
        let at = self.by_name.get(name).copied();
        if self.known.len() < MOST_KNOWN {
            self.known.insert(self.next, (name.to_owned(), at));
            self.next += 1;
        }
        at
    }

    /// The object that was begun has no more fields; those that did not come are NULL.
    pub fn end(&mut self) {
        for (column, filled) in self.columns.iter_mut().zip(&mut self.filled) {
            if *filled < self.rows {
                *filled = self.rows;
                column.null();
            }
        }
        self.nulls.append_non_null();
    }

    /// The fields of all objects since this was asked last.
    pub fn columns(&mut self) -> Result<Vec<ArrayRef>, Fault> {
        self.columns.iter_mut().map(|column| column.finish()).collect()
    }
}

impl Column for Object {
    fn name(&self) -> &'static str {
        "STRUCT"
    }

    fn null(&mut self) {
        self.rows += 1;
        for column in &mut self.columns {
            column.null();
        }
        self.nulls.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Fault> {
        let (columns, nulls) = (self.columns()?, self.nulls.finish());
        Ok(Arc::new(StructArray::try_new(self.fields.clone(), columns, nulls)?))
    }

    fn object(&mut self) -> Result<&mut Object, Fault> {
        Ok(self)
    }
}
