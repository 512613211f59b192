//! `avis stream` and `avis dead-letters` on the command line.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};

use super::Where;

/// What `avis stream` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum StreamCommand {
    /// Every stream, its partitions and their ends.
    #[command(after_help = "Examples:\n  avis stream list --data avis-demo\n  \
                            AVIS_TOKEN=… avis stream list --server http://[::1]:8080")]
    List {
        #[command(flatten)]
        at: Where,
    },
    /// Records of a stream as flat JSON, one a line.
    #[command(
        after_help = "Examples:\n  avis stream tail authorisations --from 0 --most 3 --data avis-demo\n  \
                            avis stream tail audit --from 2025-01-15T08:00:00Z --most 5\n  \
                            avis stream tail dead-letters --from earliest --most 100 | jq \
                            .reason\n  \
                AVIS_TOKEN=… avis stream tail audit --server http://[::1]:8080\n\n\
                            A running node shows records to administrators, at most 10000 of each \
                            partition, and notes it in the audit trail."
    )]
    Tail {
        /// The stream.
        topic: String,
        /// Where each partition begins: an offset, an instant at or after which it was recorded,
        /// or `earliest` [default: the last records].
        #[arg(long, value_name = "OFFSET|INSTANT|earliest")]
        from: Option<From>,
        /// At most this many records of each partition.
        #[arg(long, value_name = "N", default_value_t = 10)]
        most: usize,
        /// How records are written.
        #[arg(long, value_enum, default_value_t = RecordFormat::Json)]
        format: RecordFormat,
        #[command(flatten)]
        at: Where,
    },
}

/// Where reading a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the first record that is left.
    Earliest,
    /// At an offset.
    Offset(u64),
    /// At the first record that was recorded at or after an instant.
    Instant(DateTime<Utc>),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        let instant = DateTime::parse_from_rfc3339(text);
        let instant = instant.map(|instant| Self::Instant(instant.into()));
        instant.map_err(|_| {
            "neither an offset, nor an instant like 2025-01-15T08:00:00Z, nor earliest".into()
        })
    }
}

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Instant(instant) => f.write_str(&instant.to_rfc3339()),
        }
    }
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    /// One flat object a line.
    Json,
    /// For people: place, instant, type and key.
    Table,
}

/// What `avis dead-letters` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum DeadLettersCommand {
    /// What was refused and not dealt with: its id, where it came from, where it stood, and why.
    #[command(after_help = "Examples:\n  avis dead-letters list --data avis-demo\n  \
                            AVIS_TOKEN=… avis dead-letters list --server http://[::1]:8080")]
    List {
        /// Only of this connector: terminal, dagr, issuer, vpvkac, portal.
        #[arg(long)]
        connector: Option<String>,
        /// Only refused for this reason, such as unknown_terminal.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        at: Where,
    },
    /// One of them with what came, which may hold personal data; a running node does not tell that.
    #[command(
        after_help = "Examples:\n  avis dead-letters show 3K2V7Q0M9X4T1Z8B6N5C2D1F0G --data avis-demo\n  \
                      AVIS_TOKEN=… avis dead-letters show 3K2V7Q0M9X4T1Z8B6N5C2D1F0G --server http://[::1]:8080"
    )]
    Show {
        /// Its id, as `list` shows it.
        id: String,
        #[command(flatten)]
        at: Where,
    },
    /// Translate some again, when what was missing is there; what is refused again stays.
    #[command(
        after_help = "Examples:\n  avis dead-letters replay 3K2V7Q0M9X4T1Z8B6N5C2D1F0G --data avis-demo\n  \
                            AVIS_TOKEN=… avis dead-letters replay --reason unknown_terminal --server http://[::1]:8080"
    )]
    Replay {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        at: Where,
    },
    /// Say that some are not wanted. They stay in the stream, and are listed no more.
    #[command(
        after_help = "Examples:\n  avis dead-letters drop 3K2V7Q0M9X4T1Z8B6N5C2D1F0G --yes --note \"a test\" --data avis-demo\n  \
                      AVIS_TOKEN=… avis dead-letters drop --reason malformed_json --yes --server http://[::1]:8080"
    )]
    Drop {
        #[command(flatten)]
        which: Which,
        /// Why, for whoever asks later.
        #[arg(long, default_value = "")]
        note: String,
        /// Do it without being asked; a script has to say so.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: Where,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Which {
    /// Their ids, as `list` shows them.
    pub ids: Vec<String>,
    /// All that were refused for this reason.
    #[arg(long)]
    pub reason: Option<String>,
    /// All of this connector.
    #[arg(long)]
    pub connector: Option<String>,
}
