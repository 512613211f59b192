//! A copy of another process's tails: told of each change over Arrow Flight.
//!
//! While the other one cannot be reached the copy is empty: tables are then as their newest commit has
//! them, and nothing is shown that may have been taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt, io,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use arrow::array::{RecordBatch, new_null_array};
use arrow_flight::{
    Ticket,
    decode::{DecodedPayload, FlightDataDecoder},
    error::FlightError,
    flight_service_client::FlightServiceClient,
    sql::Any,
};
use futures::{TryStreamExt, future::BoxFuture};
use hyper_util::rt::TokioIo;
use prometheus::{IntGauge, Registry};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{
    Request,
    codegen::{Service, http::Uri},
    transport::{Channel, Endpoint},
};

use super::{
    Tail, Tails,
    change::{Appended, Head, Said, TICKET, What},
};
use crate::{schema, table::Positions};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How often somebody silent is asked whether they are there, and how long they may take to say so.
const ASKED_EVERY: Duration = Duration::from_secs(5);
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// The pause before a connection is tried again; it doubles up to the longest, until one has held so
/// long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const HELD: Duration = Duration::from_secs(30);

/// Whose tails are copied.
pub struct Source {
    /// Where its Flight door is: `http://host:port`, or `https://`.
    pub address: Uri,
    /// A token of somebody who sees everything, made when it is wanted.
    pub token: Box<dyn Fn() -> String + Send + Sync>,
    /// Who is trusted, where the door is encrypted.
    pub trust: Arc<ClientConfig>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why tails are not followed.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("no connection")]
    Connection(#[from] tonic::transport::Error),
    #[error("the tails are not told")]
    Told(#[from] FlightError),
    #[error("what is told of a tail is not understood")]
    Head(#[from] serde_json::Error),
    #[error("no more is told")]
    Ended,
}

/// 1 while another process tells of its rows that have not landed.
pub const FOLLOWED: &str = "avis_warehouse_tails_followed";

/// Keeps a copy of a source's tails.
#[derive(Debug)]
pub struct Follower {
    tails: Tails,
    source: Source,
    followed: IntGauge,
}

/// The copies that are kept, by table.
type Copies = BTreeMap<&'static str, Tail>;

impl Follower {
    /// Copies a source's tails into those of this process, of tables that nobody here writes.
    ///
    /// # Errors
    /// Where the registry has the metric already.
    pub fn new(
        tails: &Tails,
        source: Source,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let followed = IntGauge::new(FOLLOWED, "1 while rows that have not landed are told")?;
        registry.register(Box::new(followed.clone()))?;
        Ok(Self { tails: tails.clone(), source, followed })
    }

    /// Follows for ever; where the source cannot be reached it is tried again.
    pub async fn run(self) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let (began, mut copies) = (Instant::now(), Copies::new());
            let Err(error) = self.copy(&mut copies).await;
            self.followed.set(0);
            if began.elapsed() >= HELD {
                pause = SHORTEST_PAUSE;
            }
            for copy in copies.values() {
                copy.copy(What::began(None, Positions::new()));
            }
            self.tell(&error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn tell(&self, error: &Lost) {
        let (error, address): (&dyn std::error::Error, _) = (error, &self.source.address);
        tracing::warn!(error, %address, "rows that have not landed are not seen for now");
    }

    async fn copy(&self, copies: &mut Copies) -> Result<Infallible, Lost> {
        let mut client = FlightServiceClient::new(connect(&self.source).await?);
        let ticket = Any { type_url: TICKET.into(), value: Vec::new().into() };
        let mut request = Request::new(Ticket { ticket: ticket.encode_to_vec().into() });
        if let Ok(token) = format!("Bearer {}", (self.source.token)()).parse() {
            request.metadata_mut().insert("authorization", token);
        }
        let told = client.do_get(request).await.map_err(FlightError::from)?;
        let mut messages = FlightDataDecoder::new(told.into_inner().map_err(FlightError::from));
        let (mut gathered, mut unlike) = (Gathered::default(), BTreeSet::new());
        while let Some(message) = messages.try_next().await? {
            match &message.payload {
                DecodedPayload::None => continue,
                DecodedPayload::Schema(_) => {
                    let head: Head = serde_json::from_slice(&message.app_metadata())?;
                    gathered = Gathered::of(head, &unlike);
                }
                DecodedPayload::RecordBatch(rows) => {
                    if let Err(table) = gathered.add(rows) {
                        pass_over(table, copies);
                        unlike.insert(table);
                        gathered = Gathered::default();
                    }
                }
            }
            let Some((table, what)) = gathered.whole() else { continue };
            if matches!(what, What::Began { .. }) {
                // Another table may be in the place of the one that is open.
                self.tails.readers().forget(table.name);
            }
            copies.entry(table.name).or_insert_with(|| self.tails.of(table)).copy(what);
            self.followed.set(1);
        }
        Err(Lost::Ended)
    }
}

/// Shows of a table what has landed alone, while whoever tells of it has other columns.
fn pass_over(table: &'static str, copies: &Copies) {
    if let Some(copy) = copies.get(table) {
        copy.copy(What::began(None, Positions::new()));
    }
    tracing::warn!(
        table,
        "its rows do not fit the table as it is here: they are seen when they land"
    );
}

/// A change, as far as it has come.
#[derive(Debug, Default)]
struct Gathered {
    /// None where the table is not known here, or not alike: then it is passed over.
    change: Option<(&'static schema::Table, Said)>,
    rows: Vec<RecordBatch>,
}

impl Gathered {
    fn of(head: Head, unlike: &BTreeSet<&'static str>) -> Self {
        let table = schema::table(&head.table).filter(|table| !unlike.contains(table.name));
        Self { change: table.map(|table| (table, head.said)), rows: Vec::new() }
    }

    /// Takes rows of the change.
    ///
    /// # Errors
    /// The table, where they do not fit it.
    fn add(&mut self, rows: &RecordBatch) -> Result<(), &'static str> {
        if let Some((table, _)) = self.change {
            self.rows.push(as_here(rows, table).ok_or(table.name)?);
        }
        Ok(())
    }

    /// The change, once all of it has come.
    fn whole(&mut self) -> Option<(&'static schema::Table, What)> {
        let come: usize = self.rows.iter().map(RecordBatch::num_rows).sum();
        let (table, said) = self.change.take_if(|(_, said)| match said {
            Said::Began { rows, .. } | Said::Rows { rows, .. } => *rows == come,
            Said::Moved { .. } => true,
        })?;
        let rows = std::mem::take(&mut self.rows);
        let what = match said {
            Said::Began { version, positions, landed, .. } => {
                What::Began { version, landed, appended: Appended { rows, positions } }
            }
            Said::Rows { positions, .. } => What::Rows(Appended { rows, positions }),
            Said::Moved { version, landed, reached } => What::Moved { version, landed, reached },
        };
        Some((table, what))
    }
}

/// Rows of a process of another version with the columns that the table has here.
fn as_here(rows: &RecordBatch, table: &'static schema::Table) -> Option<RecordBatch> {
    let schema = table.arrow();
    let columns = schema.fields().iter().map(|field| {
        let missing = || new_null_array(field.data_type(), rows.num_rows());
        rows.column_by_name(field.name()).cloned().unwrap_or_else(missing)
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).ok()
}

async fn connect(source: &Source) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from(source.address.clone())
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(ASKED_EVERY)
        .keep_alive_timeout(ANSWERED_WITHIN)
        .keep_alive_while_idle(true)
        .connect_with_connector(Connector { trust: Arc::clone(&source.trust) })
        .await
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects, encrypted where the address says so.
#[derive(Clone)]
struct Connector {
    trust: Arc<ClientConfig>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let trust = Arc::clone(&self.trust);
        Box::pin(async move {
            let host = to.host().unwrap_or_default();
            let is_secured = to.scheme_str() == Some("https");
            let port = to.port_u16().unwrap_or(if is_secured { 443 } else { 80 });
            let socket = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
            socket.set_nodelay(true)?;
            if !is_secured {
                return Ok(TokioIo::new(Box::new(socket) as Box<dyn Io>));
            }
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
            let name = name.map_err(io::Error::other)?;
            let secured = TlsConnector::from(trust).connect(name, socket).await?;
            Ok(TokioIo::new(Box::new(secured) as Box<dyn Io>))
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn a_table_with_other_columns_is_passed_over_and_no_other() {
        let head = |table: &str| {
            let said = Said::Rows { rows: 1, positions: Positions::new() };
            Head { table: table.into(), said }
        };
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let rows = RecordBatch::try_from_iter([("number", numbers)]).expect("rows");
        assert_eq!(Gathered::of(head("means"), &BTreeSet::new()).add(&rows), Err("means"));
        let unlike = BTreeSet::from(["means"]);
        let mut gathered = Gathered::of(head("means"), &unlike);
        assert_eq!(gathered.add(&rows), Ok(()));
        assert!(gathered.whole().is_none());
        assert!(Gathered::of(head("calls"), &unlike).change.is_some());
    }
}
