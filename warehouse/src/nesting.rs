//! How deep the SQL of others may be nested.
//!
//! Where an expression that begins with a word of its own (`CAST(`, `SUBSTRING(`, `ARRAY[`, `INTERVAL`) turns
//! out wrong, the parser reads it in another way, and all that is inside it once more: a hundred bytes of
//! `CAST(CAST(…` take longer than anybody lives. So such texts are refused before they are parsed.

use datafusion::sql::sqlparser::{keywords::Keyword, tokenizer::Token};

/// Brackets after such words that may be open at once: the parser then tries some ten thousand ways.
const DEEPEST: usize = 14;

/// Words before a bracket that begin no expression of their own: what follows is read once.
const CONNECTING: [Keyword; 24] = [
    Keyword::ALL,
    Keyword::AND,
    Keyword::ANY,
    Keyword::AS,
    Keyword::BETWEEN,
    Keyword::BY,
    Keyword::ELSE,
    Keyword::EXCEPT,
    Keyword::EXISTS,
    Keyword::FROM,
    Keyword::HAVING,
    Keyword::IN,
    Keyword::INTERSECT,
    Keyword::JOIN,
    Keyword::LIKE,
    Keyword::NOT,
    Keyword::ON,
    Keyword::OR,
    Keyword::OVER,
    Keyword::SELECT,
    Keyword::THEN,
    Keyword::UNION,
    Keyword::WHEN,
    Keyword::WHERE,
];

/// Whether the tokens of a text may be parsed.
///
/// # Errors
/// What is nested too deep.
pub fn check<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Result<(), String> {
    let (mut open, mut deep) = (Vec::new(), 0);
    let (mut after_word, mut after_interval) = (false, false);
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket => {
                open.push(after_word);
                deep += usize::from(after_word);
                if deep > DEEPEST {
                    return Err(format!("expressions are nested deeper than {DEEPEST} levels"));
                }
            }
            Token::RParen | Token::RBracket => {
                deep -= usize::from(open.pop().unwrap_or(false));
            }
            Token::Word(word) if word.keyword == Keyword::INTERVAL => {
                if after_interval {
                    return Err("an INTERVAL is of no INTERVAL".into());
                }
                after_interval = true;
            }
            Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) => {
                after_interval = false;
            }
            _ => {}
        }
        after_word = matches!(token, Token::Word(word)
            if word.keyword != Keyword::NoKeyword && !CONNECTING.contains(&word.keyword));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::GenericDialect, tokenizer::Tokenizer};

    use super::*;

    fn checked(sql: &str) -> Result<(), String> {
        check(&Tokenizer::new(&GenericDialect {}, sql).tokenize().expect("tokens"))
    }

    #[test]
    fn what_would_be_read_again_and_again_is_refused_and_what_people_write_is_not() {
        for begin in ["CAST(", "CAST((", "SUBSTRING(", "ARRAY[", "CAST(SUBSTRING(a FROM "] {
            assert!(checked(&begin.repeat(40)).is_err(), "{begin}");
        }
        assert!(checked(&"INTERVAL ".repeat(3)).is_err());
        assert!(checked("INTERVAL - INTERVAL '1'").is_err());
        let many = format!("SELECT {}", "CAST(a AS INT) + INTERVAL '1 day', ".repeat(100));
        assert_eq!(checked(&many), Ok(()));
        let nested = format!("{}a = 1{}", "(a = 2 AND (b OR NOT (".repeat(10), ")))".repeat(10));
        assert_eq!(checked(&nested), Ok(()));
        let queries = "SELECT a FROM (".repeat(20);
        assert_eq!(checked(&queries), Ok(()));
    }
}
