//! `POST /v1/transactions:batch`: what terminals did while offline, streamed both ways. One answer
//! per line, in order; a bad line spoils no other.

use std::{sync::Arc, time::Duration};

use authoriser::{
    claims::{BodyHash, Claim, body_hash, key_of},
    command::Refusal,
    reply::Reply,
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use chrono::TimeDelta;
use domain::id::{RecordId, TerminalId};
use ingest::{
    dead_letter::{DeadLetter, Reason},
    record::Record,
    topic::Topic,
    wire::v1::Event,
};
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    answer::{self, Explain},
    http::Door,
    request::LARGEST_BODY,
    translate,
    wire::{Authorisation, Problem as Message},
};
use crate::{
    access::{self, Identity, Role},
    connector::Refusal as Refused,
    edge::body::Pieces,
    lines::Line,
    problem::Problem,
};

const NDJSON: &str = "application/x-ndjson";
const ORIGIN: &str = "/v1/transactions:batch";
/// Lines appended under one acknowledgement of the log.
const CHUNK: usize = 256;
/// Answers on their way to a slow reader.
const AHEAD: usize = 4;
/// How long the next byte is waited for.
const IDLE: Duration = Duration::from_secs(30);
/// How much of a line that is too long is kept.
const KEPT: usize = 1_024;

/// The answer to one line.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LineAnswer {
    /// The line, counted from 1.
    pub line: u64,
    /// 200, or the problem's status.
    pub status: u32,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorisation: Option<Authorisation>,
    /// Why it was refused; it is kept as a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Message>,
}

/// Upload what happened offline: one transaction per line in, one answer per line out, in order.
#[utoipa::path(
    post,
    path = "/v1/transactions:batch",
    tag = "offline",
    operation_id = "upload_transactions",
    params(super::openapi::KeyNotNeeded),
    request_body(content = String, content_type = "application/x-ndjson", description = "One transaction per line: the request of `POST /v1/authorisations` with `mode` `offline`, its `idempotency_key`, and optionally `applied`: what the terminal gave, on no line more than it costs, nor by more than 100 instructions"),
    responses(
        (status = 200, description = "One answer per line, in order; where the rest is not read, a last one that says so", body = LineAnswer, content_type = "application/x-ndjson"),
        super::openapi::Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn upload(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let identity = access::identity(&door.tokens, &headers)?;
    match identity.role {
        Role::Terminal => drop(door.terminal(&identity)?),
        Role::Merchant => {}
        _ => return Err(Problem::forbidden("this is for terminals and merchants")),
    }
    let (answers, streamed) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let batch = Batch { door, identity, line: 0 };
        batch.run(body, answers).await;
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(streamed)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    Ok(response)
}

type Answers = mpsc::Sender<Result<Bytes, std::io::Error>>;

struct Batch {
    door: Arc<Door>,
    identity: Identity,
    line: u64,
}

/// Cuts a body into lines as its pieces come, so that a line is answered as soon as it is there. Of one that
/// is too long only the beginning is kept, and what comes after it is read.
#[derive(Debug, Default)]
struct Cutting {
    /// Of the line whose end has not come.
    begun: Vec<u8>,
    length: u64,
    /// The last line that was handed on, or passed over because it is empty.
    number: u64,
}

impl Cutting {
    fn cut(&mut self, piece: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let room = (LARGEST_BODY + 1).saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&part[..part.len().min(room)]);
            self.length += part.len() as u64;
            if part.ends_with(b"\n") {
                self.number += 1;
                let mut bytes = std::mem::take(&mut self.begun);
                let length = std::mem::take(&mut self.length) - 1;
                if length > LARGEST_BODY as u64 {
                    bytes.truncate(KEPT);
                }
                if !bytes.trim_ascii().is_empty() {
                    lines.push(Line { number: self.number, bytes, length });
                }
            }
        }
        lines
    }
}

/// What one line is until it is answered.
enum Step {
    Watched {
        key: RecordId,
        body: BodyHash,
        watched: Claim,
        /// Its record goes to the stream.
        is_new: bool,
    },
    Refused(Problem),
}

impl Batch {
    /// Reads, appends and answers until the body ends or the reader is gone.
    async fn run(mut self, body: Body, answers: Answers) {
        let mut pieces = Pieces::of(body, IDLE);
        let mut lines = Cutting::default();
        loop {
            let (some, more) = match pieces.next().await {
                Ok(Some(piece)) => (lines.cut(&piece), Ok(true)),
                Ok(None) => (lines.cut(b"\n"), Ok(false)),
                // The last line may be half of one.
                Err(problem) => (Vec::new(), Err(problem)),
            };
            for chunk in some.chunks(CHUNK) {
                let (told, goes_on) = self.answer(chunk).await;
                if answers.send(Ok(Bytes::from(told))).await.is_err() {
                    return;
                }
                if !goes_on {
                    let line = self.line + 1;
                    let detail = format!(
                        "lines from {line} on were not read; send them again with the same keys, \
                         and those before them that are answered so"
                    );
                    return end(&answers, line, Problem::unavailable(detail)).await;
                }
            }
            match more {
                Ok(true) => {}
                Ok(false) => return,
                Err(problem) => return end(&answers, lines.number + 1, problem).await,
            }
        }
    }

    /// Answers some lines, each of them and in time, and says whether the streams still take something.
    async fn answer(&mut self, lines: &[Line]) -> (Vec<u8>, bool) {
        let until = Instant::now() + self.door.patience;
        let (mut steps, mut uploads, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            self.line = line.number;
            let bytes = line.bytes.trim_ascii();
            let step = match self.take(bytes, line.length, &mut uploads).await {
                Ok(step) => step,
                Err(fault) => {
                    letters.extend(self.letter(&fault, bytes, line.length));
                    Step::Refused(fault.into())
                }
            };
            steps.push((line, step));
        }
        let lost = self.append(Topic::TerminalTransactions, &uploads, until).await.err();
        if lost.is_none() {
            self.door.metrics.taken("terminal", uploads.len() as u64);
        }
        let (mut answers, mut is_late) = (Vec::new(), false);
        for (line, step) in steps {
            let answer = match (step, &lost) {
                (Step::Refused(problem), _) => Err(problem),
                // Perhaps it is on no stream: then nobody decides it.
                (Step::Watched { watched: Claim::Wait(_), .. }, Some(lost)) => Err(lost.clone()),
                (Step::Watched { key, body, watched, is_new }, _) => {
                    let verdict = self.door.authoriser.verdict(watched, key, body);
                    let verdict = timeout_at(until, verdict).await.unwrap_or(Err(Refusal::Late));
                    is_late |= matches!(verdict, Err(Refusal::Late));
                    if verdict.is_ok() && !is_new {
                        self.door.metrics.already_there("terminal");
                    }
                    verdict.map_err(|refusal| {
                        letters.extend(self.refused_later(&refusal, line));
                        Problem::from(refusal)
                    })
                }
            };
            answers.push((line.number, answer));
        }
        let unkept = self.append(Topic::DeadLetters, &letters, until).await.err();
        let mut told = Vec::new();
        for (line, answer) in answers {
            // What is refused is kept, or has to come again.
            let answer = answer.map_err(|refused| unkept.clone().unwrap_or(refused));
            write(&mut told, line, answer);
        }
        (told, lost.is_none() && unkept.is_none() && !is_late)
    }

    /// Appends, in time. What comes too late may stand on the stream all the same: its keys tell.
    async fn append(
        &self,
        topic: Topic,
        records: &[Record],
        until: Instant,
    ) -> Result<(), Problem> {
        if !records.is_empty() {
            let appended = timeout_at(until, self.door.log.append(topic, records)).await;
            appended.map_err(|_| Problem::late())??;
        }
        Ok(())
    }

    /// Translates a line; what is new goes to `uploads`.
    async fn take(
        &self,
        line: &[u8],
        length: u64,
        uploads: &mut Vec<Record>,
    ) -> Result<Step, Refused> {
        if length > LARGEST_BODY as u64 {
            let detail = format!("a line must have at most {LARGEST_BODY} bytes");
            return Err(Refused::new(Reason::LineTooLong, detail));
        }
        let handle = &self.door.authoriser;
        let now = handle.parts().clock.now();
        let record =
            translate::transaction(line, &|id| self.speaks_for(id), &self.door.vault, now)?;
        let Event::TransactionUploaded(upload) = &record.event else {
            return Err(Refused::new(Reason::UnknownType, "not a transaction"));
        };
        let key = key_of(&upload.terminal_id, &upload.idempotency_key);
        let body = body_hash(&upload.body_hash);
        match handle.known(key).await {
            Ok(Some((known, reply))) => {
                let watched = Claim::Known(known, reply);
                return Ok(Step::Watched { key, body, watched, is_new: false });
            }
            Ok(None) => {}
            Err(refusal) => return Ok(Step::Refused(refusal.into())),
        }
        self.check_age(&record)?;
        let watched = handle.watch(key);
        // One that is decided, or being decided, needs no second record.
        let is_new = matches!(&watched, Claim::Wait(waiting) if waiting.body.is_none());
        if is_new {
            uploads.push(record);
        }
        Ok(Step::Watched { key, body, watched, is_new })
    }

    /// A terminal uploads its own, a merchant those of its terminals.
    fn speaks_for(&self, terminal: &TerminalId) -> bool {
        let rules = self.door.authoriser.rules();
        let Some(index) = rules.terminal(terminal) else { return false };
        match self.identity.role {
            Role::Terminal => terminal.as_str() == &*self.identity.subject,
            _ => rules.site(index).merchant.as_str() == &*self.identity.organisation,
        }
    }

    fn check_age(&self, record: &Record) -> Result<(), Refused> {
        let bounds = self.door.authoriser.bounds();
        let Some(ahead) = bounds.online else { return Ok(()) };
        let age = record.recorded_at - record.event_time;
        if age > TimeDelta::days(i64::from(bounds.horizon_days)) {
            let detail = format!("/occurred_at: is more than {} days ago", bounds.horizon_days);
            return Err(Refused::new(Reason::TooOld, detail));
        }
        if -age > ahead {
            let detail = "/occurred_at: has not come yet; the terminal's clock is wrong";
            return Err(Refused::new(Reason::InvalidValue, detail));
        }
        Ok(())
    }

    fn letter(&self, refused: &Refused, line: &[u8], length: u64) -> Option<Record> {
        let letter = DeadLetter {
            connector: "terminal",
            reason: refused.reason,
            detail: refused.detail.clone(),
            origin: ORIGIN,
            line: self.line,
            payload: line,
            payload_bytes: length,
        };
        self.door.metrics.refused("terminal");
        self.door.streams.refused("terminal", refused.reason);
        let record = letter.record(&self.door.vault, self.door.authoriser.parts().clock.now());
        match record {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::error!(%error, "a dead letter cannot be sealed");
                None
            }
        }
    }

    /// The dead letter of a line that was refused when it was decided; one that only has to come
    /// again later is none.
    fn refused_later(&self, refusal: &Refusal, line: &Line) -> Option<Record> {
        let reason = match refusal {
            Refusal::KeyReused => Reason::DuplicateKey,
            Refusal::KeyReversed => Reason::KeyReversed,
            Refusal::UnknownTerminal => Reason::UnknownTerminal,
            _ => return None,
        };
        let refused = Refused::new(reason, refusal.to_string());
        let (door, identity) = (self.door.clone(), self.identity.clone());
        let here = Self { door, identity, line: line.number };
        here.letter(&refused, line.bytes.trim_ascii(), line.length)
    }
}

/// The last answer, of a line that was not read: whoever sends must not think that all was taken.
async fn end(answers: &Answers, line: u64, problem: Problem) {
    let mut told = Vec::new();
    write(&mut told, line, Err(problem));
    // A reader that is gone needs no answer.
    let _ = answers.send(Ok(Bytes::from(told))).await;
}

fn write(told: &mut Vec<u8>, line: u64, answer: Result<Reply, Problem>) {
    let answer = match answer {
        Ok(Reply::Authorisation(history)) => LineAnswer {
            line,
            status: u32::from(StatusCode::OK.as_u16()),
            authorisation: Some(answer::authorisation(&history, Explain::Applied)),
            problem: None,
        },
        Ok(Reply::Blocked(_)) => return write(told, line, Err(Refusal::KeyReversed.into())),
        Err(problem) => LineAnswer {
            line,
            status: problem.message().status,
            authorisation: None,
            problem: Some(problem.message().clone()),
        },
    };
    // A message of texts and numbers is always written.
    told.extend(serde_json::to_vec(&answer).unwrap_or_default());
    told.push(b'\n');
}
