//! Runs parsers for some time each.

use std::{fs, process::ExitCode, time::Duration};

use clap::Parser;
use fuzz::{kept, parsers, run};

/// Gives parsers inputs made of kept ones, and keeps what they do not stand.
#[derive(Parser)]
#[command(name = "fuzz")]
struct Arguments {
    /// The parsers; all where none is named
    parsers: Vec<String>,
    /// How long each is run
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// What the changes are drawn by
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let named = |name: &str| {
        arguments.parsers.is_empty() || arguments.parsers.iter().any(|wanted| wanted == name)
    };
    if let Some(unknown) =
        arguments.parsers.iter().find(|name| parsers::ALL.iter().all(|of| of.name != **name))
    {
        let known: Vec<_> = parsers::ALL.iter().map(|of| of.name).collect();
        eprintln!("there is no parser {unknown}; known are {}", known.join(", "));
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    for parser in parsers::ALL.iter().filter(|of| named(of.name)) {
        match run(parser, Duration::from_secs(arguments.seconds), arguments.seed) {
            Ok(stood) => println!("{:<14} stood {stood} inputs", parser.name),
            Err(failure) => {
                let folder = kept::folder(parser.name);
                let name = blake3::hash(&failure.input).to_hex();
                let path = folder.join(&name[..16]);
                let written =
                    fs::create_dir_all(&folder).and_then(|()| fs::write(&path, &failure.input));
                println!("{:<14} FAILED: {}", parser.name, failure.reason);
                match written {
                    Ok(()) => println!("               kept as {}", path.display()),
                    Err(error) => println!("               not kept: {error}"),
                }
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
