//! One type per identifier: a merchant's cannot stand where a grantor's is meant.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    num::NonZero,
    sync::Arc,
};

/// Why a text is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing in it.
    #[error("must not be empty")]
    Empty,
    /// More than [`LONGEST`] bytes.
    #[error("must be at most {LONGEST} characters")]
    TooLong,
    /// A character that would break a file name, a key or a line.
    #[error("may hold letters, digits and . _ : / - only")]
    Character,
}

/// The longest identifier, in bytes.
pub const LONGEST: usize = 96;

/// The longest identifier that stands in the value itself, in bytes. All that people choose are
/// shorter, so a decision, which names dozens, copies them without an allocation or a shared count.
const SHORT: usize = 24;

/// The characters of an identifier, in 32 bytes: a short one has no length of zero, by which a long
/// one is known.
#[derive(Clone, PartialEq, Eq)]
enum Characters {
    Short(Short),
    Long(Arc<str>),
}

/// Padded with zeros, which no identifier holds. Whole words, so that it is copied by words: odd
/// pieces that are written apart and read together hold a processor up for a dozen cycles.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Short {
    bytes: [u8; SHORT],
    length: NonZero<u64>,
}

impl Characters {
    fn new(text: &str) -> Self {
        let mut bytes = [0_u8; SHORT];
        let length = u64::try_from(text.len()).ok().and_then(NonZero::new);
        match (bytes.get_mut(..text.len()), length) {
            (Some(place), Some(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short(Short { bytes, length })
            }
            _ => Self::Long(text.into()),
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(Short { bytes, length }) => {
                let length = usize::try_from(length.get()).unwrap_or(SHORT);
                bytes.get(..length).unwrap_or_default()
            }
            Self::Long(text) => text.as_bytes(),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Short(_) => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }
}

impl PartialOrd for Characters {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Characters {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Characters {
    /// As the text is hashed, because identifiers are found by their text.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > LONGEST {
        return Err(IdError::TooLong);
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '/' | '-');
    if text.chars().all(fits) { Ok(()) } else { Err(IdError::Character) }
}

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Characters);

        impl $name {
            /// The identifier in `text`.
            ///
            /// # Errors
            /// Where `text` is empty, too long, or holds a character that identifiers may not.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(Characters::new(text)))
            }

            /// The identifier's characters, which are ASCII.
            #[must_use]
            #[inline]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
    )*};
}

text_id! {
    /// The body that funds a benefit.
    GrantorId,
    /// Who gives the benefit at the till.
    MerchantId,
    /// Where a terminal stands.
    PlaceId,
    /// The device that asks.
    TerminalId,
    /// An item of a merchant's catalogue.
    ItemId,
    /// What a grantor and a merchant agreed.
    ContractId,
    /// Who issues and blocks identification means.
    IssuerId,
    /// Recipients described by a condition or a list.
    GroupId,
    /// What a grantor funds.
    BenefitId,
    /// One rule of a benefit; its versions share it.
    InstructionId,
    /// A merchant's service on the state portal.
    EServiceId,
    /// A customer service centre.
    CentreId,
    /// An institution whose officials consult remotely.
    InstitutionId,
    /// A remote official.
    OfficialId,
    /// A registered service of the centres, `PAK_01` to `PAK_10`.
    ServiceId,
    /// A terminal's own name of one of its requests; it belongs to that terminal.
    IdempotencyKey,
    /// A consent of a recipient's; it belongs to that recipient.
    ConsentId,
    /// What personal data is used for under a consent.
    PurposeId,
    /// The version of the text that was agreed to.
    TextVersion,
}

macro_rules! number_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The identifier of this number.
            #[must_use]
            pub const fn from_u128(number: u128) -> Self {
                Self(number)
            }

            /// The identifier's number.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0
            }

            /// The identifier written as [`Display`](fmt::Display) writes it.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                crockford_parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                crockford_write(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                crockford_write(self.0, f)
            }
        }
    )*};
}

number_id! {
    /// An authorisation: a hash of its terminal and key.
    AuthorisationId,
    /// Whom limits count: a person, or a means that stands without a known person.
    RecipientId,
    /// Whom household limits count: a family, or a recipient alone.
    HouseholdId,
    /// A record of a stream; of an outside event a hash of its source and id, else a ULID.
    RecordId,
    /// A keyed hash of an identification means' kind and value; the value itself is kept nowhere.
    MeansToken,
    /// A keyed hash of a personal code, by which a list of the registry names somebody.
    PersonToken,
    /// A recipient as tables see it: a keyed hash per purpose, which can rotate.
    Pseudonym,
    /// A call from a service centre to a remote official; a ULID.
    CallId,
    /// An item of a client's workspace on the portal: a keyed hash of its e-service and of the
    /// merchant's own name for it.
    PanelId,
    /// A service that a centre gives to somebody, from its start to its completion; a ULID.
    VisitId,
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Twenty-six characters of Crockford's base 32, as a ULID is written.
fn crockford_write(number: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [b'0'; 26];
    let mut rest = number;
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(rest & 31).unwrap_or(0);
        *place = CROCKFORD.get(digit).copied().unwrap_or(b'0');
        rest >>= 5_u32;
    }
    f.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

fn crockford_parse(text: &str) -> Option<u128> {
    if text.len() != 26 || !matches!(text.as_bytes().first(), Some(b'0'..=b'7')) {
        return None;
    }
    text.bytes().try_fold(0_u128, |number, byte| {
        let digit = CROCKFORD_DIGITS.get(usize::from(byte)).copied().filter(|of| *of < 32)?;
        Some(number.checked_shl(5)? | u128::from(digit))
    })
}

/// The digit of each byte in either case; above 31 where it is none.
const CROCKFORD_DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let (mut digit, mut left) = (0_u8, CROCKFORD.as_slice());
    while let [byte, rest @ ..] = left {
        digits[*byte as usize] = digit;
        digits[byte.to_ascii_lowercase() as usize] = digit;
        (digit, left) = (digit.wrapping_add(1), rest);
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_refuse_what_would_break_a_key() {
        assert_eq!(MerchantId::new(""), Err(IdError::Empty));
        assert_eq!(MerchantId::new("a b"), Err(IdError::Character));
        assert_eq!(MerchantId::new(&"x".repeat(97)), Err(IdError::TooLong));
        assert_eq!(
            MerchantId::new("rigas-satiksme").map(|id| id.to_string()).as_deref(),
            Ok("rigas-satiksme")
        );
    }

    #[test]
    fn short_and_long_identifiers_are_kept_ordered_and_found_alike() {
        let lengths = [1, SHORT - 1, SHORT, SHORT + 1, LONGEST];
        let texts: Vec<String> = lengths.iter().map(|length| "b".repeat(*length)).collect();
        let ids: Vec<ItemId> = texts.iter().map(|text| ItemId::new(text).expect("an id")).collect();
        assert!(ids.is_sorted() && ids.iter().zip(&texts).all(|(id, text)| id.as_str() == text));
        assert!(ItemId::new(&"a".repeat(LONGEST)).expect("an id") < ids[0]);
        let found: std::collections::HashSet<ItemId> = ids.iter().cloned().collect();
        assert!(texts.iter().all(|text| found.contains(text.as_str())));
        assert_eq!(size_of::<ItemId>(), 32);
    }

    #[test]
    fn numbers_are_written_as_ulids_and_read_back() {
        for number in [0, 1, 31, 32, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = AuthorisationId::from_u128(number);
            assert_eq!(AuthorisationId::parse(&id.to_string()), Some(id));
        }
        let lower = AuthorisationId::from_u128(u128::MAX).to_string().to_lowercase();
        assert_eq!(AuthorisationId::parse(&lower), Some(AuthorisationId::from_u128(u128::MAX)));
        for none in ["7ZZZZZZZZZZZZZZZZZZZZZZZZU", "7ZZZZZZZZZZZZZZZZZZZZZZZZ\u{7f}"] {
            assert_eq!(AuthorisationId::parse(none), None);
        }
        assert_eq!(AuthorisationId::parse("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"), None);
        assert_eq!(AuthorisationId::parse("short"), None);
    }
}
