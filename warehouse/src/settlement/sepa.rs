//! What the Single Euro Payments Area lets a payment say: Latin letters, digits and a few marks
//! (EPC217-08), references of at most 35 characters.

use ring::digest::{SHA256, digest};

/// The longest reference.
const REFERENCE: usize = 35;
const MARKS: &str = "/-?:().,'+ ";

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || MARKS.contains(character)
}

/// A text in the letters of payments, at most so long; what has no such letter becomes a dot.
pub(super) fn latin(text: &str, longest: usize) -> String {
    let mut latin = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            allowed if is_allowed(allowed) => latin.push(allowed),
            other => latin.push_str(plain(other)),
        }
    }
    let latin: String = latin.split_whitespace().collect::<Vec<_>>().join(" ");
    latin.chars().take(longest).collect::<String>().trim_end().to_owned()
}

/// A letter without its marks: those of Latvian and of its neighbours.
const fn plain(letter: char) -> &'static str {
    match letter {
        'ā' | 'ä' | 'å' | 'á' | 'à' | 'ą' => "a",
        'Ā' | 'Ä' | 'Å' | 'Á' | 'À' | 'Ą' => "A",
        'č' | 'ć' | 'ç' => "c",
        'Č' | 'Ć' | 'Ç' => "C",
        'ē' | 'é' | 'è' | 'ė' | 'ę' | 'ë' => "e",
        'Ē' | 'É' | 'È' | 'Ė' | 'Ę' | 'Ë' => "E",
        'ģ' => "g",
        'Ģ' => "G",
        'ī' | 'í' | 'į' => "i",
        'Ī' | 'Í' | 'Į' => "I",
        'ķ' => "k",
        'Ķ' => "K",
        'ļ' | 'ł' => "l",
        'Ļ' | 'Ł' => "L",
        'ņ' | 'ń' | 'ñ' => "n",
        'Ņ' | 'Ń' | 'Ñ' => "N",
        'ō' | 'ö' | 'õ' | 'ó' | 'ø' => "o",
        'Ō' | 'Ö' | 'Õ' | 'Ó' | 'Ø' => "O",
        'ŗ' => "r",
        'Ŗ' => "R",
        'š' | 'ś' => "s",
        'Š' | 'Ś' => "S",
        'ū' | 'ü' | 'ú' | 'ų' => "u",
        'Ū' | 'Ü' | 'Ú' | 'Ų' => "U",
        'ž' | 'ź' | 'ż' => "z",
        'Ž' | 'Ź' | 'Ż' => "Z",
        'ß' => "ss",
        'æ' => "ae",
        '&' => "+",
        '_' | '–' | '—' | '−' => "-",
        '"' | '„' | '“' | '”' | '«' | '»' | '’' | '‘' | '`' => "'",
        _ => ".",
    }
}

/// A reference that banks carry from end to end: the text itself where it is one, else a hash of it.
pub(super) fn reference(text: &str) -> String {
    let fits = text.len() <= REFERENCE
        && !text.is_empty()
        && text.chars().all(|c| is_allowed(c) && c != ' ')
        && !text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//");
    if fits {
        return text.to_owned();
    }
    let hash = digest(&SHA256, text.as_bytes());
    let hex = hash.as_ref().iter().take(14).map(|byte| format!("{byte:02X}"));
    format!("AVIS-{}", hex.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lose_their_marks() {
        assert_eq!(latin("Rīgas valstspilsētas pašvaldība", 70), "Rigas valstspilsetas pasvaldiba");
        assert_eq!(latin("SIA „Ķīļņģš & Žūrī”  €", 70), "SIA 'Kilngs + Zuri' .");
        assert_eq!(latin("aaaa bbbb", 5), "aaaa");
    }

    #[test]
    fn a_reference_is_short_and_always_the_same() {
        assert_eq!(reference("riga-market-2025-01-K2"), "riga-market-2025-01-K2");
        let long = "a-municipality-with-a-long-name-a-merchant-with-a-long-name-2025-01";
        assert_eq!(reference(long).len(), 33);
        assert_eq!(reference(long), reference(long));
        assert_ne!(reference("a_b"), reference("a_c"));
        assert_eq!(reference("x//y").len(), 33);
    }
}
