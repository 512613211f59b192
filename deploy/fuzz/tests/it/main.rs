//! What is kept stands, and what is made of it.

use std::time::Duration;

use fuzz::{kept, look, parsers::ALL, run};

fn scale() -> u64 {
    std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

#[test]
fn what_is_kept_stands_and_some_of_it_is_taken() {
    for parser in &ALL {
        let mut kept = (parser.kept)();
        kept.extend(kept::of(parser.name));
        let taken = kept.iter().filter(|input| {
            look(parser, input).unwrap_or_else(|reason| {
                panic!("{}: {reason}: {}", parser.name, String::from_utf8_lossy(input))
            })
        });
        let taken = taken.count();
        assert!(
            taken > 0,
            "{}: none of {} is taken, so little of it is read",
            parser.name,
            kept.len()
        );
    }
}

#[test]
fn what_is_made_of_it_stands() {
    // One seed: another each day would make a build fail that nobody changed.
    let budget = Duration::from_secs(2 * scale());
    std::thread::scope(|scope| {
        for half in ALL.chunks(ALL.len().div_ceil(2)) {
            scope.spawn(move || {
                for parser in half {
                    match run(parser, budget, 0) {
                        Ok(stood) => println!("{}: {stood} inputs", parser.name),
                        Err(failure) => panic!(
                            "{}: {}\nkeep it: {:?}",
                            parser.name,
                            failure.reason,
                            String::from_utf8_lossy(&failure.input)
                        ),
                    }
                }
            });
        }
    });
}

#[test]
fn a_parser_that_panics_on_some_input_is_found_and_the_input_is_small() {
    let parser = fuzz::parsers::Parser {
        name: "planted",
        kept: || vec![b"a quiet input of some length".to_vec()],
        read: |input| {
            assert!(!input.contains(&0), "a zero");
            Ok(true)
        },
    };
    let failure = run(&parser, Duration::from_secs(20), 0).expect_err("a zero is put in");
    assert!(failure.reason.contains("a zero"), "{}", failure.reason);
    assert!(failure.input.contains(&0));
}
