//! How deep the SQL of others may be nested.
//!
//! Where an expression that begins with a word of its own (`CAST(`, `SUBSTRING(`, `ARRAY[`, `INTERVAL`, `NOT`)
//! turns out wrong, the parser reads it in another way, and all that is inside it once more; what a function is
//! given may be its argument's name or its value, which is tried one after the other; and what follows a period
//! may be an expression or the next part of a name. So the ways to read a text are multiplied with every level,
//! and a hundred bytes of `CAST(CAST(…`, `f(f(…` or `a.a.a…` take longer than anybody lives. And `1 + 1 + 1 …`
//! is a tree as deep as it is long, which whoever copies or drops it descends without looking at the stack:
//! enough of it would end the process. So such texts are refused before they are parsed.

use datafusion::sql::sqlparser::{keywords::Keyword, tokenizer::Token};

/// Ways in which the parser may try to read what stands at one place of a text.
const MOST_WAYS: u64 = 1 << 16;

/// Parts of one name.
const MOST_PARTS: usize = 12;

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

/// Words before a bracket that begin no expression of their own where an operand is before them: what follows
/// is read once.
const CONNECTING: [Keyword; 22] = [
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
    Keyword::INTERSECT,
    Keyword::JOIN,
    Keyword::LIKE,
    Keyword::ON,
    Keyword::OR,
    Keyword::OVER,
    Keyword::SELECT,
    Keyword::THEN,
    Keyword::UNION,
    Keyword::WHEN,
    Keyword::WHERE,
];

/// Words that begin an expression without a bracket, or are a name.
const BEGINNING: [Keyword; 4] = [Keyword::CASE, Keyword::INTERVAL, Keyword::NOT, Keyword::PRIOR];

/// Words beside those above after which an expression begins.
const BEFORE_OPERANDS: [Keyword; 3] = [Keyword::DISTINCT, Keyword::TO, Keyword::ZONE];

/// Whether the tokens of a text may be parsed.
///
/// # Errors
/// What is nested too deep, or goes on for too long.
pub fn check<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Result<(), String> {
    let mut text = Text {
        level: Level::new(1, true),
        around: Vec::new(),
        last: Last::new(false),
        after_interval: false,
    };
    let tokens = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    for token in tokens {
        text.go_on(token)?;
    }
    Ok(())
}

/// A text up to some token.
struct Text {
    /// What is inside the brackets that are open.
    level: Level,
    /// What is around them, from outside in.
    around: Vec<Level>,
    last: Last,
    /// Whether an interval is still to come to its value.
    after_interval: bool,
}

/// What stands between two brackets.
struct Level {
    /// Ways to read what is around it.
    around: u64,
    /// Ways to read what is around it, and what goes on in it.
    ways: u64,
    /// Periods of the name that goes on.
    periods: usize,
    /// Operators since the last comma.
    operators: usize,
    /// `CASE`s whose first `WHEN` is still to come.
    cases: usize,
    /// Whether an operand ends with it.
    is_operand: bool,
}

/// What a token says of the one after it.
struct Last {
    /// In how many ways what a bracket after it opens is read.
    ways: u64,
    /// The word that it is, where that begins an expression or is a name.
    beginning: Option<Keyword>,
    /// Whether an operand ends with it.
    is_operand: bool,
    is_period: bool,
    /// Round brackets that open one after the other, it being the last of them.
    brackets: u64,
    /// Whether an operator's name in brackets comes next.
    names_operator: bool,
}

impl Text {
    fn go_on(&mut self, token: &Token) -> Result<(), String> {
        let next = Last::of(token, &self.last);
        let last = std::mem::replace(&mut self.last, next);
        if let Some(word) = last.beginning.filter(|word| is_read_again(*word, token)) {
            self.level.ways *= ways(word);
        }
        if let Token::Word(word) = token {
            self.word(word.keyword, last.brackets);
        }
        match token {
            Token::LParen | Token::LBracket => {
                let inside = Level::new(self.level.ways() * last.ways, !last.names_operator);
                self.around.push(std::mem::replace(&mut self.level, inside));
            }
            Token::RParen | Token::RBracket => {
                let around = self.around.pop().unwrap_or_else(|| Level::new(1, true));
                let closed = std::mem::replace(&mut self.level, around);
                self.last.is_operand = closed.is_operand;
            }
            Token::Comma | Token::SemiColon => {
                self.level = Level::new(self.level.around, self.level.is_operand);
            }
            Token::Period => self.level.periods += 1,
            _ if last.is_period => {}
            _ => self.level.periods = 0,
        }
        self.level.operators += usize::from(is_operator(token));
        self.level.check()?;
        self.interval(token)
    }

    /// A word after which all is read once more because of what stands before it.
    fn word(&mut self, word: Keyword, brackets: u64) {
        match word {
            // Where a table may be, each of the brackets before a query may be the query's or a join's.
            Keyword::FROM | Keyword::SELECT | Keyword::VALUES | Keyword::WITH => {
                let levels = std::iter::once(&mut self.level).chain(self.around.iter_mut().rev());
                for (level, times) in levels.zip((1..=brackets).rev()) {
                    level.around *= times;
                    level.ways *= times;
                }
            }
            // Of `CASE CASE WHEN` the second one may be what the first one compares.
            Keyword::CASE if self.last.beginning == Some(word) => {
                self.level.ways *= if self.level.cases > 0 { 2 } else { 1 };
                self.level.cases += 1;
            }
            Keyword::WHEN => self.level.cases = self.level.cases.saturating_sub(1),
            _ => {}
        }
    }

    fn interval(&mut self, token: &Token) -> Result<(), String> {
        match token {
            Token::Word(word) if word.keyword == Keyword::INTERVAL => {
                if self.after_interval {
                    return Err("an INTERVAL is of no INTERVAL".into());
                }
                self.after_interval = true;
            }
            Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) => {
                self.after_interval = false;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Level {
    const fn new(around: u64, is_operand: bool) -> Self {
        Self { around, ways: around, periods: 0, operators: 0, cases: 0, is_operand }
    }

    /// Ways to read what is at its end.
    const fn ways(&self) -> u64 {
        self.ways << self.periods
    }

    fn check(&self) -> Result<(), String> {
        if self.periods >= MOST_PARTS {
            return Err(format!("a name has more than {MOST_PARTS} parts"));
        }
        if self.ways() > MOST_WAYS {
            return Err(format!(
                "expressions are nested too deep: there are more than {MOST_WAYS} ways to read them"
            ));
        }
        if self.operators > LONGEST {
            return Err(format!("more than {LONGEST} operators follow each other"));
        }
        Ok(())
    }
}

impl Last {
    const fn new(is_operand: bool) -> Self {
        let (beginning, is_period, names_operator) = (None, false, false);
        Self { ways: 1, beginning, is_operand, is_period, brackets: 0, names_operator }
    }

    fn of(token: &Token, last: &Self) -> Self {
        match token {
            Token::Word(word) => Self::word(word.keyword, last.is_operand),
            Token::Period => Self { is_period: true, ..Self::new(false) },
            Token::LParen => Self { brackets: last.brackets + 1, ..Self::new(false) },
            // Where it is not between operands it stands for all columns.
            Token::Mul => Self::new(!last.is_operand),
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::Placeholder(_) => Self::new(true),
            _ => Self::new(false),
        }
    }

    fn word(word: Keyword, after_operand: bool) -> Self {
        let connects = after_operand && CONNECTING.contains(&word);
        let begins = !after_operand && BEGINNING.contains(&word);
        let is_operand = match word {
            // `a NOT IN (` goes on with the operand that was there before.
            Keyword::NOT => after_operand,
            _ => {
                !(CONNECTING.contains(&word)
                    || OPERATORS.contains(&word)
                    || BEGINNING.contains(&word)
                    || BEFORE_OPERANDS.contains(&word))
            }
        };
        Self {
            ways: if connects { 1 } else { ways(word) },
            beginning: begins.then_some(word),
            is_operand,
            is_period: false,
            brackets: 0,
            names_operator: word == Keyword::OPERATOR,
        }
    }
}

/// In how many ways the parser reads what comes after a word, where it finds a fault there: as what the word
/// begins, and as what is given to a function, which is read twice.
const fn ways(word: Keyword) -> u64 {
    match word {
        Keyword::POSITION => 5,
        Keyword::CURRENT_DATE
        | Keyword::CURRENT_TIME
        | Keyword::CURRENT_TIMESTAMP
        | Keyword::INTERVAL
        | Keyword::LOCALTIME
        | Keyword::LOCALTIMESTAMP => 4,
        Keyword::ARRAY
        | Keyword::CASE
        | Keyword::CAST
        | Keyword::CEIL
        | Keyword::CONVERT
        | Keyword::EXTRACT
        | Keyword::FLOOR
        | Keyword::NOT
        | Keyword::OVERLAY
        | Keyword::PRIOR
        | Keyword::SAFE_CAST
        | Keyword::SUBSTR
        | Keyword::SUBSTRING
        | Keyword::TRY_CAST
        | Keyword::TRY_CONVERT => 3,
        _ => 2,
    }
}

/// Whether a token goes on both with what a word begins and with the word as a name: `NOT - a` may be two
/// operators or one. What an interval is of has no operator between operands.
fn is_read_again(word: Keyword, token: &Token) -> bool {
    match token {
        Token::Word(next) => {
            word != Keyword::INTERVAL
                && (next.keyword == Keyword::NOT || OPERATORS.contains(&next.keyword))
        }
        Token::AtAt
        | Token::AtSign
        | Token::Minus
        | Token::Plus
        | Token::QuestionMarkDash
        | Token::QuestionPipe
        | Token::Sharp
        | Token::Tilde => true,
        _ => false,
    }
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

    #[test]
    fn a_name_has_so_many_parts() {
        let name = |parts: usize| vec!["b"; parts].join(". ");
        assert_eq!(checked(&format!("SELECT a FROM b WHERE {} = 1", name(12))), Ok(()));
        let sql =
            format!("SELECT ARRAY(SELECT a FROM t m JOIN u ON m.roleid = {}. \\ud800", name(35));
        assert_eq!(checked(&sql), Err("a name has more than 12 parts".to_owned()));
        for part in ["b[1].", "\"b\" .", "f(1, a).", "b /* b */ .", "'b'.", "NOT."] {
            let refused = checked(&format!("SELECT {}b", part.repeat(12)));
            assert_eq!(refused, Err("a name has more than 12 parts".to_owned()), "{part}");
        }
        let many = format!("SELECT {}a.b.c", "a.b.c + f(a.b.c), a.b.c d, ".repeat(500));
        assert_eq!(checked(&many), Ok(()));
        // One inside the other they are ways to read the same.
        let both = format!("SELECT {}{}", "f(".repeat(8), name(10));
        assert!(checked(&both).is_err());
        assert_eq!(checked(&format!("SELECT {}{}", "f(".repeat(8), name(4))), Ok(()));
    }

    #[test]
    fn words_that_may_be_names_too_are_seen_wherever_they_stand() {
        for begin in [
            "NOT - ",
            "NOT LIKE - ",
            "CASE ~ ",
            "a.INTERVAL - ",
            "CASE NOT LIKE - ",
            "NOT (a, ",
            "NOT (a OR ",
            "ANY (a, ",
            "a + ALL (",
            "- FROM (",
            "NOT ANY (a, ",
            "CASE WHERE (",
            "AND (DISTINCT ",
            "OR (a AT TIME ZONE ",
            "OR (a OPERATOR(pg_catalog.+) ",
            "a IN (SELECT - ",
            "INTERVAL (a - ",
            "CASE CASE WHEN a THEN ",
            "CASE NOT CASE WHEN a THEN ",
            "CASE f(a) + CASE WHEN b THEN 1 WHEN c THEN ",
            "a FROM ((SELECT ",
            "a, b FROM (((WITH c AS (SELECT 1) SELECT ",
            "a FROM (((SELECT 1) UNION SELECT b, c ",
        ] {
            assert!(checked(&format!("SELECT {}", begin.repeat(25))).is_err(), "{begin}");
        }
        // Each level of it is read five times.
        assert!(checked(&"POSITION(".repeat(8)).is_err());
        for sql in [
            "SELECT DISTINCT * FROM (".repeat(20),
            "SELECT a.*, b FROM c LEFT JOIN (".repeat(20),
            format!("SELECT a FROM {}SELECT 1{}", "(".repeat(40), ") UNION SELECT 2".repeat(40)),
            "CASE a WHEN CASE WHEN b THEN 1 END THEN CASE c WHEN 1 THEN 2 END END + ".repeat(100),
            format!("SELECT {}1", "a NOT IN (1, 2) AND b IS NOT NULL AND NOT c AND ".repeat(100)),
            format!("SELECT {}1", "NOT EXISTS (SELECT 1) AND a.interval > 1 OR ".repeat(100)),
            format!(
                "SELECT {}1",
                "INTERVAL '1 day' + CASE WHEN NOT a THEN -1 ELSE 1 END + ".repeat(100)
            ),
            "(a = E'b' AND (b = $1 OR (c[1] = 1 AND (f(d) = ANY ('{1}') OR (".repeat(4),
        ] {
            assert_eq!(checked(&sql), Ok(()), "{sql}");
        }
    }
}
