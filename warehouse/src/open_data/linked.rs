//! Rows as linked data (RDF), written as Turtle and as JSON-LD.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::DataType,
};
use oxjsonld::JsonLdSerializer;
use oxrdf::{GraphNameRef, Literal, NamedNode, NamedOrBlankNode, Term, Triple};
use oxttl::TurtleSerializer;

use super::{
    Meaning, Publisher, Set,
    vocabulary::{PREFIXES, dct, qb, rdf, skos, xsd},
};
use crate::{error::WarehouseError, export::unwritten, session::Rows};

/// An address, with what may not stand in one written as `%` and two digits.
pub(super) fn address(text: &str) -> NamedNode {
    let stays = |c: char| c > ' ' && !"<>\"{}|\\^`".contains(c);
    NamedNode::new_unchecked(escaped(text, stays))
}

/// A part of an address.
fn part(text: &str) -> String {
    escaped(text, |c| c.is_ascii_alphanumeric() || "-._~".contains(c))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        if stays(character) {
            written.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    written
}

/// One statement.
pub(super) fn triple(subject: &NamedNode, predicate: &str, object: impl Into<Term>) -> Triple {
    let subject = NamedOrBlankNode::NamedNode(subject.clone());
    Triple::new(subject, NamedNode::new_unchecked(predicate), object.into())
}

/// A text of a language.
pub(super) fn in_language(text: &str, language: &str) -> Literal {
    Literal::new_language_tagged_literal_unchecked(text, language)
}

/// A value of a type.
pub(super) fn typed(text: impl Into<String>, data_type: &str) -> Literal {
    Literal::new_typed_literal(text, NamedNode::new_unchecked(data_type))
}

/// What a set's rows say.
pub(super) fn triples(
    set: &Set,
    rows: &Rows,
    publisher: &Publisher,
) -> Result<Vec<Triple>, WarehouseError> {
    let dataset = address(&format!("{}/dataset/{}", publisher.base, set.name));
    let mut triples = Vec::new();
    for batch in &rows.batches {
        let columns = set.columns.iter().map(|column| {
            let found = batch.column_by_name(column.name);
            let found =
                found.ok_or_else(|| unwritten("RDF", &format!("{} is missing", column.name)))?;
            cast(found, &DataType::Utf8).map_err(|error| unwritten("RDF", &error))
        });
        let columns = columns.collect::<Result<Vec<_>, WarehouseError>>()?;
        for row in 0..batch.num_rows() {
            let cells = Cells { set, columns: &columns, row };
            cells.say(&dataset, publisher, &mut triples);
        }
    }
    if set.columns.iter().any(|column| matches!(column.meaning, Meaning::Territory(_))) {
        territories(publisher, &mut triples);
    }
    Ok(triples)
}

/// What the codes of territories are codes of.
fn territories(publisher: &Publisher, into: &mut Vec<Triple>) {
    let scheme = address(&format!("{}/territory", publisher.base));
    into.push(triple(&scheme, rdf::TYPE, address(skos::SCHEME)));
    let [lv, en] = [
        "Administratīvo teritoriju un teritoriālo vienību klasifikators (ATVK)",
        "Classification of administrative territories and territorial units (ATVK)",
    ];
    into.push(triple(&scheme, skos::LABEL, in_language(lv, "lv")));
    into.push(triple(&scheme, skos::LABEL, in_language(en, "en")));
    into.push(triple(&scheme, skos::NOTATION, Literal::new_simple_literal("ATVK")));
}

struct Cells<'a> {
    set: &'a Set,
    columns: &'a [ArrayRef],
    row: usize,
}

impl Cells<'_> {
    fn all(&self) -> impl Iterator<Item = (&Meaning, &str)> {
        let cells = self.set.columns.iter().zip(self.columns);
        cells.filter_map(|(column, values)| {
            let there = !values.is_null(self.row);
            there.then(|| (&column.meaning, values.as_string::<i32>().value(self.row)))
        })
    }

    /// The address of what the row is about: its own, or one made of what tells it from the others.
    fn subject(&self, dataset: &NamedNode) -> NamedNode {
        let own = self.all().find(|(meaning, _)| **meaning == Meaning::Subject);
        if let Some((_, own)) = own {
            return address(own);
        }
        let keys = self
            .all()
            .filter(|(meaning, _)| matches!(meaning, Meaning::Key(_) | Meaning::Month(_)));
        let path = keys.map(|(_, text)| part(text)).collect::<Vec<_>>().join("/");
        address(&format!("{}/{path}", dataset.as_str()))
    }

    fn say(&self, dataset: &NamedNode, publisher: &Publisher, into: &mut Vec<Triple>) {
        let subject = self.subject(dataset);
        into.push(triple(&subject, rdf::TYPE, address(self.set.class)));
        let belongs = if self.set.class == qb::OBSERVATION { qb::DATASET } else { dct::SOURCE };
        into.push(triple(&subject, belongs, dataset.clone()));
        let own = |name: &str| format!("{}/def/{name}", publisher.base);
        for (meaning, text) in self.all() {
            let (predicate, object): (String, Term) = match meaning {
                Meaning::Subject | Meaning::Beside => continue,
                Meaning::Name(language) => (skos::LABEL.into(), in_language(text, language).into()),
                Meaning::Key(term) | Meaning::Text(term) => {
                    ((*term).into(), Literal::new_simple_literal(text).into())
                }
                Meaning::Link(term) => ((*term).into(), address(text).into()),
                Meaning::Basis(term) if text.starts_with("http") => {
                    ((*term).into(), address(text).into())
                }
                Meaning::Basis(term) => ((*term).into(), Literal::new_simple_literal(text).into()),
                Meaning::Territory(term) => {
                    let territory =
                        address(&format!("{}/territory/{}", publisher.base, part(text)));
                    let scheme = address(&format!("{}/territory", publisher.base));
                    let code = Literal::new_simple_literal(text);
                    into.push(triple(&territory, rdf::TYPE, address(skos::CONCEPT)));
                    into.push(triple(&territory, skos::NOTATION, code));
                    into.push(triple(&territory, skos::IN_SCHEME, scheme));
                    ((*term).into(), territory.into())
                }
                Meaning::Degrees(term) => ((*term).into(), typed(text, xsd::DECIMAL).into()),
                Meaning::Month(term) => (own(term), typed(text, xsd::MONTH).into()),
                Meaning::People(term) => (own(term), typed(text, xsd::INTEGER).into()),
                Meaning::Suppressed => (own("suppressed"), typed(text, xsd::BOOLEAN).into()),
            };
            into.push(triple(&subject, &predicate, object));
        }
    }
}

/// Statements as Turtle.
pub(super) fn turtle(triples: &[Triple]) -> Result<Vec<u8>, WarehouseError> {
    let failed = |error: &dyn std::fmt::Display| unwritten("Turtle", error);
    let mut serializer = TurtleSerializer::new();
    for (prefix, address) in PREFIXES {
        serializer = serializer.with_prefix(*prefix, *address).map_err(|error| failed(&error))?;
    }
    let mut writer = serializer.for_writer(Vec::new());
    for triple in triples {
        writer.serialize_triple(triple).map_err(|error| failed(&error))?;
    }
    writer.finish().map_err(|error| failed(&error))
}

/// Statements as JSON-LD.
pub(super) fn json(triples: &[Triple]) -> Result<Vec<u8>, WarehouseError> {
    let failed = |error: &dyn std::fmt::Display| unwritten("JSON-LD", error);
    let mut serializer = JsonLdSerializer::new();
    for (prefix, address) in PREFIXES {
        serializer = serializer.with_prefix(*prefix, *address).map_err(|error| failed(&error))?;
    }
    let mut writer = serializer.for_writer(Vec::new());
    for triple in triples {
        let quad = triple.as_ref().in_graph(GraphNameRef::DefaultGraph);
        writer.serialize_quad(quad).map_err(|error| failed(&error))?;
    }
    let mut bytes = writer.finish().map_err(|error| failed(&error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_what_they_may() {
        assert_eq!(address("https://a.lv/b c").as_str(), "https://a.lv/b%20c");
        assert_eq!(part("a/ā"), "a%2F%C4%81");
    }
}
