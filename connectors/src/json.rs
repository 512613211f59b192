//! JSON of messages and requests, with what is said of one that is none.

use ingest::{
    dead_letter::Reason,
    document::{Cursor, Fault, Fields, Json},
};
use serde_json::error::Category;

use crate::{connector::Refusal, problem::Problem};

/// The JSON of a message.
///
/// # Errors
/// Where it is no JSON, or a key stands twice; the place is named, the text is not.
pub fn message(bytes: &[u8]) -> Result<Json<'_>, Refusal> {
    Json::parse(bytes).map_err(|error| match error.classify() {
        Category::Data => {
            let detail = format!("a field stands twice, at column {}", error.column());
            Refusal::new(Reason::InvalidValue, detail)
        }
        _ => {
            let detail = format!("not JSON at column {}", error.column());
            Refusal::new(Reason::MalformedJson, detail)
        }
    })
}

/// The JSON of a request's body.
///
/// # Errors
/// 400 where it is no JSON, 422 where a key stands twice.
pub(crate) fn body(bytes: &[u8]) -> Result<Json<'_>, Problem> {
    message(bytes).map_err(|refusal| match refusal.reason {
        Reason::MalformedJson => Problem::malformed(refusal.detail),
        _ => refusal.into(),
    })
}

/// What `fields` makes of a request's body, whose every key it has to have looked at.
///
/// # Errors
/// As [`body`], and 422 for every fault at once, each with its pointer.
pub(crate) fn read<T>(
    bytes: &[u8],
    fields: impl FnOnce(&Fields<'_>) -> Option<T>,
) -> Result<T, Problem> {
    read_document(&body(bytes)?, fields)
}

/// As [`read`], of a body that is JSON already.
///
/// # Errors
/// 422 for every fault at once, each with its pointer.
pub(crate) fn read_document<T>(
    document: &Json<'_>,
    fields: impl FnOnce(&Fields<'_>) -> Option<T>,
) -> Result<T, Problem> {
    let (read, faults) = read_with_faults(document, fields);
    read.filter(|_| faults.is_empty()).ok_or_else(|| Problem::faults(&faults))
}

/// As [`read_document`], where more is to be looked at before the faults are told.
pub(crate) fn read_with_faults<T>(
    document: &Json<'_>,
    fields: impl FnOnce(&Fields<'_>) -> Option<T>,
) -> (Option<T>, Vec<Fault>) {
    let root = Cursor::root(document);
    let read = root.fields().and_then(|of| {
        let read = fields(&of);
        of.finish();
        read
    });
    (read, root.faults())
}

/// A field that may be missing, but not wrong.
pub(crate) fn optional<T>(field: Option<Option<T>>) -> Option<Option<T>> {
    match field {
        Some(found) => found.map(Some),
        None => Some(None),
    }
}

/// Whether a number of `message`, which is JSON, has more digits than thousandths, or an exponent.
/// Asked of the text: once a number has been read into 64 bits, `1.0000000000000000001` is 1.
#[must_use]
pub fn finer_than_thousandths(message: &[u8]) -> bool {
    let mut rest = message;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'"' => rest = after_text(after),
            b'.' => {
                let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (decimals, after) = after.split_at(digits);
                if decimals.iter().skip(3).any(|digit| *digit != b'0') {
                    return true;
                }
                rest = after;
            }
            // Of the words of JSON, `true` and `false` end in an e, and `null` has none: an e that
            // is followed by a digit or a sign belongs to a number.
            b'e' | b'E' if matches!(after.first(), Some(b'0'..=b'9' | b'+' | b'-')) => return true,
            _ => {}
        }
    }
    false
}

fn after_text(text: &[u8]) -> &[u8] {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.and_then(|end| text.get(end + 1..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        let refusal = message(br#"{"a":[{"b":1,"c":2,"b":3}]}"#).expect_err("refused");
        assert_eq!(refusal.reason, Reason::InvalidValue);
        assert_eq!(refusal.detail, "a field stands twice, at column 25");
        assert_eq!(message(b"{\"a\":").expect_err("refused").reason, Reason::MalformedJson);
        assert_eq!(message(b"\xff").expect_err("refused").reason, Reason::MalformedJson);
    }

    #[test]
    fn everything_else_is_read_as_it_is() {
        for text in ["null", "true", "-7", "18446744073709551615", "0.125", r#""\u0101\n""#, "[]"] {
            let expected: Value = serde_json::from_str(text).expect("JSON");
            let read = message(text.as_bytes()).expect("JSON");
            assert_eq!(Value::from(read), expected, "{text}");
        }
    }

    #[test]
    fn digits_are_counted_outside_texts_only() {
        for (text, finer) in [
            (r#"{"a":"1.23456","b":0.125}"#, false),
            (r#"{"a":"\"1.23456","b":1.50000}"#, false),
            (r#"{"b":0.1234}"#, true),
            (r#"{"b":1.0000000000000000001}"#, true),
            (r#"{"b":1e3}"#, true),
            (r#"{"b":1E-3}"#, true),
            (r#"[true,false,null]"#, false),
        ] {
            assert_eq!(finer_than_thousandths(text.as_bytes()), finer, "{text}");
        }
    }
}
