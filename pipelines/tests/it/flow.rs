//! Windows, joins and updating queries: what they make, however their input is cut into batches and
//! however often everything gathered is saved and taken up again.

use std::{fmt::Write as _, fs};

use pipelines::files::{self, Kept, Settings};
use tempfile::TempDir;

/// A file's text over inputs, and its sink's rows in the order of their text.
pub struct Case {
    folder: TempDir,
    sources: String,
    format: &'static str,
}

impl Case {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, sources: String::new(), format: "json" }
    }

    /// Adds a source whose rows are lines of JSON.
    pub fn source(mut self, name: &str, columns: &str, lines: &[&str]) -> Self {
        let path = self.folder.path().join(format!("{name}.json"));
        fs::write(&path, lines.join("\n")).expect("an input");
        write!(
            self.sources,
            "CREATE TABLE {name} ({columns}) WITH (connector = 'single_file', path = '{}', \
             format = 'json', type = 'source');",
            path.display()
        )
        .expect("text");
        self
    }

    /// Sales of some minutes, as `"minute:second shop cents"`.
    fn sales(self, sales: &[&str]) -> Self {
        let lines: Vec<String> = sales.iter().map(|sale| sale_line(sale)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.source("sales", SALES, &lines)
    }

    fn updating(self) -> Self {
        self.written_as("debezium_json")
    }

    fn written_as(mut self, format: &'static str) -> Self {
        self.format = format;
        self
    }

    async fn once(&self, query: &str, settings: Settings) -> Result<(Vec<String>, u64), String> {
        let path = self.folder.path().join("out.json");
        let text = format!(
            "{} CREATE TABLE out WITH (connector = 'single_file', path = '{}', format = '{}', \
             type = 'sink'); INSERT INTO out {query};",
            self.sources,
            path.display(),
            self.format
        );
        let written = files::run("case", &text, settings).await.map_err(|e| e.to_string())?;
        let text = fs::read_to_string(&path).expect("an output");
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        Ok((lines, written[0].late))
    }

    /// The rows, which are the same in whatever batches, and how many were late.
    async fn rows_and_late(&self, query: &str) -> (Vec<String>, u64) {
        let whole = self.once(query, Settings::default()).await.expect("it runs");
        for batch in [1, 2, 3, 7] {
            for kept in [Kept::Not, Kept::Saved, Kept::Restored] {
                let cut = self.once(query, Settings { batch, kept }).await.expect("it runs");
                assert_eq!(cut, whole, "in batches of {batch}, kept: {kept:?}");
            }
        }
        whole
    }

    pub async fn rows(&self, query: &str) -> Vec<String> {
        let (rows, late) = self.rows_and_late(query).await;
        assert_eq!(late, 0, "nothing is late");
        rows
    }

    async fn refused(&self, query: &str) -> String {
        self.once(query, Settings::default()).await.expect_err("refused")
    }
}

const SALES: &str = "at TIMESTAMP NOT NULL, shop TEXT, cents BIGINT, WATERMARK FOR at";

fn sale_line(sale: &str) -> String {
    let mut parts = sale.split(' ');
    let mut part = || parts.next().expect("a part");
    let (at, shop, cents) = (part(), part(), part());
    let shop = if shop == "-" { "null".to_owned() } else { format!("\"{shop}\"") };
    format!(r#"{{"at":"2025-03-01T10:{at}Z","shop":{shop},"cents":{cents}}}"#)
}

fn window(start: &str, end: &str) -> String {
    format!(r#""start":"2025-03-01T10:{start}","end":"2025-03-01T10:{end}""#)
}

const BY_MINUTE: &str = "SELECT w.start AS start, w.end AS end, shop, n, cents FROM (
   SELECT tumble(INTERVAL '1 minute') AS w, shop, COUNT(*) AS n, SUM(cents) AS cents
   FROM sales GROUP BY w, shop)";

#[tokio::test]
async fn tumbling_windows_hold_their_start_and_not_their_end() {
    let case = Case::new().sales(&["00:00 a 1", "00:59.999 a 2", "01:00 a 4", "03:00 b 8"]);
    let row = |start, end, shop, n, cents| {
        format!(r#"{{{},"shop":"{shop}","n":{n},"cents":{cents}}}"#, window(start, end))
    };
    assert_eq!(
        case.rows(BY_MINUTE).await,
        [
            row("00:00", "01:00", "a", 2, 3),
            row("01:00", "02:00", "a", 1, 4),
            // The minute in which nothing happened has no row.
            row("03:00", "04:00", "b", 1, 8),
        ]
    );
}

#[tokio::test]
async fn decimals_keep_all_their_digits() {
    let lines = [r#"{"price":0.10}"#, r#"{"price":12345678901234567890.12}"#];
    let case = Case::new().source("prices", "price DECIMAL(38, 2)", &lines);
    assert_eq!(case.rows("SELECT price FROM prices").await, lines);
    let text = [r#"{"text":"0.10"}"#, r#"{"text":"12345678901234567890.12"}"#];
    assert_eq!(case.rows("SELECT CAST(price AS TEXT) AS text FROM prices").await, text);
}

#[tokio::test]
async fn a_column_of_json_holds_the_text_of_what_stands_there() {
    let lines = [r#"{"n":1,"p":{"a":[1, 2.50]}}"#, r#"{"p":"t","n":2}"#, r#"{"n":3,"p":null}"#];
    let case = Case::new().source("sales", "n INT, p JSON", &lines);
    let text = "SELECT n, p || ' ' AS p FROM sales WHERE n < 3";
    let wanted = [r#"{"n":1,"p":"{\"a\":[1, 2.50]} "}"#, r#"{"n":2,"p":"\"t\" "}"#];
    assert_eq!(case.rows(text).await, wanted);
    let first = "SELECT p -> 'a' ->> 0 AS first FROM sales WHERE n = 1";
    assert_eq!(case.rows(first).await, [r#"{"first":"1"}"#]);
}

#[tokio::test]
async fn a_line_is_one_object() {
    for (line, told) in [
        (r#"{"cents":1}{"cents":2}"#, "trailing characters"),
        (r#"{"cents":1"#, "EOF while parsing"),
        (r#"{"cents":1,"unread":1.2.3}"#, "expected `,` or `}`"),
        ("[1]", "expected {"),
    ] {
        let case = Case::new().source("sales", "cents BIGINT", &[r#"{"cents":1}"#, line]);
        let refused = case.refused("SELECT cents FROM sales").await;
        assert!(refused.contains(told), "{line}: {refused}");
    }
}

#[tokio::test]
async fn what_was_saved_is_still_gathered() {
    // The set of a COUNT(DISTINCT text) is given away when it tells its state.
    let case =
        Case::new().sales(&["00:10 a 1", "00:20 b 2", "00:30 a 4", "00:40 c 8", "09:00 a 1"]);
    let query = "SELECT w.start AS start, w.end AS end, shops, first FROM (
       SELECT session(INTERVAL '2 minutes') AS w, COUNT(DISTINCT shop) AS shops,
              FIRST_VALUE(shop) AS first
       FROM sales GROUP BY w)";
    let row =
        |start, end, shops| format!(r#"{{{},"shops":{shops},"first":"a"}}"#, window(start, end));
    assert_eq!(case.rows(query).await, [row("00:10", "02:40", 3), row("09:00", "11:00", 1)]);
}

#[tokio::test]
async fn a_null_key_is_a_key_of_its_own() {
    let case = Case::new().sales(&["00:01 - 1", "00:02 a 2", "00:03 - 4"]);
    assert_eq!(
        case.rows("SELECT shop, n FROM (SELECT tumble('1 minute') AS w, shop, COUNT(*) AS n FROM sales GROUP BY w, shop)").await,
        [r#"{"shop":"a","n":1}"#, r#"{"shop":null,"n":2}"#]
    );
}

#[tokio::test]
async fn what_a_table_generates_is_filtered_and_joined_by() {
    let lines = ["00:01 a 1", "00:02 b 2", "00:03 a 4"].map(sale_line);
    let columns = "at TIMESTAMP NOT NULL, shop TEXT, cents BIGINT, \
                   loud TEXT GENERATED ALWAYS AS (upper(shop)) STORED, \
                   twice BIGINT GENERATED ALWAYS AS (cents * 2), WATERMARK FOR at";
    let case = Case::new().source("sales", columns, &lines.each_ref().map(String::as_str));
    let cases: [(&str, &[&str]); 7] = [
        ("SELECT loud FROM sales WHERE loud = 'B'", &[r#"{"loud":"B"}"#]),
        ("SELECT loud FROM sales WHERE shop = 'b'", &[r#"{"loud":"B"}"#]),
        ("SELECT cents FROM sales WHERE twice > 4", &[r#"{"cents":4}"#]),
        (
            "SELECT loud, upper(shop) AS again, twice FROM sales WHERE loud = 'A' AND cents > 1",
            &[r#"{"loud":"A","again":"A","twice":8}"#],
        ),
        ("SELECT s.loud AS loud FROM sales AS s WHERE s.loud = 'B'", &[r#"{"loud":"B"}"#]),
        (
            "SELECT loud, n FROM (SELECT tumble('1 minute') AS w, loud, COUNT(*) AS n FROM sales
             WHERE twice > 2 GROUP BY w, loud)",
            &[r#"{"loud":"A","n":1}"#, r#"{"loud":"B","n":1}"#],
        ),
        (
            "SELECT a.cents AS one, b.twice AS other FROM sales a JOIN sales b ON a.loud = b.loud
             WHERE a.loud = 'A' AND b.cents > 1",
            &[r#"{"one":1,"other":8}"#, r#"{"one":4,"other":8}"#],
        ),
    ];
    for (query, wanted) in cases {
        assert_eq!(case.rows(query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn a_file_that_says_no_event_time_has_that_of_its_reading() {
    let lines = ["00:01 a 1", "59:00 b 2"].map(sale_line);
    let lines = lines.each_ref().map(|line| line.replace("\"at\"", "\"event_time\""));
    for columns in [
        "event_time TIMESTAMP, cents BIGINT",
        "event_time TEXT, cents BIGINT",
        "cents BIGINT, event_time BIGINT GENERATED ALWAYS AS (cents)",
    ] {
        let case = Case::new().source("sales", columns, &lines.each_ref().map(String::as_str));
        let query = "SELECT n, cents FROM (SELECT tumble('1 minute') AS w, COUNT(*) AS n,
              SUM(cents) AS cents FROM sales GROUP BY w)";
        assert_eq!(case.rows(query).await, [r#"{"n":2,"cents":3}"#], "{columns}");
    }
}

#[tokio::test]
async fn values_are_written_as_the_format_says() {
    let columns = "at TIMESTAMP NOT NULL, price DECIMAL(38, 2), WATERMARK FOR at";
    let lines = [
        r#"{"at":"2025-03-01T10:00:00.5Z","price":"-123456789012345678901234567890123456.78"}"#,
        r#"{"at":"2025-03-01T10:00:01Z"}"#,
    ];
    let query =
        "SELECT at, CAST(at AS DATE) AS day, price, CAST('avis' AS BYTEA) AS name FROM sales";
    // Big-endian, sixteen bytes, as Kafka Connect has decimals.
    let (at, digits, bytes) = (
        r#""at":"2025-03-01T10:00:00.500","day":"2025-03-01""#,
        "-123456789012345678901234567890123456.78",
        "9rZPCQ/9zOw7tm+vIccMsg==",
    );
    let millis = r#""at":1740823200500,"day":1740787200000"#;
    for (format, row) in [
        ("json", format!(r#"{{{at},"price":{digits},"name":"YXZpcw=="}}"#)),
        (
            "json', 'json.decimal_encoding' = 'string', 'json.timestamp_format' = 'unix_millis",
            format!(r#"{{{millis},"price":"{digits}","name":"YXZpcw=="}}"#),
        ),
        (
            "json', 'json.decimal_encoding' = 'bytes",
            format!(r#"{{{at},"price":"{bytes}","name":"YXZpcw=="}}"#),
        ),
        (
            "debezium_json",
            format!(
                r#"{{"before":null,"after":{{{millis},"price":"{bytes}","name":"YXZpcw=="}},"op":"c"}}"#
            ),
        ),
    ] {
        let case = Case::new().source("sales", columns, &lines).written_as(format);
        let rows = case.rows(query).await;
        assert_eq!(rows[0], row, "{format}");
        assert!(rows[1].contains(r#""price":null"#), "{format}: {}", rows[1]);
    }
}

#[tokio::test]
async fn a_row_in_the_watermarks_own_window_is_not_late_and_one_before_is() {
    // At the third row the watermark is 10:01:30: 10:01:00 is in its window, 10:00:59 is before it.
    let case = Case::new().sales(&["00:10 a 1", "01:30 a 2", "01:00 a 4", "00:59 a 8"]);
    let (rows, late) = case.rows_and_late(BY_MINUTE).await;
    assert_eq!(late, 1);
    assert_eq!(rows.len(), 2);
    assert!(rows[0].contains(r#""n":1,"cents":1"#), "{rows:?}");
    assert!(rows[1].contains(r#""n":2,"cents":6"#), "{rows:?}");
}

#[tokio::test]
async fn hops_overlap_and_begin_before_the_first_row() {
    let case = Case::new().sales(&["00:30 a 1", "01:30 a 2", "04:30 a 4"]);
    let query = "SELECT w.start AS start, w.end AS end, cents FROM (
       SELECT hop(INTERVAL '1 minute', INTERVAL '2 minutes') AS w, SUM(cents) AS cents
       FROM sales GROUP BY w)";
    let row = |start, end, cents| format!(r#"{{{},"cents":{cents}}}"#, window(start, end));
    let first = r#"{"start":"2025-03-01T09:59:00","end":"2025-03-01T10:01:00","cents":1}"#;
    assert_eq!(
        case.rows(query).await,
        [
            first.to_owned(),
            row("00:00", "02:00", 3),
            row("01:00", "03:00", 2),
            row("03:00", "05:00", 4),
            row("04:00", "06:00", 4),
        ]
    );
}

#[tokio::test]
async fn a_hop_is_what_adding_up_all_its_rows_gives() {
    // Every aggregate of every window, against sums over all rows.
    let sales: Vec<String> = (0..240_u32)
        .map(|at| {
            format!(
                "{:02}:{:02} {} {at}",
                at * 7 / 60 % 60,
                at * 7 % 60,
                ["a", "b", "c"][at as usize * 5 % 3]
            )
        })
        .collect();
    let texts: Vec<&str> = sales.iter().map(String::as_str).collect();
    let case = Case::new().sales(&texts);
    let query = "SELECT w.start AS start, w.end AS end, shop, n, cents, most, shops FROM (
       SELECT hop('1 minute', '7 minutes') AS w, shop, COUNT(*) AS n, SUM(cents) AS cents,
              MAX(cents) AS most, COUNT(DISTINCT cents % 10) AS shops
       FROM sales GROUP BY w, shop)";
    let rows = case.rows(query).await;
    let mut wanted = Vec::new();
    for end in 1..36_i64 {
        for shop in ["a", "b", "c"] {
            let held = (0..240_i64).filter(|at| {
                ["a", "b", "c"][usize::try_from(at * 5 % 3).expect("small")] == shop
                    && (at * 7 >= (end - 7) * 60)
                    && at * 7 < end * 60
            });
            let held: Vec<i64> = held.collect();
            let Some(most) = held.iter().max() else { continue };
            let (n, cents) = (held.len(), held.iter().sum::<i64>());
            let digits: std::collections::BTreeSet<i64> = held.iter().map(|at| at % 10).collect();
            let at = |minute: i64| {
                let (hour, minute) = (10 + minute.div_euclid(60), minute.rem_euclid(60));
                format!("2025-03-01T{hour:02}:{minute:02}:00")
            };
            wanted.push(format!(
                r#"{{"start":"{}","end":"{}","shop":"{shop}","n":{n},"cents":{cents},"most":{most},"shops":{}}}"#,
                at(end - 7), at(end), digits.len()
            ));
        }
    }
    wanted.sort();
    assert_eq!(rows, wanted);
}

#[tokio::test]
async fn a_session_ends_a_gap_after_its_last_row_and_a_late_join_merges_two() {
    // 00:40 comes after 00:50 and joins 00:25 and 00:50 into one session of 20 seconds' gap.
    let columns = "at TIMESTAMP NOT NULL, shop TEXT, cents BIGINT, \
                   WATERMARK FOR at AS at - INTERVAL '15 seconds'";
    let sales = ["00:25 a 1", "00:50 a 2", "00:40 a 4", "01:10 a 8", "02:00 b 16"];
    let lines: Vec<String> = sales.iter().map(|sale| sale_line(sale)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let case = Case::new().source("sales", columns, &lines);
    let query = "SELECT w.start AS start, w.end AS end, shop, n, cents FROM (
       SELECT session(INTERVAL '20 seconds') AS w, shop, COUNT(*) AS n, SUM(cents) AS cents
       FROM sales GROUP BY w, shop)";
    let row = |start, end, shop, n, cents| {
        format!(r#"{{{},"shop":"{shop}","n":{n},"cents":{cents}}}"#, window(start, end))
    };
    assert_eq!(
        case.rows(query).await,
        [
            row("00:25", "01:10", "a", 3, 7),
            // Exactly a gap later is another session.
            row("01:10", "01:30", "a", 1, 8),
            row("02:00", "02:20", "b", 1, 16),
        ]
    );
}

#[tokio::test]
async fn the_best_of_each_window_is_found_by_row_number() {
    let case =
        Case::new().sales(&["00:01 a 1", "00:02 b 3", "00:03 a 1", "01:01 c 1", "01:02 a 9"]);
    let query = "SELECT start, shop, cents FROM (
       SELECT w.start AS start, shop, cents,
              ROW_NUMBER() OVER (PARTITION BY w ORDER BY cents DESC) AS place
       FROM (SELECT tumble('1 minute') AS w, shop, SUM(cents) AS cents FROM sales GROUP BY w, shop))
     WHERE place = 1";
    assert_eq!(
        case.rows(query).await,
        [
            r#"{"start":"2025-03-01T10:00:00","shop":"b","cents":3}"#,
            r#"{"start":"2025-03-01T10:01:00","shop":"a","cents":9}"#,
        ]
    );
}

#[tokio::test]
async fn an_aggregate_over_windows_is_of_the_same_window() {
    let case = Case::new().sales(&["00:01 a 1", "00:02 b 3", "00:03 a 1", "01:01 c 1"]);
    let passed = "SELECT w.start AS start, shops FROM (SELECT w, COUNT(*) AS shops FROM (
       SELECT tumble('1 minute') AS w, shop, COUNT(*) AS n FROM sales GROUP BY w, shop) GROUP BY w)";
    let wanted = [
        r#"{"start":"2025-03-01T10:00:00","shops":2}"#,
        r#"{"start":"2025-03-01T10:01:00","shops":1}"#,
    ];
    assert_eq!(case.rows(passed).await, wanted);
    let called = "SELECT w.start AS start, shops FROM (
       SELECT tumble('1 minute') AS w, COUNT(*) AS shops FROM (
         SELECT shop, COUNT(*) AS n FROM sales GROUP BY shop, tumble('1 minute')) GROUP BY w)";
    assert_eq!(case.rows(called).await, wanted);
    let other = called.replacen("1 minute", "1 hour", 1);
    assert!(case.refused(&other).await.contains("window in group by does not match input window"));
    let dropped = "SELECT shop, MAX(n) AS n FROM (
       SELECT tumble('1 minute') AS w, shop, COUNT(*) AS n FROM sales GROUP BY w, shop) GROUP BY shop";
    assert!(case.refused(dropped).await.contains("must have window in aggregate"));
}

#[tokio::test]
async fn windows_are_joined_whole_and_an_outer_join_keeps_the_lonely() {
    let case = Case::new().sales(&["00:01 a 1", "00:02 b 2", "01:01 a 4", "03:00 a 0"]).source(
        "visits",
        SALES,
        &[&sale_line("00:30 a 10"), &sale_line("01:30 b 20"), &sale_line("03:00 a 0")],
    );
    let join = |kind: &str| {
        format!(
            "SELECT s.w.start AS start, s.shop AS shop, s.cents AS sold, v.cents AS visited FROM (
               SELECT tumble('1 minute') AS w, shop, SUM(cents) AS cents FROM sales
               GROUP BY w, shop) s
             {kind} JOIN (
               SELECT tumble('1 minute') AS w, shop, SUM(cents) AS cents FROM visits
               GROUP BY w, shop) v
             ON s.w = v.w AND s.shop = v.shop"
        )
    };
    let inner = case.rows(&join("INNER")).await;
    assert_eq!(
        inner,
        [
            r#"{"start":"2025-03-01T10:00:00","shop":"a","sold":1,"visited":10}"#,
            r#"{"start":"2025-03-01T10:03:00","shop":"a","sold":0,"visited":0}"#,
        ]
    );
    let left = case.rows(&join("LEFT")).await;
    assert_eq!(left.len(), 4);
    let lonely = r#"{"start":"2025-03-01T10:01:00","shop":"a","sold":4,"visited":null}"#;
    assert!(left.contains(&lonely.to_owned()), "{left:?}");
    let full = case.rows(&join("FULL OUTER")).await;
    assert_eq!(full.len(), 5);
    let lonely = r#"{"start":null,"shop":null,"sold":null,"visited":20}"#;
    assert!(full.contains(&lonely.to_owned()), "{full:?}");
}

#[tokio::test]
async fn rows_meet_within_the_time_to_live() {
    let case = Case::new().sales(&["00:01 a 1", "00:30 b 2", "40:00 a 4"]).source(
        "visits",
        SALES,
        &[&sale_line("00:05 a 10"), &sale_line("39:00 a 20")],
    );
    let query = "SELECT s.cents AS sold, v.cents AS visited FROM sales s \
                 JOIN visits v ON s.shop = v.shop";
    assert_eq!(
        case.rows(query).await,
        [
            r#"{"sold":1,"visited":10}"#,
            r#"{"sold":1,"visited":20}"#,
            r#"{"sold":4,"visited":10}"#,
            r#"{"sold":4,"visited":20}"#,
        ]
    );
    let outer = query.replace(" JOIN", " LEFT JOIN");
    assert!(case.refused(&outer).await.contains("can't handle non-inner joins without windows"));
}

#[tokio::test]
async fn a_late_row_meets_what_is_kept_by_the_time_that_its_partition_told() {
    // Told that it is 20:30, rows before 10:30 are past their time: 10:20 is, 10:40 is not.
    let visits = ["20:00 b 10", "20:30 b 20", "10:25 a 30"].map(sale_line);
    let visits = visits.each_ref().map(String::as_str);
    let mut case = Case::new()
        .sales(&["10:20 a 1", "10:40 a 2", "20:00 b 4", "20:30 b 8", "20:31 b 16"])
        .source("visits", SALES, &visits);
    case.sources.insert_str(0, "SET updating_ttl = INTERVAL '10 minutes';");
    let query = "SELECT s.cents AS sold, v.cents AS visited FROM sales s \
                 JOIN visits v ON s.shop = v.shop";
    let row = |sold, visited| format!(r#"{{"sold":{sold},"visited":{visited}}}"#);
    assert_eq!(
        case.rows(query).await,
        [row(16, 10), row(16, 20), row(2, 30), row(4, 10), row(4, 20), row(8, 10), row(8, 20)]
    );
}

/// The rows that stand in the end.
fn standing(lines: &[String]) -> Vec<String> {
    let mut rows: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
    for line in lines {
        let change: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for (side, count) in [("before", -1), ("after", 1)] {
            if change[side].is_object() {
                let row: std::collections::BTreeMap<String, serde_json::Value> =
                    serde_json::from_value(change[side].clone()).expect("a row");
                let row = serde_json::to_string(&row).expect("JSON");
                *rows.entry(row).or_default() += count;
            }
        }
    }
    rows.retain(|_, count| *count != 0);
    assert!(rows.values().all(|count| *count == 1), "{rows:?}");
    rows.into_keys().collect()
}

#[tokio::test]
async fn an_updating_aggregate_takes_back_what_it_said() {
    let case = Case::new().sales(&["00:01 a 1", "00:02 b 2", "00:03 a 4", "00:04 - 8"]).updating();
    let query = "SELECT shop, COUNT(*) AS n, SUM(cents) AS cents,
              COUNT(DISTINCT CAST(cents AS TEXT)) AS amounts FROM sales GROUP BY shop";
    let wanted = [
        r#"{"amounts":1,"cents":2,"n":1,"shop":"b"}"#,
        r#"{"amounts":1,"cents":8,"n":1,"shop":null}"#,
        r#"{"amounts":2,"cents":5,"n":2,"shop":"a"}"#,
    ];
    for batch in [1, 3, 1_024] {
        for kept in [Kept::Not, Kept::Saved, Kept::Restored] {
            let (rows, _) = case.once(query, Settings { batch, kept }).await.expect("it runs");
            assert_eq!(standing(&rows), wanted, "in batches of {batch}, kept: {kept:?}");
        }
    }
    // What an aggregate takes back leaves the aggregate over it.
    let over = "SELECT n, COUNT(*) AS shops, MAX(cents) AS most FROM (
       SELECT shop, COUNT(*) AS n, SUM(cents) AS cents FROM sales GROUP BY shop) GROUP BY n";
    for batch in [1, 3, 1_024] {
        for kept in [Kept::Not, Kept::Saved, Kept::Restored] {
            let (rows, _) = case.once(over, Settings { batch, kept }).await.expect("it runs");
            let wanted = [r#"{"most":5,"n":2,"shops":1}"#, r#"{"most":8,"n":1,"shops":2}"#];
            assert_eq!(standing(&rows), wanted, "in batches of {batch}, kept: {kept:?}");
        }
    }
}

#[tokio::test]
async fn what_has_no_meaning_over_a_stream_is_refused() {
    let case = Case::new().sales(&["00:01 a 1"]);
    for (query, message) in [
        ("SELECT shop FROM sales ORDER BY shop", "ORDER BY is not currently supported"),
        ("SELECT shop FROM sales LIMIT 1", "LIMIT is not currently supported"),
        (
            "SELECT tumble('1 minute') AS w, shop FROM sales",
            "without grouping by it in an aggregate",
        ),
        (
            "SELECT hop('40 seconds', '1 minute') AS w, COUNT(*) AS n FROM sales GROUP BY w",
            "hop() width 60s currently must be a multiple of slide 40s",
        ),
        (
            "SELECT tumble('1 month') AS w, COUNT(*) AS n FROM sales GROUP BY w",
            "cannot have months",
        ),
        (
            "SELECT shop, ROW_NUMBER() OVER (PARTITION BY shop ORDER BY cents) AS n FROM sales",
            "Window functions require already windowed input",
        ),
        ("SELECT shop, COUNT(*) AS n FROM sales GROUP BY shop", "its rows are updated"),
        ("SELECT shop FROM nowhere", "nowhere"),
    ] {
        let refused = case.refused(query).await;
        assert!(refused.contains(message), "{query}: {refused}");
    }
}

#[tokio::test]
async fn days_are_local_across_daylight_saving() {
    // 30 March 2025 has 23 hours in Riga.
    let line = |at: &str| format!(r#"{{"at":"{at}","shop":"a","cents":1}}"#);
    let lines = [
        "2025-03-29T21:59:00Z",
        "2025-03-29T22:00:00Z",
        "2025-03-30T20:59:00Z",
        "2025-03-30T21:00:00Z",
    ];
    let lines: Vec<String> = lines.iter().map(|at| line(at)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let case = Case::new().source("sales", SALES, &lines);
    let query = "SELECT CAST(day AS TEXT) AS day, SUM(n) AS n FROM (
       SELECT 1 AS n,
         date_trunc('day', to_local_time(at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Riga')) AS day
       FROM sales) GROUP BY day";
    let case = case.updating();
    let (rows, _) = case.once(query, Settings::default()).await.expect("it runs");
    assert_eq!(
        standing(&rows),
        [
            r#"{"day":"2025-03-29T00:00:00","n":1}"#,
            r#"{"day":"2025-03-30T00:00:00","n":2}"#,
            r#"{"day":"2025-03-31T00:00:00","n":1}"#,
        ]
    );
}
