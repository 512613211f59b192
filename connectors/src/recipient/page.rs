//! Lists a page at a time.

use serde::Deserialize;
use utoipa::IntoParams;

/// The most entries of a page.
pub(super) const PAGE: usize = 100;

/// Where in a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Where the list goes on, as the page before said.
    pub(super) cursor: Option<String>,
}

/// The entries after a cursor, at most [`PAGE`] of them, and where the next page begins.
pub(super) fn cut<T>(
    mut entries: Vec<T>,
    cursor: Option<&str>,
    key: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    entries.sort_by_cached_key(&key);
    if let Some(cursor) = cursor {
        entries.retain(|entry| *key(entry) > *cursor);
    }
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let last = entries.last().map(key);
    (entries, last.filter(|_| more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_every_entry_once_and_in_order() {
        let entries: Vec<String> = (0..250).rev().map(|number| format!("{number:03}")).collect();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let (page, next) = cut(entries.clone(), cursor.as_deref(), String::clone);
            assert!(page.len() <= PAGE);
            seen.extend(page);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..250).map(|number| format!("{number:03}")).collect();
        assert_eq!(seen, expected);
        let whole = cut(entries[..PAGE].to_vec(), None, String::clone);
        assert_eq!((whole.0.len(), whole.1), (PAGE, None), "a full last page has no next");
    }
}
