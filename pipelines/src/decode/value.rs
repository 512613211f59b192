//! What serde tells of a value goes into its column.

use arrow::array::ArrayRef;
use ingest::wire::INSTANT;
use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeMap, SerializeSeq, SerializeStruct},
};

use super::{
    column::{Column, List},
    fault::Fault,
    object::Object,
};

/// Takes one value for a column.
pub struct Value<'a> {
    column: &'a mut dyn Column,
    is_instant: bool,
}

impl<'a> Value<'a> {
    /// Of this column.
    pub fn of(column: &'a mut dyn Column) -> Self {
        Self { column, is_instant: false }
    }
}

/// Forms that no record of ours has in JSON.
fn other<T>(what: &str) -> Result<T, Fault> {
    Err(Fault::new(format!("no column holds {what}")))
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Fault> {
            self.column.integer(value.into())
        })*
    };
}

impl<'a> Serializer for Value<'a> {
    type Error = Fault;
    type Ok = ();
    type SerializeMap = Fields<'a>;
    type SerializeSeq = Items<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Impossible<(), Fault>;
    type SerializeTuple = Impossible<(), Fault>;
    type SerializeTupleStruct = Impossible<(), Fault>;
    type SerializeTupleVariant = Impossible<(), Fault>;

    integers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_u8: u8,
        serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_i64(self, value: i64) -> Result<(), Fault> {
        if self.is_instant { self.column.instant(value) } else { self.column.integer(value.into()) }
    }

    /// Instants need not be written as texts to be read again.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), Fault> {
        self.column.boolean(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), Fault> {
        self.column.real(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Fault> {
        self.column.real(value)
    }

    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.column.text(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.column.text(value)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Fault> {
        other("bytes")
    }

    fn serialize_none(self) -> Result<(), Fault> {
        self.column.null();
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Fault> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Fault> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &str, _: u32, variant: &str) -> Result<(), Fault> {
        self.column.text(variant)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        value.serialize(Self { is_instant: name == INSTANT, ..self })
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Result<(), Fault> {
        other(variant)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, Fault> {
        Ok(Items(self.column.list()?))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Fault> {
        other("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Fault> {
        other(name)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Fault> {
        other(variant)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields<'a>, Fault> {
        let object = self.column.object()?;
        object.begin();
        Ok(Fields { object, name: Name::default() })
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Fields<'a>, Fault> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Fault> {
        other(variant)
    }
}

/// Takes the fields of an object.
pub struct Fields<'a> {
    object: &'a mut Object,
    name: Name,
}

impl Fields<'_> {
    fn put<T: ?Sized + Serialize>(object: &mut Object, name: &str, value: &T) -> Result<(), Fault> {
        let Some(column) = object.field(name)? else { return Ok(()) };
        value.serialize(Value::of(column)).map_err(|fault| fault.within(name))
    }
}

impl SerializeStruct for Fields<'_> {
    type Error = Fault;
    type Ok = ();

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        Self::put(self.object, name, value)
    }

    fn end(self) -> Result<(), Fault> {
        self.object.end();
        Ok(())
    }
}

impl SerializeMap for Fields<'_> {
    type Error = Fault;
    type Ok = ();

    fn serialize_key<T: ?Sized + Serialize>(&mut self, name: &T) -> Result<(), Fault> {
        name.serialize(Value::of(&mut self.name))
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Fault> {
        Self::put(self.object, &self.name.0, value)
    }

    fn end(self) -> Result<(), Fault> {
        SerializeStruct::end(self)
    }
}

/// The name of a field whose value comes next.
#[derive(Default)]
struct Name(String);

impl Column for Name {
    fn name(&self) -> &'static str {
        "name"
    }

    fn null(&mut self) {
        self.0.clear();
    }

    fn finish(&mut self) -> Result<ArrayRef, Fault> {
        other("names")
    }

    fn text(&mut self, name: &str) -> Result<(), Fault> {
        self.0.clear();
        self.0.push_str(name);
        Ok(())
    }
}

/// Takes the items of a list.
pub struct Items<'a>(&'a mut List);

impl SerializeSeq for Items<'_> {
    type Error = Fault;
    type Ok = ();

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(Value::of(self.0.item()))
    }

    fn end(self) -> Result<(), Fault> {
        self.0.end()
    }
}
