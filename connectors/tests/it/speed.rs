use connectors::terminal::{Terminals, translate::transaction};
use std::time::Instant;
#[test]
fn speed() {
    let node = crate::Node::new();
    let t = Instant::now();
    let doc = crate::real_registry();
    println!("registry {:?}", t.elapsed());
    let terminals = Terminals::of(&doc.registry);
    let text = crate::text("baskets.ndjson.gz");
    let lines: Vec<&str> = text.lines().collect();
    for _ in 0..3 {
        let t = Instant::now();
        let ok = lines
            .iter()
            .filter(|l| {
                transaction(l.as_bytes(), &terminals, &node.context.vault, Default::default())
                    .is_ok()
            })
            .count();
        println!("{ok} of {} in {:?}", lines.len(), t.elapsed());
        let t = Instant::now();
        let ok =
            lines.iter().filter(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()).count();
        println!("json {ok} of {} in {:?}", lines.len(), t.elapsed());
    }
}
