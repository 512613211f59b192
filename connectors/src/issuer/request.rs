//! What is asked of means, from JSON. A means' value is hashed where it is read and goes no further.

use chrono::NaiveDate;
use domain::{
    id::{IssuerId, MeansToken, RecipientId, TextVersion},
    identification_means::MeansKind,
    period::Validity,
};
use ingest::{document::Cursor, vault::Vault};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::translate::holder;
use crate::{
    json,
    problem::Problem,
    terminal::basket::{means_kind, means_value},
};

/// The largest body, in bytes.
pub(super) const LARGEST_BODY: usize = 16 << 10;
/// The longest text of a consent, in bytes; it is not kept, its version is.
const LONGEST_TEXT: usize = 8 << 10;

/// A means to be registered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Who issued it; an issuer's own id, if said.
    pub issuer: Option<String>,
    /// `card_uid`, `qr`, `barcode`, `document`, `app_token` or `bank_card`: one that the issuer issues.
    #[schema(pattern = "^(card_uid|qr|barcode|document|app_token|bank_card)$")]
    pub kind: String,
    /// Its value, of a bank card the bank's reference; it is kept nowhere.
    #[schema(min_length = 1, max_length = 256)]
    pub value: String,
    /// The holder's personal code; none for one that stands alone, or replaces another.
    pub person: Option<String>,
    /// The first day on which it holds.
    #[schema(format = Date)]
    pub valid_from: String,
    /// The last one; none for no end.
    #[schema(format = Date)]
    pub valid_to: Option<String>,
    /// The token of the issuer's own means that it replaces.
    pub replaces: Option<String>,
    /// What the holder agreed to; of officials and centres.
    pub consent: Option<Agreed>,
}

/// A consent as it was taken.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreed {
    /// The version of the text.
    #[schema(pattern = "^[A-Za-z0-9._:/-]{1,96}$")]
    pub version: String,
    /// The text as it was read out, if the version alone does not say it.
    #[schema(max_length = 8192)]
    pub text: Option<String>,
}

/// How a means is from now on; what is not said stays.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeansState {
    /// `active`, `blocked`, `lost` or `replaced`.
    #[schema(pattern = "^(active|blocked|lost|replaced)$")]
    pub status: Option<String>,
    /// The token of the means in its place, where it is replaced.
    pub replaced_by: Option<String>,
    /// The first day on which it holds.
    #[schema(format = Date)]
    pub valid_from: Option<String>,
    /// The last one; null for no end.
    #[schema(format = Date)]
    pub valid_to: Option<String>,
}

/// What a means is put as: registered by its value, or, once it is, in another state.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum MeansPut {
    /// The means of this value, which is not registered yet; the path has its token.
    Registration(Registration),
    /// The state of one that is.
    State(MeansState),
}

/// A registration that is well formed.
#[derive(Debug)]
pub(super) struct Register {
    pub(super) issuer: Option<IssuerId>,
    pub(super) kind: MeansKind,
    pub(super) token: MeansToken,
    pub(super) offline_hash: u64,
    pub(super) person: Option<RecipientId>,
    pub(super) valid: Validity,
    pub(super) replaces: Option<MeansToken>,
    pub(super) consent: Option<TextVersion>,
    /// The keyed hash of the body.
    pub(super) request_hash: Vec<u8>,
}

/// Why a means is blocked, or that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Blocked,
    Lost,
    Replaced,
    Withdrawn,
}

impl Status {
    const TOLD: [(&'static str, Self); 4] = [
        ("active", Self::Active),
        ("blocked", Self::Blocked),
        ("lost", Self::Lost),
        ("replaced", Self::Replaced),
    ];

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Blocked => "blocked",
            Self::Lost => "lost",
            Self::Replaced => "replaced",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// As the stream has it.
    pub(super) fn of(blocked: bool, reason: &str) -> Self {
        match (blocked, reason) {
            (false, _) => Self::Active,
            (true, "lost") => Self::Lost,
            (true, "replaced") => Self::Replaced,
            (true, "withdrawn") => Self::Withdrawn,
            (true, _) => Self::Blocked,
        }
    }

    /// Whether it stays so for ever.
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Replaced | Self::Withdrawn)
    }
}

/// A change that is well formed; `valid_to` is `Some(None)` for no end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) status: Option<Status>,
    pub(super) replaced_by: Option<MeansToken>,
    pub(super) valid_from: Option<NaiveDate>,
    pub(super) valid_to: Option<Option<NaiveDate>>,
}

impl Changed {
    pub(super) const fn moves_days(&self) -> bool {
        self.valid_from.is_some() || self.valid_to.is_some()
    }
}

/// Whether what is put says a means' value, as a registration alone does.
pub(super) fn is_registration(body: &[u8]) -> bool {
    json::body(body).is_ok_and(|document| serde_json::Value::from(document).get("value").is_some())
}

/// Reads a registration, with every fault at once.
pub(super) fn register(body: &[u8], vault: &Vault) -> Result<Register, Problem> {
    let document = json::body(body)?;
    let hash = vault.hash("means registration", &document.to_string());
    json::read_document(&document, |fields| {
        let issuer = fields.optional("issuer").map(|at| at.id(IssuerId::new));
        let kind = fields.required("kind").and_then(|at| means_kind(&at));
        let value = fields.required("value").and_then(|at| means_value(&at));
        let person = fields.optional("person").map(|at| holder(&at, vault));
        let from = fields.required("valid_from").and_then(|at| at.date());
        let to = fields.optional("valid_to").map(|at| (at.date(), at));
        if let (Some(from), Some((Some(to), at))) = (from, &to)
            && *to < from
        {
            at.fault("ends before it begins");
        }
        let replaces = fields.optional("replaces").map(|at| token(&at));
        let consent = fields.optional("consent").map(|at| consent(&at));
        Some(Register {
            issuer: json::optional(issuer)?,
            kind: kind?,
            token: vault.means_token(kind?, value?),
            offline_hash: vault.offline_hash(kind?, value?),
            person: json::optional(person)?,
            valid: Validity { from: from?, to: json::optional(to.map(|(to, _)| to))? },
            replaces: json::optional(replaces)?,
            consent: json::optional(consent)?,
            request_hash: hash.to_be_bytes().to_vec(),
        })
    })
}

/// Reads a change, with every fault at once.
pub(super) fn changed(body: &[u8]) -> Result<Changed, Problem> {
    let document = json::body(body)?;
    json::read_document(&document, |fields| {
        let status = fields.optional("status").map(|at| at.word(&Status::TOLD));
        let replaced_by = fields.optional("replaced_by").map(|at| token(&at));
        let from = fields.optional("valid_from").map(|at| at.date());
        let to = fields.optional("valid_to").map(|at| at.date());
        let is_replaced = status == Some(Some(Status::Replaced));
        if is_replaced != replaced_by.is_some() {
            fields.at().fault("replaced_by goes with the status replaced, and with no other");
        }
        let ends = fields.has("valid_to");
        Some(Changed {
            status: json::optional(status)?,
            replaced_by: json::optional(replaced_by)?,
            valid_from: json::optional(from)?,
            valid_to: json::optional(to)?.map_or_else(|| ends.then_some(None), |to| Some(Some(to))),
        })
    })
}

fn token(at: &Cursor<'_>) -> Option<MeansToken> {
    at.parsed("the token of a means", MeansToken::parse)
}

fn consent(at: &Cursor<'_>) -> Option<TextVersion> {
    let fields = at.fields()?;
    let version = fields.required("version").and_then(|at| at.id(TextVersion::new));
    fields.short_text("text", LONGEST_TEXT);
    fields.finish();
    version
}
