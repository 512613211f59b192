//! The seven sets: what they are called, what their columns mean, and the query of each.

use super::vocabulary::{dct, eli, geo, org, qb, schema, skos};

/// A data set.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// Its name, and its files'.
    pub name: &'static str,
    /// Its title in Latvian and in English.
    pub title: [&'static str; 2],
    /// What it holds, in Latvian and in English.
    pub about: [&'static str; 2],
    /// Words to find it by, in Latvian and in English.
    pub keywords: [&'static [&'static str]; 2],
    /// How often it changes: a term of the EU's list of frequencies.
    pub frequency: &'static str,
    /// Its theme: a term of the EU's list of data themes.
    pub theme: &'static str,
    /// What a row is.
    pub class: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    pub(super) sql: &'static str,
    /// The query by how much a single person may change a count; by one where there is none.
    pub(super) most: Option<&'static str>,
}

/// A column of a set.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds, in Latvian and in English.
    pub about: [&'static str; 2],
    /// What it means in linked data.
    pub meaning: Meaning,
}

/// What a column means in linked data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The address of what the row is about.
    Subject,
    /// An identifier, by which a row without an address of its own is told from the others.
    Key(&'static str),
    /// A name in a language.
    Name(&'static str),
    /// A plain text.
    Text(&'static str),
    /// An address.
    Link(&'static str),
    /// An address where it is one, else a text.
    Basis(&'static str),
    /// The code of a territory (ATVK).
    Territory(&'static str),
    /// A number of degrees.
    Degrees(&'static str),
    /// A month.
    Month(&'static str),
    /// A count about people.
    People(&'static str),
    /// Whether a count is left empty.
    Suppressed,
    /// What a link says already; only for who reads the table.
    Beside,
}

const fn column(name: &'static str, about: [&'static str; 2], meaning: Meaning) -> Column {
    Column { name, about, meaning }
}

const URI: Column =
    column("uri", ["Pastāvīgā adrese", "Address that does not change"], Meaning::Subject);
const ID: Column = column("id", ["Identifikators", "Identifier"], Meaning::Key(dct::IDENTIFIER));
const NAME_LV: Column =
    column("name_lv", ["Nosaukums latviski", "Name in Latvian"], Meaning::Name("lv"));
const NAME_EN: Column =
    column("name_en", ["Nosaukums angliski", "Name in English"], Meaning::Name("en"));
const MERCHANT: Column =
    column("merchant_id", ["Tirgotājs", "Merchant"], Meaning::Text(schema::PROVIDER));
const MERCHANT_LV: Column = beside("merchant_name_lv", "Tirgotājs latviski", "Merchant in Latvian");
const MERCHANT_EN: Column = beside("merchant_name_en", "Tirgotājs angliski", "Merchant in English");
const SUPPRESSED: Column = column(
    "suppressed",
    ["Vai skaits nav rādīts, jo mazāks par 5", "Whether the count is not shown, being below 5"],
    Meaning::Suppressed,
);

const fn beside(name: &'static str, lv: &'static str, en: &'static str) -> Column {
    column(name, [lv, en], Meaning::Beside)
}

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../sql/open_data/", $name, ".sql"))
    };
}

/// Every data set.
pub const SETS: &[Set] = &[
    Set {
        name: "benefit-classifier",
        title: ["Atvieglojumu klasifikators", "Benefit classifier"],
        about: [
            "Valsts, pašvaldību un komersantu atvieglojumi: nosaukums, veids, devējs un tiesiskais pamats.",
            "Benefits of state, municipalities and merchants: name, kind, grantor and legal basis.",
        ],
        keywords: [&["atvieglojumi", "klasifikators"], &["benefits", "classifier"]],
        frequency: "IRREG",
        theme: "SOCI",
        class: skos::CONCEPT,
        columns: &[
            URI,
            ID,
            NAME_LV,
            NAME_EN,
            column("kind", ["Veids", "Kind"], Meaning::Text(dct::TYPE)),
            column(
                "legal_basis",
                ["Tiesiskais pamats", "Legal basis"],
                Meaning::Basis(eli::BASED_ON),
            ),
            column(
                "grantor_uri",
                ["Atvieglojuma devēja adrese", "Address of the grantor"],
                Meaning::Link(dct::PUBLISHER),
            ),
            beside("grantor_id", "Atvieglojuma devējs", "Grantor"),
            beside("grantor_name_lv", "Devēja nosaukums latviski", "Grantor's name in Latvian"),
            beside("grantor_name_en", "Devēja nosaukums angliski", "Grantor's name in English"),
        ],
        sql: sql!("benefit-classifier"),
        most: None,
    },
    Set {
        name: "means-issuers",
        title: ["Identifikācijas līdzekļu izsniedzēji", "Issuers of identification means"],
        about: [
            "Kas izsniedz identifikācijas līdzekļus atvieglojumu saņemšanai un kādus.",
            "Who issues means of identification for benefits, and of which kinds.",
        ],
        keywords: [&["identifikācija", "izsniedzēji"], &["identification", "issuers"]],
        frequency: "IRREG",
        theme: "GOVE",
        class: org::ORGANIZATION,
        columns: &[
            URI,
            ID,
            NAME_LV,
            NAME_EN,
            column(
                "kinds",
                ["Izsniegtie līdzekļu veidi", "Kinds of means it issues"],
                Meaning::Text(dct::TYPE),
            ),
        ],
        sql: sql!("means-issuers"),
        most: None,
    },
    Set {
        name: "ids-terminals",
        title: [
            "Identifikācijas un darījumu sistēmu termināļi",
            "Terminals of identification and transaction systems",
        ],
        about: [
            "Termināļi, kuros piemēro atvieglojumus, un to atrašanās vietas.",
            "Terminals at which benefits are given, and where they stand.",
        ],
        keywords: [&["termināļi", "tirdzniecības vietas"], &["terminals", "points of sale"]],
        frequency: "DAILY",
        theme: "ECON",
        class: schema::PLACE,
        columns: &[
            URI,
            ID,
            column("kind", ["Veids", "Kind"], Meaning::Text(dct::TYPE)),
            column("place_id", ["Vieta", "Place"], Meaning::Text(schema::LOCATION)),
            column("place_name_lv", ["Vieta latviski", "Place in Latvian"], Meaning::Name("lv")),
            column("place_name_en", ["Vieta angliski", "Place in English"], Meaning::Name("en")),
            column(
                "territory",
                ["Teritorija (ATVK)", "Territory (ATVK)"],
                Meaning::Territory(dct::SPATIAL),
            ),
            MERCHANT,
            MERCHANT_LV,
            MERCHANT_EN,
        ],
        sql: sql!("ids-terminals"),
        most: None,
    },
    Set {
        name: "identification-means",
        title: ["Identifikācijas līdzekļu skaits", "Number of identification means"],
        about: [
            "Derīgo identifikācijas līdzekļu skaits pa izsniedzējiem un veidiem; skaits, aiz kura ir mazāk par 5 cilvēkiem, nav rādīts.",
            "Means of identification in use by issuer and kind; a count behind which there are fewer than 5 people is not shown.",
        ],
        keywords: [&["identifikācija", "skaits"], &["identification", "count"]],
        frequency: "DAILY",
        theme: "SOCI",
        class: qb::OBSERVATION,
        columns: &[
            column(
                "issuer_uri",
                ["Izsniedzēja adrese", "Address of the issuer"],
                Meaning::Link(dct::PUBLISHER),
            ),
            column("issuer_id", ["Izsniedzējs", "Issuer"], Meaning::Key(dct::IDENTIFIER)),
            column("kind", ["Veids", "Kind"], Meaning::Key(dct::TYPE)),
            column("means", ["Līdzekļu skaits", "Number of means"], Meaning::People("means")),
            SUPPRESSED,
        ],
        sql: sql!("identification-means"),
        most: Some(sql!("most-means")),
    },
    Set {
        name: "e-services",
        title: ["Tirgotāju e-pakalpojumi", "E-services of merchants"],
        about: [
            "Tirgotāju e-pakalpojumi valsts portālā.",
            "Services of merchants on the state's portal.",
        ],
        keywords: [&["e-pakalpojumi", "portāls"], &["e-services", "portal"]],
        frequency: "DAILY",
        theme: "GOVE",
        class: schema::SERVICE,
        columns: &[
            URI,
            ID,
            NAME_LV,
            NAME_EN,
            column(
                "url",
                ["Pakalpojuma vietne", "Where the service is"],
                Meaning::Link(schema::URL),
            ),
            column(
                "login_basket",
                ["Pieteikšanās grozs", "Basket of sign-on"],
                Meaning::Text(dct::TYPE),
            ),
            MERCHANT,
            MERCHANT_LV,
            MERCHANT_EN,
        ],
        sql: sql!("e-services"),
        most: None,
    },
    Set {
        name: "remote-official-usage",
        title: ["Attālinātā ierēdņa izmantošana", "Use of the remote official"],
        about: [
            "Attālināto konsultāciju skaits pa mēnešiem, centriem un pakalpojumiem; skaits, kas mazāks par 5, nav rādīts.",
            "Remote consultations by month, centre and service; a count below 5 is not shown.",
        ],
        keywords: [
            &["attālinātais ierēdnis", "konsultācijas"],
            &["remote official", "consultations"],
        ],
        frequency: "MONTHLY",
        theme: "GOVE",
        class: qb::OBSERVATION,
        columns: &[
            column("month", ["Mēnesis", "Month"], Meaning::Month("month")),
            column(
                "centre_uri",
                ["Centra adrese", "Address of the centre"],
                Meaning::Link(schema::LOCATION),
            ),
            column("centre_id", ["Centrs", "Centre"], Meaning::Key(dct::IDENTIFIER)),
            beside("centre_name_lv", "Centrs latviski", "Centre in Latvian"),
            beside("centre_name_en", "Centrs angliski", "Centre in English"),
            column("service_id", ["Pakalpojums", "Service"], Meaning::Key(dct::TYPE)),
            column(
                "consultations",
                ["Konsultāciju skaits", "Number of consultations"],
                Meaning::People("consultations"),
            ),
            SUPPRESSED,
        ],
        sql: sql!("remote-official-usage"),
        most: None,
    },
    Set {
        name: "contact-points",
        title: [
            "Klientu apkalpošanas centru tīkla kontaktpunkti",
            "Contact points of the service centres' network",
        ],
        about: [
            "Valsts un pašvaldību vienotie klientu apkalpošanas centri, bibliotēkas un mobilās brigādes.",
            "Unified customer service centres of state and municipalities, libraries and mobile teams.",
        ],
        keywords: [
            &["klientu apkalpošanas centri", "bibliotēkas"],
            &["service centres", "libraries"],
        ],
        frequency: "IRREG",
        theme: "GOVE",
        class: schema::OFFICE,
        columns: &[
            URI,
            ID,
            NAME_LV,
            NAME_EN,
            column("kind", ["Veids", "Kind"], Meaning::Text(dct::TYPE)),
            column(
                "territory",
                ["Teritorija (ATVK)", "Territory (ATVK)"],
                Meaning::Territory(schema::AREA),
            ),
            column(
                "latitude",
                ["Ģeogrāfiskais platums, grādi", "Latitude, degrees"],
                Meaning::Degrees(geo::LATITUDE),
            ),
            column(
                "longitude",
                ["Ģeogrāfiskais garums, grādi", "Longitude, degrees"],
                Meaning::Degrees(geo::LONGITUDE),
            ),
        ],
        sql: sql!("contact-points"),
        most: None,
    },
];
