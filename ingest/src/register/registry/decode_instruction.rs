//! Instructions as the domain's types.

use chrono::Weekday;
use domain::{
    amount::{Amount, BasisPoints},
    id::{BenefitId, GroupId, InstructionId, ItemId, MerchantId, PlaceId},
    instruction::{
        Basis, Content, Effect, Instruction, OnLimit, OnRefund, PerWhat, Recipients, Scope,
        Selector, Stacking,
    },
    limit::{Limit, Measure, Per, Period},
    period::{Schedule, TimeOfDay},
};

use super::decode::{category, territory, validity};
use crate::document::{Cursor, Fields};

pub(super) fn instruction(fields: &Fields<'_>) -> Option<Instruction> {
    let id = fields.required("id").and_then(|at| at.id(InstructionId::new));
    let benefit = fields.required("benefit").and_then(|at| at.id(BenefitId::new));
    let version = fields.required("version").and_then(|at| at.integer(1, i64::from(u32::MAX)));
    let valid = within(fields, "valid", validity);
    let priority = fields
        .required("priority")
        .and_then(|at| at.integer(i64::from(i32::MIN), i64::from(i32::MAX)));
    let recipients = within(fields, "recipients", |fields| Some(recipients(fields)));
    let effect = within(fields, "effect", effect);
    let words = &[("clip", OnLimit::Clip), ("skip", OnLimit::Skip)];
    let on_limit = fields.optional("on_limit").and_then(|at| at.word(words)).unwrap_or_default();
    let words = &[("proportional", OnRefund::Proportional), ("reevaluate", OnRefund::Reevaluate)];
    let on_refund = fields.optional("on_refund").and_then(|at| at.word(words)).unwrap_or_default();
    let grantor_share = within(fields, "funding", |fields| {
        fields.required("grantor_bp").and_then(|at| at.basis_points())
    });
    Some(Instruction {
        label: fields.translated("label"),
        scope: optional_within(fields, "scope", scope),
        schedule: fields.optional("schedule").and_then(|at| schedule(&at)),
        content: optional_within(fields, "content", content),
        stacking: fields.optional("stacking").and_then(|at| stacking(&at)).unwrap_or_default(),
        on_limit,
        on_refund,
        limits: fields.list("limits").iter().filter_map(limit).collect(),
        min_benefit: amount(fields, "min_benefit_cents"),
        show_remaining: fields
            .optional("show_remaining")
            .and_then(|at| at.boolean())
            .unwrap_or_default(),
        id: id?,
        benefit: benefit?,
        version: u32::try_from(version?).ok()?,
        valid: valid?,
        priority: i32::try_from(priority?).ok()?,
        recipients: recipients?,
        effect: effect?,
        grantor_share: grantor_share?,
    })
}

/// What `read` makes of an object that must be there.
fn within<T>(
    fields: &Fields<'_>,
    name: &'static str,
    read: impl Fn(&Fields<'_>) -> Option<T>,
) -> Option<T> {
    let inner = fields.required(name)?.fields()?;
    let value = read(&inner);
    inner.finish();
    value
}

fn optional_within<T: Default>(
    fields: &Fields<'_>,
    name: &'static str,
    read: impl Fn(&Fields<'_>) -> T,
) -> T {
    let Some(inner) = fields.optional(name).and_then(|at| at.fields()) else {
        return T::default();
    };
    let value = read(&inner);
    inner.finish();
    value
}

fn amount(fields: &Fields<'_>, name: &'static str) -> Amount {
    fields.optional(name).and_then(|at| at.amount()).unwrap_or_default()
}

fn recipients(fields: &Fields<'_>) -> Recipients {
    let groups =
        |name| fields.list(name).iter().filter_map(|at| at.id(GroupId::new)).collect::<Vec<_>>();
    let recipients = Recipients {
        everyone: fields.optional("everyone").and_then(|at| at.boolean()).unwrap_or_default(),
        any: groups("any"),
        all: groups("all"),
        none: groups("none"),
    };
    if recipients.everyone && !(recipients.any.is_empty() && recipients.all.is_empty()) {
        fields.at().fault("everyone stands with none or alone, not with any or all");
    }
    recipients
}

fn scope(fields: &Fields<'_>) -> Scope {
    let list = |name| fields.list(name);
    Scope {
        merchants: list("merchants").iter().filter_map(|at| at.id(MerchantId::new)).collect(),
        places: list("places").iter().filter_map(|at| at.id(PlaceId::new)).collect(),
        territories: list("territories").iter().filter_map(territory).collect(),
        terminal_kinds: list("terminal_kinds")
            .iter()
            .filter_map(|at| at.text().map(str::to_owned))
            .collect(),
    }
}

fn schedule(at: &Cursor<'_>) -> Option<Schedule> {
    const DAYS: [(&str, Weekday); 7] = [
        ("mon", Weekday::Mon),
        ("tue", Weekday::Tue),
        ("wed", Weekday::Wed),
        ("thu", Weekday::Thu),
        ("fri", Weekday::Fri),
        ("sat", Weekday::Sat),
        ("sun", Weekday::Sun),
    ];
    let fields = at.fields()?;
    let days: Vec<_> = fields.list("days").iter().filter_map(|at| at.word(&DAYS)).collect();
    let time = |name, missing: &str| match fields.optional(name) {
        Some(at) => at.parsed("a time, HH:MM from 00:00 to 24:00", TimeOfDay::parse),
        None => TimeOfDay::parse(missing),
    };
    let (from, to) = (time("from", "00:00"), time("to", "24:00"));
    fields.finish();
    Some(Schedule::new(&days, from?, to?))
}

fn content(fields: &Fields<'_>) -> Content {
    let selectors = |name| fields.list(name).iter().filter_map(selector).collect();
    Content {
        any: selectors("any"),
        none: selectors("none"),
        min_quantity: fields
            .optional("min_quantity")
            .and_then(|at| at.integer(0, 1_000_000))
            .unwrap_or_default(),
        min_basket: amount(fields, "min_basket_cents"),
        requires: selectors("requires"),
    }
}

fn selector(at: &Cursor<'_>) -> Option<Selector> {
    let fields = at.fields()?;
    let attributes = fields.optional("attributes").map(|at| at.entries()).unwrap_or_default();
    let selector = Selector {
        item: fields.optional("item").and_then(|at| at.id(ItemId::new)),
        category: fields.optional("category").and_then(|at| category(&at)),
        attributes: attributes
            .into_iter()
            .filter_map(|(name, at)| Some((name.to_owned(), at.text()?.to_owned())))
            .collect(),
    };
    fields.finish();
    if selector == Selector::default() {
        at.fault("must name an item, a category or attributes");
        return None;
    }
    Some(selector)
}

const EFFECTS: [&str; 6] = [
    "percent_off_bp",
    "amount_off_cents",
    "fixed_unit_price_cents",
    "free_units",
    "earn_points",
    "spend_points",
];

/// Exactly one of [`EFFECTS`], with its own further keys.
fn effect(fields: &Fields<'_>) -> Option<Effect> {
    let present: Vec<_> =
        EFFECTS.into_iter().filter_map(|name| Some((name, fields.optional(name)?))).collect();
    let [(name, at)] = &present[..] else {
        fields.at().fault(format!("must be exactly one of {}", EFFECTS.join(", ")));
        // Read what belongs to any of them, so that it is not called unknown as well.
        for name in ["basis", "per", "floor_unit_price_cents"] {
            fields.optional(name);
        }
        return None;
    };
    let floor = || amount(fields, "floor_unit_price_cents");
    match *name {
        "percent_off_bp" => {
            let words = &[("payable", Basis::Payable), ("full", Basis::Full)];
            let basis = fields.optional("basis").and_then(|at| at.word(words));
            let floor_unit_price = floor();
            let share = at.basis_points()?;
            Some(Effect::PercentOff { share, basis: basis.unwrap_or_default(), floor_unit_price })
        }
        "amount_off_cents" => {
            let words =
                &[("unit", PerWhat::Unit), ("line", PerWhat::Line), ("basket", PerWhat::Basket)];
            let per = fields.required("per").and_then(|at| at.word(words));
            let floor_unit_price = floor();
            Some(Effect::AmountOff { amount: at.amount()?, per: per?, floor_unit_price })
        }
        "fixed_unit_price_cents" => {
            let floor_unit_price = floor();
            Some(Effect::FixedUnitPrice { unit_price: at.amount()?, floor_unit_price })
        }
        "free_units" => {
            let floor_unit_price = floor();
            let (buy, free) = two(at, ("buy", 1_000), ("free", 1_000))?;
            let (buy, free) = (u32::try_from(buy).ok()?, u32::try_from(free).ok()?);
            Some(Effect::FreeUnits { buy, free, floor_unit_price })
        }
        "earn_points" => {
            let (per, points) = two(at, ("per_cents", 1_000_000), ("points", 1_000_000))?;
            let points = u32::try_from(points).ok()?;
            Some(Effect::EarnPoints { per: Amount::from_cents(per), points })
        }
        _ => {
            let floor_unit_price = floor();
            let (max, value) = two(at, ("max_bp", 10_000), ("point_value_cents", 1_000_000))?;
            let max = u16::try_from(max).ok().and_then(BasisPoints::new)?;
            let point_value = Amount::from_cents(value);
            Some(Effect::SpendPoints { max, point_value, floor_unit_price })
        }
    }
}

/// An object of two whole numbers above 0, each with its largest.
fn two(
    at: &Cursor<'_>,
    first: (&'static str, i64),
    second: (&'static str, i64),
) -> Option<(i64, i64)> {
    let fields = at.fields()?;
    let number = |(name, most)| fields.required(name).and_then(|at| at.integer(1, most));
    let (first, second) = (number(first), number(second));
    fields.finish();
    Some((first?, second?))
}

/// A word, or `{best_of: NAME}`.
fn stacking(at: &Cursor<'_>) -> Option<Stacking> {
    if at.is_object() {
        let fields = at.fields()?;
        let name = fields.required("best_of").and_then(|at| at.text());
        fields.finish();
        return Some(Stacking::BestOf(name?.to_owned()));
    }
    at.word(&[
        ("stack", Stacking::Stack),
        ("exclusive", Stacking::Exclusive),
        ("exclusive_all", Stacking::ExclusiveAll),
    ])
}

fn limit(at: &Cursor<'_>) -> Option<Limit> {
    let fields = at.fields()?;
    let per = fields
        .required("per")
        .and_then(|at| at.parsed("one of recipient, household, instruction", Per::parse));
    let period = fields
        .required("period")
        .and_then(|at| at.parsed("one of basket, day, week, month, year, validity", Period::parse));
    let measure = fields
        .required("measure")
        .and_then(|at| at.parsed("one of uses, units, amount_cents", Measure::parse));
    let max = fields.required("max").and_then(|at| at.integer(0, Amount::LARGEST.cents()));
    fields.finish();
    Some(Limit { per: per?, period: period?, measure: measure?, max: max? })
}
