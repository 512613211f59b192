//! Latvia's personal code.
//!
//! Eleven digits: day, month and year of birth, a dash, the century and three more, and a control
//! digit, as in `010180-12346`; since 1 July 2017 new codes begin with 32 to 39 and carry no date of
//! birth. The control digit of the older form is `(1101 − Σ dᵢ·wᵢ) mod 11 mod 10`. The date of
//! birth comes from the register, never from the code.

use std::fmt;

/// A personal code that is well formed. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonCode([u8; 11]);

/// Why a text is no personal code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonCodeError {
    /// Not eleven digits with a dash after the sixth.
    #[error("a personal code has eleven digits, with a dash after the sixth")]
    Form,
    /// The older form's date or century does not exist.
    #[error("a personal code begins with a date of birth, or with 32 to 39")]
    Date,
    /// The older form's last digit does not fit.
    #[error("the control digit of the personal code does not fit")]
    Control,
}

const WEIGHTS: [u16; 10] = [1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

impl PersonCode {
    /// The personal code in `text`, written with or without its dash.
    ///
    /// # Errors
    /// Where the form, the date of the older form or its control digit is wrong.
    pub fn parse(text: &str) -> Result<Self, PersonCodeError> {
        let digits = match *text.as_bytes() {
            [a, b, c, d, e, f, b'-', g, h, i, j, k] | [a, b, c, d, e, f, g, h, i, j, k] => {
                [a, b, c, d, e, f, g, h, i, j, k]
            }
            _ => return Err(PersonCodeError::Form),
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(PersonCodeError::Form);
        }
        let code = Self(digits);
        let number = |at: usize| u16::from(digits[at].saturating_sub(b'0'));
        let pair =
            |at: usize, next: usize| number(at).saturating_mul(10).saturating_add(number(next));
        if (32..=39).contains(&pair(0, 1)) {
            return Ok(code);
        }
        let (day, month) = (pair(0, 1), pair(2, 3));
        if !(1..=31).contains(&day) || !(1..=12).contains(&month) || number(6) > 2 {
            return Err(PersonCodeError::Date);
        }
        let weighted: u16 =
            WEIGHTS.iter().enumerate().map(|(at, w)| number(at).saturating_mul(*w)).sum();
        let control = 1_101_u16.saturating_sub(weighted) % 11 % 10;
        if control == number(10) { Ok(code) } else { Err(PersonCodeError::Control) }
    }

    /// The code with its dash, for the register and the person only.
    #[must_use]
    pub fn expose(&self) -> String {
        let text = std::str::from_utf8(&self.0).unwrap_or_default();
        let (head, tail) = text.split_at_checked(6).unwrap_or_default();
        [head, "-", tail].concat()
    }
}

impl fmt::Debug for PersonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(
            PersonCode::parse("326180-33995").map(|c| c.expose()).as_deref(),
            Ok("326180-33995")
        );
        // 161175-19997 is the well-known example of the older form.
        assert!(PersonCode::parse("161175-19997").is_ok());
        assert!(PersonCode::parse("16117519997").is_ok());
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(PersonCode::parse("161175-19996"), Err(PersonCodeError::Control));
        assert_eq!(PersonCode::parse("321175"), Err(PersonCodeError::Form));
        assert_eq!(PersonCode::parse("16117a-19997"), Err(PersonCodeError::Form));
        assert_eq!(PersonCode::parse("401375-19997"), Err(PersonCodeError::Date));
    }

    #[test]
    fn the_code_does_not_show_itself() {
        let code = PersonCode::parse("326180-33995");
        assert_eq!(format!("{code:?}"), "Ok(***)");
    }
}
