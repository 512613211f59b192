//! `POST /v1/events`: CloudEvents of the register, of service centres and of the portal; and what has
//! not come.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, header},
    response::Response,
    routing::{get, post},
};
use domain::id::RecipientId;
use ingest::{
    dead_letter::Reason,
    error::LogError,
    register::{people, sequences::Gap},
    topic::Topic,
    wire::v1::Event,
};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

use super::{
    Door, Route,
    answer::{CloudEvent, GapPage, MissingChanges, Told},
    intake::{Intake, Places, known_by},
};
use crate::{
    access::{self, Identity, Role},
    connector::Refusal,
    edge::{
        body::{self, BodyLines, LARGEST_BATCH, Pieces, too_large},
        page::{self, PageAsked},
    },
    lines::{LONGEST_LINE, Line},
    problem::Problem,
    terminal::{
        http::json,
        openapi::{KeyNotNeeded, Refusals},
        wire::Problem as Message,
    },
};

/// Gaps of a page, unless asked otherwise.
const PAGE: usize = 200;

/// The description of these routes.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(send, gaps),
    tags((name = "events", description = "What other systems tell"))
)]
pub struct Description;

/// The routes.
pub fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/events", post(send).layer(DefaultBodyLimit::disable()))
        .route("/v1/events/gaps", get(gaps))
        .with_state(Arc::new(door))
}

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One, as JSON.
    Single,
    /// A list of them, as JSON.
    Batch,
    /// One a line.
    Lines,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let taken = [
            ("application/cloudevents+json", Self::Single),
            ("application/cloudevents-batch+json", Self::Batch),
            ("application/x-ndjson", Self::Lines),
        ];
        body::form(headers, &taken)
    }

    /// The largest body; none for any.
    const fn largest(self) -> Option<usize> {
        match self {
            Self::Single => Some(LONGEST_LINE),
            Self::Batch => Some(LARGEST_BATCH),
            Self::Lines => None,
        }
    }
}

/// What is said of a request beside its body.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Sending {
    /// Whether a whole snapshot may remove more than 1 % of the people.
    #[serde(default)]
    yes: bool,
}

/// Take events: CloudEvents 1.0, one, a batch of at most 20 000, or one a line without a bound. Each is
/// taken, known already or refused by itself; sending all again is harmless. A snapshot of people
/// (`snapshot`, `snapshotcount` on its first event) that is whole removes whoever is not in it.
#[utoipa::path(
    post,
    path = "/v1/events",
    tag = "events",
    operation_id = "send_events",
    params(Sending, KeyNotNeeded),
    request_body(
        content(
            (CloudEvent = "application/cloudevents+json"),
            (Vec<CloudEvent> = "application/cloudevents-batch+json"),
            (String = "application/x-ndjson"),
        ),
        description = "An event has at most 1 MiB, a batch 16 MiB"
    ),
    responses(
        (status = 200, description = "What became of each; durable", body = Told),
        (status = 408, description = "No byte came for too long", body = Message, content_type = "application/problem+json"),
        (status = 415, description = "Neither of the three", body = Message, content_type = "application/problem+json"),
        Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn send(
    State(door): State<Arc<Door>>,
    Query(sending): Query<Sending>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let identity = access::identity(&door.tokens, &headers)?;
    let own = door.source(&identity)?;
    let form = Form::of(&headers)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    if let Some(largest) = form.largest()
        && length > largest as u64
    {
        return Err(too_large(format!("a body of this kind has at most {largest} bytes")));
    }
    // Whoever hangs up cuts the body off, and not an append that is on its way.
    let working = tokio::spawn(async move {
        let busy = |_| Problem::unavailable("as many bodies are being read as are read at once");
        let _reading = door.bodies.try_acquire().map_err(busy)?;
        let pieces = Pieces::of(body, door.idle);
        match form {
            Form::Single => single(&door, own, pieces, sending.yes).await,
            Form::Batch => batch(&door, own, pieces, sending.yes).await,
            Form::Lines => lines(&door, own, pieces, sending.yes).await,
        }
    });
    json(&working.await.map_err(Problem::stopping)??)
}

/// One event; where it is refused its problem is the answer.
async fn single(
    door: &Door,
    own: Option<Route>,
    pieces: Pieces,
    yes: bool,
) -> Result<Told, Problem> {
    let bytes = pieces.whole(LONGEST_LINE).await?;
    let length = bytes.len() as u64;
    let mut intake = Intake::new(door, own, Places::Indices);
    intake.take(vec![Line { number: 1, bytes, length }]).await?;
    let mut told = intake.finish(yes).await?;
    match told.refused.pop() {
        None => Ok(told),
        Some(refused) if refused.problem.code == Reason::MalformedJson.code() => {
            Err(Problem::malformed(refused.problem.detail))
        }
        Some(refused) => Err(refused.problem.into()),
    }
}

async fn batch(
    door: &Door,
    own: Option<Route>,
    pieces: Pieces,
    yes: bool,
) -> Result<Told, Problem> {
    let whole = pieces.whole(LARGEST_BATCH).await?;
    let mut intake = Intake::new(door, own, Places::Indices);
    let (whole, events) = tokio::task::spawn_blocking(move || {
        let events = body::events(&whole);
        // What was read is not held twice for longer than it takes.
        (if events.is_err() { whole } else { Vec::new() }, events)
    })
    .await
    .map_err(Problem::stopping)?;
    let events = match events {
        Ok(events) => events,
        Err(refusal) => {
            intake.refuse(&whole, refusal.clone()).await?;
            return Err(body::no_list(refusal));
        }
    };
    for some in body::some_at_a_time(events) {
        intake.take(some).await?;
    }
    intake.finish(yes).await
}

/// Lines, some at a time. Where reading ends before the body does, what came before was dealt with,
/// and nobody is removed.
async fn lines(
    door: &Door,
    own: Option<Route>,
    pieces: Pieces,
    yes: bool,
) -> Result<Told, Problem> {
    let mut lines = BodyLines::of(pieces, ", each kept with its reason");
    let mut intake = Intake::new(door, own, Places::Lines);
    while let Some(some) = lines.next(intake.refused()).await? {
        intake.take(some).await?;
    }
    intake.finish(yes).await
}

/// Changes of people that have not come, each with the source's own event after it: what is to be asked
/// of the register again. One that comes late closes its gap, as a snapshot closes those before it.
#[utoipa::path(
    get,
    path = "/v1/events/gaps",
    tag = "events",
    operation_id = "list_gaps",
    params(PageAsked),
    responses((status = 200, description = "By person", body = GapPage), Refusals),
    security(("token" = []))
)]
pub(super) async fn gaps(
    State(door): State<Arc<Door>>,
    Query(asked): Query<PageAsked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let identity = access::identity(&door.tokens, &headers)?;
    door.sees_gaps(&identity)?;
    let size = asked.size(PAGE)?;
    let after = match asked.cursor.as_deref() {
        None => None,
        Some(cursor) => Some(place(cursor).ok_or_else(|| {
            let refusal = Refusal::new(Reason::InvalidValue, "cursor: is none that a page said");
            Problem::from(refusal)
        })?),
    };
    let page = door.gap_page(after, size).await?;
    page::answer(&page, page.next_cursor.as_deref())
}

/// A gap's place in the list: its person and its first number.
fn place(cursor: &str) -> Option<(RecipientId, u64)> {
    let (person, from) = cursor.split_once('.')?;
    Some((RecipientId::parse(person)?, from.parse().ok()?))
}

impl Door {
    fn sees_gaps(&self, identity: &Identity) -> Result<(), Problem> {
        if identity.role == Role::Operator {
            return Ok(());
        }
        match self.source(identity)? {
            None | Some(Route::Dagr) => Ok(()),
            Some(_) => Err(Problem::forbidden("this is for the register of people")),
        }
    }

    async fn gap_page(
        &self,
        after: Option<(RecipientId, u64)>,
        size: usize,
    ) -> Result<GapPage, Problem> {
        let (log, topic) = (&self.context.log, Topic::PersonChanges);
        let stream = self.known.stream(log, topic, known_by).await?;
        let open = stream.people().open();
        let mut gaps = stream.people().gaps(after, size + 1);
        // Others append while the events are looked up.
        drop(stream);
        let is_more = gaps.len() > size;
        gaps.truncate(size);
        let last = gaps.last().filter(|_| is_more);
        let next_cursor = last.map(|(person, gap)| format!("{person}.{}", gap.from));
        let mut told = Vec::with_capacity(gaps.len());
        for (person, gap) in gaps {
            told.push(MissingChanges::of(person, &gap, self.event_id(&gap).await?));
        }
        Ok(GapPage { open: open as u64, gaps: told, next_cursor })
    }

    /// The source's own id of the event by which a gap was noticed; none where the stream has let go
    /// of it since.
    async fn event_id(&self, gap: &Gap) -> Result<Option<String>, Problem> {
        let Some(place) = gap.place else { return Ok(None) };
        let read = self.context.log.read(Topic::PersonChanges, place.partition, place.offset, 1);
        let found = match read.await {
            Err(LogError::Gone { .. }) => return Ok(None),
            found => found?,
        };
        let stored = found.first().filter(|stored| stored.position == place);
        Ok(stored.and_then(|stored| match &stored.record.event {
            Event::PersonChanged(change) => people::event_id(&self.context.vault, change),
            _ => None,
        }))
    }
}
