//! Who gives benefits at the till: merchants, their places and catalogues.

use crate::{
    iban::Iban,
    id::{ItemId, MerchantId, PlaceId},
    text::Text,
};

/// Who gives the benefit at the till.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merchant {
    /// Its identifier.
    pub id: MerchantId,
    /// Its name.
    pub name: Text,
    /// Its number in the register of enterprises.
    pub reg_no: Option<String>,
    /// The account that settlements are paid to.
    pub iban: Option<Iban>,
    /// Its number as a payer of value added tax.
    pub vat_no: Option<String>,
}

/// Where terminals of a merchant stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its identifier.
    pub id: PlaceId,
    /// The merchant.
    pub merchant: MerchantId,
    /// The territory it stands in.
    pub territory: Territory,
    /// Its name.
    pub name: Text,
}

/// An item of a merchant's catalogue; its category holds whatever a terminal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueItem {
    /// The merchant.
    pub merchant: MerchantId,
    /// The item as terminals name it.
    pub item: ItemId,
    /// Its category.
    pub category: Category,
    /// Its name.
    pub name: Text,
}

/// A territory's code in ATVK: `LV` and seven digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Territory(std::sync::Arc<str>);

impl Territory {
    /// The code in `text`; `None` where it is not `LV` and seven digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("LV")?;
        let fits = digits.len() == 7 && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| Self(text.into()))
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A category of goods: words joined by dots, from the general to the particular.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Category(std::sync::Arc<str>);

impl Category {
    /// The longest category, in bytes.
    pub const LONGEST: usize = 128;

    /// The category in `text`; `None` where it is empty, too long or has an empty word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let printable = !text.chars().any(char::is_control);
        let fits = text.len() <= Self::LONGEST && printable && !text.split('.').any(str::is_empty);
        fits.then(|| Self(text.into()))
    }

    /// The category as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this category is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_lies_below_its_dotted_prefix() {
        let category = |text| Category::parse(text).expect("a category");
        assert!(category("grocery.eggs").is_within(&category("grocery")));
        assert!(category("grocery").is_within(&category("grocery")));
        assert!(!category("grocery-x.eggs").is_within(&category("grocery")));
        assert!(!category("bc.x").is_within(&category("b")));
        assert_eq!(Category::parse("a..b"), None);
        assert_eq!(Category::parse(""), None);
    }

    #[test]
    fn a_territory_has_nine_characters() {
        assert!(Territory::parse("LV0001000").is_some());
        assert!(Territory::parse("LV001000").is_none());
        assert!(Territory::parse("EE0001000").is_none());
    }
}
