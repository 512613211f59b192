//! Registering a means, by its issuer or at a service centre.

use std::sync::Arc;

use authoriser::command::Refusal;
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use domain::id::{IdempotencyKey, IssuerId, MeansToken, RecipientId, TextVersion};
use ingest::{
    dead_letter::Reason,
    document::Fault,
    record::{Record, outside_id},
    topic::Topic,
    vault::Purpose,
    wire::v1::{ConsentChanged, Event, MeansChanged},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Door, IdempotencyKey as Key, Refusals, conflict};
use crate::{
    access::{Identity, Role},
    issuer::{
        ledger::Kept,
        request::{self, Register, Status},
    },
    precondition::Seen,
    problem::Problem,
    terminal::http::{idempotency_key, json},
};

/// What a consent to being enrolled is for.
const PURPOSE: &str = "identification-means";

/// A means that was registered.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegisteredMeans {
    /// By which it is known from now on.
    token: String,
}

/// Register a means by its value, which is hashed at once. Officials and centres enrol a person's means
/// for an issuer, under a consent.
#[utoipa::path(
    post,
    path = "/v1/means",
    tag = "means",
    operation_id = "register_means",
    params(Key),
    request_body = request::Registration,
    responses(
        (status = 201, description = "Registered; again with the same key, the same bytes", body = RegisteredMeans),
        Refusals,
    ),
    security(("token" = []))
)]
pub(in crate::issuer) async fn register(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let identity = door.identity(&headers)?;
    may_register(&identity)?;
    let key = idempotency_key(&headers)?;
    let asked = request::register(&body, &door.context.vault)?;
    let issuer = issuer(&identity, &asked)?;
    door.is_issued(&issuer, &asked).await?;
    created(door.register(&identity, &key, issuer, asked).await?)
}

fn may_register(identity: &Identity) -> Result<(), Problem> {
    match identity.role {
        Role::Issuer | Role::Official | Role::Centre => Ok(()),
        _ => Err(Problem::forbidden("to register is for issuers, officials and centres")),
    }
}

/// For whom a means is registered. Who is no issuer says for whom, of whom, and under which consent.
fn issuer(identity: &Identity, asked: &Register) -> Result<IssuerId, Problem> {
    if identity.role == Role::Issuer {
        let own = IssuerId::new(&identity.organisation)
            .map_err(|_| Problem::forbidden("the token names no issuer"))?;
        return match &asked.issuer {
            Some(named) if *named != own => {
                Err(Problem::forbidden("/issuer is not the organisation of the token"))
            }
            _ => Ok(own),
        };
    }
    if asked.replaces.is_some() {
        return Err(Problem::forbidden("/replaces is for issuers"));
    }
    let needed = [
        ("issuer", asked.issuer.is_some()),
        ("person", asked.person.is_some()),
        ("consent", asked.consent.is_some()),
    ];
    let missing = needed.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| Fault {
        reason: Reason::MissingField,
        path: String::new(),
        message: format!("{name} is missing"),
    });
    let missing: Vec<_> = missing.collect();
    asked.issuer.clone().filter(|_| missing.is_empty()).ok_or_else(|| Problem::faults(&missing))
}

impl Door {
    /// Whether an issuer of the registry issues means of this kind.
    async fn is_issued(&self, issuer: &IssuerId, asked: &Register) -> Result<(), Problem> {
        let registry = self.registry.registry(&self.context.log).await?;
        let known = registry.issuers.iter().find(|known| known.id == *issuer);
        let fault = |reason, path: &str, message: &str| {
            let fault = Fault { reason, path: path.into(), message: message.into() };
            Err(Problem::faults(&[fault]))
        };
        match known {
            None => fault(Reason::UnknownReference, "/issuer", "no such issuer in the registry"),
            Some(known) if !known.means.contains(&asked.kind) => {
                fault(Reason::InvalidValue, "/kind", "is no kind that this issuer issues")
            }
            Some(_) => Ok(()),
        }
    }

    /// Registers a means under its token, which is its key: put again, it is the same. Whoever has the
    /// token from before, of a register that was lost say, needs no other.
    pub(super) async fn put(
        &self,
        identity: &Identity,
        token: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response, Problem> {
        may_register(identity)?;
        let asked = request::register(body, &self.context.vault)?;
        if MeansToken::parse(token) != Some(asked.token) {
            return Err(super::invalid("/value", "is not of the means that the path names"));
        }
        let issuer = issuer(identity, &asked)?;
        self.is_issued(&issuer, &asked).await?;
        Seen::of(headers).is_newest(None)?;
        let key = IdempotencyKey::new(&format!("put:{}", asked.token));
        let key = key.map_err(|_| super::unknown())?;
        match self.register(identity, &key, issuer, asked).await {
            Err(problem) if problem.message().code == Refusal::KeyReused.code() => {
                let detail =
                    "it is registered already, otherwise; without a value its state is put";
                Err(conflict("already_registered", detail))
            }
            registered => created(registered?),
        }
    }

    async fn register(
        &self,
        identity: &Identity,
        key: &IdempotencyKey,
        issuer: IssuerId,
        asked: Register,
    ) -> Result<MeansToken, Problem> {
        // A key belongs to whoever sent it.
        let whose = match identity.role {
            Role::Issuer => format!("means/issuer/{}", identity.organisation),
            role => format!("means/{}/{}/{}", role.code(), identity.organisation, identity.subject),
        };
        let id = outside_id(&whose, key.as_str());
        let mut turn = self.ledger.turn().await?;
        if let Some(before) = turn.registered(id) {
            return match before.request_hash == asked.request_hash {
                true => Ok(before.token),
                false => Err(Refusal::KeyReused.into()),
            };
        }
        if let Some(there) = self.ledger.known(asked.token).await? {
            return Err(match there.change.issuer_id == issuer.as_str() {
                true => conflict(
                    "already_registered",
                    format!("it is registered already, as {}", asked.token),
                ),
                false => conflict("already_registered", "it is registered already"),
            });
        }
        let replaced = match asked.replaces {
            Some(token) => Some(self.replaceable(token, &issuer).await?),
            None => None,
        };
        let held_before = replaced.as_ref().and_then(|old| old.change.person.as_deref());
        let person = asked.person.or_else(|| held_before.and_then(RecipientId::parse));
        if let (Some(version), Some(person)) = (&asked.consent, person) {
            // First, so that no means is there without it; told twice, it is the same consent.
            let consent = self.consent(identity, person, asked.token, version);
            self.context.log.append(Topic::Consents, &[consent]).await?;
        }
        let change = self.registered(&issuer, person, &asked);
        let mut records = vec![Record { id, ..self.record("", "", issuer.to_string(), change) }];
        records.extend(replaced.map(|old| {
            let after = format!("after/{}", old.version);
            let change = MeansChanged {
                blocked: true,
                reason: Status::Replaced.code().into(),
                replaced_by: Some(asked.token.to_string()),
                request_hash: Vec::new(),
                ..old.change
            };
            self.record(&change.token.clone(), &after, issuer.to_string(), change)
        }));
        self.ledger.append(&mut turn, &records).await?;
        self.context.metrics.taken("issuer", records.len() as u64);
        let is_issuer = identity.role == Role::Issuer;
        let deed = if is_issuer { "means.register" } else { "means.enrol" };
        self.tell(identity, deed, &asked.token.to_string());
        if let Some(old) = asked.replaces {
            self.tell(identity, "means.replace", &old.to_string());
        }
        Ok(asked.token)
    }

    /// A means of an issuer's that another one may replace.
    async fn replaceable(&self, token: MeansToken, issuer: &IssuerId) -> Result<Kept, Problem> {
        let found = self.ledger.known(token).await?;
        let own = found.filter(|of| of.change.issuer_id == issuer.as_str());
        let Some(kept) = own else {
            return Err(super::invalid("/replaces", "is no means of this issuer"));
        };
        let status = Status::of(kept.change.blocked, &kept.change.reason);
        if status.is_final() || self.holder_is_erased(&kept.change) {
            let detail = format!("the means that it replaces is {} and stays so", status.code());
            return Err(conflict("wrong_state", detail));
        }
        Ok(kept)
    }

    fn registered(
        &self,
        issuer: &IssuerId,
        person: Option<RecipientId>,
        asked: &Register,
    ) -> MeansChanged {
        let recipient = person.map_or(asked.token.as_u128(), RecipientId::as_u128);
        let recipient = self.context.vault.pseudonym(Purpose::Recipient, recipient);
        MeansChanged {
            token: asked.token.to_string(),
            issuer_id: issuer.to_string(),
            kind: asked.kind.code().into(),
            person: person.map(|id| id.to_string()),
            valid_from: asked.valid.from.to_string(),
            valid_to: asked.valid.to.map(|to| to.to_string()),
            recipient: Some(recipient.to_string()),
            offline_hash: asked.offline_hash,
            request_hash: asked.request_hash.clone(),
            ..MeansChanged::default()
        }
    }

    fn consent(
        &self,
        identity: &Identity,
        person: RecipientId,
        token: MeansToken,
        version: &TextVersion,
    ) -> Record {
        let now = self.context.clock.now();
        let consent = ConsentChanged {
            person: person.to_string(),
            consent_id: format!("means-{token}"),
            purpose: PURPOSE.into(),
            given: true,
            text_version: version.to_string(),
            recorded_by: identity.role.code().into(),
        };
        Record {
            id: outside_id("consent", &format!("{person}/{token}/{version}")),
            key: person.to_string(),
            source: identity.role.code().into(),
            sequence: 0,
            event_time: now,
            recorded_at: now,
            event: Event::ConsentChanged(consent),
        }
    }
}

fn created(token: MeansToken) -> Result<Response, Problem> {
    let mut response = json(&RegisteredMeans { token: token.to_string() })?;
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/means/{token}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}
