//! `POST /v1/means:batch`: many means at once, one a line, as an issuer's file has them. Each line is known
//! by what it says: a means that is there with the same holder and days is there already, and one with
//! others has these from then on. Blocked ones stay blocked, and nobody takes another issuer's.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use domain::{
    id::{IssuerId, MeansToken},
    identification_means::MeansKind,
    registry::Registry,
};
use ingest::{
    audit::Deed,
    dead_letter::Reason,
    record::Record,
    wire::v1::{Event, MeansChanged},
};
use serde::Serialize;
use tokio::sync::SemaphorePermit;
use utoipa::ToSchema;

use super::{Door, Kept, Message, Refusals, Status, conflict, invalid};
use crate::{
    access::{Identity, Role},
    connector::{Connector, Refusal},
    edge::body::{self, BodyLines, MOST_EVENTS, Pieces},
    issuer::{MeansFiles, ledger::Turn},
    lines::Line,
    problem::Problem,
    terminal::openapi::KeyNotNeeded,
};

const NDJSON: &str = "application/x-ndjson";
/// How long a body may bring no byte.
const IDLE: Duration = Duration::from_secs(30);

/// What became of one line.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeansAnswer {
    /// The line, counted from 1.
    line: u64,
    /// 201 where it is taken: new, or with another holder or other days; 200 where it is there already;
    /// else the problem's status.
    status: u32,
    /// By which the means is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Why it is refused; it is kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Message>,
}

/// Load means as a file has them: one a line with its `issuer`, one answer a line, in order. An issuer loads
/// its own, an administrator everybody's. Sending all again is harmless.
#[utoipa::path(
    post,
    path = "/v1/means:batch",
    tag = "means",
    operation_id = "load_means",
    params(KeyNotNeeded),
    request_body(
        content = String,
        content_type = "application/x-ndjson",
        description = "At most 20 000 means: `issuer`, `kind`, `value`, `valid_from`, and if there are such `person` and `valid_to`"
    ),
    responses(
        (status = 200, description = "One answer a line, in order; what is taken is durable", body = MeansAnswer, content_type = "application/x-ndjson"),
        (status = 408, description = "No byte came for too long", body = Message, content_type = "application/problem+json"),
        (status = 415, description = "Not one a line", body = Message, content_type = "application/problem+json"),
        Refusals,
    ),
    security(("token" = []))
)]
pub(in crate::issuer) async fn load(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let identity = door.identity(&headers)?;
    let own = own(&identity)?;
    body::form(&headers, &[(NDJSON, ())])?;
    let object = own.as_ref().map(ToString::to_string).unwrap_or_default();
    (door.tell)(Deed {
        actor: identity.subject.to_string(),
        role: identity.role.code().into(),
        action: "means.load",
        object,
        outcome: "begun".into(),
    });
    let working = tokio::spawn(async move {
        let _reading = door.reading()?;
        let mut batch = Batch::of(&door, own.as_ref()).await?;
        batch.read(Pieces::of(body, IDLE)).await?;
        Ok::<_, Problem>(batch.answers)
    });
    let answers = working.await.map_err(Problem::stopping)??;
    let mut response = Response::new(Body::from(answers));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    Ok(response)
}

/// Whose means are loaded; none for everybody's.
fn own(identity: &Identity) -> Result<Option<IssuerId>, Problem> {
    let nobody = |_| Problem::forbidden("the token names no issuer");
    match identity.role {
        Role::Administrator => Ok(None),
        Role::Issuer => IssuerId::new(&identity.organisation).map(Some).map_err(nobody),
        _ => Err(Problem::forbidden("to load means is for issuers and administrators")),
    }
}

impl Door {
    fn reading(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let busy = |_| Problem::unavailable("as many batches are being read as are read at once");
        self.bodies.try_acquire().map_err(busy)
    }

    /// Appends records in one's turn; afterwards there are none, and each is durable.
    async fn append(&self, turn: &mut Turn, records: &mut Vec<Record>) -> Result<(), Problem> {
        if !records.is_empty() {
            self.ledger.append(turn, records).await?;
            self.context.metrics.taken("issuer", records.len() as u64);
            records.clear();
        }
        Ok(())
    }
}

/// Means as they come.
struct Batch<'a> {
    door: &'a Door,
    registry: Arc<Registry>,
    /// Those whose means are taken.
    issuers: HashSet<IssuerId>,
    answers: Vec<u8>,
    lines: usize,
    refused: usize,
}

impl<'a> Batch<'a> {
    async fn of(door: &'a Door, own: Option<&IssuerId>) -> Result<Self, Problem> {
        let registry = door.registry.registry(&door.context.log).await?;
        let ids = registry.issuers.iter().map(|issuer| &issuer.id);
        let issuers = ids.filter(|id| own.is_none_or(|own| own == *id)).cloned().collect();
        Ok(Self { door, registry, issuers, answers: Vec::new(), lines: 0, refused: 0 })
    }

    async fn read(&mut self, pieces: Pieces) -> Result<(), Problem> {
        let mut lines = BodyLines::of(pieces, "");
        while let Some(some) = lines.next(self.refused).await? {
            self.lines += some.len();
            if self.lines > MOST_EVENTS {
                let first = some.first().map_or(0, |line| line.number);
                let detail = format!(
                    "a batch has at most {MOST_EVENTS} means; those before line {first} are dealt with"
                );
                return Err(body::too_large(detail));
            }
            self.take(some).await?;
        }
        Ok(())
    }

    /// Takes some lines: when it answers, each is on the stream, known to be there, or refused.
    async fn take(&mut self, lines: Vec<Line>) -> Result<(), Problem> {
        let door = self.door;
        let context = &door.context;
        let mut files = MeansFiles {
            issuers: self.issuers.clone(),
            vault: context.vault.clone(),
            clock: Arc::clone(&context.clock),
        };
        let (lines, translated) = tokio::task::spawn_blocking(move || {
            let messages: Vec<&[u8]> = lines.iter().map(|line| line.bytes.as_slice()).collect();
            let translated = files.translate(&messages);
            (lines, translated)
        })
        .await
        .map_err(Problem::stopping)?;
        let mut turn = door.ledger.turn().await?;
        let (mut records, mut named) = (Vec::new(), HashSet::new());
        for (line, translated) in lines.iter().zip(translated) {
            let said = match (line.too_long(), translated) {
                (Some(refusal), _) | (None, Err(refusal)) => Err(refusal),
                (None, Ok(record)) => means(record),
            };
            let told = match said {
                Err(refusal) => Err(Problem::from(refusal)),
                Ok((token, said)) => {
                    // What a line before it says of the same means is known first.
                    if !named.insert(token) {
                        door.append(&mut turn, &mut records).await?;
                    }
                    let kept = door.ledger.known(token).await?;
                    self.next(said, kept).map(|record| (token, record))
                }
            };
            self.answer(line.number, told, &mut records);
        }
        door.append(&mut turn, &mut records).await
    }

    /// What is to be appended for what a line says; none where it is there already.
    fn next(&self, said: MeansChanged, kept: Option<Kept>) -> Result<Option<Record>, Problem> {
        let (token, source) = (said.token.clone(), said.issuer_id.clone());
        let Some(Kept { change: before, version }) = kept else {
            self.is_issued(&said)?;
            return Ok(Some(self.door.record(&token, "loaded", source, said)));
        };
        if before.issuer_id != said.issuer_id {
            return Err(conflict("already_registered", "it is registered already"));
        }
        let days = (&before.valid_from, &before.valid_to);
        if before.person == said.person && days == (&said.valid_from, &said.valid_to) {
            return Ok(None);
        }
        let status = Status::of(before.blocked, &before.reason);
        if status.is_final() {
            let detail = format!("the means is {} and stays so", status.code());
            return Err(conflict("wrong_state", detail));
        }
        if self.door.holder_is_erased(&before) {
            return Err(conflict("wrong_state", "the means of somebody forgotten stays blocked"));
        }
        self.is_issued(&said)?;
        // A file says nothing of that, and goes on telling of a means that was lost since.
        let change = MeansChanged {
            blocked: before.blocked,
            reason: before.reason,
            replaced_by: before.replaced_by,
            ..said
        };
        Ok(Some(self.door.record(&token, &format!("after/{version}"), source, change)))
    }

    /// Whether its issuer issues means of this kind.
    fn is_issued(&self, said: &MeansChanged) -> Result<(), Problem> {
        let mut issuers = self.registry.issuers.iter();
        let issuer = issuers.find(|known| known.id.as_str() == said.issuer_id);
        let kind = MeansKind::parse(&said.kind);
        match issuer.zip(kind).is_some_and(|(issuer, kind)| issuer.means.contains(&kind)) {
            true => Ok(()),
            false => Err(invalid("/kind", "is no kind that this issuer issues")),
        }
    }

    /// Answers a line, and puts what is to be appended to the records.
    fn answer(
        &mut self,
        line: u64,
        told: Result<(MeansToken, Option<Record>), Problem>,
        records: &mut Vec<Record>,
    ) {
        let metrics = &self.door.context.metrics;
        let answer = match told {
            Ok((token, record)) => {
                let status = if record.is_some() { 201 } else { 200 };
                if record.is_none() {
                    metrics.already_there("issuer");
                }
                records.extend(record);
                let token = Some(token.to_string());
                MeansAnswer { line, status, token, problem: None }
            }
            Err(problem) => {
                metrics.refused("issuer");
                self.refused += 1;
                let problem = problem.message().clone();
                MeansAnswer { line, status: problem.status, token: None, problem: Some(problem) }
            }
        };
        self.answers.extend(serde_json::to_vec(&answer).unwrap_or_default());
        self.answers.push(b'\n');
    }
}

/// The means that a line was translated to.
fn means(record: Record) -> Result<(MeansToken, MeansChanged), Refusal> {
    let none = || Refusal::new(Reason::InvalidValue, "is no means");
    let Event::MeansChanged(change) = record.event else { return Err(none()) };
    let token = MeansToken::parse(&change.token).ok_or_else(none)?;
    Ok((token, change))
}
