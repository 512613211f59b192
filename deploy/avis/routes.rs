//! All that the node answers over HTTP: the routes of each package, with one description of them.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use authoriser::{
    refresh::{People, read},
    service::Handle,
};
use axum::{Router, extract::DefaultBodyLimit, middleware};
use connectors::{
    edge::{self, Answers},
    grantor, issuer,
    portal::{
        login,
        panels::{self, PanelBook},
    },
    recipient,
    registry::{
        self, Current,
        registrar::{Registrar, Told},
    },
    source,
    terminal::{
        enrolment::http as enrolment,
        http::{self, Door},
        openapi as terminals,
    },
    vpvkac::{self, desk::Desk},
};
use pipelines::groups;
use tokio::runtime;
use utoipa::{OpenApi as _, openapi::OpenApi};
use warehouse::settlement::bank;

use crate::{
    audit::Auditor, backup::server, config::Config, failure::Failure, forward::Forward, node::Node,
    pull, simulate::Simulations,
};

/// How long an authoriser elsewhere may say nothing: in less it answers, or says that it is late.
const DECIDES: Duration = Duration::from_secs(20);
/// How much longer a warehouse elsewhere may say nothing than it lets wait: it says itself that it is late.
const TELLS_BEYOND: Duration = Duration::from_secs(30);

/// Who decides, where that is this process, and its door for terminals.
pub struct Deciding {
    /// Who is asked.
    pub handle: Handle,
    /// The terminals' door.
    pub door: Door,
}

/// The answers of the last day under their keys, in a node's folder.
const ANSWERS: &str = "answers";

/// What all routes share.
struct Shared<'a> {
    node: &'a Arc<Node>,
    config: &'a Config,
    registrar: Registrar,
    current: Current,
    book: PanelBook,
    people: Arc<RwLock<People>>,
    auditor: Auditor,
    answers: Answers,
    /// Where answers are computed that tables give.
    answering: runtime::Handle,
}

/// The routes of this process's roles, with those of `health` beside them; and through what the registry changes.
/// Where tables are asked, somebody answers that is no thread of a door.
///
/// # Errors
/// Where the streams of calls or the answers cannot be read, or a setting is none.
pub async fn all(
    node: &Arc<Node>,
    config: &Config,
    (deciding, answering): (Option<Deciding>, Option<runtime::Handle>),
    people: Arc<RwLock<People>>,
    auditor: &Auditor,
    health: Router,
) -> Result<(Router, Registrar), Failure> {
    let book = PanelBook::over(node.log.clone(), node.vault.clone(), node.clock.clone());
    let path = node.folder.join(ANSWERS);
    let answers = Answers::open(path, node.vault.clone(), Arc::clone(&node.clock))?;
    let shared = Shared {
        registrar: registrar(node, config, auditor.clone()),
        current: Current::default(),
        auditor: auditor.clone(),
        node,
        config,
        book,
        people,
        answers,
        answering: answering.unwrap_or_else(runtime::Handle::current),
    };
    let (roles, tokens, deadline) = (node.roles, node.tokens(), config.http.deadline());
    // What terminals ask is finished by the authoriser, whoever hangs up.
    let mut routes = Router::new();
    if roles.registers() {
        routes = routes.merge(shared.registers(deadline).await?);
    }
    if let Some(Deciding { handle, door }) = deciding {
        let of_recipients = recipient::http::routes(shared.recipients(&handle));
        let of_terminals = http::routes(door);
        routes = routes.merge(in_time(of_recipients, deadline)).merge(of_terminals);
    }
    if roles.tells() {
        let of_tables = shared.pulling().tables();
        // Who closes a month reads all of it.
        routes = routes.merge(in_time(shared.keyed(of_tables), deadline.of_reading()));
        let while_wanted = middleware::from_fn_with_state(deadline, edge::while_wanted);
        routes = routes.merge(shared.pulling().reports().layer(while_wanted));
    }
    let known_first = middleware::from_fn_with_state(tokens, edge::known_first);
    routes = routes.layer(known_first).merge(health);
    if roles.are_apart() && roles.registers() {
        routes = routes.merge(elsewhere(config)?);
    }
    let routes = edge::around(routes, described(), node.loading.metrics.clone());
    Ok((routes, shared.registrar))
}

/// Routes whose requests are finished, whoever hangs up, and have an answer in time.
fn in_time(routes: Router, deadline: edge::Deadline) -> Router {
    routes.layer(middleware::from_fn_with_state(deadline, edge::detached))
}

/// What is answered by other roles, where they are apart.
fn elsewhere(config: &Config) -> Result<Router, Failure> {
    let roles = &config.roles;
    let forward = Forward::new(&roles.authority)?;
    let mut decides = terminals::Description::openapi();
    decides.merge(recipient::http::Description::openapi());
    let (tells, silent) =
        (pull::Description::openapi(), config.http.deadline().reading + TELLS_BEYOND);
    let routes = forward.routes("roles.authoriser", &roles.authoriser, &decides, DECIDES)?;
    Ok(routes.merge(forward.routes("roles.warehouse", &roles.warehouse, &tells, silent)?))
}

/// What all roles answer, whoever does.
fn described() -> OpenApi {
    let mut description = registry::openapi::description();
    join(&mut description, enrolment::Description::openapi());
    join(&mut description, login::Description::openapi());
    join(&mut description, panels::http::Description::openapi());
    join(&mut description, source::http::Description::openapi());
    join(&mut description, grantor::http::Description::openapi());
    join(&mut description, issuer::http::Description::openapi());
    join(&mut description, recipient::http::Description::openapi());
    join(&mut description, vpvkac::http::Description::openapi());
    join(&mut description, pull::Description::openapi());
    join(&mut description, pull::OperationDescription::openapi());
    join(&mut description, server::Description::openapi());
    description
}

/// Joins a description to the others. A name that two packages give to different things would describe one of
/// them wrongly.
fn join(description: &mut OpenApi, other: OpenApi) {
    let schemas = |of: &OpenApi| of.components.clone().unwrap_or_default().schemas;
    let known = schemas(description);
    for (name, schema) in schemas(&other) {
        let same = known.get(&name).is_none_or(|known| *known == schema);
        debug_assert!(same, "two different schemas are called {name}");
    }
    description.merge(other);
}

/// Through what the registry changes while the node serves.
fn registrar(node: &Node, config: &Config, auditor: Auditor) -> Registrar {
    let (log, clock) = (Arc::clone(&node.log), Arc::clone(&node.clock));
    let told = Arc::new(move |deed| auditor.tell(deed));
    let (approval, keys) = (config.registry.approval, Arc::clone(&node.terminal_keys));
    Registrar::new(log, clock, groups::check, told, approval, keys)
}

impl Shared<'_> {
    /// What registers, issuers, grantors, merchants, centres and operators ask and tell.
    async fn registers(&self, deadline: edge::Deadline) -> Result<Router, Failure> {
        let (node, tokens, registrar) = (self.node, self.node.tokens(), &self.registrar);
        let registry = registry::http::Door {
            registrar: registrar.clone(),
            tokens: tokens.clone(),
            vault: node.vault.clone(),
            simulator: Arc::new(Simulations::of(node)),
        };
        let enrolment = enrolment::Door {
            registrar: registrar.clone(),
            tokens: tokens.clone(),
            vault: node.vault.clone(),
        };
        let sign_on = login::Door {
            registrar: registrar.clone(),
            tokens: tokens.clone(),
            baskets: self.config.portal.baskets.clone(),
        };
        let (auditor, keys) = (self.auditor.clone(), self.config.backup.folder());
        let operated = self.pulling().operation();
        // Who forgets somebody reads whole streams, and who copies the keys all of them.
        let reading = self.pulling().whole_streams();
        let reading = reading.merge(server::routes(node, tokens, auditor, keys));
        let reading = self.keyed(reading).merge(registry::http::trials(registry.clone()));
        let routes = enrolment::routes(enrolment)
            .merge(registry::http::routes(registry))
            .merge(login::routes(sign_on))
            .merge(panels::http::routes(self.panels()))
            .merge(self.told())
            .merge(calls(node, self.config, self.answers.clone()).await?)
            .merge(self.keyed(operated));
        Ok(in_time(routes, deadline).merge(in_time(reading, deadline.of_reading())))
    }

    /// What is asked of tables and streams.
    fn pulling(&self) -> pull::Pulling {
        let (node, registrar) = (Arc::clone(self.node), self.registrar.clone());
        let (auditor, answering) = (self.auditor.clone(), self.answering.clone());
        pull::Pulling { node, tokens: self.node.tokens(), auditor, registrar, answering }
    }

    /// Routes whose every `POST` may have a key.
    fn keyed(&self, routes: Router) -> Router {
        let routes = edge::keyed(routes, self.node.tokens(), self.answers.clone());
        // A body is read before the key is looked at, and each route has a bound of its own.
        routes.layer(DefaultBodyLimit::max(bank::LARGEST))
    }

    /// Tells the audit trail.
    fn tell(&self) -> Told {
        let auditor = self.auditor.clone();
        Arc::new(move |deed| auditor.tell(deed))
    }

    /// What recipients see of their own; the audit trail is told of exports, and of what they change.
    fn recipients(&self, handle: &Handle) -> recipient::http::Door {
        let (tokens, current) = (self.node.tokens(), self.current.clone());
        recipient::http::Door::new(handle.clone(), tokens, current, self.book.clone(), self.tell())
    }

    /// What merchants' applications put into their clients' workspaces.
    fn panels(&self) -> panels::http::Door {
        let people = Arc::clone(&self.people);
        let holder = Arc::new(move |token| read(&people).means.get(token)?.person);
        let (registrar, vault) = (self.registrar.clone(), self.node.vault.clone());
        let tokens = self.node.tokens();
        panels::http::Door::new(self.book.clone(), registrar, tokens, vault, holder, self.tell())
    }

    /// What other systems tell: events, members and means.
    fn told(&self) -> Router {
        let (loading, known, tokens) =
            (self.node.loading.clone(), self.node.known.clone(), self.node.tokens());
        let (registry, settings) = (self.current.clone(), source::Settings::default());
        let sources = source::Door::new(
            loading.clone(),
            tokens.clone(),
            known.clone(),
            registry.clone(),
            settings,
        );
        let people = Arc::clone(&self.people);
        let holdings =
            Arc::new(move |person| read(&people).holders.tokens(person).collect::<Vec<_>>());
        let (log, current) = (loading.clone(), registry.clone());
        let lists = grantor::http::Door::new(log, tokens.clone(), known, current, self.tell());
        let means = issuer::http::Door::new(loading, tokens, registry, holdings, self.tell());
        let routes = source::http::routes(sources).merge(grantor::http::routes(lists));
        routes.merge(issuer::http::routes(means))
    }
}

/// Calls of service centres, where this node has the desk.
async fn calls(node: &Node, config: &Config, answers: Answers) -> Result<Router, Failure> {
    if !config.calls.desk {
        return Ok(vpvkac::elsewhere::routes(node.tokens()));
    }
    let (log, vault, clock) = (node.log.clone(), node.vault.clone(), node.clock.clone());
    let metrics = node.loading.metrics.clone();
    let desk = Desk::open(log, vault, clock, config.calls.settings()?, metrics).await?;
    Ok(vpvkac::http::routes(desk, node.tokens(), answers))
}
