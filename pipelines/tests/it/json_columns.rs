//! Columns of JSON, from a file to a file.

use crate::flow::Case;

#[tokio::test]
async fn a_column_of_json_that_a_query_hands_on_is_written_as_the_json_that_it_is() {
    let lines = [
        r#"{"at":"2025-03-01T10:00:00Z","n":1,"t":"7","p":{"a":[1, 2.50]}}"#,
        r#"{"at":"2025-03-01T10:00:01Z","n":2,"t":"{}","p":"t"}"#,
        r#"{"at":"2025-03-01T10:00:02Z","n":3,"t":"[","p":null}"#,
    ];
    let columns = "at TIMESTAMP NOT NULL, n INT, t TEXT, p JSON, WATERMARK FOR at";
    let case = Case::new().source("sales", columns, &lines);
    let cases: [(&str, &[&str]); 6] = [
        (
            "SELECT n, p, t FROM sales",
            &[
                r#"{"n":1,"p":{"a":[1, 2.50]},"t":"7"}"#,
                r#"{"n":2,"p":"t","t":"{}"}"#,
                r#"{"n":3,"p":null,"t":"["}"#,
            ],
        ),
        (
            "WITH named AS (SELECT n, p AS q FROM sales WHERE n < 3)
             SELECT a.q AS q FROM named AS a WHERE a.n = 1",
            &[r#"{"q":{"a":[1, 2.50]}}"#],
        ),
        (
            "SELECT a.n AS n, b.p AS p FROM sales a JOIN sales b ON a.n = b.n WHERE a.n = 2",
            &[r#"{"n":2,"p":"t"}"#],
        ),
        (
            "SELECT p, k FROM (SELECT tumble('1 minute') AS w, p, COUNT(*) AS k FROM sales
             WHERE n = 1 GROUP BY w, p)",
            &[r#"{"p":{"a":[1, 2.50]},"k":1}"#],
        ),
        // What is computed is a text, and so is what is one in a part of a UNION.
        (
            "SELECT replace(p, '2.50', '3') AS p FROM sales WHERE n = 1",
            &[r#"{"p":"{\"a\":[1, 3]}"}"#],
        ),
        (
            "SELECT p FROM sales WHERE n = 1 UNION ALL SELECT t FROM sales WHERE n = 1",
            &[r#"{"p":"7"}"#, r#"{"p":"{\"a\":[1, 2.50]}"}"#],
        ),
    ];
    for (query, wanted) in cases {
        assert_eq!(case.rows(query).await, wanted, "{query}");
    }
}
