//! Wire version 1: every event of every stream.
//!
//! Instants are microseconds since 1970 in protobuf and RFC 3339 in JSON; amounts are euro cents;
//! local dates are `YYYY-MM-DD`; identifiers are text. A field is added, never re-meant or renumbered.

use std::collections::BTreeMap;

use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::outside_id;

use super::{
    Shared,
    json::{bytes, embedded, hidden, instant, optional_instant},
};

mod authorisation;
mod consent;
mod dead_letter;
mod membership;
mod panel;

pub use authorisation::{
    AuthorisationChanged, AuthorisationDecided, AuthorisationLine, AuthoriserStarted,
    CounterMovement, HouseholdJoined, InstructionOutcome, InstructionPoints, KeyBlocked, LimitRoom,
    LineBenefit, PointsMovement,
};
pub use consent::ConsentChanged;
pub use dead_letter::{DeadLetter, DeadLetterSettled};
pub use membership::MembershipChanged;
pub use panel::PanelChanged;

/// Headers and event, as they lie in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    #[prost(string, tag = "2")]
    pub key: String,
    #[prost(string, tag = "3")]
    pub source: String,
    #[prost(uint64, tag = "4")]
    pub sequence: u64,
    #[prost(int64, tag = "5")]
    pub event_time: i64,
    #[prost(int64, tag = "6")]
    pub recorded_at: i64,
    #[prost(
        oneof = "Event",
        tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37"
    )]
    pub event: Option<Event>,
}

/// The least tag of an event in its envelope; headers have those below.
pub(super) const FIRST_EVENT: u32 = 16;

/// Of an envelope the record time alone.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RecordTime {
    #[prost(int64, tag = "6")]
    pub recorded_at: i64,
}

/// What happened. In JSON its name stands in `type`.
#[derive(Clone, PartialEq, prost::Oneof, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    #[prost(message, tag = "16")]
    RegistryChanged(RegistryChanged),
    #[prost(message, tag = "17")]
    PersonChanged(PersonChanged),
    #[prost(message, tag = "18")]
    MeansChanged(MeansChanged),
    #[prost(message, tag = "19")]
    EntitlementEvaluated(EntitlementEvaluated),
    #[prost(message, tag = "20")]
    TransactionUploaded(TransactionUploaded),
    #[prost(message, tag = "21")]
    AuthorisationDecided(Shared<AuthorisationDecided>),
    #[prost(message, tag = "22")]
    AuthorisationChanged(Shared<AuthorisationChanged>),
    #[prost(message, tag = "23")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "24")]
    ServiceEvent(ServiceEvent),
    #[prost(message, tag = "25")]
    PortalEvent(PortalEvent),
    #[prost(message, tag = "26")]
    PeriodClosed(PeriodClosed),
    #[prost(message, tag = "27")]
    DeadLetter(DeadLetter),
    #[prost(message, tag = "28")]
    KeyBlocked(KeyBlocked),
    #[prost(message, tag = "29")]
    AuthoriserStarted(AuthoriserStarted),
    #[prost(message, tag = "30")]
    DeadLetterSettled(DeadLetterSettled),
    #[prost(message, tag = "31")]
    StatementsSent(StatementsSent),
    #[prost(message, tag = "32")]
    BankFileRead(BankFileRead),
    #[prost(message, tag = "33")]
    Audited(Audited),
    #[prost(message, tag = "34")]
    ConsentChanged(ConsentChanged),
    #[prost(message, tag = "35")]
    HouseholdJoined(HouseholdJoined),
    #[prost(message, tag = "36")]
    MembershipChanged(MembershipChanged),
    #[prost(message, tag = "37")]
    PanelChanged(PanelChanged),
}

impl Event {
    /// Its type's name, as JSON has it in `type`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RegistryChanged(_) => "registry_changed",
            Self::PersonChanged(_) => "person_changed",
            Self::MeansChanged(_) => "means_changed",
            Self::EntitlementEvaluated(_) => "entitlement_evaluated",
            Self::TransactionUploaded(_) => "transaction_uploaded",
            Self::AuthorisationDecided(_) => "authorisation_decided",
            Self::AuthorisationChanged(_) => "authorisation_changed",
            Self::Heartbeat(_) => "heartbeat",
            Self::ServiceEvent(_) => "service_event",
            Self::PortalEvent(_) => "portal_event",
            Self::PeriodClosed(_) => "period_closed",
            Self::DeadLetter(_) => "dead_letter",
            Self::KeyBlocked(_) => "key_blocked",
            Self::AuthoriserStarted(_) => "authoriser_started",
            Self::DeadLetterSettled(_) => "dead_letter_settled",
            Self::StatementsSent(_) => "statements_sent",
            Self::BankFileRead(_) => "bank_file_read",
            Self::Audited(_) => "audited",
            Self::ConsentChanged(_) => "consent_changed",
            Self::HouseholdJoined(_) => "household_joined",
            Self::MembershipChanged(_) => "membership_changed",
            Self::PanelChanged(_) => "panel_changed",
        }
    }

    /// Which entry of a register it is about, as a hash: of two about the same holds the one of the
    /// higher [`rank`](Self::rank), and of one rank the later.
    #[must_use]
    pub fn entry(&self) -> Option<u128> {
        let of = |kind: &str, id: &str| Some(outside_id(kind, id).as_u128());
        match self {
            Self::RegistryChanged(event) => of(&event.kind, &event.id),
            Self::PersonChanged(event) => of("person", &event.person),
            Self::MeansChanged(event) => of("means", &event.token),
            Self::MembershipChanged(event) => of("member", &event.member()),
            // What takes a former pseudonym out of what holds is of nobody.
            Self::EntitlementEvaluated(event) if event.person.is_empty() => {
                of("former", &event.recipient)
            }
            Self::EntitlementEvaluated(event) => of("entitlement", &event.person),
            _ => None,
        }
    }

    /// How new it is among those about the same entry. What the person register counts itself may come
    /// after what is newer; all else is as new as it stands late.
    #[must_use]
    pub const fn rank(&self) -> u64 {
        match self {
            Self::PersonChanged(event) => event.person_sequence,
            _ => 0,
        }
    }
}

/// An entry of the registry is now this, or is gone.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct RegistryChanged {
    /// The list's name in a registry file: `grantors`, `instructions`, ….
    #[prost(string, tag = "1")]
    pub kind: String,
    /// The entry's identity in its list; of an instruction `<id>/<version>`.
    #[prost(string, tag = "2")]
    pub id: String,
    /// The entry as JSON in the registry file's form; empty where it is gone.
    #[prost(string, tag = "3")]
    #[serde(with = "embedded")]
    pub document: String,
    /// Who changed it, as `role:subject`; empty where it was whoever runs the machine.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub changed_by: String,
}

/// A person's attributes are now these, or the person is gone from the register.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct PersonChanged {
    /// The person's internal id.
    #[prost(string, tag = "1")]
    pub person: String,
    /// The register's count of this person's changes.
    #[prost(uint64, tag = "2")]
    pub person_sequence: u64,
    /// Code and attributes, encrypted under the person's own key; destroying it erases the person.
    #[prost(bytes = "vec", tag = "3")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub sealed: Vec<u8>,
    #[prost(bool, tag = "4")]
    pub removed: bool,
    /// Whether it came in a snapshot, which needs none of the changes before it.
    #[prost(bool, tag = "5")]
    pub snapshot: bool,
}

/// An identification means is now this.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct MeansChanged {
    /// The keyed hash of kind and value.
    #[prost(string, tag = "1")]
    pub token: String,
    #[prost(string, tag = "2")]
    pub issuer_id: String,
    #[prost(string, tag = "3")]
    pub kind: String,
    /// The holder's internal id; none for a means that stands alone.
    #[prost(string, optional, tag = "4")]
    pub person: Option<String>,
    #[prost(string, tag = "5")]
    pub valid_from: String,
    #[prost(string, optional, tag = "6")]
    pub valid_to: Option<String>,
    #[prost(bool, tag = "7")]
    pub blocked: bool,
    /// The holder as tables see it.
    #[prost(string, optional, tag = "8")]
    pub recipient: Option<String>,
    /// The salted hash by which terminals know it offline; 0 where none was made.
    #[prost(fixed64, tag = "9")]
    #[serde(skip_serializing_if = "hidden")]
    pub offline_hash: u64,
    /// Why it is blocked: `blocked`, `lost`, `replaced` or `withdrawn`; empty where nobody said.
    #[prost(string, tag = "10")]
    pub reason: String,
    /// The token of the means that replaced it.
    #[prost(string, optional, tag = "11")]
    pub replaced_by: Option<String>,
    /// The keyed hash of the request that registered it, by which a key used twice for different
    /// things is found.
    #[prost(bytes = "vec", tag = "12")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub request_hash: Vec<u8>,
}

/// The groups of one person from an instant on.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct EntitlementEvaluated {
    #[prost(string, tag = "1")]
    pub person: String,
    #[prost(string, tag = "2")]
    pub household: String,
    /// The event time of the change that it follows from.
    #[prost(int64, tag = "3")]
    #[serde(with = "instant")]
    pub known_from: i64,
    #[prost(bool, tag = "4")]
    pub alive: bool,
    #[prost(message, repeated, tag = "5")]
    pub groups: Vec<GroupDays>,
    /// The person as tables see it.
    #[prost(string, tag = "6")]
    pub recipient: String,
    /// `0-17`, `18-24`, … as of `known_from`; empty where the register does not say.
    #[prost(string, tag = "7")]
    pub age_band: String,
    /// The municipality's territory code; empty where the register does not say.
    #[prost(string, tag = "8")]
    pub municipality: String,
    /// Whether the person has left the register.
    #[prost(bool, tag = "9")]
    pub removed: bool,
    /// Where the evaluation goes on reading `person-changes`; on the last record of a batch.
    #[prost(uint64, optional, tag = "10")]
    #[serde(skip_serializing_if = "hidden")]
    pub changes_next: Option<u64>,
    /// The registry's version whose groups were evaluated.
    #[prost(uint64, tag = "11")]
    pub registry_version: u64,
    /// The register's count of this person's changes.
    #[prost(uint64, tag = "12")]
    pub person_sequence: u64,
    /// Where the evaluation goes on reading `memberships`; beside `changes_next`.
    #[prost(uint64, optional, tag = "13")]
    #[serde(skip_serializing_if = "hidden")]
    pub memberships_next: Option<u64>,
}

/// Days in a group, from the first to before `until`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct GroupDays {
    #[prost(string, tag = "1")]
    pub group_id: String,
    #[prost(string, tag = "2")]
    pub from: String,
    #[prost(string, optional, tag = "3")]
    pub until: Option<String>,
}

/// What a terminal did while offline.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct TransactionUploaded {
    #[prost(string, tag = "1")]
    pub terminal_id: String,
    #[prost(string, tag = "2")]
    pub idempotency_key: String,
    #[prost(int64, tag = "3")]
    #[serde(with = "instant")]
    pub occurred_at: i64,
    #[prost(string, optional, tag = "4")]
    pub means_token: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub lines: Vec<BasketLine>,
    #[prost(string, optional, tag = "6")]
    pub receipt_number: Option<String>,
    /// Points wanted: negative means as many as may be.
    #[prost(int64, tag = "7")]
    pub spend_points: i64,
    /// What the terminal says it gave; `says_applied` tells an empty list from none.
    #[prost(message, repeated, tag = "8")]
    pub applied: Vec<AppliedLine>,
    #[prost(bool, tag = "9")]
    pub says_applied: bool,
    /// The hash of the request's body, by which a key used twice for different things is found.
    #[prost(bytes = "vec", tag = "10")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub body_hash: Vec<u8>,
}

/// A line as the terminal sent it.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct BasketLine {
    #[prost(uint32, tag = "1")]
    pub line: u32,
    #[prost(string, tag = "2")]
    pub item: String,
    #[prost(string, tag = "3")]
    pub category: String,
    #[prost(int64, tag = "4")]
    pub quantity_thousandths: i64,
    #[prost(int64, tag = "5")]
    pub unit_price_cents: i64,
    #[prost(btree_map = "string, string", tag = "6")]
    pub attributes: BTreeMap<String, String>,
}

/// What an offline terminal says it gave.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct AppliedLine {
    #[prost(string, tag = "1")]
    pub instruction_id: String,
    #[prost(uint32, tag = "2")]
    pub line: u32,
    #[prost(int64, tag = "3")]
    pub amount_cents: i64,
}

/// Time has come so far: nothing earlier follows in this partition. It closes the night's windows.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct Heartbeat {
    #[prost(int64, tag = "1")]
    #[serde(with = "instant")]
    pub until: i64,
}

/// A call, an official's availability or a service of a centre.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct ServiceEvent {
    /// The outside type, such as `lv.vpvkac.service.completed`.
    #[prost(string, tag = "1")]
    pub event_type: String,
    #[prost(string, optional, tag = "2")]
    pub call_id: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub centre_id: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub service_id: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub institution_id: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub official_id: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub language: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub channel: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub outcome: Option<String>,
    #[prost(int64, optional, tag = "10")]
    #[serde(with = "optional_instant")]
    pub started_at: Option<i64>,
    #[prost(int64, optional, tag = "11")]
    #[serde(with = "optional_instant")]
    pub completed_at: Option<i64>,
    #[prost(uint32, optional, tag = "12")]
    pub rating: Option<u32>,
    #[prost(bool, optional, tag = "13")]
    pub resolved: Option<bool>,
    /// The local day.
    #[prost(string, tag = "14")]
    pub date: String,
    /// The centre's specialist, as a keyed hash.
    #[prost(string, optional, tag = "15")]
    pub specialist: Option<String>,
    /// The number of the mandate, for PAK_05.
    #[prost(string, optional, tag = "16")]
    pub mandate_number: Option<String>,
    /// What our own desk of calls adds to what it decided; none of an event from outside, which
    /// therefore never moves the board.
    #[prost(message, optional, boxed, tag = "17")]
    #[serde(skip_serializing_if = "hidden")]
    pub desk: Option<Box<DeskNote>>,
}

/// What the board of calls is rebuilt from, beside the event's own fields.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct DeskNote {
    /// To whom the call is offered. Not the event's official: that is whoever took it.
    #[prost(string, optional, tag = "1")]
    pub offered_to: Option<String>,
    /// The official asked for by name.
    #[prost(string, optional, tag = "2")]
    pub wanted: Option<String>,
    /// The call that this one goes on with after a hand-over.
    #[prost(string, optional, tag = "3")]
    pub continues: Option<String>,
    /// Who handed it over, and is not offered it again.
    #[prost(string, optional, tag = "4")]
    pub handed_by: Option<String>,
    /// Its place among those who wait: the lower is served first. A hand-over keeps it.
    #[prost(uint64, tag = "5")]
    pub place: u64,
    /// The hash of the request's caller and idempotency key.
    #[prost(bytes = "vec", tag = "6")]
    #[serde(with = "bytes")]
    pub key_hash: Vec<u8>,
    /// The hash of the request's body, by which a key used twice for different things is found.
    #[prost(bytes = "vec", tag = "7")]
    #[serde(with = "bytes")]
    pub body_hash: Vec<u8>,
    /// How many waited, this one included, when it was asked for; 0 where it was offered at once.
    #[prost(uint32, tag = "8")]
    pub position: u32,
    /// The wait that was expected then; none where nobody was on duty.
    #[prost(int64, optional, tag = "9")]
    pub expected_wait_seconds: Option<i64>,
    /// The service given by a centre that this is about.
    #[prost(string, optional, tag = "10")]
    pub visit: Option<String>,
}

/// An e-service of the portal, or a login.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct PortalEvent {
    #[prost(string, tag = "1")]
    pub event_type: String,
    #[prost(string, optional, tag = "2")]
    pub e_service_id: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub merchant_id: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub login_basket: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub identity_means: Option<String>,
    /// The user as tables see it.
    #[prost(string, optional, tag = "6")]
    pub user: Option<String>,
    #[prost(string, tag = "7")]
    pub date: String,
}

/// A settlement period is closed: what its statements hold is fixed by these offsets.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct PeriodClosed {
    /// `YYYY-MM`.
    #[prost(string, tag = "1")]
    pub period: String,
    /// The end offset of every partition of `authorisations`, in order.
    #[prost(uint64, repeated, tag = "2")]
    pub end_offsets: Vec<u64>,
    #[prost(int64, tag = "3")]
    #[serde(with = "instant")]
    pub closed_at: i64,
}

/// Payment orders of some statements went to the bank.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct StatementsSent {
    /// The statements' numbers.
    #[prost(string, repeated, tag = "1")]
    pub statements: Vec<String>,
    #[prost(int64, tag = "2")]
    #[serde(with = "instant")]
    pub sent_at: i64,
}

/// A bank's answer or account statement was read, whole.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct BankFileRead {
    /// `pain.002` or `camt.053`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// The bank's own id of the message.
    #[prost(string, tag = "2")]
    pub message_id: String,
    /// The hash of the file, by which a message that came twice with other content is found.
    #[prost(string, tag = "3")]
    pub file_hash: String,
    /// What it says of statements.
    #[prost(message, repeated, tag = "4")]
    pub told: Vec<PaymentTold>,
    /// What it says that is of no statement, or does not fit one: for people to look at.
    #[prost(message, repeated, tag = "5")]
    pub unmatched: Vec<PaymentUnmatched>,
    #[prost(int64, tag = "6")]
    #[serde(with = "instant")]
    pub read_at: i64,
    /// The bank, order or account whose ids the message is named by; none of a file that an earlier
    /// version read.
    #[prost(string, tag = "7")]
    pub sender: String,
}

/// What a bank says of one statement's payment.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct PaymentTold {
    #[prost(string, tag = "1")]
    pub statement: String,
    /// `accepted`, `rejected`, `paid` or `returned`.
    #[prost(string, tag = "2")]
    pub outcome: String,
    /// The bank's reason, where it rejects or returns.
    #[prost(string, tag = "3")]
    pub reason: String,
}

/// Somebody read or changed something; nothing in it is personal data of a recipient.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct Audited {
    /// The subject of a token, or the user at the machine.
    #[prost(string, tag = "1")]
    pub actor: String,
    #[prost(string, tag = "2")]
    pub role: String,
    /// Such as `settlement.close`.
    #[prost(string, tag = "3")]
    pub action: String,
    /// On what: a period, a statement without its values, an internal id.
    #[prost(string, tag = "4")]
    pub object: String,
    /// `done`, `answered` or why not; `begun` where only the request is noted.
    #[prost(string, tag = "5")]
    pub outcome: String,
}

/// A payment that is of no statement, or does not fit one.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct PaymentUnmatched {
    /// The reference that the bank gives.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// As of [`PaymentTold::outcome`].
    #[prost(string, tag = "2")]
    pub outcome: String,
    #[prost(int64, optional, tag = "3")]
    pub amount_cents: Option<i64>,
    /// Why it fits none.
    #[prost(string, tag = "4")]
    pub why: String,
}
