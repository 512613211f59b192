//! One value in a JSON text, found by skipping what lies beside its path.

use std::fmt;

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into an object.
    Key(&'a str),
    /// Into an array, from 0.
    Index(usize),
    /// To nothing: the step is NULL or negative.
    Nowhere,
}

/// The text of the value at `path`; none where `text` is no JSON or has nothing there.
pub fn find<'t>(text: &'t str, path: &[Step<'_>]) -> Option<&'t str> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = At(path).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    found
}

/// How many elements an array has.
pub fn elements(text: &str) -> Option<usize> {
    serde_json::from_str::<Vec<IgnoredAny>>(text).ok().map(|elements| elements.len())
}

/// The keys of an object in their order.
pub fn keys(text: &str) -> Option<Vec<String>> {
    serde_json::from_str::<Keys>(text).ok().map(|keys| keys.0)
}

struct At<'p>(&'p [Step<'p>]);

impl<'t> DeserializeSeed<'t> for At<'_> {
    type Value = Option<&'t str>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => <&RawValue>::deserialize(deserializer).map(|value| Some(value.get())),
            Some((step, rest)) => deserializer.deserialize_any(Within { step: *step, rest }),
        }
    }
}

struct Within<'p> {
    step: Step<'p>,
    rest: &'p [Step<'p>],
}

impl<'t> Visitor<'t> for Within<'_> {
    type Value = Option<&'t str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    /// The first of equal keys counts.
    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let wanted = match self.step {
            Step::Key(key) => Some(key),
            Step::Index(_) | Step::Nowhere => None,
        };
        let mut looking = wanted.is_some();
        while let Some(is_wanted) = map.next_key_seed(Equals(wanted.unwrap_or_default()))? {
            if looking && is_wanted {
                looking = false;
                found = map.next_value_seed(At(self.rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Step::Index(index) = self.step {
            for _ in 0..index {
                if sequence.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = sequence.next_element_seed(At(self.rest))?.flatten();
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a key is the wanted one, without a copy of it.
struct Equals<'p>(&'p str);

impl<'t> DeserializeSeed<'t> for Equals<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Equals<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct Keys(Vec<String>);

impl<'t> Deserialize<'t> for Keys {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'t> Visitor<'t> for Read {
            type Value = Keys;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_keys_and_indices() {
        let text = r#" {"a": [1, {"b\"c": "x"}, null], "a": 2, "d": {"e": 1.50}} "#;
        let check = |path: &[Step<'_>], wanted: Option<&str>| {
            assert_eq!(find(text, path), wanted, "{path:?}");
        };
        check(&[Step::Key("a"), Step::Index(0)], Some("1"));
        check(&[Step::Key("a"), Step::Index(1), Step::Key("b\"c")], Some("\"x\""));
        check(&[Step::Key("a"), Step::Index(2)], Some("null"));
        check(&[Step::Key("a"), Step::Index(3)], None);
        check(&[Step::Key("d"), Step::Key("e")], Some("1.50"));
        check(&[Step::Key("d")], Some(r#"{"e": 1.50}"#));
        check(&[Step::Key("d"), Step::Index(0)], None);
        check(&[Step::Key("a"), Step::Key("d")], None);
        check(&[Step::Key("d"), Step::Key("e"), Step::Key("f")], None);
        check(&[Step::Nowhere], None);
        check(&[], Some(text.trim()));
        assert_eq!(find("{\"a\": 1", &[Step::Key("a")]), None);
        assert_eq!(find("{} x", &[]), None);
    }
}
