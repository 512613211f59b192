//! The catalogue of the sets, as DCAT-AP 3 has it: portals read it and need no more.

use chrono::NaiveDate;
use oxrdf::{Literal, NamedNode, Triple};

use super::{
    Form, Published, Publisher, SETS, Set,
    linked::{address, in_language, triple, typed},
    vocabulary::{dcat, dcatap, dct, foaf, rdf, spdx, vcard, xsd},
};

/// The EU's lists of terms.
const LISTS: &str = "http://publications.europa.eu/resource/authority";

fn listed(list: &str, term: &str) -> NamedNode {
    address(&format!("{LISTS}/{list}/{term}"))
}

/// Everything that the catalogue says.
pub(super) fn triples(publisher: &Publisher, published: &[Published]) -> Vec<Triple> {
    let mut all = Triples { publisher, said: Vec::new() };
    let catalogue = address(&format!("{}/catalogue", publisher.base));
    all.say(&catalogue, rdf::TYPE, address(dcat::CATALOG));
    all.names(&catalogue, dct::TITLE, TITLE);
    all.names(&catalogue, dct::DESCRIPTION, ABOUT);
    all.say(&catalogue, dct::PUBLISHER, all.agent());
    all.say(&catalogue, dct::LICENCE, address(&publisher.licence));
    all.languages(&catalogue);
    all.say(&catalogue, dct::SPATIAL, listed("country", "LVA"));
    all.say(&catalogue, dcat::THEME_TAXONOMY, address(&format!("{LISTS}/data-theme")));
    all.say(&catalogue, foaf::HOMEPAGE, address(&publisher.files));
    all.dates(&catalogue, &published.iter().collect::<Vec<_>>());
    all.agent_itself();
    for set in SETS {
        let dataset = address(&format!("{}/dataset/{}", publisher.base, set.name));
        all.say(&catalogue, dcat::DATASET, dataset.clone());
        let files: Vec<_> = published.iter().filter(|file| file.set == set.name).collect();
        all.dataset(&dataset, set, &files);
    }
    all.said
}

const TITLE: [&str; 2] = [
    "Vienotās atvieglojumu informācijas sistēmas atvērtie dati",
    "Open data of the unified benefits information system",
];
const ABOUT: [&str; 2] = [
    "Atvieglojumi, to devēji, identifikācijas līdzekļi, termināļi, e-pakalpojumi un klientu apkalpošanas centru tīkls.",
    "Benefits, who grants them, means of identification, terminals, e-services and the network of service centres.",
];

struct Triples<'a> {
    publisher: &'a Publisher,
    said: Vec<Triple>,
}

impl Triples<'_> {
    fn say(&mut self, subject: &NamedNode, predicate: &str, object: impl Into<oxrdf::Term>) {
        self.said.push(triple(subject, predicate, object));
    }

    fn names(&mut self, subject: &NamedNode, predicate: &str, [lv, en]: [&str; 2]) {
        self.say(subject, predicate, in_language(lv, "lv"));
        self.say(subject, predicate, in_language(en, "en"));
    }

    fn languages(&mut self, subject: &NamedNode) {
        for language in ["LAV", "ENG"] {
            self.say(subject, dct::LANGUAGE, listed("language", language));
        }
    }

    fn day(&mut self, subject: &NamedNode, predicate: &str, day: NaiveDate) {
        self.say(subject, predicate, typed(day.to_string(), xsd::DATE));
    }

    /// When there was something of it for the first time, and when it last changed.
    fn dates(&mut self, subject: &NamedNode, files: &[&Published]) {
        if let Some(first) = files.iter().map(|file| file.issued).min() {
            self.day(subject, dct::ISSUED, first);
        }
        if let Some(newest) = files.iter().map(|file| file.modified).max() {
            self.day(subject, dct::MODIFIED, newest);
        }
    }

    /// What time a dataset is about: its months, or what holds since its rows last changed.
    fn period(&mut self, dataset: &NamedNode, files: &[&Published]) {
        let Some(rows) = files.iter().find(|file| file.form == Form::Csv) else { return };
        let period = address(&format!("{}/period", dataset.as_str()));
        self.say(dataset, dct::TEMPORAL, period.clone());
        self.say(&period, rdf::TYPE, address(dct::PERIOD));
        match rows.covers {
            Some([first, last]) => {
                self.day(&period, dcat::START_DATE, first);
                self.day(&period, dcat::END_DATE, last);
            }
            None => self.day(&period, dcat::START_DATE, rows.modified),
        }
    }

    fn agent(&self) -> NamedNode {
        address(&format!("{}/publisher", self.publisher.base))
    }

    fn agent_itself(&mut self) {
        let (agent, publisher) = (self.agent(), self.publisher);
        let [lv, en] = &publisher.name;
        self.say(&agent, rdf::TYPE, address(foaf::AGENT));
        self.names(&agent, foaf::NAME, [lv, en]);
        self.say(&agent, foaf::HOMEPAGE, address(&publisher.homepage));
        let kind = address("http://purl.org/adms/publishertype/NationalAuthority");
        self.say(&agent, dct::TYPE, kind);
        let contact = address(&format!("{}/contact", publisher.base));
        self.say(&contact, rdf::TYPE, address(vcard::KIND));
        self.names(&contact, vcard::NAME, [lv, en]);
        self.say(&contact, vcard::EMAIL, address(&publisher.contact));
    }

    fn dataset(&mut self, dataset: &NamedNode, set: &Set, files: &[&Published]) {
        self.say(dataset, rdf::TYPE, address(dcat::DATASET_CLASS));
        self.names(dataset, dct::TITLE, set.title);
        self.names(dataset, dct::DESCRIPTION, set.about);
        self.say(dataset, dct::IDENTIFIER, Literal::new_simple_literal(set.name));
        self.say(dataset, dct::PUBLISHER, self.agent());
        let contact = address(&format!("{}/contact", self.publisher.base));
        self.say(dataset, dcat::CONTACT_POINT, contact);
        for (words, language) in set.keywords.iter().zip(["lv", "en"]) {
            for word in *words {
                self.say(dataset, dcat::KEYWORD, in_language(word, language));
            }
        }
        self.say(dataset, dcat::THEME, listed("data-theme", set.theme));
        self.say(dataset, dct::FREQUENCY, listed("frequency", set.frequency));
        self.say(dataset, dct::SPATIAL, listed("country", "LVA"));
        self.languages(dataset);
        self.dates(dataset, files);
        self.period(dataset, files);
        let page = format!("{}/{}.csv", self.publisher.files, set.name);
        self.say(dataset, dcat::LANDING_PAGE, address(&page));
        for file in files {
            self.distribution(dataset, set, file);
        }
    }

    fn distribution(&mut self, dataset: &NamedNode, set: &Set, file: &Published) {
        // What the columns are is told of the CSV file, and is none of its own.
        let (format, media) = match file.form {
            Form::Csv => ("CSV", "text/csv"),
            Form::Turtle => ("RDF_TURTLE", "text/turtle"),
            Form::JsonLd => ("JSON_LD", "application/ld+json"),
            Form::Csvw => return,
        };
        let one = address(&format!("{}/{}", dataset.as_str(), file.form.ending()));
        let place = address(&format!("{}/{}", self.publisher.files, file.file));
        self.say(dataset, dcat::DISTRIBUTION, one.clone());
        self.say(&one, rdf::TYPE, address(dcat::DISTRIBUTION_CLASS));
        self.names(&one, dct::TITLE, set.title);
        let about = set.about.map(|about| format!("{about} ({format})"));
        self.names(&one, dct::DESCRIPTION, [&about[0], &about[1]]);
        self.say(&one, dcat::ACCESS_URL, place.clone());
        self.say(&one, dcat::DOWNLOAD_URL, place);
        self.say(&one, dct::LICENCE, address(&self.publisher.licence));
        self.say(&one, dct::FORMAT, listed("file-type", format));
        let media = format!("https://www.iana.org/assignments/media-types/{media}");
        self.say(&one, dcat::MEDIA_TYPE, address(&media));
        self.say(&one, dcat::BYTE_SIZE, typed(file.bytes.to_string(), xsd::LONG));
        self.dates(&one, &[file]);
        self.say(&one, dcatap::AVAILABILITY, listed("planned-availability", "STABLE"));
        self.languages(&one);
        if file.form == Form::Csv {
            let columns = format!("{}/{}.{}", self.publisher.files, set.name, Form::Csvw.ending());
            self.say(&one, dct::CONFORMS_TO, address(&columns));
        }
        let checksum = address(&format!("{}/checksum", one.as_str()));
        self.say(&one, spdx::CHECKSUM, checksum.clone());
        self.say(&checksum, rdf::TYPE, address(spdx::CHECKSUM_CLASS));
        self.say(&checksum, spdx::ALGORITHM, address(spdx::SHA256));
        self.say(&checksum, spdx::VALUE, typed(file.checksum.clone(), xsd::HEX));
    }
}
