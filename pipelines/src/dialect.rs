//! Pipeline files: Arroyo's SQL dialect, read into statements.
//!
//! A file means the same on an Arroyo cluster and here, or it is refused with the construct named.
//! Queries are parsed whole by `sqlparser`; table definitions by hand over its tokens, because
//! `WATERMARK FOR`, `METADATA FROM` and the options of connectors are the dialect's own.
//!
//! What a cluster runs and this runtime does not is read all the same, since files are exported to
//! clusters: [`TableDefinition::refusal`] names it.

use std::time::Duration;

use sqlparser::{
    ast::{Query, Set, Statement as Ast, TableObject},
    dialect::GenericDialect,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use warehouse::nesting;

use crate::error::PipelineError;

mod column_type;
pub mod connector;
mod definition;
mod fault;
pub mod format;
mod interval;
mod options;
pub mod table;

use fault::Fault;
pub use {
    connector::Connector,
    table::{Column, Origin, TableDefinition, TableType, Watermark},
};

/// One statement of a pipeline file.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a file has a few of them, read once")]
pub enum Statement {
    /// `CREATE [TEMPORARY] TABLE …` that stands for something outside, or for a memory table.
    Table(TableDefinition),
    /// `CREATE VIEW … AS SELECT …`; `CREATE TABLE … AS SELECT …` is the same.
    View {
        /// Its name in queries.
        name: String,
        /// The query that it stands for.
        query: Box<Query>,
    },
    /// `INSERT INTO … SELECT …`.
    Insert {
        /// The table that rows go to.
        into: String,
        /// The query.
        query: Box<Query>,
    },
    /// A bare `SELECT`, whose rows are shown.
    Query(Box<Query>),
    /// `SET …`, which holds for the queries after it.
    Set(Setting),
}

/// What `SET` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `SET updating_ttl`: how long an updating query keeps what it has not seen again.
    UpdatingTtl(Duration),
}

/// The statements of a file.
///
/// # Errors
/// Where the text is not SQL, or says what is not the dialect's.
pub fn parse(file: &str, text: &str) -> Result<Vec<Statement>, PipelineError> {
    let dialect = GenericDialect {};
    let read = || {
        let mut tokens = Tokenizer::new(&dialect, text).tokenize_with_location()?;
        nesting::check(tokens.iter().map(|of| &of.token)).map_err(Fault::Wrong)?;
        // The dialect has no parameters: a question mark is the operator that asks for a key.
        for token in &mut tokens {
            if token.token == Token::Placeholder("?".into()) {
                token.token = Token::Question;
            }
        }
        let parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
        let mut reader = Reader { parser };
        let mut statements = Vec::new();
        loop {
            while reader.parser.consume_token(&Token::SemiColon) {}
            if reader.parser.peek_token().token == Token::EOF {
                return Ok(statements);
            }
            statements.push(reader.statement()?);
            match reader.parser.peek_token().token {
                Token::SemiColon | Token::EOF => {}
                other => return Err(Fault::Unsupported(format!("{other} after a statement"))),
            }
        }
    };
    read().map_err(|fault: Fault| fault.of(file))
}

struct Reader<'a> {
    parser: Parser<'a>,
}

impl Reader<'_> {
    fn statement(&mut self) -> Result<Statement, Fault> {
        let token = self.parser.peek_token().token;
        match &token {
            Token::Word(word) => match word.keyword {
                Keyword::CREATE => self.create(),
                Keyword::INSERT => self.insert(),
                Keyword::SET => self.set().map(Statement::Set),
                Keyword::SELECT | Keyword::WITH => Ok(Statement::Query(self.parser.parse_query()?)),
                _ => Err(Fault::Unsupported(format!("{token} as a statement"))),
            },
            Token::LParen => Ok(Statement::Query(self.parser.parse_query()?)),
            other => Err(Fault::Unsupported(format!("{other} as a statement"))),
        }
    }

    fn create(&mut self) -> Result<Statement, Fault> {
        self.parser.expect_keyword_is(Keyword::CREATE)?;
        if self.parser.parse_keyword(Keyword::VIEW) {
            let name = self.table_name()?;
            if self.parser.peek_token().token == Token::LParen {
                let construct = "a view's list of columns (name them in its query)";
                return Err(Fault::Unsupported(construct.into()));
            }
            self.parser.expect_keyword_is(Keyword::AS)?;
            return Ok(Statement::View { name, query: self.parser.parse_query()? });
        }
        let temporary = self.parser.parse_one_of_keywords(&[Keyword::TEMPORARY, Keyword::TEMP]);
        if !self.parser.parse_keyword(Keyword::TABLE) {
            let token = self.parser.peek_token();
            return Err(Fault::Unsupported(format!("CREATE {token}")));
        }
        let name = self.table_name()?;
        if self.parser.parse_keyword(Keyword::AS) {
            return Ok(Statement::View { name, query: self.parser.parse_query()? });
        }
        let read = self.definition(&name, temporary.is_some());
        Ok(Statement::Table(read.map_err(|fault| fault.in_table(&name))?))
    }

    fn insert(&mut self) -> Result<Statement, Fault> {
        let refused = |construct: &str| Fault::Unsupported(construct.to_owned());
        let Ast::Insert(insert) = self.parser.parse_statement()? else {
            return Err(refused("this form of INSERT"));
        };
        if !insert.columns.is_empty() {
            return Err(refused(
                "INSERT with a list of columns (select them in the table's order)",
            ));
        }
        let plain = insert.on.is_none() && insert.returning.is_none() && !insert.overwrite;
        match (insert.table, insert.source) {
            (TableObject::TableName(name), Some(query)) if plain => {
                Ok(Statement::Insert { into: name.to_string().to_lowercase(), query })
            }
            _ => Err(refused("INSERT other than INSERT INTO table SELECT")),
        }
    }

    fn set(&mut self) -> Result<Setting, Fault> {
        let Ast::Set(set) = self.parser.parse_statement()? else {
            return Err(Fault::Wrong("invalid syntax for `SET` call".into()));
        };
        let Set::SingleAssignment { scope: None, hivevar: false, variable, values } = set else {
            return Err(Fault::Wrong("invalid syntax for `SET` call".into()));
        };
        let option = variable.to_string();
        if option != "updating_ttl" {
            return Err(Fault::Wrong(format!(
                "invalid option '{option}'; supported options are 'updating_ttl'"
            )));
        }
        let [value] = values.as_slice() else {
            let reason = "invalid `SET updating_ttl` call; expected exactly one expression";
            return Err(Fault::Wrong(reason.into()));
        };
        interval::duration(value).map(Setting::UpdatingTtl).map_err(Fault::Wrong)
    }

    /// A table's name, which the dialect compares without regard to case.
    fn table_name(&mut self) -> Result<String, Fault> {
        let identifier = self.parser.parse_identifier()?;
        if self.parser.peek_token().token == Token::Period {
            return Err(Fault::Unsupported("a table's name with a schema".into()));
        }
        Ok(match identifier.quote_style {
            Some(_) => identifier.value,
            None => identifier.value.to_lowercase(),
        })
    }

    /// Takes a word that the tokeniser does not hold for a keyword.
    fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(&self.parser.peek_token().token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted));
        if found {
            self.parser.next_token();
        }
        found
    }

    fn words(&mut self, wanted: &[&str]) -> Result<(), Fault> {
        for word in wanted {
            if !self.word(word) {
                let token = self.parser.peek_token();
                let wanted = wanted.join(" ");
                return Err(Fault::Wrong(format!("expected {wanted}, but found {token}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
