//! What becomes of an authorisation, told step by step as a trace of OpenTelemetry.
//!
//! The id of an authorisation is the id of its trace, and decides whether it is told of at all. So nothing
//! has to be carried along: whoever meets a record of it knows its trace, in another process, after a
//! crash and a month later, too, and whoever has an authorisation's id finds the trace. Where nobody
//! listens a step costs one look. Steps say nothing about who was in front of the terminal.

use std::{
    borrow::Cow,
    cell::Cell,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use domain::id::AuthorisationId;
use opentelemetry::{
    Context, KeyValue, Value,
    global::{BoxedTracer, get_text_map_propagator},
    propagation::Extractor,
    trace::{
        Link, Span as _, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId,
        TraceState, Tracer as _,
    },
};

use crate::wire::v1::Event;

/// The header by which a caller says in which of its own spans it asks (W3C Trace Context).
pub const CALLER: &str = "traceparent";
/// What shares of all authorisations are counted in.
pub const ALL: u32 = 1_000_000;

static TOLD: OnceLock<Told> = OnceLock::new();

thread_local! {
    /// The ids of the first span of a trace, while it is made.
    static FIRST: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Who is told, and of what.
#[derive(Debug)]
struct Told {
    tracer: BoxedTracer,
    per_million: u32,
}

/// Begins to tell of so many authorisations in a million. A process begins once; more is ignored.
pub fn begin(tracer: BoxedTracer, per_million: u32) {
    let _ = TOLD.set(Told { tracer, per_million });
}

/// The ids that the span has which is being made on this thread, where it is the first of its trace: for
/// the generator of the tracer's ids.
#[must_use]
pub fn first_ids() -> Option<(TraceId, SpanId)> {
    FIRST.get()
}

/// The trace of an authorisation that is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(AuthorisationId);

/// The trace of an authorisation, by its id as records have it; none where nobody is told of it.
#[must_use]
pub fn of(id: &str) -> Option<Trace> {
    let told = TOLD.get()?;
    AuthorisationId::parse(id).filter(|id| is_among(*id, told.per_million)).map(Trace)
}

/// The trace of the authorisation that a record decides or changes.
#[must_use]
pub fn of_event(event: &Event) -> Option<Trace> {
    match event {
        Event::AuthorisationDecided(decided) => of(&decided.authorisation_id),
        Event::AuthorisationChanged(changed) => of(&changed.authorisation_id),
        _ => None,
    }
}

/// Whether an authorisation is among so many in a million. Ids are hashes.
fn is_among(id: AuthorisationId, per_million: u32) -> bool {
    id.as_u128() % u128::from(ALL) < u128::from(per_million)
}

/// A step of a trace, from an instant until it is told.
#[derive(Debug)]
pub struct Step {
    name: Cow<'static, str>,
    kind: SpanKind,
    began: SystemTime,
    attributes: Vec<KeyValue>,
    caller: Option<SpanContext>,
}

impl Step {
    fn new(name: impl Into<Cow<'static, str>>, kind: SpanKind, took: Duration) -> Self {
        let began = SystemTime::now() - took;
        Self { name: name.into(), kind, began, attributes: Vec::new(), caller: None }
    }

    /// A step inside a process, which took so long.
    pub fn inside(name: &'static str, took: Duration) -> Self {
        Self::new(name, SpanKind::Internal, took)
    }

    /// A request that was answered after so long; `caller` is what it says in [`CALLER`].
    pub fn answered(name: &'static str, took: Duration, caller: Option<&str>) -> Self {
        let caller = caller.map(|caller| {
            let context = get_text_map_propagator(|of| of.extract(&Caller(caller)));
            context.span().span_context().clone()
        });
        Self { caller, ..Self::new(name, SpanKind::Server, took) }
    }

    /// A write to a stream.
    pub fn written(name: &'static str, took: Duration) -> Self {
        Self::new(name, SpanKind::Producer, took)
    }

    /// What was read from a stream and dealt with.
    pub fn read(name: impl Into<Cow<'static, str>>, took: Duration) -> Self {
        Self::new(name, SpanKind::Consumer, took)
    }

    /// Says more of it: never whom it is about.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }
}

impl Trace {
    /// Tells of the step that all others hang on: the decision, of which there is one.
    pub fn tell_first(self, step: Step) {
        FIRST.set(Some((self.id(), self.first())));
        self.send(step, &Context::new());
        FIRST.set(None);
    }

    /// Tells of a step.
    pub fn tell(self, step: Step) {
        let (flags, state) = (TraceFlags::SAMPLED, TraceState::NONE);
        let first = SpanContext::new(self.id(), self.first(), flags, true, state);
        self.send(step, &Context::new().with_remote_span_context(first));
    }

    fn send(self, step: Step, below: &Context) {
        let Some(told) = TOLD.get() else { return };
        let Step { name, kind, began, attributes, caller } = step;
        let said = attributes.into_iter();
        let span = told.tracer.span_builder(name).with_kind(kind).with_start_time(began);
        let span = span.with_attributes(
            said.chain([KeyValue::new("avis.authorisation_id", self.0.to_string())]),
        );
        let links = caller.into_iter().map(Link::with_context).collect();
        told.tracer.build_with_context(span.with_links(links), below).end();
    }

    fn id(self) -> TraceId {
        TraceId::from(self.0.as_u128())
    }

    /// The id of the first step: some bits of the trace's, and never none.
    fn first(self) -> SpanId {
        SpanId::from((self.0.as_u128() >> 32) as u64 | 1)
    }
}

/// What a caller says of its span.
struct Caller<'a>(&'a str);

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == CALLER).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![CALLER]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_share_about_so_many_are_told_of_and_the_same_ones_by_everybody() {
        let hash = |at: u64| {
            let hash = blake3::hash(&at.to_be_bytes());
            let half = hash.as_bytes().first_chunk().expect("bytes");
            AuthorisationId::from_u128(u128::from_be_bytes(*half))
        };
        let told = |share: u32| (0..10_000).filter(|at| is_among(hash(*at), share)).count();
        assert_eq!((told(0), told(ALL)), (0, 10_000));
        let tenth = told(ALL / 10);
        assert!((900..1_100).contains(&tenth), "{tenth}");
        let id = hash(1).to_string();
        assert_eq!(of(&id), None, "nobody listens");
    }
}
