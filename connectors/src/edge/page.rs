//! Lists a page at a time: one `cursor`, one `limit` and one way to the next page for all of them. A cursor
//! names an entry's place in the list's order, so that what comes in between moves nothing.

use axum::{
    http::{HeaderValue, Uri},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::{problem::Problem, terminal::http::json};

/// The most entries of any page.
pub(crate) const MOST: usize = 1_000;

/// Where in a list, and how much of it.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageAsked {
    /// Where the list goes on, as the page before said.
    pub cursor: Option<String>,
    /// The most entries of the page; it may have fewer and yet have a next.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub limit: Option<String>,
}

impl PageAsked {
    /// How many entries the page has at most.
    ///
    /// # Errors
    /// 422 where the limit is none.
    pub fn size(&self, usual: usize) -> Result<usize, Problem> {
        let Some(limit) = &self.limit else { return Ok(usual) };
        let limit = limit.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        limit.ok_or_else(|| Problem::invalid(format!("limit must be from 1 to {MOST}")))
    }
}

/// The entries after a cursor, in the order of their keys, and where the next page begins.
///
/// # Errors
/// 422 where the limit is none.
pub fn cut<T>(
    mut entries: Vec<T>,
    asked: &PageAsked,
    usual: usize,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), Problem> {
    let size = asked.size(usual)?;
    entries.sort_by_cached_key(&key);
    if let Some(cursor) = &asked.cursor {
        entries.retain(|entry| key(entry) > *cursor);
    }
    let more = entries.len() > size;
    entries.truncate(size);
    let last = entries.last().map(key);
    Ok((entries, last.filter(|_| more)))
}

/// The cursor of the next page, beside an answer.
#[derive(Clone, Debug)]
pub(super) struct Next(String);

/// A page as JSON, which leads on to the next one.
///
/// # Errors
/// Where it cannot be written.
pub fn answer(page: &impl Serialize, next: Option<&str>) -> Result<Response, Problem> {
    Ok(leading_on(json(page)?, next))
}

/// An answer whose `Link` is the address of the next page, where there is one.
pub(crate) fn leading_on(mut page: Response, next: Option<&str>) -> Response {
    if let Some(next) = next {
        page.extensions_mut().insert(Next(next.to_owned()));
    }
    page
}

/// The same address with the next page's cursor.
pub(super) fn link(of: &Uri, Next(cursor): &Next) -> Option<HeaderValue> {
    let pairs = of.query().unwrap_or_default().split('&');
    let kept = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let query: String = kept.flat_map(|pair| [pair, "&"]).collect();
    let (path, cursor) = (of.path(), escaped(cursor));
    HeaderValue::from_str(&format!("<{path}?{query}cursor={cursor}>; rel=\"next\"")).ok()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cursor: Option<String>, limit: Option<&str>) -> PageAsked {
        PageAsked { cursor, limit: limit.map(str::to_owned) }
    }

    #[test]
    fn pages_hold_every_entry_once_and_in_order() {
        let entries: Vec<String> = (0..250).rev().map(|number| format!("{number:03}")).collect();
        for (limit, size) in [(None, 100), (Some("1"), 1), (Some("249"), 249), (Some("1000"), 250)]
        {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let place = asked(cursor, limit);
                let cut = cut(entries.clone(), &place, 100, String::clone);
                let (page, next) = cut.expect("a page");
                assert!(page.len() <= size);
                seen.extend(page);
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            let expected: Vec<String> = (0..250).map(|number| format!("{number:03}")).collect();
            assert_eq!(seen, expected);
        }
        let full = cut(entries[..100].to_vec(), &PageAsked::default(), 100, String::clone);
        let (page, next) = full.expect("a page");
        assert_eq!((page.len(), next), (100, None), "a full last page has no next");
    }

    #[test]
    fn a_limit_is_bounded() {
        for wrong in ["0", "1001", "-1", "many", ""] {
            assert!(asked(None, Some(wrong)).size(100).is_err(), "{wrong}");
        }
        let sizes = [None, Some("1"), Some("1000")].map(|limit| asked(None, limit).size(100).ok());
        assert_eq!(sizes, [Some(100), Some(1), Some(1_000)]);
    }

    #[test]
    fn the_next_page_is_of_the_same_list() {
        let next = Next("2025-06-02 a&b".into());
        let link = |of: &str| {
            let link = link(&of.parse().expect("an address"), &next).expect("a link");
            link.to_str().expect("a text").to_owned()
        };
        let cursor = "cursor=2025-06-02%20a%26b";
        assert_eq!(link("/v1/x"), format!("</v1/x?{cursor}>; rel=\"next\""));
        let of = link("/v1/x?kind=a%20b&cursor=old&limit=2");
        assert_eq!(of, format!("</v1/x?kind=a%20b&limit=2&{cursor}>; rel=\"next\""));
    }
}
