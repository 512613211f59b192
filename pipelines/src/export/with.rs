//! `WITH (…)` of the tables of a file, found in its text.

use std::ops::Range;

use sqlparser::{
    ast::SqlOption,
    dialect::GenericDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use crate::error::PipelineError;

/// The text with what `change` makes of each table's options; all else as it stands.
///
/// # Errors
/// Where the text is not SQL.
pub fn replace(
    file: &str,
    text: &str,
    mut change: impl FnMut(Vec<SqlOption>) -> Vec<SqlOption>,
) -> Result<String, PipelineError> {
    let failed = |source| PipelineError::Parse { file: file.to_owned(), source };
    let mut changed = String::with_capacity(text.len());
    let mut end = 0;
    for clause in clauses(text).map_err(failed)? {
        let options = options(&text[clause.clone()]).map_err(failed)?;
        changed.push_str(&text[end..clause.start]);
        let lines = change(options).into_iter().map(|option| format!("\n  {option}"));
        let lines: Vec<_> = lines.collect();
        changed.push_str(&format!("WITH ({}\n)", lines.join(",")));
        end = clause.end;
    }
    changed.push_str(&text[end..]);
    Ok(changed)
}

fn options(clause: &str) -> Result<Vec<SqlOption>, ParserError> {
    Parser::new(&GenericDialect {}).try_with_sql(clause)?.parse_options(Keyword::WITH)
}

/// Where each table's clause stands, in bytes. `WITH` in a query stands in no `CREATE TABLE`.
fn clauses(text: &str) -> Result<Vec<Range<usize>>, ParserError> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location()?;
    let tokens = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let tokens: Vec<_> = tokens.collect();
    let mut clauses = Vec::new();
    for statement in tokens.split(|token| token.token == Token::SemiColon) {
        let words = statement.iter().take(3).map(|token| keyword(token));
        if !words.clone().any(|word| word == Keyword::TABLE) {
            continue;
        }
        let (mut depth, mut start) = (0_usize, None);
        for token in statement {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => {
                    depth = depth.saturating_sub(1);
                    if let Some(start) = start.filter(|_| depth == 0) {
                        clauses.push(start..byte(text, token.span.end));
                        break;
                    }
                }
                _ if depth > 0 => {}
                // `CREATE TABLE … AS` is a query.
                _ if keyword(token) == Keyword::AS => break,
                _ if keyword(token) == Keyword::WITH => {
                    start = Some(byte(text, token.span.start));
                }
                _ => {}
            }
        }
    }
    Ok(clauses)
}

fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// The byte of a place that the tokeniser tells in lines and characters from 1.
fn byte(text: &str, place: Location) -> usize {
    let count = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let lines = text.split_inclusive('\n').take(count(place.line));
    let before: usize = lines.map(str::len).sum();
    let characters = text[before..].chars().take(count(place.column));
    before + characters.map(char::len_utf8).sum::<usize>()
}
