//! From a query's logical plan to a dataflow: what needs state is cut out of it, node by node, and
//! what stands between two such nodes is executed by the engine as one stage.
//!
//! Hidden columns (event time above all) are carried along: every projection passes them on.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::{
    catalog::streaming::StreamingTable,
    common::{
        Column, DFSchema, DFSchemaRef, Result as EngineResult, TableReference, not_impl_err,
        plan_err,
        tree_node::{Transformed, TreeNode},
    },
    datasource::provider_as_source,
    logical_expr::{
        Aggregate, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias,
        TableScan, Union, Unnest, Window as WindowNode,
    },
};

mod joins;

pub use joins::{LookedUp, Lookup};

use super::{
    hidden::{hidden, hidden_field, is_hidden, timestamp},
    over,
    window::{self, Window},
};
use crate::dataflow::{
    Edge,
    stage::Slot,
    time::{RETRACT, TIMESTAMP, WATERMARK},
};

/// A dataflow whose queries are not planned for execution yet.
#[derive(Debug, Default)]
pub struct Draft {
    pub sources: Vec<DraftSource>,
    pub nodes: Vec<DraftNode>,
    /// Whether anything in it needs time.
    pub timed: bool,
    /// How long updating queries keep what nothing touches, in nanoseconds.
    pub time_to_live: i64,
}

#[derive(Debug)]
pub struct DraftSource {
    pub table: String,
    /// The columns of the table that are read.
    pub columns: Vec<usize>,
    /// Whether its rows have an event time and tell time.
    pub timed: bool,
    pub to: Option<Edge>,
}

#[derive(Debug)]
pub struct DraftNode {
    pub work: Work,
    pub inputs: usize,
    pub to: Option<Edge>,
}

/// A query over inputs that the runtime puts into slots.
#[derive(Debug)]
pub struct Query {
    pub plan: LogicalPlan,
    pub slots: Vec<Arc<Slot>>,
}

/// What a node does, in logical terms.
#[derive(Debug)]
pub enum Work {
    Union,
    Stage(Query),
    Gather(Gather),
    Held(Query),
    Join { query: Query, on: Vec<(Expr, Expr)>, sides: [DFSchemaRef; 2] },
    Lookup(Box<Lookup>),
}

/// An aggregate over windows, or an updating one.
#[derive(Debug)]
pub struct Gather {
    /// The columns that it reads: the keys, then others.
    pub input: DFSchemaRef,
    pub keys: usize,
    pub aggregates: Vec<Expr>,
    /// The window and its place among the columns; none of an updating aggregate.
    pub window: Option<(Window, usize)>,
    pub over_updates: bool,
    pub output: SchemaRef,
}

/// A part of the query: a plan without state over one origin.
pub struct Built {
    pub plan: LogicalPlan,
    origin: Origin,
    slot: Arc<Slot>,
    /// Whether the plan does nothing to its origin's rows.
    bare: bool,
    /// The window that its rows are of, and the columns that hold it.
    pub window: Option<Window>,
    pub fields: Vec<usize>,
    pub updating: bool,
    /// The table in which its rows are looked up, if they are; they come without time.
    pub lookup: Option<LookedUp>,
}

#[derive(Clone, Copy, Debug)]
enum Origin {
    Source(usize),
    Node(usize),
}

/// What the planner knows of tables.
pub trait Tables {
    /// The place of the columns in a table's full schema, with generated ones as expressions, and
    /// the columns of the table that these read.
    ///
    /// # Errors
    /// Where there is no such source.
    fn read(&self, scan: &TableScan) -> EngineResult<Read>;
}

/// What a scan reads of a table.
pub struct Read {
    /// The columns that the table really has, by their places in it.
    pub columns: Vec<usize>,
    /// Their schema.
    pub schema: SchemaRef,
    /// What the scan makes of them, where it does not pass them on as they are.
    pub project: Option<Vec<Expr>>,
    /// Whether its rows can be taken back.
    pub updating: bool,
    /// How they are looked up, if they are.
    pub lookup: Option<LookedUp>,
}

impl Draft {
    /// Adds what a plan needs.
    ///
    /// # Errors
    /// What the dialect or this runtime does not have.
    pub fn build(&mut self, tables: &dyn Tables, plan: LogicalPlan) -> EngineResult<Built> {
        let built = self.with_lookups(tables, plan)?;
        if built.lookup.is_some() {
            return plan_err!("a lookup table can only stand on the right of a join");
        }
        Ok(built)
    }

    fn with_lookups(&mut self, tables: &dyn Tables, plan: LogicalPlan) -> EngineResult<Built> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(tables, &scan),
            LogicalPlan::Projection(node) => {
                let input = self.with_lookups(tables, owned(node.input))?;
                project(input, node.expr)
            }
            LogicalPlan::Filter(node) => {
                let input = self.with_lookups(tables, owned(node.input))?;
                filter(input, node.predicate)
            }
            LogicalPlan::SubqueryAlias(node) => {
                let mut input = self.with_lookups(tables, owned(node.input))?;
                let alias = SubqueryAlias::try_new(Arc::new(input.plan), node.alias)?;
                input.plan = LogicalPlan::SubqueryAlias(alias);
                Ok(input)
            }
            LogicalPlan::Unnest(node) => {
                let input = self.build(tables, owned(Arc::clone(&node.input)))?;
                unnest(input, node)
            }
            LogicalPlan::Union(node) => self.union(tables, node),
            LogicalPlan::Aggregate(node) => self.aggregate(tables, node),
            LogicalPlan::Join(node) => self.join(tables, node),
            LogicalPlan::Window(node) => self.window_function(tables, node),
            other => over::refused(&other),
        }
    }

    /// Ends a query: its last stage, whose rows are the sink's.
    pub fn finish(&mut self, built: Built) {
        let stage = self.stage(built);
        debug_assert_eq!(stage + 1, self.nodes.len());
    }

    fn scan(&mut self, tables: &dyn Tables, scan: &TableScan) -> EngineResult<Built> {
        let read = tables.read(scan)?;
        let table = scan.table_name.table().to_owned();
        let origin = Origin::Source(self.sources.len());
        let timed = self.timed && read.lookup.is_none();
        self.sources.push(DraftSource { table, columns: read.columns, timed, to: None });
        let relation = Some(scan.table_name.clone());
        let fields = read.schema.fields().iter();
        let mut fields: Vec<_> =
            fields.map(|field| (relation.clone(), Arc::clone(field))).collect();
        if timed {
            fields.push((relation.clone(), hidden_field(TIMESTAMP)));
            fields.push((relation.clone(), hidden_field(WATERMARK)));
        }
        if read.updating {
            fields.push((relation, hidden_field(RETRACT)));
        }
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        let mut built = origin_of(origin, &schema)?;
        (built.updating, built.lookup) = (read.updating, read.lookup);
        match read.project {
            Some(expressions) => project(built, expressions),
            None => Ok(built),
        }
    }

    /// Adds what several INSERTs into one sink need. They end there, so their windows may differ.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn inserts(&mut self, tables: &dyn Tables, node: Union) -> EngineResult<Built> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in node.inputs {
            let input = self.build(tables, owned(input))?;
            inputs.push(Built { window: None, fields: Vec::new(), ..input });
        }
        self.together(inputs, &node.schema)
    }

    fn union(&mut self, tables: &dyn Tables, node: Union) -> EngineResult<Built> {
        let inputs = node.inputs.into_iter().map(|input| self.build(tables, owned(input)));
        let inputs = inputs.collect::<EngineResult<Vec<_>>>()?;
        self.together(inputs, &node.schema)
    }

    fn together(&mut self, inputs: Vec<Built>, schema: &DFSchema) -> EngineResult<Built> {
        let Some(first) = inputs.first() else { return plan_err!("a UNION of nothing") };
        let (window, updating) = (first.window, first.updating);
        let fields = first.fields.clone();
        if inputs.iter().any(|input| input.window != window || input.updating != updating) {
            return plan_err!("can't handle mixed windowing between the parts of a UNION");
        }
        let visible =
            schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let has = |input: &Built, name: &str| {
            hidden(input.plan.schema()).iter().any(|column| column.name() == name)
        };
        let common = [TIMESTAMP, WATERMARK, RETRACT];
        let common = common.into_iter().filter(|name| inputs.iter().all(|input| has(input, name)));
        let common: Vec<&str> = common.collect();
        let hidden = common.iter().map(|name| (None, hidden_field(name)));
        let schema =
            DFSchema::new_with_metadata(visible.chain(hidden).collect(), Default::default())?;
        let into = self.add(Work::Union, inputs.len());
        for (at, input) in inputs.into_iter().enumerate() {
            let stage = self.stage(narrowed(input, &common)?);
            self.nodes[stage].to = Some((into, at));
        }
        // The union stands after what it reads, so that nodes come in the order of the rows' way.
        let into = self.move_last(into);
        let mut built = origin_of(Origin::Node(into), &schema)?;
        (built.window, built.fields, built.updating) = (window, fields, updating);
        Ok(built)
    }

    fn aggregate(&mut self, tables: &dyn Tables, node: Aggregate) -> EngineResult<Built> {
        let input = self.build(tables, owned(Arc::clone(&node.input)))?;
        if node.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
            return not_impl_err!("GROUPING SETS, ROLLUP and CUBE");
        }
        let mut called = None;
        for (at, key) in node.group_expr.iter().enumerate() {
            if let Some(window) = window::find(key)?
                && called.replace((window, at)).is_some()
            {
                return not_impl_err!("do not support 2 window expressions in group by");
            }
        }
        match (input.window, called) {
            (None, called) => self.gather(input, node, called),
            (Some(known), Some((window, _))) if known != window => {
                not_impl_err!("window in group by does not match input window")
            }
            (Some(known), called) => self.over_windows(input, node, known, called),
        }
    }

    /// An aggregate over rows that are of no window yet.
    fn gather(
        &mut self,
        input: Built,
        node: Aggregate,
        called: Option<(Window, usize)>,
    ) -> EngineResult<Built> {
        if input.updating && called.is_some() {
            return plan_err!("can't handle windows over updating rows");
        }
        let over_updates = input.updating;
        let mut keys = node.group_expr.clone();
        if let Some((_, at)) = called {
            keys.remove(at);
        }
        let count = keys.len();
        let keyed = keys.into_iter().enumerate().map(|(at, key)| key.unalias().alias(key_name(at)));
        let read = columns_of(&node.aggr_expr, input.plan.schema())?;
        let input = project(input, keyed.chain(read).collect())?;
        let schema = Arc::clone(input.plan.schema());
        let reads = self.close(input);
        let fields = node.schema.iter();
        let mut fields: Vec<_> =
            fields.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        fields.push((None, hidden_field(TIMESTAMP)));
        if called.is_none() {
            fields.push((None, hidden_field(RETRACT)));
        }
        let output = DFSchema::new_with_metadata(fields, Default::default())?;
        let gather = Gather {
            input: schema,
            keys: count,
            aggregates: node.aggr_expr,
            window: called,
            over_updates,
            output: Arc::new(output.as_arrow().clone()),
        };
        let into = self.add(Work::Gather(gather), 1);
        self.connect(reads, (into, 0));
        let mut built = origin_of(Origin::Node(into), &output)?;
        built.window = called.map(|(window, _)| window);
        built.fields = called.map(|(_, at)| at).into_iter().collect();
        built.updating = called.is_none();
        Ok(built)
    }

    /// An aggregate over rows of windows: over all of a window's rows at once.
    fn over_windows(
        &mut self,
        input: Built,
        mut node: Aggregate,
        known: Window,
        called: Option<(Window, usize)>,
    ) -> EngineResult<Built> {
        let schema = Arc::clone(input.plan.schema());
        let mut fields = Vec::new();
        for (at, key) in node.group_expr.iter().enumerate() {
            if let Expr::Column(column) = key.clone().unalias()
                && input.fields.contains(&schema.index_of_column(&column)?)
            {
                fields.push(at);
            }
        }
        if let Some((_, at)) = called {
            let window = over::window_of_row(&input, known)?;
            let name = node.group_expr[at].schema_name().to_string();
            node.group_expr[at] = window.alias(name);
            fields.push(at);
        }
        if fields.is_empty() {
            return plan_err!(
                "must have window in aggregate. Make sure you are calling one of the windowing \
                 functions (hop, tumble, session) or using the window field of the input"
            );
        }
        let reads = self.close(input);
        let (leaf, slot) = leaf(&schema, None, 0)?;
        let plan = over::aggregate(leaf, node)?;
        let query = Query { plan, slots: vec![slot] };
        let mut built = self.held(query, vec![reads])?;
        (built.window, built.fields) = (Some(known), fields);
        Ok(built)
    }

    fn window_function(&mut self, tables: &dyn Tables, node: WindowNode) -> EngineResult<Built> {
        let input = self.build(tables, owned(Arc::clone(&node.input)))?;
        let Some(known) = input.window else {
            return plan_err!("Window functions require already windowed input");
        };
        if matches!(known, Window::Session { .. }) {
            return plan_err!("Window functions do not support session windows");
        }
        let (schema, fields) = (Arc::clone(input.plan.schema()), input.fields.clone());
        let reads = self.close(input);
        let (leaf, slot) = leaf(&schema, None, 0)?;
        let plan = over::function(leaf, &node, &fields)?;
        let mut built = self.held(Query { plan, slots: vec![slot] }, vec![reads])?;
        (built.window, built.fields) = (Some(known), fields);
        Ok(built)
    }

    /// A query over whole windows of some origins.
    fn held(&mut self, query: Query, reads: Vec<Origin>) -> EngineResult<Built> {
        let output = Arc::clone(query.plan.schema());
        self.node(Work::Held(query), reads, &output)
    }

    fn node(&mut self, work: Work, reads: Vec<Origin>, output: &DFSchema) -> EngineResult<Built> {
        let into = self.add(work, reads.len());
        for (input, origin) in reads.into_iter().enumerate() {
            self.connect(origin, (into, input));
        }
        origin_of(Origin::Node(into), output)
    }

    fn add(&mut self, work: Work, inputs: usize) -> usize {
        self.nodes.push(DraftNode { work, inputs, to: None });
        self.nodes.len() - 1
    }

    /// Moves a node behind all others; where it stands then.
    fn move_last(&mut self, node: usize) -> usize {
        let moved = self.nodes.remove(node);
        self.nodes.push(moved);
        let last = self.nodes.len() - 1;
        let edges = self.nodes.iter_mut().map(|node| &mut node.to);
        for (to, _) in edges.chain(self.sources.iter_mut().map(|source| &mut source.to)).flatten() {
            *to = match *to {
                at if at == node => last,
                at if at > node => at - 1,
                at => at,
            };
        }
        last
    }

    fn connect(&mut self, origin: Origin, to: Edge) {
        match origin {
            Origin::Source(source) => self.sources[source].to = Some(to),
            Origin::Node(node) => self.nodes[node].to = Some(to),
        }
    }

    /// The origin of a part's rows, with a stage of its own where it does something to them.
    fn close(&mut self, built: Built) -> Origin {
        if built.bare {
            return built.origin;
        }
        Origin::Node(self.stage(built))
    }

    fn stage(&mut self, built: Built) -> usize {
        let query = Query { plan: built.plan, slots: vec![built.slot] };
        let stage = self.add(Work::Stage(query), 1);
        self.connect(built.origin, (stage, 0));
        stage
    }
}

fn owned(plan: Arc<LogicalPlan>) -> LogicalPlan {
    Arc::unwrap_or_clone(plan)
}

fn key_name(at: usize) -> String {
    format!("_key_{at}")
}

/// Rows of an origin under the names that queries know them by.
fn origin_of(origin: Origin, schema: &DFSchema) -> EngineResult<Built> {
    let (plan, slot) = leaf(schema, None, 0)?;
    let (window, fields) = (None, Vec::new());
    let (updating, lookup) = (false, None);
    Ok(Built { plan, origin, slot, bare: true, window, fields, updating, lookup })
}

/// A plan whose rows are put into a slot, with the qualified names of a schema; hidden columns under
/// another relation, where one is given.
pub fn leaf(
    schema: &DFSchema,
    hidden_relation: Option<&str>,
    input: usize,
) -> EngineResult<(LogicalPlan, Arc<Slot>)> {
    let field = |(at, field): (usize, &Arc<Field>)| {
        Field::new(format!("c{at}"), field.data_type().clone(), field.is_nullable())
    };
    let columns: Vec<Field> = schema.fields().iter().enumerate().map(field).collect();
    let columns = Arc::new(Schema::new(columns));
    let slot = Arc::new(Slot::new(Arc::clone(&columns)));
    let table = StreamingTable::try_new(columns, vec![Arc::clone(&slot) as _])?;
    let name = TableReference::bare(format!("_input_{input}"));
    let scan = LogicalPlanBuilder::scan(name.clone(), provider_as_source(Arc::new(table)), None)?;
    let named = schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let relation = match hidden_relation {
            Some(relation) if is_hidden(field.name()) => Some(TableReference::bare(relation)),
            _ => qualifier.cloned(),
        };
        let column = Expr::Column(Column::new(Some(name.clone()), format!("c{at}")));
        column.alias_qualified(relation, field.name())
    });
    Ok((scan.project(named.collect::<Vec<_>>())?.build()?, slot))
}

/// The columns that some expressions read.
fn columns_of(expressions: &[Expr], schema: &DFSchema) -> EngineResult<Vec<Expr>> {
    let mut places = Vec::new();
    for expression in expressions {
        for column in expression.column_refs() {
            places.push(schema.index_of_column(column)?);
        }
    }
    places.sort_unstable();
    places.dedup();
    Ok(places
        .into_iter()
        .map(|at| Expr::Column(Column::from(schema.qualified_field(at))))
        .collect())
}

/// A projection that passes the hidden columns on.
fn project(mut input: Built, expressions: Vec<Expr>) -> EngineResult<Built> {
    let schema = Arc::clone(input.plan.schema());
    let mut fields = Vec::new();
    for (at, expression) in expressions.iter().enumerate() {
        if let Expr::Column(column) = expression.clone().unalias()
            && input.fields.contains(&schema.index_of_column(&column)?)
        {
            fields.push(at);
        }
    }
    let mut made = Vec::with_capacity(expressions.len() + 2);
    for (at, expression) in expressions.into_iter().enumerate() {
        if let Some(called) = window::find(&expression)? {
            let Some(known) = input.window else {
                return plan_err!(
                    "can't call a windowing function without grouping by it in an aggregate"
                );
            };
            if called != known {
                return plan_err!("can't window by both {called:?} and {known:?}");
            }
            let name = expression.schema_name().to_string();
            made.push(over::window_of_row(&input, known)?.alias(name));
            fields.push(at);
        } else {
            made.push(row_time(expression, &schema)?);
        }
    }
    made.extend(hidden(&schema).into_iter().map(Expr::Column));
    input.plan = LogicalPlan::Projection(Projection::try_new(made, Arc::new(input.plan))?);
    (input.bare, input.fields) = (false, fields);
    Ok(input)
}

/// A part with only some of its hidden columns, which come last.
fn narrowed(mut input: Built, hidden_kept: &[&str]) -> EngineResult<Built> {
    let columns = input.plan.schema().columns();
    let (hidden, mut made): (Vec<Column>, Vec<Column>) =
        columns.into_iter().partition(|column| is_hidden(column.name()));
    for kept in hidden_kept {
        made.extend(hidden.iter().find(|column| column.name() == *kept).cloned());
    }
    let made = made.into_iter().map(Expr::Column).collect();
    input.plan = LogicalPlan::Projection(Projection::try_new(made, Arc::new(input.plan))?);
    input.bare = false;
    Ok(input)
}

/// `row_time()` is the event time.
fn row_time(expression: Expr, schema: &DFSchema) -> EngineResult<Expr> {
    if !window::calls(&expression, &["row_time", "tumble", "hop", "session"])? {
        return Ok(expression);
    }
    let name = expression.schema_name().to_string();
    let replaced = expression.transform(|inner| match &inner {
        Expr::ScalarFunction(function) if function.name() == "row_time" => {
            Ok(Transformed::yes(timestamp(schema)?))
        }
        Expr::ScalarFunction(function)
            if ["tumble", "hop", "session"].contains(&function.name()) =>
        {
            plan_err!("{}() can only stand in a GROUP BY", function.name())
        }
        _ => Ok(Transformed::no(inner)),
    })?;
    Ok(replaced.data.unalias().alias(name))
}

fn filter(mut input: Built, predicate: Expr) -> EngineResult<Built> {
    let schema = Arc::clone(input.plan.schema());
    let predicate = row_time(predicate, &schema)?.unalias();
    input.plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input.plan))?);
    input.bare = false;
    Ok(input)
}

fn unnest(mut input: Built, node: Unnest) -> EngineResult<Built> {
    if node.exec_columns.len() > 1 {
        return not_impl_err!("more than one UNNEST per projection");
    }
    // Columns of a struct move the places of those after it, so windows do not pass through.
    input.fields.clear();
    let made = Unnest::try_new(Arc::new(input.plan), node.exec_columns, node.options)?;
    input.plan = LogicalPlan::Unnest(made);
    input.bare = false;
    Ok(input)
}
