//! How deep the SQL of others may be nested.
//!
//! Where an expression that begins with a word of its own (`CAST(`, `SUBSTRING(`, `ARRAY[`, `INTERVAL`) turns
//! out wrong, the parser reads it in another way, and all that is inside it once more; and what a function is
//! given may be its argument's name or its value, which is tried one after the other. A hundred bytes of
//! `CAST(CAST(…` or `f(f(…` take longer than anybody lives. And `1 + 1 + 1 …` is a tree as deep as it is long,
//! which whoever copies or drops it descends without looking at the stack: enough of it would end the
//! process. So such texts are refused before they are parsed.

use datafusion::sql::sqlparser::{keywords::Keyword, tokenizer::Token};

/// Brackets after such words that may be open at once: the parser then tries some ten thousand ways.
const DEEPEST: usize = 14;

/// Operators that may follow each other between two commas or brackets.
const LONGEST: usize = 1_000;

/// Operators that are words.
const OPERATORS: [Keyword; 23] = [
    Keyword::AND,
    Keyword::AT,
    Keyword::BETWEEN,
    Keyword::COLLATE,
    Keyword::DIV,
    Keyword::EXCEPT,
    Keyword::ILIKE,
    Keyword::IN,
    Keyword::INTERSECT,
    Keyword::IS,
    Keyword::JOIN,
    Keyword::LIKE,
    Keyword::MEMBER,
    Keyword::MINUS,
    Keyword::NOTNULL,
    Keyword::OPERATOR,
    Keyword::OR,
    Keyword::OVERLAPS,
    Keyword::REGEXP,
    Keyword::RLIKE,
    Keyword::SIMILAR,
    Keyword::UNION,
    Keyword::XOR,
];

/// Words before a bracket that begin no expression of their own, but where an opening bracket is before
/// them: what follows is read once.
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
/// What is nested too deep, or goes on for too long.
pub fn check<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Result<(), String> {
    let (mut open, mut deep, mut long) = (Vec::new(), 0, 0);
    let (mut after_word, mut after_interval, mut after_open) = (false, false, false);
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket => {
                open.push((after_word, long));
                long = 0;
                deep += usize::from(after_word);
                if deep > DEEPEST {
                    return Err(format!("expressions are nested deeper than {DEEPEST} levels"));
                }
            }
            Token::RParen | Token::RBracket => {
                let (was_after_word, before) = open.pop().unwrap_or_default();
                deep -= usize::from(was_after_word);
                long = before;
            }
            Token::Comma | Token::SemiColon => long = 0,
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
        long += usize::from(is_operator(token));
        if long > LONGEST {
            return Err(format!("more than {LONGEST} operators follow each other"));
        }
        after_word = matches!(token, Token::Word(word)
            if after_open || !CONNECTING.contains(&word.keyword));
        after_open = matches!(token, Token::LParen | Token::LBracket);
    }
    Ok(())
}

/// Whether a token makes the tree of what it is in deeper; of what is none some count, too.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => OPERATORS.contains(&word.keyword),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::Comma
        | Token::SemiColon
        | Token::LParen
        | Token::RParen
        | Token::LBracket
        | Token::RBracket => false,
        _ => true,
    }
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
        let begins = [
            "CAST(",
            "CAST((",
            "SUBSTRING(",
            "ARRAY[",
            "CAST(SUBSTRING(a FROM ",
            "f(",
            "(\"f\" (",
            "(WHERE ",
        ];
        for begin in begins {
            assert!(checked(&begin.repeat(40)).is_err(), "{begin}");
        }
        assert!(checked(&"INTERVAL ".repeat(3)).is_err());
        assert!(checked("INTERVAL - INTERVAL '1'").is_err());
        let many = format!("SELECT {}", "CAST(a AS INT) + INTERVAL '1 day', ".repeat(100));
        assert_eq!(checked(&many), Ok(()));
        let nested = format!("{}a = 1{}", "(a = 2 AND (b OR NOT (".repeat(10), ")))".repeat(10));
        assert_eq!(checked(&nested), Ok(()));
        for link in [" + 1", " OR b", "::INT", " UNION ALL SELECT 1", " IS NULL", " COLLATE c"] {
            assert!(checked(&format!("SELECT 1{}", link.repeat(2_000))).is_err(), "{link}");
            assert_eq!(checked(&format!("SELECT 1{}", link.repeat(900))), Ok(()), "{link}");
        }
        let list = format!("SELECT a FROM b WHERE c IN ({})", "-1, ".repeat(50_000));
        assert_eq!(checked(&list), Ok(()));
        let inside = format!("SELECT f(1{}) + 1", " + g(1)".repeat(2_000));
        assert!(checked(&inside).is_err());
        let queries = "SELECT a FROM (".repeat(20);
        assert_eq!(checked(&queries), Ok(()));
    }
}
