//! Instructions in words, for people, in Latvian and English.

use authoriser::rules::explain::euros;
use chrono::NaiveDate;
use domain::{
    amount::{Amount, BasisPoints},
    instruction::{Basis, Content, Effect, PerWhat, Scope, Selector},
    limit::{Limit, Measure, Per, Period},
    period::Schedule,
};

use super::names::{Named, Names};
use crate::terminal::wire::Text;

/// The most names of one list; how many more there are is told.
const MOST_NAMES: usize = 12;

/// A text from its two languages.
pub(super) fn text(lv: impl Into<String>, en: impl Into<String>) -> Text {
    Text { lv: lv.into(), en: en.into() }
}

/// Puts parts in one sentence.
fn join(parts: &[Text], between: &str) -> Text {
    let of = |one: fn(&Text) -> &str| parts.iter().map(one).collect::<Vec<_>>().join(between);
    text(of(|part| &part.lv), of(|part| &part.en))
}

/// Some names, at most [`MOST_NAMES`].
pub(super) fn list(names: &[Text]) -> Text {
    let told = &names[..names.len().min(MOST_NAMES)];
    let Text { mut lv, mut en } = join(told, ", ");
    let more = names.len() - told.len();
    if more > 0 {
        lv.push_str(&format!(" un vēl {more}"));
        en.push_str(&format!(" and {more} more"));
    }
    text(lv, en)
}

/// A day as each language writes it.
pub(super) fn day(day: NaiveDate) -> Text {
    text(day.format("%d.%m.%Y.").to_string(), day.format("%Y-%m-%d").to_string())
}

fn money(amount: Amount) -> Text {
    text(format!("{} EUR", euros(amount, ',')), format!("{} EUR", euros(amount, '.')))
}

fn percent(share: BasisPoints) -> Text {
    let (whole, part) = (share.get() / 100, share.get() % 100);
    if part == 0 {
        return text(format!("{whole} %"), format!("{whole}%"));
    }
    let part = format!("{part:02}");
    let part = part.trim_end_matches('0');
    text(format!("{whole},{part} %"), format!("{whole}.{part}%"))
}

/// What an instruction gives.
pub(super) fn effect(effect: &Effect) -> Text {
    let (Text { mut lv, mut en }, floor) = match effect {
        Effect::PercentOff { share, basis, floor_unit_price } => {
            let share = percent(*share);
            let (of_lv, of_en) = match basis {
                Basis::Payable => ("no maksājamās summas", "off what is to pay"),
                Basis::Full => ("no pilnās cenas", "off the full price"),
            };
            let told = text(format!("−{} {of_lv}", share.lv), format!("{} {of_en}", share.en));
            (told, *floor_unit_price)
        }
        Effect::AmountOff { amount, per, floor_unit_price } => {
            let amount = money(*amount);
            let (per_lv, per_en) = match per {
                PerWhat::Unit => ("par vienību", "off each unit"),
                PerWhat::Line => ("par čeka rindu", "off each line"),
                PerWhat::Basket => ("par pirkumu", "off the basket"),
            };
            let told = text(format!("−{} {per_lv}", amount.lv), format!("{} {per_en}", amount.en));
            (told, *floor_unit_price)
        }
        Effect::FixedUnitPrice { unit_price, floor_unit_price } => {
            let price = money(*unit_price);
            let told =
                text(format!("cena {} par vienību", price.lv), format!("{} a unit", price.en));
            (told, *floor_unit_price)
        }
        Effect::FreeUnits { buy, free, floor_unit_price } => {
            let told = text(
                format!("par katrām {buy} nopirktām vienībām {free} bez maksas"),
                format!("for every {buy} bought {free} free"),
            );
            (told, *floor_unit_price)
        }
        Effect::EarnPoints { per, points } => {
            let per = money(*per);
            let told = text(
                format!("punkti par katriem {}: {points}", per.lv),
                format!("points for every {}: {points}", per.en),
            );
            (told, Amount::ZERO)
        }
        Effect::SpendPoints { max, point_value, floor_unit_price } => {
            let (max, value) = (percent(*max), money(*point_value));
            let told = text(
                format!("ar punktiem var segt līdz {}; punkts ir {}", max.lv, value.lv),
                format!("points pay up to {}; a point is {}", max.en, value.en),
            );
            (told, *floor_unit_price)
        }
    };
    if floor != Amount::ZERO {
        let floor = money(floor);
        lv.push_str(&format!("; maksājami vismaz {} par vienību", floor.lv));
        en.push_str(&format!("; at least {} a unit is to pay", floor.en));
    }
    text(lv, en)
}

/// When an instruction holds.
pub(super) fn schedule(schedule: Option<&Schedule>) -> Text {
    const DAYS: [(&str, &str); 7] = [
        ("P.", "Mon"),
        ("O.", "Tue"),
        ("T.", "Wed"),
        ("C.", "Thu"),
        ("Pk.", "Fri"),
        ("S.", "Sat"),
        ("Sv.", "Sun"),
    ];
    let Some(schedule) = schedule else { return text("jebkurā laikā", "at any time") };
    let held = DAYS.iter().zip(schedule.days()).filter(|(_, held)| *held);
    let days: Vec<Text> = held.map(|((lv, en), _)| text(*lv, *en)).collect();
    let days = if days.len() == 7 { text("katru dienu", "every day") } else { join(&days, ", ") };
    let (from, to) = schedule.hours();
    text(format!("{} {from}–{to}", days.lv), format!("{} {from}–{to}", days.en))
}

/// What has to be bought.
pub(super) fn content(content: &Content, names: &Names) -> Text {
    let selected = |selectors: &[Selector]| {
        let told: Vec<Text> = selectors.iter().map(|one| selector(one, names)).collect();
        list(&told)
    };
    let mut parts = Vec::new();
    parts.push(match &content.any[..] {
        [] => text("jebkura prece vai pakalpojums", "any item"),
        any => selected(any),
    });
    if !content.none.is_empty() {
        let none = selected(&content.none);
        parts.push(text(format!("izņemot: {}", none.lv), format!("except: {}", none.en)));
    }
    if content.min_quantity > 1 {
        let least = content.min_quantity;
        let (lv, en) = ("vismaz vienības", "units at least");
        parts.push(text(format!("{lv}: {least}"), format!("{en}: {least}")));
    }
    if content.min_basket != Amount::ZERO {
        let least = money(content.min_basket);
        let (lv, en) = ("pirkums vismaz", "a basket of at least");
        parts.push(text(format!("{lv} {}", least.lv), format!("{en} {}", least.en)));
    }
    if !content.requires.is_empty() {
        let also = selected(&content.requires);
        let (lv, en) = ("pirkumā jābūt arī", "the basket also has to hold");
        parts.push(text(format!("{lv}: {}", also.lv), format!("{en}: {}", also.en)));
    }
    join(&parts, "; ")
}

fn selector(selector: &Selector, names: &Names) -> Text {
    let mut parts = Vec::new();
    if let Some(item) = &selector.item {
        parts.push(match names.item(item) {
            Some(name) => text(&*name.lv, &*name.en),
            None => text(item.as_str(), item.as_str()),
        });
    }
    if let Some(category) = &selector.category {
        let category = category.as_str();
        parts.push(text(format!("kategorija {category}"), format!("category {category}")));
    }
    for (name, value) in &selector.attributes {
        parts.push(text(format!("{name} = {value}"), format!("{name} = {value}")));
    }
    join(&parts, ", ")
}

/// Where an instruction holds.
pub(super) fn scope(scope: &Scope, names: &Names) -> Text {
    let mut parts = Vec::new();
    let mut add = |lv: &str, en: &str, of: Vec<Text>| {
        if !of.is_empty() {
            let of = list(&of);
            parts.push(text(format!("{lv}: {}", of.lv), format!("{en}: {}", of.en)));
        }
    };
    let merchants = scope.merchants.iter().map(|id| names.merchant(id.as_str())).map(Named::text);
    add("tirgotāji", "merchants", merchants.collect());
    let places = scope.places.iter().map(|id| names.place(id.as_str())).map(Named::text);
    add("vietas", "places", places.collect());
    let territories = scope.territories.iter().map(|of| text(of.as_str(), of.as_str()));
    add("teritorijas", "territories", territories.collect());
    let kinds = scope.terminal_kinds.iter().map(|kind| text(kind, kind));
    add("termināļi", "terminals", kinds.collect());
    if parts.is_empty() {
        return text(
            "visur, kur devējam ir līgums ar tirgotāju",
            "wherever the grantor has a contract with the merchant",
        );
    }
    join(&parts, "; ")
}

/// What is left of a limit.
pub(super) fn limit(limit: &Limit, left: i64) -> Text {
    let (period_lv, period_en) = match limit.period {
        Period::Basket => ("katrā pirkumā", "in each basket"),
        Period::Day => ("šodien", "today"),
        Period::Week => ("šonedēļ", "this week"),
        Period::Month => ("šomēnes", "this month"),
        Period::Year => ("šogad", "this year"),
        Period::Validity => ("visā spēkā esamības laikā", "while it is valid"),
    };
    let (per_lv, per_en) = match limit.per {
        Per::Recipient => ("personai", "per person"),
        Per::Household => ("mājsaimniecībai", "per household"),
        Per::Instruction => ("visiem saņēmējiem kopā", "for all recipients together"),
    };
    let (left, most) = (count(limit.measure, left), count(limit.measure, limit.max));
    let (what_lv, what_en) = match limit.measure {
        Measure::Uses => ("reizes", "uses"),
        Measure::Units => ("vienības", "units"),
        Measure::AmountCents => ("EUR", "EUR"),
    };
    text(
        format!("{period_lv} atlikums {} no {} ({what_lv}; {per_lv})", left.lv, most.lv),
        format!("{} of {} left {period_en} ({what_en}; {per_en})", left.en, most.en),
    )
}

fn count(measure: Measure, number: i64) -> Text {
    match measure {
        Measure::AmountCents => {
            let of = |point| {
                let sign = if number < 0 { "−" } else { "" };
                format!("{sign}{}", euros(Amount::from_cents(number.saturating_abs()), point))
            };
            text(of(','), of('.'))
        }
        Measure::Uses | Measure::Units => text(number.to_string(), number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use domain::{id::ItemId, merchant::Category, period::TimeOfDay};

    use super::*;

    fn both(told: Text, lv: &str, en: &str) {
        assert_eq!((told.lv.as_str(), told.en.as_str()), (lv, en));
    }

    fn share(basis_points: u16) -> BasisPoints {
        BasisPoints::new(basis_points).expect("a share")
    }

    #[test]
    fn every_effect_is_told_in_both_languages() {
        let (none, cents) = (Amount::ZERO, Amount::from_cents);
        let told = |of: Effect| effect(&of);
        let half = Effect::PercentOff {
            share: share(1_250),
            basis: Basis::Full,
            floor_unit_price: cents(50),
        };
        both(
            told(half),
            "−12,5 % no pilnās cenas; maksājami vismaz 0,50 EUR par vienību",
            "12.5% off the full price; at least 0.50 EUR a unit is to pay",
        );
        let all = Effect::PercentOff {
            share: share(10_000),
            basis: Basis::Payable,
            floor_unit_price: none,
        };
        both(told(all), "−100 % no maksājamās summas", "100% off what is to pay");
        let off =
            Effect::AmountOff { amount: cents(105), per: PerWhat::Unit, floor_unit_price: none };
        both(told(off), "−1,05 EUR par vienību", "1.05 EUR off each unit");
        let fixed = Effect::FixedUnitPrice { unit_price: cents(30), floor_unit_price: none };
        both(told(fixed), "cena 0,30 EUR par vienību", "0.30 EUR a unit");
        let free = Effect::FreeUnits { buy: 2, free: 1, floor_unit_price: none };
        both(
            told(free),
            "par katrām 2 nopirktām vienībām 1 bez maksas",
            "for every 2 bought 1 free",
        );
        let earn = Effect::EarnPoints { per: cents(100), points: 3 };
        both(told(earn), "punkti par katriem 1,00 EUR: 3", "points for every 1.00 EUR: 3");
        let spend = Effect::SpendPoints {
            max: share(5_001),
            point_value: cents(1),
            floor_unit_price: none,
        };
        both(
            told(spend),
            "ar punktiem var segt līdz 50,01 %; punkts ir 0,01 EUR",
            "points pay up to 50.01%; a point is 0.01 EUR",
        );
    }

    #[test]
    fn when_what_and_how_much_are_told() {
        let time = |text| TimeOfDay::parse(text).expect("a time");
        let week = Schedule::new(
            &[chrono::Weekday::Mon, chrono::Weekday::Sun],
            time("09:00"),
            time("17:30"),
        );
        both(schedule(Some(&week)), "P., Sv. 09:00–17:30", "Mon, Sun 09:00–17:30");
        let night = Schedule::new(&[], time("22:00"), time("06:00"));
        both(schedule(Some(&night)), "katru dienu 22:00–06:00", "every day 22:00–06:00");
        let month = Limit {
            per: Per::Household,
            period: Period::Month,
            measure: Measure::AmountCents,
            max: 1_000,
        };
        both(
            limit(&month, -5),
            "šomēnes atlikums −0,05 no 10,00 (EUR; mājsaimniecībai)",
            "−0.05 of 10.00 left this month (EUR; per household)",
        );
        let names = Names::default();
        let bought = Content {
            any: vec![Selector { item: ItemId::new("milk").ok(), ..Selector::default() }],
            none: vec![Selector { category: Category::parse("food.raw"), ..Selector::default() }],
            min_quantity: 2,
            ..Content::default()
        };
        both(
            content(&bought, &names),
            "milk; izņemot: kategorija food.raw; vismaz vienības: 2",
            "milk; except: category food.raw; units at least: 2",
        );
        let many: Vec<Text> = (0..15).map(|at| text(at.to_string(), at.to_string())).collect();
        assert!(list(&many).en.ends_with("11 and 3 more"));
    }
}
