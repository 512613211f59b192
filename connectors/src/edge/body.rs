//! Bodies of requests as they come: bounded, in constant memory, and no slower than they may be.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt;
use ingest::dead_letter::Reason;
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use crate::{
    connector::Refusal,
    lines::{LONGEST_LINE, Line},
    problem::Problem,
};

/// The largest batch, in bytes.
pub(crate) const LARGEST_BATCH: usize = 16 << 20;
/// The most events of a batch.
pub(crate) const MOST_EVENTS: usize = 20_000;
/// Lines handed on at once, at most.
const LINES: usize = 512;
/// The bytes of lines after which no more are waited for.
const LINES_BYTES: usize = 2 << 20;
/// Lines that may be refused before the rest is not looked at: it is a file of something else.
const MOST_REFUSED: usize = 1_000;
/// Empty lines that are passed over.
const MOST_EMPTY: u64 = 100_000;
/// How much of a line that is too long is kept.
const KEPT: usize = 1_024;

/// The form in which a body comes, by its media type: one of those that are taken.
///
/// # Errors
/// Where it is none of them.
pub(crate) fn form<F: Copy>(headers: &HeaderMap, taken: &[(&str, F)]) -> Result<F, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let form = taken.iter().find(|(name, _)| kind.eq_ignore_ascii_case(name));
    form.map(|(_, form)| *form).ok_or_else(|| {
        let mut names: Vec<&str> = taken.iter().map(|(name, _)| *name).collect();
        let last = names.pop().unwrap_or_default();
        let others = if names.is_empty() { String::new() } else { names.join(", ") + " or " };
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Not this media type",
            format!("send {others}{last}"),
        )
    })
}

/// The pieces of a body.
#[derive(Debug)]
pub(crate) struct Pieces {
    stream: BodyDataStream,
    idle: Duration,
}

impl Pieces {
    /// Those of a body that may bring no byte for so long.
    pub(crate) fn of(body: Body, idle: Duration) -> Self {
        Self { stream: body.into_data_stream(), idle }
    }

    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        match tokio::time::timeout(self.idle, self.stream.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            Ok(Some(Err(_))) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "body_cut",
                "The body is cut off",
                "the connection ended before the body did",
            )),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow_sender",
                "The body is too slow",
                format!("no byte came for {} seconds", self.idle.as_secs()),
            )),
        }
    }

    /// All of it, where it is not larger than `most`.
    pub(crate) async fn whole(mut self, most: usize) -> Result<Vec<u8>, Problem> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > most {
                return Err(too_large(format!("a body of this kind has at most {most} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

/// What comes after some lines.
#[derive(Debug)]
enum After {
    /// Perhaps more lines.
    More,
    /// Nothing.
    End,
    /// Nothing that is taken.
    Refused(Problem),
}

/// The lines of a body.
#[derive(Debug)]
pub(crate) struct BodyLines {
    pieces: Pieces,
    piece: Bytes,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    number: u64,
    empty: u64,
    /// What comes after the lines that were handed on.
    after: After,
    /// The last of those.
    last: u64,
    /// What is told of where refused lines are kept.
    kept: &'static str,
}

impl BodyLines {
    /// Those of a body; `kept` goes on after "are refused", where there are too many such.
    pub(crate) fn of(pieces: Pieces, kept: &'static str) -> Self {
        let (piece, begun, after) = (Bytes::new(), Vec::new(), After::More);
        Self { pieces, piece, begun, number: 0, empty: 0, after, last: 0, kept }
    }

    /// Some lines; none after the last. Empty ones are passed over. Nothing more is read while the
    /// caller deals with them, so that a sender waits. Of those before, `refused` were refused.
    ///
    /// # Errors
    /// Where the rest is not taken; what came before it was handed on.
    pub(crate) async fn next(&mut self, refused: usize) -> Result<Option<Vec<Line>>, Problem> {
        loop {
            match std::mem::replace(&mut self.after, After::End) {
                After::Refused(problem) => return Err(problem),
                After::End => return Ok(None),
                After::More if refused >= MOST_REFUSED => {
                    return Err(self.too_many_refused(refused));
                }
                After::More => {}
            }
            let (lines, after) = self.read().await;
            self.after = after;
            if let Some(last) = lines.last() {
                self.last = last.number;
                return Ok(Some(lines));
            }
        }
    }

    fn too_many_refused(&self, refused: usize) -> Problem {
        let detail = format!(
            "{refused} lines up to line {} are refused{}; nothing after it was read",
            self.last, self.kept
        );
        let (status, title) = (StatusCode::UNPROCESSABLE_ENTITY, "Too many lines are refused");
        Problem::new(status, "too_many_refused", title, detail)
    }

    async fn read(&mut self) -> (Vec<Line>, After) {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            while let Some(end) = self.piece.iter().position(|byte| *byte == b'\n') {
                let part = self.piece.split_to(end + 1);
                self.begun.extend_from_slice(&part[..end]);
                if self.begun.len() > LONGEST_LINE {
                    return self.too_long(lines);
                }
                bytes += self.begun.len();
                self.end_line(&mut lines);
                if self.empty > MOST_EMPTY {
                    let detail = format!("more than {MOST_EMPTY} lines are empty");
                    let refusal = Refusal::new(Reason::InvalidValue, detail);
                    return (lines, After::Refused(refusal.into()));
                }
                if lines.len() == LINES || bytes >= LINES_BYTES {
                    return (lines, After::More);
                }
            }
            self.begun.extend_from_slice(&self.piece);
            if self.begun.len() > LONGEST_LINE {
                return self.too_long(lines);
            }
            match self.pieces.next().await {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => {
                    self.piece = Bytes::new();
                    self.end_line(&mut lines);
                    return (lines, After::End);
                }
                // The last line may be half of one.
                Err(problem) => return (lines, After::Refused(problem)),
            }
        }
    }

    fn end_line(&mut self, lines: &mut Vec<Line>) {
        self.number += 1;
        let mut bytes = std::mem::take(&mut self.begun);
        let length = bytes.len() as u64;
        bytes.pop_if(|last| *last == b'\r');
        if !bytes.trim_ascii().is_empty() {
            lines.push(Line { number: self.number, bytes, length });
        } else {
            self.empty += 1;
        }
    }

    /// Its end is not looked for.
    fn too_long(&mut self, mut lines: Vec<Line>) -> (Vec<Line>, After) {
        let number = self.number + 1;
        let mut bytes = std::mem::take(&mut self.begun);
        let length = bytes.len() as u64;
        bytes.truncate(KEPT);
        lines.push(Line { number, bytes, length });
        let detail = format!(
            "line {number} has more than {LONGEST_LINE} bytes; what came before it was dealt with, \
             and nothing after it was read"
        );
        (lines, After::Refused(too_large(detail)))
    }
}

/// So many lines at a time as are handed on at once.
pub(crate) fn some_at_a_time(mut lines: Vec<Line>) -> impl Iterator<Item = Vec<Line>> {
    std::iter::from_fn(move || {
        let later = lines.split_off(lines.len().min(LINES));
        let some = std::mem::replace(&mut lines, later);
        (!some.is_empty()).then_some(some)
    })
}

/// A body beyond its bound.
pub(crate) fn too_large(detail: impl Into<String>) -> Problem {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    Problem::new(status, "body_too_large", "The body is too large", detail)
}

/// The problem of a body that is no list: one that is no JSON is told apart.
pub(crate) fn no_list(refusal: Refusal) -> Problem {
    match refusal.reason {
        Reason::MalformedJson => Problem::malformed(refusal.detail),
        _ => refusal.into(),
    }
}

/// The events of a batch as they stand in it.
///
/// # Errors
/// Where it is no list of JSON, or a longer one than is taken.
pub(crate) fn events(batch: &[u8]) -> Result<Vec<Line>, Refusal> {
    let events = serde_json::from_slice::<Events<'_>>(batch).map_err(|error| {
        let column = error.column();
        match error.classify() {
            Category::Data => {
                let detail = format!("must be a list of at most {MOST_EVENTS} events");
                Refusal::new(Reason::WrongType, detail)
            }
            _ => Refusal::new(Reason::MalformedJson, format!("not JSON at column {column}")),
        }
    })?;
    let line = |(number, event): (u64, &RawValue)| {
        let (text, length) = (event.get().as_bytes(), event.get().len());
        let kept = if length > LONGEST_LINE { &text[..KEPT] } else { text };
        Line { number, bytes: kept.to_vec(), length: length as u64 }
    };
    Ok((1..).zip(events.0).map(line).collect())
}

struct Events<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Events<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = list.next_element()? {
                    if events.len() == MOST_EVENTS {
                        return Err(A::Error::custom(format!("more than {MOST_EVENTS} events")));
                    }
                    events.push(event);
                }
                Ok(events)
            }
        }
        deserializer.deserialize_seq(List).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::lines::Lines;

    fn read(pieces: Vec<Vec<u8>>) -> Vec<Line> {
        let pieces = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        let body = Body::from_stream(futures::stream::iter(pieces));
        let mut lines = BodyLines::of(Pieces::of(body, Duration::from_secs(5)), "");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let mut all = Vec::new();
            while let Some(some) = lines.next(0).await.expect("lines") {
                all.extend(some);
            }
            all
        })
    }

    proptest! {
        /// However a body is cut into pieces, its lines are those of a file that says the same.
        #[test]
        fn lines_do_not_depend_on_pieces(
            text in "[ab \n]{0,60}",
            cuts in prop::collection::vec(0..60_usize, 0..6),
        ) {
            let mut pieces = vec![text.clone().into_bytes()];
            for cut in cuts {
                let last = pieces.pop().unwrap_or_default();
                let (first, rest) = last.split_at(cut.min(last.len()));
                pieces.extend([first.to_vec(), rest.to_vec()]);
            }
            let expected: Vec<_> = Lines::new(text.as_bytes()).map(Result::unwrap).collect();
            prop_assert_eq!(read(pieces), expected);
        }
    }

    #[test]
    fn a_form_is_known_by_its_media_type() {
        let of = |kind| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
            form(&headers, &[("text/csv", 1), ("text/plain", 2), ("text/xml", 3)])
        };
        assert_eq!(of(HeaderValue::from_static("Text/Plain ; charset=utf-8")), Ok(2));
        let refused = of(HeaderValue::from_static("text/html")).expect_err("not taken");
        assert_eq!(refused.message().detail, "send text/csv, text/plain or text/xml");
    }

    #[test]
    fn a_batch_is_a_list_of_bounded_length() {
        let lines = events(br#" [{"a":1}, 7 ,"x"] "#).expect("a list");
        let texts: Vec<_> = lines.iter().map(|line| (line.number, line.bytes.as_slice())).collect();
        assert_eq!(texts, [(1, &br#"{"a":1}"#[..]), (2, b"7"), (3, br#""x""#)]);
        assert_eq!(events(b"{}").expect_err("no list").reason, Reason::WrongType);
        assert_eq!(events(b"[1,").expect_err("no JSON").reason, Reason::MalformedJson);
        let many = format!("[{}1]", "1,".repeat(MOST_EVENTS));
        let refusal = events(many.as_bytes()).expect_err("too many");
        assert_eq!(refusal.reason, Reason::WrongType);
        let text = events(br#""a code""#).expect_err("no list");
        assert!(!text.detail.contains("code"), "{}", text.detail);
    }
}
