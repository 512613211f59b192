//! A planned pipeline in words: what it reads, how it tells time, what its nodes do, what it fills.

use std::fmt::{self, Display, Formatter, Write as _};

use arrow::datatypes::Schema;
use datafusion::physical_plan::displayable;

use crate::{
    dataflow::{
        Edge, SourcePlan, groups::Aggregation, operator::Plan, stage::Stage, time::RETRACT,
    },
    pipeline::Pipeline,
};

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        for (input, source) in self.inputs.iter().zip(&self.blueprint.sources) {
            let from = input.topic().map(|topic| format!(" (stream {topic})")).unwrap_or_default();
            writeln!(f, "  reads   {}{from}: {}", source.table, names(&input.columns))?;
            writeln!(f, "          to {}", place(source.to))?;
            if let Some(watermark) = time(self, source) {
                writeln!(f, "          {watermark}")?;
            }
        }
        for (at, node) in self.blueprint.nodes.iter().enumerate() {
            let to = node.to.map_or_else(|| "the table".to_owned(), place);
            writeln!(f, "  node {at:<2} {}, to {to}", what(&node.plan))?;
            if let Some(stage) = stage(&node.plan) {
                let plan = displayable(stage.plan.as_ref()).indent(false).to_string();
                for line in plan.lines() {
                    writeln!(f, "            {line}")?;
                }
            }
        }
        for warning in self.warnings() {
            writeln!(f, "  mind    {warning}")?;
        }
        let updating = if self.updating { ", rows are taken back and told again" } else { "" };
        writeln!(f, "  fills   {}{updating}:", self.sink.name)?;
        for field in self.output.fields() {
            let null = if field.is_nullable() { "" } else { " NOT NULL" };
            writeln!(f, "            {} {}{null}", field.name(), field.data_type())?;
        }
        Ok(())
    }
}

fn names(columns: &Schema) -> String {
    let names = columns.fields().iter().map(|field| field.name().as_str());
    names.filter(|name| *name != RETRACT).collect::<Vec<_>>().join(", ")
}

fn place((node, input): Edge) -> String {
    match input {
        0 => format!("node {node}"),
        input => format!("node {node}, input {input}"),
    }
}

fn time(pipeline: &Pipeline, source: &SourcePlan) -> Option<String> {
    source.time.as_ref()?;
    let input = pipeline.inputs.iter().find(|input| input.table.name == source.table)?;
    let watermark = input.table.watermark.as_ref()?;
    let column = &watermark.column;
    Some(match &watermark.expression {
        Some(expression) => format!("time is {column}, and all has come before {expression}"),
        None => format!("time is {column}, and all has come before the newest"),
    })
}

fn stage(plan: &Plan) -> Option<&Stage> {
    match plan {
        Plan::Stage(stage) | Plan::Held(stage, _) => Some(stage),
        Plan::Join(join) => Some(&join.stage),
        Plan::Lookup(lookup) => Some(&lookup.stage),
        _ => None,
    }
}

fn what(plan: &Plan) -> String {
    match plan {
        Plan::Union => "brings its inputs together".into(),
        Plan::Stage(_) => "a query over each batch".into(),
        Plan::Held(_, inputs) => format!("a query over whole windows of {inputs} inputs"),
        Plan::Windowed(plan) if plan.slide == plan.width => {
            format!("windows of {}{}", span(plan.width), gathered(&plan.aggregation))
        }
        Plan::Windowed(plan) => {
            let (width, slide) = (span(plan.width), span(plan.slide));
            format!("windows of {width} every {slide}{}", gathered(&plan.aggregation))
        }
        Plan::Session(plan) => {
            format!("sessions with gaps up to {}{}", span(plan.gap), gathered(&plan.aggregation))
        }
        Plan::Updating(plan) => format!(
            "aggregates kept for {}{}",
            span(plan.time_to_live),
            gathered(&plan.aggregation)
        ),
        Plan::Lookup(plan) if plan.outside.is_some() => {
            "a join with rows of redis, as they are then".into()
        }
        Plan::Lookup(_) => "a join with the newest rows of a table".into(),
        Plan::Join(plan) => format!("a join of rows kept for {}", span(plan.time_to_live)),
    }
}

fn gathered(aggregation: &Aggregation) -> String {
    let mut text = String::new();
    if !aggregation.keys.fields().is_empty() {
        // Writing to a String never fails.
        let _ = write!(text, " by {}", names(&aggregation.keys));
    }
    let aggregates = aggregation.aggregates.iter().map(|lowered| lowered.aggregate.name());
    let aggregates: Vec<&str> = aggregates.collect();
    if !aggregates.is_empty() {
        let _ = write!(text, ": {}", aggregates.join(", "));
    }
    text
}

/// A length of time in the largest unit that tells it whole.
fn span(nanoseconds: i64) -> String {
    const UNITS: [(i64, &str); 5] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "min"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
    ];
    let whole = UNITS.iter().find(|(unit, _)| nanoseconds % unit == 0);
    whole.map_or_else(
        || format!("{nanoseconds} ns"),
        |(unit, name)| format!("{} {name}", nanoseconds / unit),
    )
}
