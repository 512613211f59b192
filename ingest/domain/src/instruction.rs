//! Instructions: who, where, when, on what, how much, up to what, in which order, at whose cost.

use std::collections::BTreeMap;

use crate::{
    amount::{Amount, BasisPoints},
    id::{BenefitId, GroupId, InstructionId, ItemId, MerchantId, PlaceId},
    limit::Limit,
    merchant::{Category, Territory},
    period::{Schedule, Validity},
    text::Text,
};

/// One version of one rule of a benefit. The lowest `priority` number goes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its identifier, shared by its versions.
    pub id: InstructionId,
    /// The benefit that it carries out.
    pub benefit: BenefitId,
    /// What a terminal and a receipt show.
    pub label: Text,
    /// Its version; versions of one id do not overlap in validity.
    pub version: u32,
    /// The local days on which it holds.
    pub valid: Validity,
    /// Its place in the order; lower goes first, ties go by id.
    pub priority: i32,
    /// Who it is for.
    pub recipients: Recipients,
    /// Where it holds.
    pub scope: Scope,
    /// When in a week it holds; always, without one.
    pub schedule: Option<Schedule>,
    /// What must be in the basket.
    pub content: Content,
    /// What it gives.
    pub effect: Effect,
    /// How it stands beside others.
    pub stacking: Stacking,
    /// What happens when more is wanted than a limit leaves.
    pub on_limit: OnLimit,
    /// How a return is worked out.
    pub on_refund: OnRefund,
    /// The grantor's part of the cost; the merchant bears the rest.
    pub grantor_share: BasisPoints,
    /// Up to what it gives; all hold at once.
    pub limits: Vec<Limit>,
    /// A sum below this is not given.
    pub min_benefit: Amount,
    /// Whether a terminal's answer shows what is left of its limits.
    pub show_remaining: bool,
}

/// Who an instruction is for: (`everyone`, or in some of `any`, and in all of `all`) and in none of
/// `none`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recipients {
    /// Everybody, an anonymous basket included.
    pub everyone: bool,
    /// In some of these.
    pub any: Vec<GroupId>,
    /// In all of these.
    pub all: Vec<GroupId>,
    /// In none of these.
    pub none: Vec<GroupId>,
}

/// Where an instruction holds; an empty list means anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scope {
    /// At these merchants.
    pub merchants: Vec<MerchantId>,
    /// At these places.
    pub places: Vec<PlaceId>,
    /// In these territories.
    pub territories: Vec<Territory>,
    /// On terminals of these kinds.
    pub terminal_kinds: Vec<String>,
}

/// What must be in the basket. A line matches where some selector of `any` matches (none given:
/// every line) and no selector of `none` does.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Content {
    /// Lines that count.
    pub any: Vec<Selector>,
    /// Lines that do not.
    pub none: Vec<Selector>,
    /// The matching lines have at least so many units.
    pub min_quantity: i64,
    /// The lines not excluded by `none` total at least this.
    pub min_basket: Amount,
    /// Each of these matches some line of the basket.
    pub requires: Vec<Selector>,
}

/// Which lines are meant; its keys hold together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Selector {
    /// This item.
    pub item: Option<ItemId>,
    /// This category, or one below it.
    pub category: Option<Category>,
    /// These attributes, with equal values.
    pub attributes: BTreeMap<String, String>,
}

/// What a share is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Basis {
    /// What is still payable after the effects before.
    #[default]
    Payable,
    /// The line's total.
    Full,
}

/// What an amount off is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerWhat {
    /// Each unit of an open line.
    Unit,
    /// Each open line.
    Line,
    /// The basket, once.
    Basket,
}

/// What an instruction gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A share off each open line.
    PercentOff {
        /// The share.
        share: BasisPoints,
        /// What it is taken of.
        basis: Basis,
        /// Never below this price × quantity.
        floor_unit_price: Amount,
    },
    /// An amount off.
    AmountOff {
        /// The amount.
        amount: Amount,
        /// What it is counted by.
        per: PerWhat,
        /// Never below this price × quantity.
        floor_unit_price: Amount,
    },
    /// Each unit at this price.
    FixedUnitPrice {
        /// The price of a unit.
        unit_price: Amount,
        /// Never below this price × quantity.
        floor_unit_price: Amount,
    },
    /// Of every `buy` + `free` units the cheapest `free` cost nothing.
    FreeUnits {
        /// Units paid for.
        buy: u32,
        /// Units free.
        free: u32,
        /// Never below this price × quantity.
        floor_unit_price: Amount,
    },
    /// Points for what is finally payable on the matching lines.
    EarnPoints {
        /// For each of this many cents …
        per: Amount,
        /// … so many points.
        points: u32,
    },
    /// Points spent at their value.
    SpendPoints {
        /// At most this share of the rooms' sum.
        max: BasisPoints,
        /// What a point is worth.
        point_value: Amount,
        /// Never below this price × quantity.
        floor_unit_price: Amount,
    },
}

impl Effect {
    /// Whether it moves points; such an instruction takes no limits and only [`Stacking::Stack`].
    #[must_use]
    pub const fn moves_points(&self) -> bool {
        matches!(self, Self::EarnPoints { .. } | Self::SpendPoints { .. })
    }
}

/// How an instruction stands beside others.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Stacking {
    /// Beside all.
    #[default]
    Stack,
    /// On lines that nobody of the same grantor touched, and closes them to that grantor.
    Exclusive,
    /// On lines that nobody touched, and closes them to everybody; state and municipality only.
    ExclusiveAll,
    /// Of all of this name of one grantor the one that gives most.
    BestOf(String),
}

/// What happens when more is wanted than a limit leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnLimit {
    /// What is left is given.
    #[default]
    Clip,
    /// Nothing is given.
    Skip,
}

/// How a return is worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnRefund {
    /// In proportion to what came back.
    #[default]
    Proportional,
    /// The basket is decided again as if the returned units had not been bought.
    Reevaluate,
}
