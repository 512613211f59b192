//! `CREATE TABLE`, after the table's name.

use sqlparser::{
    ast::{DataType as Sql, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value},
    keywords::Keyword,
    tokenizer::Token,
};

use super::{
    Reader, column_type,
    fault::Fault,
    options::Options,
    table::{Body, Column, Origin, TableDefinition, Watermark},
};

/// What Iceberg can partition by.
const TRANSFORMS: &[&str] =
    &["bucket", "truncate", "identity", "hour", "day", "month", "year", "void"];

/// Words with which a table's constraint may begin, where a column's name could.
const CONSTRAINTS: &[(&str, Keyword)] = &[
    ("CONSTRAINT", Keyword::CONSTRAINT),
    ("PRIMARY", Keyword::PRIMARY),
    ("UNIQUE", Keyword::UNIQUE),
    ("FOREIGN", Keyword::FOREIGN),
    ("CHECK", Keyword::CHECK),
];

impl Reader<'_> {
    pub(super) fn definition(
        &mut self,
        name: &str,
        temporary: bool,
    ) -> Result<TableDefinition, Fault> {
        let body = self.body()?;
        if let Token::Word(word) = self.parser.peek_token().token
            && word.keyword != Keyword::WITH
        {
            return Err(Fault::Unsupported(format!("{} after a table's columns", word.value)));
        }
        let options = Options::of(self.parser.parse_options(Keyword::WITH)?)?;
        let partitioned_by = self.partitioned_by()?;
        let definition = TableDefinition::of(name, temporary, body, options)?;
        Ok(TableDefinition { partitioned_by, ..definition })
    }

    fn body(&mut self) -> Result<Body, Fault> {
        let mut body = Body::default();
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(body);
        }
        loop {
            if self.watermark_follows() {
                let watermark = self.watermark()?;
                if body.watermark.replace(watermark).is_some() {
                    let reason = "Only one WATERMARK FOR constraint is allowed per table";
                    return Err(Fault::Wrong(reason.into()));
                }
            } else {
                self.refuse_constraint()?;
                let (column, primary) = self.column()?;
                if primary {
                    body.primary_key.push(column.name.clone());
                }
                body.columns.push(column);
            }
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.parser.expect_token(&Token::RParen)?;
        Ok(body)
    }

    /// A column may be called watermark, so the next word tells.
    fn watermark_follows(&mut self) -> bool {
        let words = [0, 1].map(|ahead| match self.parser.peek_nth_token(ahead).token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
            _ => String::new(),
        });
        words == ["WATERMARK", "FOR"]
    }

    fn watermark(&mut self) -> Result<Watermark, Fault> {
        self.words(&["WATERMARK", "FOR"])?;
        let column = self.parser.parse_identifier()?.value;
        let expression = match self.parser.parse_keyword(Keyword::AS) {
            true => Some(self.parser.parse_expr()?),
            false => None,
        };
        Ok(Watermark { column, expression })
    }

    /// The dialect knows no constraint of a table but the watermark.
    fn refuse_constraint(&mut self) -> Result<(), Fault> {
        let Token::Word(word) = self.parser.peek_token().token else { return Ok(()) };
        let unquoted = word.quote_style.is_none();
        let named = CONSTRAINTS.iter().find(|(_, keyword)| unquoted && *keyword == word.keyword);
        let Some(&(named, _)) = named else { return Ok(()) };
        // `check BOOLEAN` is a column, `CHECK (…)` a constraint.
        let follows = self.parser.peek_nth_token(1).token;
        let is_constraint = match named {
            "PRIMARY" | "FOREIGN" => {
                matches!(&follows, Token::Word(word) if word.keyword == Keyword::KEY)
            }
            "CONSTRAINT" => matches!(follows, Token::Word(_)),
            _ => follows == Token::LParen,
        };
        match named {
            _ if !is_constraint => Ok(()),
            "PRIMARY" => Err(Fault::Wrong(
                "Unsupported table constraint `PRIMARY KEY (…)`; write PRIMARY KEY after each of \
                 the columns"
                    .into(),
            )),
            other => Err(Fault::Wrong(format!("Unsupported table constraint `{other}`"))),
        }
    }

    fn column(&mut self) -> Result<(Column, bool), Fault> {
        let name = self.parser.parse_identifier()?.value;
        let sql_type = self.parser.parse_data_type()?;
        let data_type = column_type::arrow(&sql_type).map_err(Fault::Wrong)?;
        let json = matches!(sql_type, Sql::JSON);
        let mut column = Column { name, data_type, nullable: true, json, origin: Origin::Declared };
        let mut primary = false;
        loop {
            if self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                column.nullable = false;
            } else if self.parser.parse_keyword(Keyword::NULL) {
                // As it is.
            } else if self.parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
                primary = true;
            } else if self.word("GENERATED") {
                column.origin = self.generated()?;
            } else if self.word("METADATA") {
                self.words(&["FROM"])?;
                column.origin = Origin::Metadata { key: self.parser.parse_literal_string()? };
            } else {
                return match self.parser.peek_token().token {
                    Token::Comma | Token::RParen => Ok((column, primary)),
                    other => {
                        let construct = format!("{other} on column {}", column.name);
                        Err(Fault::Unsupported(construct))
                    }
                };
            }
        }
    }

    fn generated(&mut self) -> Result<Origin, Fault> {
        self.words(&["ALWAYS", "AS"])?;
        self.parser.expect_token(&Token::LParen)?;
        let expression = self.parser.parse_expr()?;
        self.parser.expect_token(&Token::RParen)?;
        self.word("STORED");
        Ok(match metadata_key(&expression) {
            Some(key) => Origin::Metadata { key },
            None => Origin::Generated { expression },
        })
    }

    fn partitioned_by(&mut self) -> Result<Vec<Expr>, Fault> {
        if !self.word("PARTITIONED") {
            return Ok(Vec::new());
        }
        self.words(&["BY"])?;
        self.parser.expect_token(&Token::LParen)?;
        let partitions = self.parser.parse_comma_separated(|parser| parser.parse_expr())?;
        self.parser.expect_token(&Token::RParen)?;
        for partition in &partitions {
            let Expr::Function(function) = partition else {
                let reason = format!("unexpected expression in PARTITION BY: {partition}");
                return Err(Fault::Wrong(reason));
            };
            let name = function.name.to_string();
            if !TRANSFORMS.contains(&name.as_str()) {
                return Err(Fault::Wrong(format!(
                    "unsupported iceberg transform function '{name}' in PARTITION BY"
                )));
            }
        }
        Ok(partitions)
    }
}

/// `metadata('key')`, the deprecated form of `METADATA FROM 'key'`.
fn metadata_key(expression: &Expr) -> Option<String> {
    let Expr::Function(function) = expression else { return None };
    if !function.name.to_string().eq_ignore_ascii_case("metadata") {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] = list.args.as_slice()
    else {
        return None;
    };
    match &value.value {
        Value::SingleQuotedString(key) => Some(key.clone()),
        _ => None,
    }
}
