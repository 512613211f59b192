//! `If-Match`: whoever changes something says which state of it they have seen, so that nobody overwrites
//! unseen what somebody else has changed.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use crate::problem::Problem;

/// What somebody has seen of what they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// That there is nothing.
    Nothing,
    /// One of these tags; `*` is any.
    Tags(Vec<String>),
    /// They do not say.
    Unsaid,
}

/// The tag of a state, which is known by the place of its record.
pub(crate) fn tag(offset: u64) -> String {
    format!("\"{offset}\"")
}

impl Seen {
    /// What the headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let tags = |name: HeaderName| -> Vec<String> {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            let tags = values.flat_map(|value| value.split(',')).map(str::trim);
            tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
        };
        if headers.contains_key(header::IF_MATCH) {
            return Self::Tags(tags(header::IF_MATCH));
        }
        match tags(header::IF_NONE_MATCH).as_slice() {
            [any] if any == "*" => Self::Nothing,
            _ => Self::Unsaid,
        }
    }

    /// Refuses whoever has not seen the last change; `standing` is its offset, where there is something.
    pub(crate) fn is_newest(&self, standing: Option<u64>) -> Result<(), Problem> {
        let stale = |detail: String| {
            let (status, title) = (StatusCode::PRECONDITION_FAILED, "Has changed meanwhile");
            Err(Problem::new(status, "precondition_failed", title, detail))
        };
        match (self, standing) {
            (Self::Unsaid | Self::Nothing, None) => Ok(()),
            (Self::Tags(given), Some(offset))
                if given.iter().any(|given| given == "*" || *given == tag(offset)) =>
            {
                Ok(())
            }
            (Self::Tags(_), None) => stale("there is no such entry any more".into()),
            (Self::Tags(_), Some(offset)) => {
                stale(format!("its tag is {} now: look at it again", tag(offset)))
            }
            (Self::Nothing, Some(_)) => stale("there is one already".into()),
            (Self::Unsaid, Some(_)) => {
                let detail = "say in If-Match which tag you have seen: that of the last GET";
                let (status, title) = (StatusCode::PRECONDITION_REQUIRED, "Say what you have seen");
                Err(Problem::new(status, "precondition_required", title, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(HeaderName, &str)]) -> Seen {
        let parsed = |value: &str| value.parse().expect("a header");
        let headers = headers.iter().map(|(name, value)| (name.clone(), parsed(value)));
        Seen::of(&headers.collect())
    }

    #[test]
    fn whoever_has_not_seen_the_newest_state_is_refused() {
        let status = |seen: &Seen, standing| {
            seen.is_newest(standing).map_or_else(|problem| problem.message().status, |()| 200)
        };
        let one = said(&[(header::IF_MATCH, "\"7\"")]);
        assert_eq!([Some(7), Some(8), None].map(|of| status(&one, of)), [200, 412, 412]);
        let any = said(&[(header::IF_MATCH, "*")]);
        assert_eq!([Some(7), None].map(|of| status(&any, of)), [200, 412]);
        let several = said(&[(header::IF_MATCH, "\"6\", \"7\"")]);
        assert_eq!([Some(7), Some(8)].map(|of| status(&several, of)), [200, 412]);
        let empty = said(&[(header::IF_MATCH, "")]);
        assert_eq!(status(&empty, Some(7)), 412, "it says that nothing fits");
        let nothing = said(&[(header::IF_NONE_MATCH, "*")]);
        assert_eq!([Some(7), None].map(|of| status(&nothing, of)), [412, 200]);
        assert_eq!([Some(7), None].map(|of| status(&Seen::Unsaid, of)), [428, 200]);
        assert_eq!(said(&[]), Seen::Unsaid);
    }
}
