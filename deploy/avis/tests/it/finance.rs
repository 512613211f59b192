//! A month closed, and what comes for it later.

use std::{io::Write, path::Path};

use crate::{avis, packaged_baskets, sql, succeeded};

fn settle(folder: &Path, arguments: &[&str]) -> String {
    let output = avis().arg("settle").args(arguments).arg("--data").arg(folder).output();
    succeeded(&output.expect("run"))
}

fn demo(baskets: &[String], folder: &Path) {
    let file = folder.with_extension("ndjson");
    let mut written = std::fs::File::create(&file).expect("a file");
    for line in baskets {
        writeln!(written, "{line}").expect("written");
    }
    let mut demo = avis();
    demo.args(["demo", "--json", "--baskets"]).arg(&file).arg("--out").arg(folder);
    succeeded(&demo.output().expect("run"));
}

#[test]
fn what_comes_after_a_month_is_closed_is_a_correction() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("late");
    // Every fifth: some of each month, and enough of it late.
    let baskets: Vec<_> = packaged_baskets().into_iter().step_by(5).collect();
    let in_time = baskets.iter().enumerate().filter(|(at, _)| at % 10 != 9);
    let in_time: Vec<_> = in_time.map(|(_, basket)| basket.clone()).collect();
    demo(&in_time, &folder);
    assert!(settle(&folder, &["close", "--period", "2025-01"]).contains("2025-01 is closed"));
    let first = sql(&folder, "SELECT statement, benefit, payable FROM settlement_statements");
    let again = settle(&folder, &["close", "--period", "2025-01"]);
    assert!(again.contains("nothing has come for it since"), "{again}");

    // The rest comes late: the closed statements stay, and the difference is a statement of its own.
    demo(&baskets, &folder);
    let corrected = settle(&folder, &["close", "--period", "2025-01"]);
    assert!(corrected.contains("2025-01-K1 is closed"), "{corrected}");
    assert!(settle(&folder, &["check"]).contains("the books balance"));
    let all = sql(&folder, "SELECT statement, benefit, payable FROM settlement_statements");
    assert!(first.iter().all(|row| all.contains(row)), "a closed statement changed");
    let corrections = all.iter().filter(|row| row.contains("-K1,")).count();
    assert!(corrections > 0, "no statement is a correction");

    // Together they are what the month's lines say.
    let stated = "SELECT SUM(benefit) FROM settlement_statements_current WHERE period = '2025-01'";
    let lines = "SELECT SUM(amount) FROM benefit_lines \
        WHERE date >= '2025-01-01' AND date < '2025-02-01'";
    assert_eq!(sql(&folder, stated), sql(&folder, lines));
    banks_name_files_alike(place.path(), &folder);
}

/// Two banks may give the same id to a file each; one bank gives it once.
fn banks_name_files_alike(place: &Path, folder: &Path) {
    let import = |name: &str, account: &str, more: &str| {
        let file = place.join(name);
        let text = format!(
            "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>\
             <GrpHdr><MsgId>S-1</MsgId></GrpHdr><Stmt><Acct><Id><IBAN>{account}</IBAN></Id></Acct>\
             </Stmt>{more}</BkToCstmrStmt></Document>"
        );
        std::fs::write(&file, text).expect("written");
        let mut import = avis();
        import.args(["settle", "import"]).arg(&file).arg("--data").arg(folder);
        import.output().expect("run")
    };
    for (name, account) in [("a.xml", "LV58RIKO0000002013131"), ("b.xml", "LV65HABA0000055100001")]
    {
        assert!(succeeded(&import(name, account, "")).contains("camt.053 S-1"));
        assert!(succeeded(&import(name, account, "")).contains("read before"));
        let other = import("other.xml", account, "<SplmtryData/>");
        let told = String::from_utf8_lossy(&other.stderr).into_owned();
        assert!(!other.status.success() && told.contains(account), "{told}");
    }
}
