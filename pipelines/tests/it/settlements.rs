//! Settlements over random histories: lines, closings, corrections, payments, and a machine that dies
//! around commits. A model in plain sums says what has to be there, to the cent.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::{array::RecordBatch, json::ReaderBuilder};
use domain::period::Month;
use ingest::{
    log::{Log, model::ModelLog},
    record::{Record, outside_id},
    topic::Topic,
    wire::v1::{BankFileRead, Event, PaymentTold, PeriodClosed, StatementsSent},
};
use pipelines::{error::PipelineError, settlements::Settlements};
use prometheus::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;
use warehouse::{
    error::WarehouseError,
    metrics::Metrics,
    schema,
    session::{Session, folder},
    table::{Pending, Positions, Table, delta::DeltaTable},
};

use crate::history::at;

const PAIRS: [(&str, &str); 4] =
    [("riga", "market"), ("riga", "corner"), ("ministry", "market"), ("market", "market")];
const MONTHS: [&str; 2] = ["2025-01", "2025-02"];

/// Numbers that look drawn, the same from the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let at = self.below(u64::try_from(list.len()).expect("short"));
        &list[usize::try_from(at).expect("short")]
    }
}

/// A table whose machine dies around one of its commits.
#[derive(Debug)]
struct Dying {
    table: DeltaTable,
    left: AtomicI64,
    after: bool,
}

impl Table for Dying {
    fn schema(&self) -> &'static schema::Table {
        self.table.schema()
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        self.table.positions(applications)
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        Box::pin(async move {
            let dies = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
            if !dies || self.after {
                self.table.commit(rows, positions).await?;
            }
            if dies { Err(WarehouseError::Moved { table: "dying" }) } else { Ok(()) }
        })
    }
}

/// A warehouse in a folder.
struct World {
    _folder: TempDir,
    root: Url,
}

impl World {
    fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        let root = folder(temporary.path()).expect("an address");
        Self { _folder: temporary, root }
    }

    async fn table(&self, name: &str) -> DeltaTable {
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        let schema = schema::table(name).expect("a table");
        DeltaTable::open(&self.root, schema, metrics).await.expect("opened")
    }

    async fn land(&self, lines: &[Value]) {
        let table = self.table("benefit_lines").await;
        let schema = table.schema();
        let mut reader = ReaderBuilder::new(schema.arrow()).build_decoder().expect("a decoder");
        reader.serialize(lines).expect("rows");
        let rows = reader.flush().expect("rows").expect("some");
        let next = lines.last().expect("a line")["source_offset"].as_i64().expect("an offset") + 1;
        let application = "benefit_lines/0".to_owned();
        table.positions(std::slice::from_ref(&application)).await.expect("positions");
        table.commit(vec![rows], &Positions::from([(application, next)])).await.expect("landed");
    }

    /// Follows the stream; dies around a commit, where told to.
    async fn follow(
        &self,
        log: &Arc<dyn Log>,
        dies: Option<(i64, bool)>,
    ) -> Result<(), PipelineError> {
        let (left, after) = dies.unwrap_or((i64::MAX, false));
        let left = Arc::new(Dying {
            table: self.table("settlement_statements").await,
            left: AtomicI64::new(left),
            after,
        });
        let lines = Arc::new(self.table("settlement_lines").await);
        let settlements = Settlements::new(Arc::clone(log), left, lines);
        // What a session sees is what is committed by then.
        let open = || Session::open_with(&self.root, &warehouse::tail::Tails::default());
        settlements.catch_up(|| open().map_err(wrapped)).await
    }

    async fn rows(&self, sql: &str) -> Vec<String> {
        let session = Session::open(&self.root).await.expect("a session");
        let rows = session.rows(sql).await.expect("rows");
        let bytes = rows.bytes(warehouse::export::Format::Csv(Default::default())).expect("CSV");
        String::from_utf8(bytes).expect("text").lines().skip(1).map(str::to_owned).collect()
    }
}

fn wrapped(source: WarehouseError) -> PipelineError {
    PipelineError::Table { pipeline: "settlements".into(), attempted: "open", source }
}

fn line(draw: &mut Draw, offset: usize) -> Value {
    let (grantor, merchant) = draw.of(&PAIRS);
    let drawn = i64::try_from(draw.below(2_000)).expect("small") - 700;
    // A refund may move nothing but a cent from the grantor to the merchant: parts round by themselves.
    let (cents, part) = if draw.below(8) == 0 { (0, -1) } else { (drawn, drawn * 3 / 4) };
    let euro = |cents: i64| domain::amount::Amount::from_cents(cents).to_string();
    let excess = if draw.below(10) == 0 { 250 } else { 0 };
    let bearer = match (excess, draw.below(2)) {
        (0, _) => Value::Null,
        (_, 0) => json!("merchant"),
        _ => json!("grantor"),
    };
    let day = draw.below(28) + 1;
    let month = draw.of(&MONTHS);
    json!({"grantor_id": grantor, "merchant_id": merchant,
        "instruction_id": draw.of(&["bread", "milk"]), "instruction_version": 1,
        "benefit_id": "food", "place_id": "P-1", "territory": "LV0001000", "terminal_id": "T-1",
        "authorisation_id": format!("A-{}", draw.below(40)), "line": 1, "recipient": null,
        "item": "milk", "category": null, "quantity": "1.000", "unit_price": "1.00",
        "units": if part < 0 { -1 } else { 1 }, "amount": euro(cents),
        "grantor_amount": euro(part), "merchant_amount": euro(cents - part),
        "excess_amount": euro(excess), "excess_borne_by": bearer,
        "kind": if part < 0 { "refunded" } else { "captured" }, "mode": "offline",
        "occurred_at": "2025-01-10T10:00:00Z", "recorded_at": "2025-01-10T10:00:00Z",
        "source_partition": 0, "source_offset": offset, "date": format!("{month}-{day:02}")})
}

fn cents(value: &Value) -> i64 {
    let text = value.as_str().expect("an amount").replace('.', "");
    text.parse().expect("an amount")
}

fn record(id: &str, event: Event) -> Record {
    Record {
        id: outside_id("settlement", id),
        key: "settlements".into(),
        source: "settlement".into(),
        sequence: 0,
        event_time: at("2025-04-01T00:00:00Z"),
        recorded_at: at("2025-04-01T00:00:00Z"),
        event,
    }
}

/// What a plain reading of the history gives.
#[derive(Default)]
struct Model {
    closed_to: BTreeMap<String, usize>,
    carried: BTreeMap<(String, String), i64>,
    numbers: BTreeMap<(String, String, String), u32>,
    /// `number,owed,carried_in,payable,carried_out`, in the order of closing.
    statements: Vec<String>,
    states: BTreeMap<String, &'static str>,
}

impl Model {
    fn close(&mut self, month: &str, lines: &[Value]) {
        let is_correction = self.closed_to.contains_key(month);
        let from = self.closed_to.insert(month.to_owned(), lines.len()).unwrap_or(0);
        let mut owed: BTreeMap<(String, String), i64> = BTreeMap::new();
        for line in &lines[from..] {
            let borne = line["excess_borne_by"] == "grantor";
            let excess = if borne { cents(&line["excess_amount"]) } else { 0 };
            let in_month = line["date"].as_str().expect("a day").starts_with(month);
            let moved = cents(&line["amount"]) != 0 || cents(&line["grantor_amount"]) != 0;
            if !in_month || (!moved && excess == 0) {
                continue;
            }
            let text = |name: &str| line[name].as_str().expect("a text").to_owned();
            let pair = (text("grantor_id"), text("merchant_id"));
            *owed.entry(pair).or_default() += cents(&line["grantor_amount"]) + excess;
        }
        for ((grantor, merchant), owed) in owed {
            let key = (grantor.clone(), merchant.clone(), month.to_owned());
            let last = self.numbers.get(&key);
            let correction = last.map_or(u32::from(is_correction), |last| last + 1);
            self.numbers.insert(key, correction);
            let suffix = if correction > 0 { format!("-K{correction}") } else { String::new() };
            let number = format!("{grantor}-{merchant}-{month}{suffix}");
            let is_own = grantor == merchant;
            let carried = self.carried.entry((grantor, merchant)).or_default();
            let carried_in = *carried;
            let sum = if is_own { 0 } else { carried_in + owed };
            *carried = sum.min(0);
            let euro = |cents: i64| domain::amount::Amount::from_cents(cents).to_string();
            self.statements.push(format!(
                "{number},{},{},{},{}",
                euro(owed),
                euro(carried_in),
                euro(sum.max(0)),
                euro(sum.min(0))
            ));
            self.states.insert(number, "closed");
        }
    }

    fn payable(&self) -> Vec<String> {
        let parts = self.statements.iter().map(|row| row.split(',').collect::<Vec<_>>());
        let payable = parts.filter(|parts| parts[3] != "0.00");
        payable.map(|parts| parts[0].to_owned()).collect()
    }
}

/// A history and what it has to lead to.
struct History {
    lines: Vec<Value>,
    model: Model,
}

/// Plays one history in two worlds, one of which dies again and again.
async fn play(seed: u64) -> History {
    let mut draw = Draw(seed);
    let (calm, rough) = (World::new(), World::new());
    let model_log = Arc::new(ModelLog::default());
    let log: Arc<dyn Log> = Arc::clone(&model_log) as _;
    let (mut lines, mut model) = (Vec::new(), Model::default());
    for step in 0..14_u64 {
        let count = usize::try_from(draw.below(6) + 1).expect("small");
        let from = lines.len();
        lines.extend((from..from + count).map(|offset| line(&mut draw, offset)));
        calm.land(&lines[from..]).await;
        rough.land(&lines[from..]).await;
        let id = format!("{seed}/{step}");
        let event = match draw.below(4) {
            0 | 1 => {
                let month = *draw.of(&MONTHS);
                model.close(month, &lines);
                Event::PeriodClosed(PeriodClosed {
                    period: month.to_owned(),
                    end_offsets: vec![u64::try_from(lines.len()).expect("few")],
                    closed_at: at("2025-04-01T00:00:00Z").timestamp_micros(),
                })
            }
            2 => {
                let statements = model.payable();
                let statements: Vec<_> = statements
                    .into_iter()
                    .filter(|number| model.states.get(number) == Some(&"closed"))
                    .collect();
                for number in &statements {
                    model.states.insert(number.clone(), "sent");
                }
                Event::StatementsSent(StatementsSent { statements, sent_at: 0 })
            }
            _ => {
                let mut told = Vec::new();
                for number in model.payable() {
                    let (outcome, state) = *draw.of(&[("paid", "paid"), ("rejected", "closed")]);
                    let was = model.states.get(&number).copied();
                    if was == Some("sent") && draw.below(2) == 0 {
                        model.states.insert(number.clone(), state);
                        told.push(PaymentTold {
                            statement: number,
                            outcome: outcome.into(),
                            reason: if outcome == "paid" { String::new() } else { "AC04".into() },
                        });
                    }
                }
                let (kind, message_id) = ("camt.053".to_owned(), id.clone());
                Event::BankFileRead(BankFileRead {
                    kind,
                    message_id,
                    told,
                    ..BankFileRead::default()
                })
            }
        };
        log.append(Topic::Settlements, &[record(&id, event)]).await.expect("appended");
        if draw.below(3) == 0 {
            let dies = (i64::try_from(draw.below(2)).expect("small"), draw.below(2) == 0);
            // It may be told to die later than there is anything to commit.
            let _ = rough.follow(&log, Some(dies)).await;
        }
        if draw.below(2) == 0 {
            calm.follow(&log, None).await.expect("followed");
        }
    }
    calm.follow(&log, None).await.expect("followed");
    rough.follow(&log, None).await.expect("followed");
    rough.follow(&log, None).await.expect("again changes nothing");
    for table in ["settlement_statements", "settlement_lines"] {
        let all = format!("SELECT * FROM {table} ORDER BY source_offset, statement, 5, 6");
        assert_eq!(rough.rows(&all).await, calm.rows(&all).await, "seed {seed}: {table}");
    }
    let told = calm
        .rows(
            "SELECT statement, grantor_part + grantor_excess, carried_in, payable, carried_out \
             FROM settlement_statements WHERE source_offset = closing_offset \
             ORDER BY source_offset, grantor_id, merchant_id",
        )
        .await;
    assert_eq!(told, model.statements, "seed {seed}");
    let states = calm
        .rows("SELECT statement, state FROM settlement_statements_current ORDER BY statement")
        .await;
    let expected: Vec<_> =
        model.states.iter().map(|(number, state)| format!("{number},{state}")).collect();
    let mut expected = expected;
    expected.sort();
    let mut states = states;
    states.sort();
    assert_eq!(states, expected, "seed {seed}");
    balanced(&calm, &lines, &model, seed).await;
    History { lines, model }
}

/// Whatever was closed: statements and corrections of a month sum to its captured lines minus the
/// refunded ones, and what is paid and carried sums to what is owed.
async fn balanced(world: &World, lines: &[Value], model: &Model, seed: u64) {
    for (month, to) in &model.closed_to {
        let in_month =
            |line: &&Value| line["date"].as_str().expect("a day").starts_with(month.as_str());
        let sum: i64 =
            lines[..*to].iter().filter(in_month).map(|line| cents(&line["amount"])).sum();
        let told = world
            .rows(&format!(
                "SELECT COALESCE(SUM(benefit), 0) FROM settlement_lines WHERE period = '{month}'"
            ))
            .await;
        let told = told.first().map(|text| cents(&json!(text))).unwrap_or(0);
        let told = if world_is_empty(world, month).await { 0 } else { told };
        assert_eq!(told, sum, "seed {seed}: {month}");
    }
    let paid = world
        .rows(
            "SELECT SUM(payable), SUM(grantor_part + grantor_excess) FROM settlement_statements \
             WHERE source_offset = closing_offset AND grantor_id <> merchant_id",
        )
        .await;
    let Some((payable, owed)) = paid.first().and_then(|row| row.split_once(',')) else { return };
    if payable.is_empty() {
        return;
    }
    let carried: i64 = model.carried.values().sum();
    assert_eq!(cents(&json!(payable)) + carried, cents(&json!(owed)), "seed {seed}");
}

async fn world_is_empty(world: &World, month: &str) -> bool {
    let count = format!("SELECT COUNT(*) FROM settlement_lines WHERE period = '{month}'");
    world.rows(&count).await == ["0"]
}

#[tokio::test]
async fn statements_and_corrections_sum_to_what_was_captured_minus_refunded() {
    let scale: u64 =
        std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    let (mut statements, mut corrections, mut carried) = (0, 0, 0);
    for seed in 0..12 * scale {
        let history = play(seed).await;
        assert!(!history.lines.is_empty());
        statements += history.model.statements.len();
        let is_correction = |row: &&String| row.contains("-K");
        corrections += history.model.statements.iter().filter(is_correction).count();
        let carries = |row: &&String| !row.ends_with(",0.00");
        carried += history.model.statements.iter().filter(carries).count();
    }
    println!("{statements} statements, {corrections} corrections, {carried} carried on");
    assert!(corrections > 20 && carried > 20, "the histories say too little");
}

#[tokio::test]
async fn a_closing_waits_for_its_lines() {
    let world = World::new();
    let model_log = Arc::new(ModelLog::default());
    let log: Arc<dyn Log> = model_log as _;
    let event = Event::PeriodClosed(PeriodClosed {
        period: Month::parse("2025-01").expect("a month").to_string(),
        end_offsets: vec![3],
        closed_at: 0,
    });
    log.append(Topic::Settlements, &[record("early", event)]).await.expect("appended");
    let mut draw = Draw(1);
    let lines: Vec<_> = (0..3).map(|offset| line(&mut draw, offset)).collect();
    world.land(&lines[..2]).await;
    let early = world.follow(&log, None).await.expect_err("the third line is not there");
    assert!(pipelines::settlements::is_early(&early), "{early}");
    world.land(&lines[2..]).await;
    world.follow(&log, None).await.expect("followed");
}
