//! exp
use std::path::Path;
use ingest::{log::embedded::Sync, topic::Topic};
use crate::{open, record};
const TOPIC: Topic = Topic::Audit;
fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to).status().unwrap().success());
}
#[tokio::test]
async fn exp_flip() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    let log = open(&base, Sync::Always).unwrap();
    for n in 0..20 { log.append(TOPIC, vec![record("k", n)]).await.unwrap(); }
    drop(log);
    let bytes = std::fs::read(base.join("0.jnl")).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    println!("journal used {used}");
    let (mut err, mut ok, mut silent) = (0, 0, 0);
    let mut examples = vec![];
    for at in (0..used).step_by(97) {
        let c = dir.path().join("c");
        copy(&base, &c);
        let mut b = bytes[..used].to_vec(); b[at] ^= 0x40;
        std::fs::write(c.join("0.jnl"), &b).unwrap();
        match open(&c, Sync::Always) {
            Err(_) => err += 1,
            Ok(l) => match l.read(TOPIC, 0, 0, 100).await {
                Err(_) => err += 1,
                Ok(r) if r.len() == 20 => ok += 1,
                Ok(r) => { silent += 1; examples.push((at, r.len())); }
            }
        }
        std::fs::remove_dir_all(&c).unwrap();
    }
    println!("err {err} ok {ok} silent {silent} {examples:?}");
}
#[tokio::test]
async fn exp_torn() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    let log = open(&base, Sync::Always).unwrap();
    for n in 0..20 { log.append(TOPIC, vec![record("k", n)]).await.unwrap(); }
    let mut big = record("k", 20);
    big.source = "x".repeat(30_000);
    let mut text = String::new(); for i in 0..6000 { text.push_str(&format!("{i:06}")); }
    big.source = text;
    log.append(TOPIC, vec![big]).await.unwrap();
    drop(log);
    let mut bytes = std::fs::read(base.join("0.jnl")).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    let page = (used / 4096 - 3) * 4096;
    bytes[page..page + 4096].fill(0);
    std::fs::write(base.join("0.jnl"), &bytes).unwrap();
    match open(&base, Sync::Always) { Ok(l) => println!("torn: opened, end {}", l.end(TOPIC, 0).unwrap()), Err(e) => println!("torn: {e} {e:?}") }
}
#[tokio::test]
async fn exp_create() {
    let dir = tempfile::tempdir().unwrap();
    let mut bricked = 0;
    let mut msgs = std::collections::BTreeMap::new();
    for n in 0..150u64 {
        let folder = dir.path().join(format!("{n}"));
        let r = crate::child::Running::start(&folder, false);
        std::thread::sleep(std::time::Duration::from_micros(2000 + n * 130));
        r.kill();
        if let Err(e) = open(&folder, Sync::Always) { bricked += 1; *msgs.entry(format!("{e:?}")[..].replace(&folder.display().to_string(), "")).or_insert(0) += 1; }
    }
    println!("bricked {bricked} {msgs:?}");
}
