//! Explanations for people, in Latvian and English, beside the stable codes (9).

use domain::{decision::SkipReason, text::Text};

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
