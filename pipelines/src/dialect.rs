//! Pipeline files: the part of Arroyo's SQL dialect that runs here.
//!
//! A file means the same on an Arroyo cluster and here, or it is refused with the construct named.
//! Queries are parsed whole by `sqlparser`; table definitions by hand over its tokens, because
//! `WATERMARK FOR` and the options of connectors are the dialect's own.

use arrow::datatypes::{DataType, Field, Schema};
use sqlparser::{
    ast::{Expr, Query, Statement as Ast, TableObject},
    dialect::GenericDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use crate::error::PipelineError;

mod column_type;
mod options;

pub use options::Connector;

/// One statement of a pipeline file.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a file has two of them, read once")]
pub enum Statement {
    /// `CREATE TABLE … WITH (connector = …)`.
    Table(TableDefinition),
    /// `INSERT INTO … SELECT …`.
    Insert {
        /// The table that rows go to.
        into: String,
        /// The query.
        query: Box<Query>,
    },
}

/// A table that stands for a stream or for a table of the warehouse.
#[derive(Clone, Debug)]
pub struct TableDefinition {
    /// Its name in queries.
    pub name: String,
    /// Its columns; empty where they follow from what is inserted.
    pub columns: Vec<Column>,
    /// How event time is told, if it says.
    pub watermark: Option<Watermark>,
    /// What it stands for.
    pub connector: Connector,
}

/// A declared column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    /// The column that holds event time.
    pub column: String,
    /// The instant before which nothing more is waited for; the column itself where none is said.
    pub expression: Option<Expr>,
}

impl TableDefinition {
    /// The declared columns as a schema.
    #[must_use]
    pub fn schema(&self) -> Schema {
        let field =
            |column: &Column| Field::new(&column.name, column.data_type.clone(), column.nullable);
        Schema::new(self.columns.iter().map(field).collect::<Vec<_>>())
    }
}

/// The statements of a file.
///
/// # Errors
/// Where the text is not SQL, or says what does not run here.
pub fn parse(file: &str, text: &str) -> Result<Vec<Statement>, PipelineError> {
    let dialect = GenericDialect {};
    let parser = Parser::new(&dialect).try_with_sql(text);
    let mut reader = Reader { file, parser: parser.map_err(|source| failed(file, source))? };
    let mut statements = Vec::new();
    loop {
        while reader.parser.consume_token(&Token::SemiColon) {}
        if reader.parser.peek_token().token == Token::EOF {
            return Ok(statements);
        }
        statements.push(reader.statement()?);
    }
}

fn failed(file: &str, source: ParserError) -> PipelineError {
    PipelineError::Parse { file: file.to_owned(), source }
}

struct Reader<'a> {
    file: &'a str,
    parser: Parser<'a>,
}

impl Reader<'_> {
    fn statement(&mut self) -> Result<Statement, PipelineError> {
        if self.parser.parse_keyword(Keyword::CREATE) {
            return self.table().map(Statement::Table);
        }
        let token = self.parser.peek_token();
        match &token.token {
            Token::Word(word) if word.keyword == Keyword::INSERT => self.insert(),
            other => Err(self.unsupported(format!("{other} as a statement"))),
        }
    }

    fn insert(&mut self) -> Result<Statement, PipelineError> {
        let statement = self.parser.parse_statement().map_err(|source| self.failed(source))?;
        let Ast::Insert(insert) = statement else {
            return Err(self.unsupported("this form of INSERT".into()));
        };
        let plain = insert.columns.is_empty() && insert.on.is_none() && insert.returning.is_none();
        match (insert.table, insert.source) {
            (TableObject::TableName(name), Some(query)) if plain => {
                Ok(Statement::Insert { into: name.to_string().to_lowercase(), query })
            }
            _ => Err(self.unsupported("INSERT other than INSERT INTO table SELECT".into())),
        }
    }

    fn table(&mut self) -> Result<TableDefinition, PipelineError> {
        if !self.parser.parse_keyword(Keyword::TABLE) {
            let token = self.parser.peek_token();
            return Err(self.unsupported(format!("CREATE {token}")));
        }
        let name = self.identifier()?;
        let (mut columns, mut watermark) = (Vec::new(), None);
        if self.parser.consume_token(&Token::LParen) {
            loop {
                if self.word("WATERMARK") {
                    watermark = Some(self.watermark()?);
                } else {
                    columns.push(self.column()?);
                }
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.parser.expect_token(&Token::RParen).map_err(|source| self.failed(source))?;
        }
        if let Token::Word(word) = self.parser.peek_token().token
            && word.keyword != Keyword::WITH
        {
            return Err(self.unsupported(format!("{} after a table's columns", word.value)));
        }
        let options = self.parser.parse_options(Keyword::WITH);
        let options = options.map_err(|source| self.failed(source))?;
        if options.is_empty() {
            return Err(self.unsupported("a table without WITH (a memory table)".into()));
        }
        let connector = Connector::of(self.file, &name, options)?;
        Ok(TableDefinition { name, columns, watermark, connector })
    }

    fn watermark(&mut self) -> Result<Watermark, PipelineError> {
        self.parser.expect_keyword_is(Keyword::FOR).map_err(|source| self.failed(source))?;
        let column = self.identifier()?;
        let expression = if self.parser.parse_keyword(Keyword::AS) {
            Some(self.parser.parse_expr().map_err(|source| self.failed(source))?)
        } else {
            None
        };
        Ok(Watermark { column, expression })
    }

    fn column(&mut self) -> Result<Column, PipelineError> {
        let name = self.identifier()?;
        let sql_type = self.parser.parse_data_type().map_err(|source| self.failed(source))?;
        let data_type =
            column_type::arrow(&sql_type).map_err(|construct| self.unsupported(construct))?;
        let mut nullable = true;
        loop {
            if self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                nullable = false;
                continue;
            }
            match self.parser.peek_token().token {
                Token::Comma | Token::RParen => return Ok(Column { name, data_type, nullable }),
                other => return Err(self.unsupported(format!("{other} on column {name}"))),
            }
        }
    }

    fn identifier(&mut self) -> Result<String, PipelineError> {
        let identifier = self.parser.parse_identifier().map_err(|source| self.failed(source))?;
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

    fn failed(&self, source: ParserError) -> PipelineError {
        failed(self.file, source)
    }

    fn unsupported(&self, construct: String) -> PipelineError {
        PipelineError::Unsupported { file: self.file.to_owned(), construct }
    }
}

#[cfg(test)]
mod tests;
