//! What shows who the recipient is: a card's UID, a QR code, a document, an app.

use crate::{
    id::{IssuerId, MeansToken, RecipientId},
    period::Validity,
    text::Text,
};

/// What a means is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MeansKind {
    /// The number in a contactless card's chip.
    CardUid,
    /// A QR code.
    Qr,
    /// A printed barcode.
    Barcode,
    /// A document's number.
    Document,
    /// A token of an app.
    AppToken,
    /// A bank's reference to a tokenised card.
    BankCard,
}

impl MeansKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::CardUid, Self::Qr, Self::Barcode, Self::Document, Self::AppToken, Self::BankCard];

    /// The word used in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::CardUid => "card_uid",
            Self::Qr => "qr",
            Self::Barcode => "barcode",
            Self::Document => "document",
            Self::AppToken => "app_token",
            Self::BankCard => "bank_card",
        }
    }

    /// The kind that the word names.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Who issues means, and blocks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its identifier.
    pub id: IssuerId,
    /// Its name.
    pub name: Text,
    /// The kinds it issues.
    pub means: Vec<MeansKind>,
}

/// One means, known by the keyed hash of its kind and value alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Means {
    /// The keyed hash.
    pub token: MeansToken,
    /// Who issued it.
    pub issuer: IssuerId,
    /// What it is.
    pub kind: MeansKind,
    /// Whose it is; a means may stand without a known person.
    pub person: Option<RecipientId>,
    /// The local days on which it holds.
    pub valid: Validity,
    /// Whether its issuer, or its holder, has blocked it.
    pub blocked: bool,
}

/// What became of the means that a terminal presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MeansStatus {
    /// None was presented.
    None,
    /// It stands for a recipient.
    Valid,
    /// Nobody issued it.
    Unknown,
    /// Not yet valid, or no longer.
    Expired,
    /// Blocked.
    Blocked,
}

impl MeansStatus {
    /// The status that the word names.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        [Self::None, Self::Valid, Self::Unknown, Self::Expired, Self::Blocked]
            .into_iter()
            .find(|known| known.code() == code)
    }

    /// The word used on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Blocked => "blocked",
        }
    }
}
