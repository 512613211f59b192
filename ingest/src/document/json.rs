//! JSON as it was sent: texts lie where they came, so that a message costs a few allocations and not
//! one for every word. A key that stands twice in one object is a fault, because which of the two is
//! meant nobody can say.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// A value whose texts lie in the message that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text; one with escapes is of its own.
    Text(Cow<'a, str>),
    /// Values in order.
    List(Vec<Json<'a>>),
    /// Values by key, in the order in which they stand; each key once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// With so many keys they are looked up; among fewer it is faster to look through them.
const MANY: usize = 16;

impl<'a> Json<'a> {
    /// The value in `bytes`.
    ///
    /// # Errors
    /// Where it is no JSON, or a key stands twice.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, serde_json::Error> {
        match str::from_utf8(bytes) {
            // Looked through once, and not again text by text.
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        }
    }

    /// The entries of an object.
    #[must_use]
    pub fn entries(&self) -> Option<&[(Cow<'a, str>, Self)]> {
        match self {
            Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// A field of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries()?.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// A field of an object, out of it.
    #[must_use]
    pub fn into_field(self, name: &str) -> Option<Self> {
        let Self::Object(entries) = self else { return None };
        entries.into_iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The text that it is.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number that it is.
    #[must_use]
    pub const fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }
}

impl<'a> From<&'a Value> for Json<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text.into()),
            Value::Array(list) => Self::List(list.iter().map(Self::from).collect()),
            Value::Object(entries) => {
                let entry = |(key, value): (&'a String, &'a Value)| (key.into(), value.into());
                Self::Object(entries.iter().map(entry).collect())
            }
        }
    }
}

impl From<Json<'_>> for Value {
    fn from(json: Json<'_>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(flag),
            Json::Number(number) => Self::Number(number),
            Json::Text(text) => Self::String(text.into_owned()),
            Json::List(list) => Self::Array(list.into_iter().map(Self::from).collect()),
            Json::Object(entries) => {
                let entry = |(key, value): (Cow<'_, str>, _)| (key.into_owned(), Self::from(value));
                Self::Object(entries.into_iter().map(entry).collect::<Map<_, _>>())
            }
        }
    }
}

/// The text that it is written as.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Object(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(value.to_owned().into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json<'de>, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let (mut object, mut many) = (Vec::new(), HashSet::new());
        while let Some((Key(key), value)) = entries.next_entry()? {
            if object.len() == MANY {
                many = object.iter().map(|(key, _): &(Cow<'de, str>, _)| key.clone()).collect();
            }
            let twice = match object.len() {
                ..MANY => object.iter().any(|(before, _)| *before == key),
                _ => !many.insert(key.clone()),
            };
            if twice {
                return Err(A::Error::custom("a key stands twice"));
            }
            object.push((key, value));
        }
        Ok(Json::Object(object))
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spelled;
        impl<'de> Visitor<'de> for Spelled {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(key.into()))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(key.to_owned().into()))
            }
        }
        deserializer.deserialize_str(Spelled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i32>().prop_map(|of| Value::from(f64::from(of) / 8.0)),
            ".{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 24, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(".{0,5}", inner, 0..24)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_and_writes_what_serde_json_does(value in any_json()) {
            let text = value.to_string();
            let json = Json::parse(text.as_bytes()).expect("JSON");
            prop_assert_eq!(&json, &Json::from(&value));
            prop_assert_eq!(&json.to_string(), &text);
            prop_assert_eq!(Value::from(json), value);
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_among_few_and_many() {
        for keys in [1, MANY - 1, MANY, MANY + 1, 3 * MANY] {
            let all: Vec<_> = (0..keys).map(|key| format!("\"k{key}\":0")).collect();
            let text = format!("[{{{}}}]", all.join(","));
            assert!(Json::parse(text.as_bytes()).is_ok(), "{keys}");
            for again in ["\"k0\"", &format!("\"k{}\"", keys - 1), "\"\\u006b0\""] {
                let text = format!("[{{{},{again}:1}}]", all.join(","));
                let error = Json::parse(text.as_bytes()).expect_err("refused");
                assert!(error.is_data() && error.to_string().contains("stands twice"), "{error}");
            }
        }
    }

    #[test]
    fn what_has_no_escapes_lies_where_it_came() {
        let Json::List(list) = Json::parse(br#"["a","\n"]"#).expect("JSON") else { panic!() };
        assert!(matches!(&list[0], Json::Text(Cow::Borrowed("a"))));
        assert!(matches!(&list[1], Json::Text(Cow::Owned(text)) if text == "\n"));
    }
}
