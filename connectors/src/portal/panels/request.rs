//! What a merchant's application says of an item, from JSON, with every fault at once.

use chrono::{Days, NaiveDate};
use domain::id::{MeansToken, RecipientId};
use ingest::{
    dead_letter::Reason,
    document::{Cursor, Fields},
    vault::Vault,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LONGEST_DAYS, PanelState, Saying};
use crate::{
    issuer::translate::whose,
    json,
    problem::Problem,
    terminal::{basket, wire::Text},
};

/// The largest body, in bytes.
pub(super) const LARGEST_BODY: usize = 8 << 10;
/// The longest title, text and link, in bytes.
const LONGEST_TITLE: usize = 200;
const LONGEST_TEXT: usize = 2_000;
const LONGEST_LINK: usize = 500;
/// How long an item lasts that does not say so, or after the day by which something is due.
const USUAL_DAYS: u64 = 30;

/// An item of a client's workspace. The client is named by a means or by a personal code, of which
/// neither is kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PanelRequest {
    /// A means of the client's.
    pub means: Option<PresentedMeans>,
    /// The client's personal code, where there is no means.
    #[schema(pattern = "^[0-9]{6}-[0-9]{5}$")]
    pub person: Option<String>,
    /// In both languages, or one text for both: at most 200 bytes each.
    pub title: TextRequest,
    /// In both languages, or one text for both: at most 2000 bytes each.
    pub text: Option<TextRequest>,
    /// Where the client goes on: `https://…`.
    #[schema(pattern = "^https://", max_length = 500)]
    pub link: Option<String>,
    /// How the matter stands; `information` where it is not said.
    pub state: Option<PanelState>,
    /// By when something is to be done.
    #[schema(format = Date)]
    pub due: Option<String>,
    /// The last day on which it is shown: at most a year from now, thirty days after `due` or from now
    /// where it is not said.
    #[schema(format = Date)]
    pub until: Option<String>,
}

/// A means by its value, which is hashed at once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PresentedMeans {
    /// `card_uid`, `qr`, `barcode`, `document`, `app_token` or `bank_card`.
    #[schema(pattern = "^(card_uid|qr|barcode|document|app_token|bank_card)$")]
    pub kind: String,
    /// Its value.
    #[schema(min_length = 1, max_length = 256)]
    pub value: String,
}

/// A text in both languages, or one text for both.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum TextRequest {
    /// For both.
    One(String),
    /// Of each its own.
    Both {
        /// In Latvian.
        lv: String,
        /// In English.
        en: String,
    },
}

/// Whom an item is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// Whoever has a means.
    Means(MeansToken),
    /// A person; none who is not known here, or was forgotten.
    Person(Option<RecipientId>),
}

/// An item that is well formed.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) client: Client,
    pub(super) saying: Saying,
    pub(super) until: NaiveDate,
    /// The keyed hash of the body.
    pub(super) request_hash: Vec<u8>,
}

/// Reads an item.
pub(super) fn panel(
    body: &[u8],
    vault: &Vault,
    today: NaiveDate,
    put_at: i64,
) -> Result<Asked, Problem> {
    let document = json::body(body)?;
    let request_hash = vault.hash("panel request", &document.to_string()).to_be_bytes().to_vec();
    json::read_document(&document, |fields| {
        let client = client(fields, vault);
        let title = fields.required("title").and_then(|at| text(&at, LONGEST_TITLE));
        let more = fields.optional("text").map(|at| text(&at, LONGEST_TEXT));
        let link = fields.optional("link").map(|at| link(&at));
        let state = fields.optional("state").map(|at| at.word(&PanelState::ALL));
        let due = fields.optional("due").map(|at| at.date());
        let last = today + Days::new(LONGEST_DAYS.into());
        let until = fields.optional("until").map(|at| {
            let until = at.date()?;
            if !(today..=last).contains(&until) {
                at.fault(format!("must be from {today} to {last}"));
            }
            Some(until)
        });
        let from = due.flatten().map_or(today, |due| due.clamp(today, last));
        let usual = (from + Days::new(USUAL_DAYS)).min(last);
        Some(Asked {
            client: client?,
            saying: Saying {
                title: title?,
                text: json::optional(more)?,
                link: json::optional(link)?,
                state: json::optional(state)?.unwrap_or(PanelState::Information),
                due: json::optional(due)?,
                put_at,
            },
            until: json::optional(until)?.unwrap_or(usual),
            request_hash,
        })
    })
}

/// Whom it is for: one of the two ways of saying so.
fn client(fields: &Fields<'_>, vault: &Vault) -> Option<Client> {
    let means = fields.optional("means").map(|at| (basket::means(&at, vault), at));
    let person = fields.optional("person").map(|at| whose(&at, vault));
    match (means, person) {
        (Some((means, _)), None) => Some(Client::Means(means?)),
        (None, Some(person)) => Some(Client::Person(person?)),
        (Some((_, at)), Some(_)) => {
            at.fault("stands beside person: say one of them");
            None
        }
        (None, None) => {
            fields.at().fault_of(Reason::MissingField, "means or person is missing");
            None
        }
    }
}

fn text(at: &Cursor<'_>, longest: usize) -> Option<Text> {
    let one = |at: &Cursor<'_>| {
        let text = at.short_text(longest)?;
        if text.trim().is_empty() {
            at.fault("must have characters");
            return None;
        }
        Some(text.to_owned())
    };
    if at.value().as_str().is_some() {
        let text = one(at)?;
        return Some(Text { lv: text.clone(), en: text });
    }
    let fields = at.fields()?;
    let lv = fields.required("lv").and_then(|at| one(&at));
    let en = fields.required("en").and_then(|at| one(&at));
    fields.finish();
    Some(Text { lv: lv?, en: en? })
}

/// An address on the web, so that nothing else can be opened with it.
fn link(at: &Cursor<'_>) -> Option<String> {
    let link = at.short_text(LONGEST_LINK)?;
    let host = link.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
    let is_host = |host: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        !host.is_empty() && host.chars().all(fits)
    };
    if !host.is_some_and(is_host) || !link.bytes().all(|byte| byte.is_ascii_graphic()) {
        at.fault("must be an address that begins with https://");
        return None;
    }
    Some(link.to_owned())
}
