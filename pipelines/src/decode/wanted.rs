//! A record without the fields that nobody reads: most of a decision is its explanation, which no
//! table holds.

use std::{collections::HashSet, fmt::Display, marker::PhantomData};

use serde::{
    Serialize, Serializer,
    ser::{Error, Impossible, SerializeMap},
};

/// An object of which only some fields are written.
pub struct Wanted<'a, T> {
    pub object: &'a T,
    pub fields: &'a HashSet<String>,
}

impl<T: Serialize> Serialize for Wanted<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(Object { inner: serializer, fields: self.fields })
    }
}

/// Takes the object itself; its fields go to another serializer.
struct Object<'a, S> {
    inner: S,
    fields: &'a HashSet<String>,
}

/// Takes its fields, one after the other.
struct Fields<'a, M> {
    inner: M,
    fields: &'a HashSet<String>,
    /// Whether the field whose name came last is wanted.
    wanted: bool,
}

/// Takes a field's name, and answers whether it is wanted.
struct Name<'a, E> {
    fields: &'a HashSet<String>,
    error: PhantomData<E>,
}

impl<M: SerializeMap> Fields<'_, M> {
    fn wants<K: ?Sized + Serialize>(&self, name: &K) -> Result<bool, M::Error> {
        name.serialize(Name { fields: self.fields, error: PhantomData })
    }
}

impl<M: SerializeMap> SerializeMap for Fields<'_, M> {
    type Error = M::Error;
    type Ok = M::Ok;

    fn serialize_key<K: ?Sized + Serialize>(&mut self, name: &K) -> Result<(), M::Error> {
        self.wanted = self.wants(name)?;
        if self.wanted { self.inner.serialize_key(name) } else { Ok(()) }
    }

    fn serialize_value<V: ?Sized + Serialize>(&mut self, value: &V) -> Result<(), M::Error> {
        if self.wanted { self.inner.serialize_value(value) } else { Ok(()) }
    }

    fn serialize_entry<K: ?Sized + Serialize, V: ?Sized + Serialize>(
        &mut self,
        name: &K,
        value: &V,
    ) -> Result<(), M::Error> {
        if self.wants(name)? { self.inner.serialize_entry(name, value) } else { Ok(()) }
    }

    fn end(self) -> Result<M::Ok, M::Error> {
        self.inner.end()
    }
}

fn other<T, E: Error>(what: impl Display) -> Result<T, E> {
    Err(E::custom(format!("a record is an object with named fields, not {what}")))
}

/// What a serializer takes that is neither an object nor a name.
macro_rules! nothing_else {
    ($ok:ty, $error:ty; $($method:ident: $type:ty),*) => {
        type Error = $error;
        type Ok = $ok;
        type SerializeSeq = Impossible<$ok, $error>;
        type SerializeStruct = Impossible<$ok, $error>;
        type SerializeStructVariant = Impossible<$ok, $error>;
        type SerializeTuple = Impossible<$ok, $error>;
        type SerializeTupleStruct = Impossible<$ok, $error>;
        type SerializeTupleVariant = Impossible<$ok, $error>;

        $(fn $method(self, _: $type) -> Result<$ok, $error> {
            other(stringify!($type))
        })*

        fn serialize_none(self) -> Result<$ok, $error> {
            other("nothing")
        }

        fn serialize_some<T: ?Sized + Serialize>(self, _: &T) -> Result<$ok, $error> {
            other("an option")
        }

        fn serialize_unit(self) -> Result<$ok, $error> {
            other("nothing")
        }

        fn serialize_unit_variant(
            self,
            _: &'static str,
            _: u32,
            name: &'static str,
        ) -> Result<$ok, $error> {
            other(name)
        }

        fn serialize_newtype_struct<T: ?Sized + Serialize>(
            self,
            name: &'static str,
            _: &T,
        ) -> Result<$ok, $error> {
            other(name)
        }

        fn serialize_newtype_variant<T: ?Sized + Serialize>(
            self,
            _: &'static str,
            _: u32,
            name: &'static str,
            _: &T,
        ) -> Result<$ok, $error> {
            other(name)
        }

        fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, $error> {
            other("a list")
        }

        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, $error> {
            other("a list")
        }

        fn serialize_tuple_struct(
            self,
            name: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleStruct, $error> {
            other(name)
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            name: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, $error> {
            other(name)
        }

        fn serialize_struct(
            self,
            name: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStruct, $error> {
            other(name)
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            name: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, $error> {
            other(name)
        }
    };
}

impl<'a, S: Serializer> Serializer for Object<'a, S> {
    type SerializeMap = Fields<'a, S::SerializeMap>;

    nothing_else!(S::Ok, S::Error; serialize_bool: bool, serialize_i8: i8, serialize_i16: i16,
        serialize_i32: i32, serialize_i64: i64, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_f32: f32, serialize_f64: f64,
        serialize_char: char, serialize_bytes: &[u8], serialize_str: &str,
        serialize_unit_struct: &'static str);

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let inner = self.inner.serialize_map(length)?;
        Ok(Fields { inner, fields: self.fields, wanted: false })
    }
}

impl<E: Error> Serializer for Name<'_, E> {
    type SerializeMap = Impossible<bool, E>;

    nothing_else!(bool, E; serialize_bool: bool, serialize_i8: i8, serialize_i16: i16,
        serialize_i32: i32, serialize_i64: i64, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_f32: f32, serialize_f64: f64,
        serialize_char: char, serialize_bytes: &[u8], serialize_unit_struct: &'static str);

    fn serialize_str(self, name: &str) -> Result<bool, E> {
        Ok(self.fields.contains(name))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, E> {
        other("an object")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(object: &impl Serialize, fields: &[&str], expected: &str) {
        let fields = fields.iter().map(|name| (*name).to_owned()).collect();
        let written = serde_json::to_string(&Wanted { object, fields: &fields });
        assert_eq!(written.expect("JSON"), expected);
    }

    #[test]
    fn only_wanted_fields_are_written_and_whole() {
        let object = json!({"a": 1, "b": {"a": 2, "c": [3]}, "c": null});
        check(&object, &["b"], r#"{"b":{"a":2,"c":[3]}}"#);
        check(&object, &["a", "c", "d"], r#"{"a":1,"c":null}"#);
        check(&object, &[], "{}");
    }

    #[test]
    fn fields_that_are_flattened_into_the_object_are_its_own() {
        #[derive(Serialize)]
        struct Inner {
            a: u8,
            b: u8,
        }
        #[derive(Serialize)]
        struct Outer {
            c: u8,
            #[serde(flatten)]
            inner: Inner,
        }
        check(&Outer { c: 3, inner: Inner { a: 1, b: 2 } }, &["a", "c"], r#"{"c":3,"a":1}"#);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let fields = HashSet::new();
        let refused = serde_json::to_string(&Wanted { object: &7, fields: &fields });
        assert!(refused.expect_err("refused").to_string().contains("not i32"));
    }
}
