//! `POST /v1/transactions:batch`: what terminals did while offline, streamed both ways. One answer
//! per line, in order; a bad line spoils no other.

use std::sync::Arc;

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
use futures::StreamExt;
use ingest::{
    dead_letter::{DeadLetter, Reason},
    record::Record,
    topic::Topic,
    wire::v1::Event,
};
use serde::Serialize;
use tokio::sync::mpsc;
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
    problem::Problem,
};

const NDJSON: &str = "application/x-ndjson";
const ORIGIN: &str = "/v1/transactions:batch";
/// Lines appended under one acknowledgement of the log.
const CHUNK: usize = 256;
/// Answers on their way to a slow reader.
const AHEAD: usize = 4;

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
    request_body(content = String, content_type = "application/x-ndjson", description = "One transaction per line: the request of `POST /v1/authorisations` with `mode` `offline`, its `idempotency_key`, and optionally `applied`: what the terminal gave"),
    responses(
        (status = 200, description = "One answer per line, in order", body = LineAnswer, content_type = "application/x-ndjson"),
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

/// What one line is until it is answered.
enum Step {
    Watched { key: RecordId, body: BodyHash, watched: Claim },
    Refused(Problem),
}

impl Batch {
    /// Reads, appends and answers until the body ends or the reader is gone.
    async fn run(mut self, body: Body, answers: Answers) {
        let mut frames = body.into_data_stream();
        let mut rest: Vec<u8> = Vec::new();
        let mut lines: Vec<Vec<u8>> = Vec::new();
        loop {
            let frame = frames.next().await;
            let ended = frame.is_none();
            match frame {
                // A body that is cut off: its last line may be half of one.
                Some(Err(_)) => return,
                Some(Ok(bytes)) => rest.extend_from_slice(&bytes),
                None if rest.is_empty() => {}
                None => rest.push(b'\n'),
            }
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                lines.push(rest.drain(..=end).collect());
            }
            if rest.len() > LARGEST_BODY {
                // Its end cannot be found; what came before it is answered.
                lines.push(std::mem::take(&mut rest));
                let _ = self.answer_all(&mut lines, &answers).await;
                return;
            }
            if self.answer_all(&mut lines, &answers).await.is_none() || ended {
                return;
            }
        }
    }

    async fn answer_all(&mut self, lines: &mut Vec<Vec<u8>>, answers: &Answers) -> Option<()> {
        for chunk in std::mem::take(lines).chunks(CHUNK) {
            let told = self.answer(chunk).await?;
            answers.send(Ok(Bytes::from(told))).await.ok()?;
        }
        Some(())
    }

    /// Answers some lines; `None` where the streams take nothing any more.
    async fn answer(&mut self, lines: &[Vec<u8>]) -> Option<Vec<u8>> {
        let (mut steps, mut uploads, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            self.line += 1;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let step = match self.take(line, &mut uploads).await {
                Ok(step) => step,
                Err(refused) => {
                    letters.extend(self.letter(&refused, line));
                    Step::Refused(refused.into())
                }
            };
            steps.push((self.line, line.to_vec(), step));
        }
        if !uploads.is_empty() {
            self.door.log.append(Topic::TerminalTransactions, &uploads).await.ok()?;
        }
        let mut told = Vec::new();
        for (line, bytes, step) in steps {
            let answer = match step {
                Step::Refused(problem) => Err(problem),
                Step::Watched { key, body, watched } => {
                    let verdict = self.door.authoriser.verdict(watched, key, body).await;
                    verdict.map_err(|refusal| {
                        letters.extend(self.refused_later(&refusal, line, &bytes));
                        Problem::from(refusal)
                    })
                }
            };
            write(&mut told, line, answer);
        }
        if !letters.is_empty() {
            self.door.log.append(Topic::DeadLetters, &letters).await.ok()?;
        }
        Some(told)
    }

    /// Translates a line; what is new goes to `uploads`.
    async fn take(&self, line: &[u8], uploads: &mut Vec<Record>) -> Result<Step, Refused> {
        if line.len() > LARGEST_BODY {
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
                return Ok(Step::Watched { key, body, watched });
            }
            Ok(None) => {}
            Err(refusal) => return Ok(Step::Refused(refusal.into())),
        }
        self.check_age(&record)?;
        let watched = handle.watch(key);
        // One that is decided, or being decided, needs no second record.
        if matches!(&watched, Claim::Wait(waiting) if waiting.body.is_none()) {
            uploads.push(record);
        }
        Ok(Step::Watched { key, body, watched })
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

    fn letter(&self, refused: &Refused, line: &[u8]) -> Option<Record> {
        let letter = DeadLetter {
            connector: "terminal",
            reason: refused.reason,
            detail: refused.detail.clone(),
            origin: ORIGIN,
            line: self.line,
            payload: line,
            payload_bytes: line.len() as u64,
        };
        self.door.metrics.refused("terminal");
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
    fn refused_later(&self, refusal: &Refusal, line: u64, bytes: &[u8]) -> Option<Record> {
        let reason = match refusal {
            Refusal::KeyReused => Reason::DuplicateKey,
            Refusal::KeyReversed => Reason::KeyReversed,
            Refusal::UnknownTerminal => Reason::UnknownTerminal,
            _ => return None,
        };
        let refused = Refused::new(reason, refusal.to_string());
        let here = Self { door: self.door.clone(), identity: self.identity.clone(), line };
        here.letter(&refused, bytes)
    }
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
