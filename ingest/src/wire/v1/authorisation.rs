//! Decisions and what became of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire::json::{bytes, hidden, instant, optional_instant};

/// A decision, with everything that tables, refunds and a rebuild of the counters need.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthorisationDecided {
    #[prost(string, tag = "1")]
    pub authorisation_id: String,
    #[prost(string, tag = "2")]
    pub terminal_id: String,
    #[prost(string, tag = "3")]
    pub idempotency_key: String,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub body_hash: Vec<u8>,
    #[prost(string, tag = "5")]
    pub mode: String,
    #[prost(string, tag = "6")]
    pub status: String,
    #[prost(string, tag = "7")]
    pub decision: String,
    #[prost(string, optional, tag = "8")]
    pub decline_reason: Option<String>,
    #[prost(string, tag = "9")]
    pub means_status: String,
    #[prost(int64, tag = "10")]
    #[serde(with = "instant")]
    pub occurred_at: i64,
    /// The local day.
    #[prost(string, tag = "11")]
    pub date: String,
    #[prost(int64, optional, tag = "12")]
    #[serde(with = "optional_instant")]
    pub expires_at: Option<i64>,
    #[prost(string, tag = "13")]
    pub merchant_id: String,
    #[prost(string, tag = "14")]
    pub place_id: String,
    #[prost(string, tag = "15")]
    pub territory: String,
    /// The recipient as tables see it; none for an anonymous basket.
    #[prost(string, optional, tag = "16")]
    pub recipient: Option<String>,
    /// The recipient's internal id, which limits and points count by.
    #[prost(string, optional, tag = "17")]
    #[serde(skip_serializing_if = "hidden")]
    pub recipient_id: Option<String>,
    #[prost(string, optional, tag = "18")]
    #[serde(skip_serializing_if = "hidden")]
    pub household_id: Option<String>,
    #[prost(string, repeated, tag = "19")]
    #[serde(skip_serializing_if = "hidden")]
    pub groups: Vec<String>,
    #[prost(string, optional, tag = "20")]
    pub receipt_number: Option<String>,
    #[prost(int64, tag = "21")]
    pub total_cents: i64,
    #[prost(int64, tag = "22")]
    pub benefit_cents: i64,
    #[prost(int64, tag = "23")]
    pub payable_cents: i64,
    #[prost(int64, tag = "24")]
    pub points_earned: i64,
    #[prost(int64, tag = "25")]
    pub points_spent: i64,
    /// Points wanted: negative means as many as may be.
    #[prost(int64, tag = "26")]
    pub spend_points: i64,
    #[prost(message, repeated, tag = "27")]
    pub lines: Vec<AuthorisationLine>,
    #[prost(message, repeated, tag = "28")]
    pub instructions: Vec<InstructionOutcome>,
    #[prost(message, repeated, tag = "29")]
    #[serde(skip_serializing_if = "hidden")]
    pub counters: Vec<CounterMovement>,
    #[prost(message, repeated, tag = "30")]
    pub points: Vec<PointsMovement>,
    /// Which state of the registry decided: the offset after its last change.
    #[prost(uint64, tag = "31")]
    pub registry_version: u64,
    /// Where the authoriser goes on reading uploads, when this decided one.
    #[prost(uint64, optional, tag = "32")]
    #[serde(skip_serializing_if = "hidden")]
    pub uploads_next: Option<u64>,
    #[prost(int64, tag = "33")]
    pub excess_cents: i64,
    /// Where the recipient lives by now, if that is another household than the one that it was
    /// decided under: what moves in that one's counters moves here, too.
    #[prost(string, optional, tag = "34")]
    #[serde(skip_serializing_if = "hidden")]
    pub home_id: Option<String>,
}

/// A line as decided or, in a refund, as it came back (amounts are then negative).
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthorisationLine {
    #[prost(uint32, tag = "1")]
    pub line: u32,
    #[prost(string, tag = "2")]
    pub item: String,
    /// The catalogue's category, or the terminal's where the catalogue does not list the item.
    #[prost(string, tag = "3")]
    pub category: String,
    #[prost(int64, tag = "4")]
    pub quantity_thousandths: i64,
    #[prost(int64, tag = "5")]
    pub unit_price_cents: i64,
    #[prost(int64, tag = "6")]
    pub total_cents: i64,
    #[prost(int64, tag = "7")]
    pub payable_cents: i64,
    #[prost(btree_map = "string, string", tag = "8")]
    #[serde(skip_serializing_if = "hidden")]
    pub attributes: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "9")]
    pub benefits: Vec<LineBenefit>,
}

/// What one instruction gave on one line.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct LineBenefit {
    #[prost(string, tag = "1")]
    pub instruction_id: String,
    #[prost(uint32, tag = "2")]
    pub instruction_version: u32,
    #[prost(string, tag = "3")]
    pub benefit_id: String,
    #[prost(string, tag = "4")]
    pub grantor_id: String,
    #[prost(int64, tag = "5")]
    pub units: i64,
    #[prost(int64, tag = "6")]
    pub amount_cents: i64,
    #[prost(int64, optional, tag = "7")]
    pub wanted_cents: Option<i64>,
    #[prost(int64, tag = "8")]
    pub grantor_cents: i64,
    #[prost(int64, tag = "9")]
    pub merchant_cents: i64,
    /// What an offline terminal gave beyond `amount_cents`; in a refund what of it came back, below 0.
    #[prost(int64, tag = "10")]
    pub excess_cents: i64,
    /// Who bears the excess: `merchant` or `grantor`, as the contract says; empty without excess.
    #[prost(string, tag = "11")]
    pub excess_borne_by: String,
}

/// What became of one instruction whose recipients include the person.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct InstructionOutcome {
    #[prost(string, tag = "1")]
    pub instruction_id: String,
    #[prost(uint32, tag = "2")]
    pub instruction_version: u32,
    #[prost(string, tag = "3")]
    pub benefit_id: String,
    #[prost(string, tag = "4")]
    pub grantor_id: String,
    /// Why it gave nothing; none where it was applied.
    #[prost(string, optional, tag = "5")]
    pub reason: Option<String>,
    #[prost(int64, tag = "6")]
    pub amount_cents: i64,
    #[prost(int64, optional, tag = "7")]
    pub wanted_cents: Option<i64>,
    #[prost(int64, tag = "8")]
    pub points: i64,
    #[prost(message, repeated, tag = "9")]
    pub limits: Vec<LimitRoom>,
    /// What a terminal and a receipt show, where it was applied; kept, so that an answer that is
    /// given again is the same whatever the registry says by then.
    #[prost(string, tag = "10")]
    #[serde(skip_serializing_if = "hidden")]
    pub label_lv: String,
    #[prost(string, tag = "11")]
    #[serde(skip_serializing_if = "hidden")]
    pub label_en: String,
    #[prost(bool, tag = "12")]
    #[serde(skip_serializing_if = "hidden")]
    pub show_remaining: bool,
}

/// What was left of a limit before and after.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct LimitRoom {
    #[prost(string, tag = "1")]
    pub per: String,
    #[prost(string, tag = "2")]
    pub period: String,
    #[prost(string, tag = "3")]
    pub measure: String,
    #[prost(int64, tag = "4")]
    pub before: i64,
    #[prost(int64, tag = "5")]
    pub after: i64,
}

/// By how much a counter moves; its holder is the authorisation's recipient or household.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct CounterMovement {
    #[prost(string, tag = "1")]
    pub instruction_id: String,
    #[prost(string, tag = "2")]
    pub per: String,
    #[prost(string, tag = "3")]
    pub period: String,
    #[prost(string, tag = "4")]
    pub period_start: String,
    #[prost(string, tag = "5")]
    pub measure: String,
    #[prost(int64, tag = "6")]
    pub change: i64,
}

/// By how much the recipient's points of a benefit move.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct PointsMovement {
    #[prost(string, tag = "1")]
    pub benefit_id: String,
    #[prost(int64, tag = "2")]
    pub change: i64,
}

/// An authorisation was captured, voided, expired or refunded.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthorisationChanged {
    #[prost(string, tag = "1")]
    pub authorisation_id: String,
    /// `capture`, `void`, `expire` or `refund`.
    #[prost(string, tag = "2")]
    pub transition: String,
    #[prost(string, tag = "3")]
    pub status: String,
    #[prost(string, tag = "4")]
    pub terminal_id: String,
    #[prost(string, tag = "5")]
    pub idempotency_key: String,
    #[prost(bytes = "vec", tag = "6")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub body_hash: Vec<u8>,
    #[prost(int64, tag = "7")]
    #[serde(with = "instant")]
    pub occurred_at: i64,
    #[prost(string, tag = "8")]
    pub date: String,
    #[prost(string, tag = "9")]
    pub merchant_id: String,
    #[prost(string, tag = "10")]
    pub place_id: String,
    #[prost(string, optional, tag = "11")]
    pub recipient: Option<String>,
    #[prost(string, optional, tag = "12")]
    #[serde(skip_serializing_if = "hidden")]
    pub recipient_id: Option<String>,
    #[prost(string, optional, tag = "13")]
    #[serde(skip_serializing_if = "hidden")]
    pub household_id: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub receipt_number: Option<String>,
    /// Of a refund: what came back, as negative amounts.
    #[prost(message, repeated, tag = "15")]
    pub lines: Vec<AuthorisationLine>,
    #[prost(message, repeated, tag = "16")]
    #[serde(skip_serializing_if = "hidden")]
    pub counters: Vec<CounterMovement>,
    #[prost(message, repeated, tag = "17")]
    pub points: Vec<PointsMovement>,
    #[prost(string, tag = "18")]
    pub mode: String,
    #[prost(string, tag = "19")]
    pub territory: String,
    /// The instant and the local day that `lines` count for: of a capture the reservation's.
    #[prost(int64, optional, tag = "20")]
    #[serde(with = "optional_instant")]
    pub lines_occurred_at: Option<i64>,
    #[prost(string, optional, tag = "21")]
    pub lines_date: Option<String>,
    /// Of a refund: the points of each instruction that move back.
    #[prost(message, repeated, tag = "22")]
    #[serde(skip_serializing_if = "hidden")]
    pub instruction_points: Vec<InstructionPoints>,
    /// Of a reversal: the key that it undoes.
    #[prost(string, optional, tag = "23")]
    pub reversed_key: Option<String>,
    /// Which record of the authorisation this is; the decision is 0.
    #[prost(uint32, tag = "24")]
    pub step: u32,
    /// Where the recipient lives by now, as a decision's.
    #[prost(string, optional, tag = "25")]
    #[serde(skip_serializing_if = "hidden")]
    pub home_id: Option<String>,
}

/// A recipient lives in another household now: what it used itself of limits per household is brought
/// to the counters there, as far as they do not hold it already.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct HouseholdJoined {
    /// The recipient as tables see it.
    #[prost(string, tag = "1")]
    pub recipient: String,
    /// The recipient's internal id.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "hidden")]
    pub recipient_id: String,
    /// The household that it lives in now.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "hidden")]
    pub household_id: String,
    /// The one that it left, where that is known.
    #[prost(string, optional, tag = "4")]
    #[serde(skip_serializing_if = "hidden")]
    pub left_household_id: Option<String>,
    /// When the authoriser followed.
    #[prost(int64, tag = "5")]
    #[serde(with = "instant")]
    pub occurred_at: i64,
    /// What is brought, all per household.
    #[prost(message, repeated, tag = "6")]
    #[serde(skip_serializing_if = "hidden")]
    pub counters: Vec<CounterMovement>,
}

/// The points that one instruction moves.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct InstructionPoints {
    #[prost(string, tag = "1")]
    pub instruction_id: String,
    #[prost(int64, tag = "2")]
    pub change: i64,
}

/// A terminal reversed a key under which nothing had come; what comes under it is refused.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct KeyBlocked {
    #[prost(string, tag = "1")]
    pub terminal_id: String,
    /// The key of the reversal itself.
    #[prost(string, tag = "2")]
    pub idempotency_key: String,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub body_hash: Vec<u8>,
    /// The key that is blocked.
    #[prost(string, tag = "4")]
    pub reversed_key: String,
    #[prost(int64, tag = "5")]
    #[serde(with = "instant")]
    pub occurred_at: i64,
}

/// A process begins to decide over a shared cache: counters that an earlier one left there are not
/// those of the stream.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthoriserStarted {
    /// How many have begun over this stream, this one included.
    #[prost(uint64, tag = "1")]
    pub start: u64,
}
