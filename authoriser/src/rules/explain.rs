//! Explanations for people, in Latvian and English, beside the stable codes (9).

use domain::{amount::Amount, decision::SkipReason, text::Text};

/// Why an instruction gave nothing; `None` says that it was applied.
#[must_use]
pub fn text(skipped: Option<SkipReason>) -> Text {
    let (lv, en) = match skipped {
        None => ("Piemērots", "Applied"),
        Some(SkipReason::Validity) => ("Šajā dienā nav spēkā", "Not valid on this day"),
        Some(SkipReason::Schedule) => ("Šajā laikā nedarbojas", "Not at this time"),
        Some(SkipReason::Scope) => ("Šajā vietā nedarbojas", "Not at this place"),
        Some(SkipReason::Contract) => {
            ("Ar tirgotāju nav spēkā esoša līguma", "No contract with this merchant in force")
        }
        Some(SkipReason::Content) => {
            ("Pirkumā nav nepieciešamo preču", "The basket does not hold what is asked for")
        }
        Some(SkipReason::Exclusive) => {
            ("Precēm jau piemērots cits atvieglojums", "Another benefit was given on these items")
        }
        Some(SkipReason::Limit) => ("Limits ir izlietots", "The limit is used up"),
        Some(SkipReason::NothingPayable) => ("Nav vairs ko atlaist", "Nothing is left to give on"),
        Some(SkipReason::BestOf) => {
            ("Piemērots izdevīgāks atvieglojums", "A better benefit was applied")
        }
    };
    Text { lv: lv.into(), en: en.into() }
}

/// What was applied, for a cashier and a recipient: the label, the amount, and what a limit cut.
#[must_use]
pub fn applied(label: &Text, amount: Amount, wanted: Option<Amount>, points: i64) -> Text {
    let (mut lv, mut en) = (label.lv.clone(), label.en.clone());
    if amount != Amount::ZERO {
        lv.push_str(&format!(": −{} EUR", euros(amount, ',')));
        en.push_str(&format!(": −{} EUR", euros(amount, '.')));
    }
    if let Some(wanted) = wanted {
        lv.push_str(&format!(" (limits; bez tā −{} EUR)", euros(wanted, ',')));
        en.push_str(&format!(" (limit reached; without it −{} EUR)", euros(wanted, '.')));
    }
    match points {
        0 => {}
        1.. => {
            lv.push_str(&format!(": punkti +{points}"));
            en.push_str(&format!(": points +{points}"));
        }
        _ => {
            lv.push_str(&format!(", punkti {points}").replace('-', "−"));
            en.push_str(&format!(", points {points}").replace('-', "−"));
        }
    }
    Text { lv, en }
}

/// An amount in euros with two decimals, after a language's decimal point.
#[must_use]
pub fn euros(amount: Amount, point: char) -> String {
    let cents = amount.cents();
    format!("{}{point}{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_is_told_in_both_languages() {
        let label = Text { lv: "Piens skolām".into(), en: "School milk".into() };
        let cents = Amount::from_cents;
        let told = applied(&label, cents(135), Some(cents(270)), 0);
        assert_eq!(told.lv, "Piens skolām: −1,35 EUR (limits; bez tā −2,70 EUR)");
        assert_eq!(told.en, "School milk: −1.35 EUR (limit reached; without it −2.70 EUR)");
        assert_eq!(applied(&label, cents(0), None, 12).lv, "Piens skolām: punkti +12");
        assert_eq!(applied(&label, cents(5), None, -5).en, "School milk: −0.05 EUR, points −5");
    }
}
