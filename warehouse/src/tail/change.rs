//! What happens to a tail, and how another process is told of it: over Flight, each change as a schema
//! message whose metadata say what it is, followed by its rows.

use arrow::array::RecordBatch;
use arrow_flight::{FlightData, encode::FlightDataEncoderBuilder, error::FlightError};
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

use crate::{schema, table::Positions};

/// What a copy of tails is asked for by, in a ticket.
pub(crate) const TICKET: &str = "type.googleapis.com/avis.Tails";

/// A change of one table's tail.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) table: &'static schema::Table,
    pub(crate) what: What,
}

/// What has changed.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// It begins after a version, none being whatever is the newest, with what was appended since.
    /// The version reaches up to `landed`, as far as that is known.
    Began { version: Option<u64>, landed: Positions, appended: Appended },
    /// More was appended.
    Rows(Appended),
    /// The table has another version, in which the first so many rows are; where rows landed, it says
    /// up to where that version reaches.
    Moved { version: Option<u64>, landed: usize, reached: Positions },
}

impl What {
    /// It begins after a version, without rows.
    pub(super) fn began(version: Option<u64>, landed: Positions) -> Self {
        Self::Began { version, landed, appended: Appended::default() }
    }
}

/// Rows, and up to where they and all before them reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct Appended {
    pub(crate) rows: Vec<RecordBatch>,
    pub(crate) positions: Positions,
}

/// A change without its rows, as it goes over the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) table: String,
    #[serde(flatten)]
    pub(super) said: Said,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(super) enum Said {
    Began {
        version: Option<u64>,
        rows: usize,
        positions: Positions,
        /// A process of an earlier version does not say it.
        #[serde(default)]
        landed: Positions,
    },
    Rows {
        rows: usize,
        positions: Positions,
    },
    Moved {
        version: Option<u64>,
        landed: usize,
        #[serde(default)]
        reached: Positions,
    },
}

/// A change as messages.
pub(crate) fn messages(
    change: Change,
) -> impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static {
    let count = |of: &Appended| of.rows.iter().map(RecordBatch::num_rows).sum();
    let (said, rows) = match change.what {
        What::Began { version, landed, appended } => {
            let rows = count(&appended);
            (Said::Began { version, rows, positions: appended.positions, landed }, appended.rows)
        }
        What::Rows(appended) => {
            let rows = count(&appended);
            (Said::Rows { rows, positions: appended.positions }, appended.rows)
        }
        What::Moved { version, landed, reached } => {
            (Said::Moved { version, landed, reached }, Vec::new())
        }
    };
    let head = Head { table: change.table.name.to_owned(), said };
    // Numbers and names of ours always have a text.
    let head = serde_json::to_vec(&head).unwrap_or_default();
    FlightDataEncoderBuilder::new()
        .with_metadata(head.into())
        .with_schema(change.table.arrow())
        .build(stream::iter(rows.into_iter().map(Ok)))
}
