//! A planted person at the doors that are not HTTP: PostgreSQL's protocol, Flight SQL and the stream of
//! terminals. What is asked there is right, wrong in syntax, wrong in meaning, or forbidden.

use std::time::Duration;

use chrono::Utc;
use connectors::terminal::wire::{
    Basket, BasketLine, Means, Request, Response, request::What, response::Outcome,
};
use prost::Message;
use reqwest::{Client, header};
use tokio::runtime::{Builder, Runtime};

use super::{Answer, Canary};
use crate::{talk::sql, up::Server};

const DO_GET: &str = "arrow.flight.protocol.FlightService/DoGet";
const STATEMENT: &str = "type.googleapis.com/arrow.flight.protocol.sql.TicketStatementQuery";
const AUTHORISE: &str = "avis.terminal.v1.Terminal/Authorise";
/// What stands before a message of gRPC: whether it is compressed, and its length.
const BEFORE: usize = 5;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A ticket of Flight; that of a statement in one has the same form.
#[derive(Clone, PartialEq, Eq, Message)]
struct Ticket {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

/// A message that says of which type it is.
#[derive(Clone, PartialEq, Eq, Message)]
struct Typed {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Calls by gRPC; its connections are gone when it is, so that no server waits for them at its end.
struct Caller {
    runtime: Runtime,
    http: Client,
}

impl Caller {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let http = Client::builder().http2_prior_knowledge().no_proxy().timeout(PATIENCE);
        Self { runtime, http: http.build().expect("a client") }
    }

    /// Calls with one message. Answers the head, where a refusal says why, and the messages as they came.
    fn call(&self, address: &str, method: &str, token: &str, message: &impl Message) -> Called {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        let request = self.http.post(format!("http://{address}/{method}"));
        let request = request.header(header::CONTENT_TYPE, "application/grpc");
        let request = request.header(header::TE, "trailers").bearer_auth(token);
        let request = request.body([&[0_u8][..], &length[..], &message[..]].concat());
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            let head = format!("{:?}", answer.headers());
            Called { head, messages: answer.bytes().await.expect("its messages").to_vec() }
        })
    }
}

struct Called {
    head: String,
    messages: Vec<u8>,
}

/// Statements with a canary in them, and whether each is answered.
fn statements(Canary { code, name, born, card }: &Canary) -> [(String, bool); 6] {
    let lines = "benefit_lines WHERE item";
    [
        (format!("SELECT COUNT(*) FROM {lines} = '{name}' AND date = DATE '{born}'"), true),
        (format!("SELECT COUNT(* FROM {lines} = '{card}'"), false),
        (format!("SELECT nothing FROM {lines} = '{card}'"), false),
        // As other databases quote a text.
        (format!("SELECT COUNT(*) FROM {lines} = \"{name}\""), false),
        (format!("SELECT CAST('{code}' AS DATE)"), false),
        (format!("DELETE FROM {lines} = '{code}'"), false),
    ]
}

/// Baskets with a canary in them; only the first is one.
fn requests(canary: &Canary, at: usize) -> [Request; 3] {
    let request = |number: usize, kind: &str, mode: &str| {
        let line = BasketLine {
            line: 1,
            item: "milk".into(),
            quantity_thousandths: 1_000,
            unit_price_cents: 100,
            ..BasketLine::default()
        };
        let basket = Basket {
            terminal_id: "T-000012".into(),
            occurred_at: Utc::now().to_rfc3339(),
            means: Some(Means { kind: kind.into(), value: canary.card.clone() }),
            mode: mode.into(),
            lines: vec![line],
            ..Basket::default()
        };
        Request {
            id: canary.code.clone(),
            idempotency_key: format!("{at}-g{number}"),
            what: Some(What::Authorise(basket)),
        }
    };
    [
        request(0, "card_uid", "sale"),
        request(1, &canary.name, "sale"),
        request(2, "card_uid", &canary.code),
    ]
}

/// Asks about a canary as an analyst, and for it as a terminal.
pub(super) fn ask(
    server: &Server,
    analyst: &str,
    terminal: &str,
    canary: &Canary,
    at: usize,
) -> Vec<Answer> {
    let (caller, mut answers) = (Caller::new(), Vec::new());
    for (statement, is_answered) in statements(canary) {
        let rows = sql(server, "analyst", analyst, &statement);
        assert_eq!(rows.is_ok(), is_answered, "{statement}: {rows:?}");
        let query = Ticket { bytes: statement.clone().into_bytes() }.encode_to_vec();
        let query = Typed { type_url: STATEMENT.into(), value: query };
        let ticket = Ticket { bytes: query.encode_to_vec() };
        let called = caller.call(server.flight(), DO_GET, analyst, &ticket);
        let batches = String::from_utf8_lossy(&called.messages);
        let told = format!("{rows:?} {} {batches}", called.head);
        answers.push(Answer { asked: statement.to_lowercase(), told });
    }
    for (number, request) in requests(canary, at).iter().enumerate() {
        let called = caller.call(server.grpc(), AUTHORISE, terminal, request);
        let message = called.messages.get(BEFORE..).expect("a message");
        let response = Response::decode(message).expect("a response");
        let is_decided = matches!(response.outcome, Some(Outcome::Authorisation(_)));
        assert_eq!(is_decided, number == 0, "{response:?}");
        let told = format!("{} {response:?}", called.head);
        answers.push(Answer { asked: format!("{request:?}").to_lowercase(), told });
    }
    answers
}
