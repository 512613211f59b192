//! `/v1/groups/{id}/members`: a grantor's own system tells who is in a group of the grantor's, some at
//! a time or the whole list. Nobody can ask who is on one; how many is told from five people on.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use domain::{
    id::{GrantorId, GroupId},
    period::LocalTime,
    recipient::{Group, Membership},
};
use ingest::{
    audit::Deed,
    record::Record,
    register::memberships::Listed,
    topic::Topic,
    wire::v1::{Event, MembershipChanged},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{MembershipLists, known_by, lists, translate};
use crate::{
    access::{self, Identity, Role, Tokens},
    connector::{Again, Connector, Refusal},
    edge::body::{self, BodyLines, LARGEST_BATCH, Pieces},
    known::{Known, Stream},
    lines::Line,
    load::{Context, Taking},
    problem::Problem,
    registry::{Current, registrar::Told as Tell, registrar::none},
    terminal::{
        http::json,
        openapi::{KeyNotNeeded, Refusals},
        pace::Pace,
        wire::Problem as Message,
    },
};

/// The most members of a whole list: more than the country has people.
const MOST_MEMBERS: usize = 3_000_000;
/// Memberships that are ended at once.
const CHUNK: usize = 512;
/// A whole list that ends more than this share of the former one is to be meant.
const MANY_ENDED_PERCENT: usize = 10;
/// So few may end in any case.
const FEW_ENDED: usize = 10;
/// Requests of one caller a second, on and on, and at once.
const PACE: (u32, u32) = (20, 100);
/// Lists that are read at once.
const BODIES: usize = 8;
/// How long a body may bring no byte.
const IDLE: Duration = Duration::from_secs(30);

/// The description of these routes.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(add, replace),
    tags((name = "groups", description = "Who is in a grantor's groups, as its own systems tell"))
)]
pub struct Description;

/// What the door for lists works over.
pub struct Door {
    context: Context,
    tokens: Tokens,
    known: Known,
    registry: Current,
    tell: Tell,
    pace: Pace<Arc<str>>,
    bodies: Semaphore,
    /// Groups whose whole list is being taken.
    replacing: Mutex<HashSet<GroupId>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Door {
    /// The door of one node; `tell` tells the audit trail.
    #[must_use]
    pub fn new(
        context: Context,
        tokens: Tokens,
        known: Known,
        registry: Current,
        tell: Tell,
    ) -> Self {
        Self {
            context,
            tokens,
            known,
            registry,
            tell,
            pace: Pace::new(PACE.0, PACE.1),
            bodies: Semaphore::new(BODIES),
            replacing: Mutex::default(),
        }
    }
}

/// The routes.
pub fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/groups/{id}/members", post(add).put(replace))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(door))
}

/// A member of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The group, where it is said: that of the path.
    pub group: Option<String>,
    /// A personal code, of somebody whom the register has told of; or else `means`.
    #[schema(example = "010180-12346")]
    pub person: Option<String>,
    /// A means, whoever presents it: its token, or its `kind` and `value`.
    #[schema(value_type = Option<Object>)]
    pub means: Option<serde_json::Value>,
    /// The first day.
    #[schema(format = Date)]
    pub from: String,
    /// The last day; none for no end.
    #[schema(format = Date)]
    pub to: Option<String>,
}

/// What became of the members of one request.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct MembersTold {
    /// New, or with other days; durable.
    taken: u64,
    /// On the list already, with the same days.
    already_there: u64,
    /// On the list no longer, since a whole one does not name them. Where a line of it is refused
    /// nobody's membership ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<u64>,
    /// Refused; kept nowhere.
    refused: Vec<RefusedMember>,
}

/// A member that is not taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedMember {
    /// Its line, or its place in the list, counted from 1.
    line: u64,
    /// Why.
    problem: Message,
}

/// What is said of a request beside its body.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Sending {
    /// Whether a whole list may end more than a tenth of the memberships.
    #[serde(default)]
    yes: bool,
}

/// Add members to a group, or change their days. Each is taken or refused by itself; sending all again is
/// harmless. A membership ends with its last day, `to`.
#[utoipa::path(
    post,
    path = "/v1/groups/{id}/members",
    tag = "groups",
    operation_id = "add_members",
    params(("id" = String, Path, description = "A group of the grantor's that is a list"), KeyNotNeeded),
    request_body(
        content((Vec<Member> = "application/json"), (String = "application/x-ndjson")),
        description = "A list of at most 20 000 and 16 MiB, or one a line without a bound"
    ),
    responses(
        (status = 200, description = "What became of each; durable", body = MembersTold),
        (status = 408, description = "No byte came for too long", body = Message, content_type = "application/problem+json"),
        (status = 415, description = "Neither of the two", body = Message, content_type = "application/problem+json"),
        Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn add(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    take(door, &id, &headers, body, None).await
}

/// Replace the members of a group by a whole list: whoever is not in it is a member no longer.
#[utoipa::path(
    put,
    path = "/v1/groups/{id}/members",
    tag = "groups",
    operation_id = "replace_members",
    params(("id" = String, Path, description = "A group of the grantor's that is a list"), Sending),
    request_body(
        content((Vec<Member> = "application/json"), (String = "application/x-ndjson")),
        description = "A list of at most 20 000 and 16 MiB, or one a line"
    ),
    responses(
        (status = 200, description = "What became of each; durable", body = MembersTold),
        (status = 408, description = "No byte came for too long", body = Message, content_type = "application/problem+json"),
        (status = 415, description = "Neither of the two", body = Message, content_type = "application/problem+json"),
        Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn replace(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    Query(sending): Query<Sending>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    take(door, &id, &headers, body, Some(sending)).await
}

/// Takes members of a group; `whole` is what is said of a list that is a whole one.
async fn take(
    door: Arc<Door>,
    id: &str,
    headers: &HeaderMap,
    body: Body,
    whole: Option<Sending>,
) -> Result<Response, Problem> {
    let (identity, group) = door.group(headers, id).await?;
    let form = Form::of(headers)?;
    let action = if whole.is_some() { "group.members.replace" } else { "group.members.add" };
    door.tell(&identity, action, &group);
    let working = tokio::spawn(async move {
        let _reading = door.reading()?;
        let _alone = match whole {
            Some(_) => Some(Replacing::begin(&door, &group.id)?),
            None => None,
        };
        let mut list = List::of(&door, group.id, whole.is_some()).await?;
        list.read(form, Pieces::of(body, IDLE)).await?;
        if let Some(sending) = whole {
            list.end_others(sending.yes).await?;
        }
        Ok::<_, Problem>(list.told)
    });
    json(&working.await.map_err(Problem::stopping)??)
}

/// How members come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A list of them, as JSON.
    List,
    /// One a line.
    Lines,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let taken = [("application/json", Self::List), ("application/x-ndjson", Self::Lines)];
        body::form(headers, &taken)
    }
}

impl Door {
    /// A group that the caller may tell the members of: one of the grantor's own that is a list.
    async fn group(&self, headers: &HeaderMap, id: &str) -> Result<(Identity, Group), Problem> {
        let identity = access::identity(&self.tokens, headers)?;
        if identity.role != Role::Grantor {
            return Err(Problem::forbidden("this is for grantors"));
        }
        let caller = Arc::clone(&identity.subject);
        self.pace.take(&caller, std::time::Instant::now()).map_err(Problem::too_many)?;
        let registry = self.registry.registry(&self.context.log).await?;
        let own = GrantorId::new(&identity.organisation).ok();
        let group = registry.groups.iter().find(|group| group.id.as_str() == id);
        let group = group.filter(|group| group.grantor.is_some() && group.grantor == own);
        let group = group.ok_or_else(|| none(domain::registry::Kind::Group, id))?;
        if let Membership::Where(_) = group.members {
            let status = StatusCode::CONFLICT;
            let detail = "its members are those who fulfil its condition: `where`";
            return Err(Problem::new(status, "no_list", "The group is no list", detail));
        }
        Ok((identity, group.clone()))
    }

    fn tell(&self, identity: &Identity, action: &'static str, group: &Group) {
        (self.tell)(Deed {
            actor: identity.subject.to_string(),
            role: identity.role.code().into(),
            action,
            object: group.id.to_string(),
            outcome: "begun".into(),
        });
    }

    fn reading(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        let busy = |_| Problem::unavailable("as many lists are being read as are read at once");
        self.bodies.try_acquire().map_err(busy)
    }
}

/// A group's whole list is taken by one request at a time.
struct Replacing<'a> {
    door: &'a Door,
    group: GroupId,
}

impl<'a> Replacing<'a> {
    fn begin(door: &'a Door, group: &GroupId) -> Result<Self, Problem> {
        let mut replacing = door.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        if replacing.insert(group.clone()) {
            return Ok(Self { door, group: group.clone() });
        }
        let detail = "another request is sending this group's whole list";
        Err(Problem::new(StatusCode::CONFLICT, "being_replaced", "The list is being sent", detail))
    }
}

impl Drop for Replacing<'_> {
    fn drop(&mut self) {
        let mut replacing = self.door.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        replacing.remove(&self.group);
    }
}

/// Members of one group as they come.
struct List<'a> {
    door: &'a Door,
    group: GroupId,
    groups: HashSet<GroupId>,
    /// Whom a whole list names; nobody is noted of others.
    named: Option<HashSet<Listed>>,
    told: MembersTold,
}

impl<'a> List<'a> {
    async fn of(door: &'a Door, group: GroupId, whole: bool) -> Result<Self, Problem> {
        let groups = lists(&*door.registry.registry(&door.context.log).await?);
        let (named, told) = (whole.then(HashSet::new), MembersTold::default());
        Ok(Self { door, group, groups, named, told })
    }

    async fn read(&mut self, form: Form, pieces: Pieces) -> Result<(), Problem> {
        if form == Form::List {
            let whole = pieces.whole(LARGEST_BATCH).await?;
            let members = body::events(&whole).map_err(body::no_list)?;
            for some in body::some_at_a_time(members) {
                self.take(some).await?;
            }
            return Ok(());
        }
        let mut lines = BodyLines::of(pieces, "");
        while let Some(some) = lines.next(self.told.refused.len()).await? {
            if self.named.as_ref().is_some_and(|of| of.len() > MOST_MEMBERS) {
                let detail = format!("a list has at most {MOST_MEMBERS} members");
                return Err(body::too_large(detail));
            }
            self.take(some).await?;
        }
        Ok(())
    }

    /// Takes some lines: when it answers, each is on the stream, known to be there, or refused.
    async fn take(&mut self, lines: Vec<Line>) -> Result<(), Problem> {
        let context = &self.door.context;
        let mut connector = MembershipLists {
            groups: self.groups.clone(),
            only: Some(self.group.clone()),
            vault: context.vault.clone(),
            clock: Arc::clone(&context.clock),
        };
        let (lines, translated) = tokio::task::spawn_blocking(move || {
            let messages: Vec<&[u8]> = lines.iter().map(|line| line.bytes.as_slice()).collect();
            let translated = connector.translate(&messages);
            (lines, translated)
        })
        .await
        .map_err(Problem::stopping)?;
        let mut stream = self.stream().await?;
        let mut records = Vec::new();
        for (line, translated) in lines.iter().zip(translated) {
            let taken = match (line.too_long(), translated) {
                (Some(refusal), _) | (None, Err(refusal)) => Err(refusal),
                (None, Ok(record)) => self.name(&record).map(|()| record),
            };
            match taken {
                Ok(record) => {
                    let id = known_by(&record);
                    match stream.seen(Again::Changes, id, &record) {
                        Taking::Taken => {
                            stream.note(id, &record);
                            records.push(record);
                        }
                        _ => self.told.already_there += 1,
                    }
                }
                Err(refusal) => {
                    context.metrics.refused("grantor");
                    let problem = Problem::from(refusal).message().clone();
                    self.told.refused.push(RefusedMember { line: line.number, problem });
                }
            }
        }
        stream.append(&records).await?;
        self.told.taken += records.len() as u64;
        context.metrics.taken("grantor", records.len() as u64);
        Ok(())
    }

    async fn stream(&self) -> Result<Stream, Problem> {
        let log = &self.door.context.log;
        Ok(self.door.known.stream(log, Topic::Memberships, known_by).await?)
    }

    /// Notes whom a whole list names; nobody twice.
    fn name(&mut self, record: &Record) -> Result<(), Refusal> {
        let Some(named) = &mut self.named else { return Ok(()) };
        let Event::MembershipChanged(change) = &record.event else { return Ok(()) };
        match Listed::of(change).is_some_and(|who| named.insert(who)) {
            true => Ok(()),
            false => Err(Refusal::new(
                ingest::dead_letter::Reason::DuplicateKey,
                "the list names this member before",
            )),
        }
    }

    /// Ends the memberships of those whom a whole list does not name, unless some of its lines are
    /// refused: whom those meant is not known.
    async fn end_others(&mut self, yes: bool) -> Result<(), Problem> {
        let Some(named) = self.named.take().filter(|_| self.told.refused.is_empty()) else {
            return Ok(());
        };
        let now = self.door.context.clock.now();
        let today = LocalTime::of(now).date;
        let mut stream = self.stream().await?;
        let (mut known, mut ended) = (0_usize, Vec::new());
        for (who, days) in stream.lists().members(&self.group) {
            // One that is over has nothing to end: counted, a list whose members come and go would be
            // refused every time for those of years ago.
            if days.until.is_some_and(|until| until <= today) {
                continue;
            }
            known += 1;
            if !named.contains(&who) {
                let (person, token) = match who {
                    Listed::Person(person) => (Some(person.to_string()), None),
                    Listed::Means(token) => (None, Some(token.to_string())),
                };
                ended.push(MembershipChanged {
                    group_id: self.group.to_string(),
                    person,
                    token,
                    from: days.from.to_string(),
                    until: Some(today.to_string()),
                    removed: true,
                });
            }
        }
        if ended.len() > FEW_ENDED && ended.len() * 100 > known * MANY_ENDED_PERCENT && !yes {
            let detail = format!(
                "the list would end {} of {known} memberships, more than {MANY_ENDED_PERCENT} %; its \
                 members were taken; send it again with ?yes=true if it is meant",
                ended.len()
            );
            let (status, title) = (StatusCode::CONFLICT, "The list ends many memberships");
            return Err(Problem::new(status, "list_ends_many", title, detail));
        }
        self.told.ended = Some(ended.len() as u64);
        for some in ended.chunks(CHUNK) {
            let records: Vec<_> =
                some.iter().map(|change| translate::record(change.clone(), now)).collect();
            records.iter().for_each(|record| stream.note(known_by(record), record));
            stream.append(&records).await?;
        }
        Ok(())
    }
}
