//! The terms of linked data, from the vocabularies that portals and searches know.

macro_rules! terms {
    ($(
        $vocabulary:ident $prefix:literal $address:literal:
        $($name:ident $term:literal),* $(,)?;
    )*) => {
        /// Every vocabulary's short name and address.
        pub(super) const PREFIXES: &[(&str, &str)] = &[$(($prefix, $address)),*];
        $(pub(super) mod $vocabulary {
            $(pub(crate) const $name: &str = concat!($address, $term);)*
        })*
    };
}

terms! {
    rdf "rdf" "http://www.w3.org/1999/02/22-rdf-syntax-ns#": TYPE "type";
    xsd "xsd" "http://www.w3.org/2001/XMLSchema#":
        DATE "date", MONTH "gYearMonth", INTEGER "integer", DECIMAL "decimal", BOOLEAN "boolean",
        LONG "nonNegativeInteger", HEX "hexBinary";
    dct "dct" "http://purl.org/dc/terms/":
        TITLE "title", DESCRIPTION "description", PUBLISHER "publisher", IDENTIFIER "identifier",
        LANGUAGE "language", LICENCE "license", ISSUED "issued", MODIFIED "modified",
        TEMPORAL "temporal", PERIOD "PeriodOfTime",
        FREQUENCY "accrualPeriodicity", SPATIAL "spatial", FORMAT "format", TYPE "type",
        CONFORMS_TO "conformsTo", SOURCE "source";
    dcat "dcat" "http://www.w3.org/ns/dcat#":
        CATALOG "Catalog", DATASET_CLASS "Dataset", DISTRIBUTION_CLASS "Distribution",
        DATASET "dataset", DISTRIBUTION "distribution", KEYWORD "keyword", THEME "theme",
        CONTACT_POINT "contactPoint", ACCESS_URL "accessURL", DOWNLOAD_URL "downloadURL",
        MEDIA_TYPE "mediaType", BYTE_SIZE "byteSize", LANDING_PAGE "landingPage",
        THEME_TAXONOMY "themeTaxonomy", START_DATE "startDate", END_DATE "endDate";
    dcatap "dcatap" "http://data.europa.eu/r5r/": AVAILABILITY "availability";
    foaf "foaf" "http://xmlns.com/foaf/0.1/":
        AGENT "Agent", NAME "name", HOMEPAGE "homepage";
    vcard "vcard" "http://www.w3.org/2006/vcard/ns#":
        KIND "Kind", NAME "fn", EMAIL "hasEmail";
    spdx "spdx" "http://spdx.org/rdf/terms#":
        CHECKSUM_CLASS "Checksum", CHECKSUM "checksum", ALGORITHM "algorithm",
        VALUE "checksumValue", SHA256 "checksumAlgorithm_sha256";
    skos "skos" "http://www.w3.org/2004/02/skos/core#":
        CONCEPT "Concept", LABEL "prefLabel", NOTATION "notation", SCHEME "ConceptScheme",
        IN_SCHEME "inScheme";
    org "org" "http://www.w3.org/ns/org#": ORGANIZATION "Organization";
    schema "schema" "http://schema.org/":
        SERVICE "GovernmentService", OFFICE "GovernmentOffice", PLACE "Place", URL "url",
        PROVIDER "provider", LOCATION "location", AREA "areaServed";
    geo "geo" "http://www.w3.org/2003/01/geo/wgs84_pos#":
        LATITUDE "lat", LONGITUDE "long";
    qb "qb" "http://purl.org/linked-data/cube#":
        OBSERVATION "Observation", DATASET "dataSet";
    eli "eli" "http://data.europa.eu/eli/ontology#": BASED_ON "based_on";
}
