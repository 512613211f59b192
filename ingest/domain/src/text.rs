//! Texts for people, in the two languages of the platform.

/// A text in Latvian and in English; where only one was given, it stands for both.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Text {
    /// Latvian.
    pub lv: String,
    /// English.
    pub en: String,
}
