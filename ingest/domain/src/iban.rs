//! International bank account numbers (ISO 13616), checked by ISO 7064 mod 97-10.

use std::fmt;

/// An account number whose check digits fit; a Latvian one also has its national form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Iban(String);

/// Why a text is no IBAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IbanError {
    /// Not two letters, two digits and 11 to 30 letters or digits.
    #[error("an IBAN has two letters, two digits and up to 30 letters or digits")]
    Form,
    /// A Latvian IBAN of another shape than bank and account.
    #[error(
        "a Latvian IBAN has 21 characters: LV, two digits, four letters, thirteen letters or digits"
    )]
    Latvian,
    /// The check digits do not fit.
    #[error("the check digits of the IBAN do not fit")]
    Check,
}

impl Iban {
    /// The account number in `text`; spaces are passed over.
    ///
    /// # Errors
    /// Where form or check digits are wrong.
    pub fn parse(text: &str) -> Result<Self, IbanError> {
        let text: String = text.chars().filter(|c| *c != ' ').collect();
        let well_formed = (15..=34).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
            && text.bytes().take(2).all(|b| b.is_ascii_uppercase())
            && text.bytes().skip(2).take(2).all(|b| b.is_ascii_digit());
        if !well_formed {
            return Err(IbanError::Form);
        }
        let latvian =
            text.len() == 21 && text.bytes().skip(4).take(4).all(|b| b.is_ascii_uppercase());
        if text.starts_with("LV") && !latvian {
            return Err(IbanError::Latvian);
        }
        let (head, tail) = text.split_at_checked(4).ok_or(IbanError::Form)?;
        let remainder = tail.chars().chain(head.chars()).fold(0_u32, |rest, c| {
            let digit = c.to_digit(36).unwrap_or(0);
            let shifted = rest.saturating_mul(if digit > 9 { 100 } else { 10 });
            shifted.saturating_add(digit) % 97
        });
        if remainder == 1 { Ok(Self(text)) } else { Err(IbanError::Check) }
    }

    /// The number without spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_digits_and_shape() {
        assert!(Iban::parse("LV57TREL0000002180451").is_ok());
        assert!(Iban::parse("GB82 WEST 1234 5698 7654 32").is_ok());
        assert_eq!(Iban::parse("LV58TREL0000002180451"), Err(IbanError::Check));
        assert_eq!(Iban::parse("LV57TREL000000218045"), Err(IbanError::Latvian));
        assert_eq!(Iban::parse("lv57"), Err(IbanError::Form));
    }
}
