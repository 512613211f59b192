//! Systems that send events over HTTP: the register of people, service centres and the portal.

mod answer;
pub mod http;
mod intake;

use std::{sync::Arc, time::Duration};

use domain::id::CentreId;
use ingest::{
    error::LogError,
    log::{Log, replay},
    register::sequences::Sequences,
    topic::Topic,
};
use tokio::sync::Semaphore;

use crate::{
    access::{Identity, Role, Tokens},
    connector::Connector,
    dagr::{PersonChanges, snapshot::Snapshot},
    known::Known,
    load::Context,
    portal::PortalEvents,
    problem::Problem,
    registry::Current,
    terminal::pace::Pace,
    vpvkac::CentreEvents,
};

/// What is configured of the door for sources.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Requests of one source a second, on and on.
    pub per_second: u32,
    /// Requests of one source at once.
    pub at_once: u32,
    /// Bodies that are read at once, of all sources together; each may hold its bound in memory.
    pub bodies: usize,
    /// How long a body may bring no byte.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { per_second: 20, at_once: 100, bodies: 16, idle: Duration::from_secs(30) }
    }
}

/// What the door for sources works over.
#[derive(Debug)]
pub struct Door {
    context: Context,
    tokens: Tokens,
    /// What the streams hold; shared with whoever else appends to them in this process.
    known: Known,
    registry: Current,
    pace: Pace<Arc<str>>,
    bodies: Semaphore,
    idle: Duration,
}

/// Whose events they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// The register of people.
    Dagr,
    /// Service centres.
    Vpvkac,
    /// The state portal.
    Portal,
}

impl Route {
    const ALL: [Self; 3] = [Self::Dagr, Self::Vpvkac, Self::Portal];

    /// The connector's name, which is the organisation in its token, too.
    const fn name(self) -> &'static str {
        match self {
            Self::Dagr => "dagr",
            Self::Vpvkac => "vpvkac",
            Self::Portal => "portal",
        }
    }

    const fn topic(self) -> Topic {
        match self {
            Self::Dagr => Topic::PersonChanges,
            Self::Vpvkac => Topic::ServiceEvents,
            Self::Portal => Topic::PortalEvents,
        }
    }

    /// Whose a type of event is.
    fn of_type(kind: &str) -> Option<Self> {
        let (of, _) = kind.strip_prefix("lv.")?.split_once('.')?;
        Self::ALL.into_iter().find(|route| route.name() == of)
    }
}

impl Door {
    /// The door of one node.
    #[must_use]
    pub fn new(
        context: Context,
        tokens: Tokens,
        known: Known,
        registry: Current,
        settings: Settings,
    ) -> Self {
        Self {
            context,
            tokens,
            known,
            registry,
            pace: Pace::new(settings.per_second, settings.at_once),
            bodies: Semaphore::new(settings.bodies),
            idle: settings.idle,
        }
    }

    /// Whose events a token's bearer may send; none for all. A token names its source as its
    /// organisation, or none where one system passes on what all say.
    fn source(&self, identity: &Identity) -> Result<Option<Route>, Problem> {
        if identity.role != Role::Source {
            return Err(Problem::forbidden("this is for sources of events"));
        }
        let own = Route::ALL.into_iter().find(|route| route.name() == &*identity.organisation);
        if own.is_none() && !identity.organisation.is_empty() {
            let detail = "the token's organisation is no source: dagr, vpvkac or portal";
            return Err(Problem::forbidden(detail));
        }
        let caller = Arc::clone(&identity.subject);
        self.pace.take(&caller, std::time::Instant::now()).map_err(Problem::too_many)?;
        Ok(own)
    }

    /// The connector of some events.
    async fn connector(
        &self,
        route: Route,
        snapshot: &Arc<std::sync::Mutex<Snapshot>>,
    ) -> Result<Box<dyn Connector>, Problem> {
        let (vault, clock) = (self.context.vault.clone(), Arc::clone(&self.context.clock));
        Ok(match route {
            Route::Dagr => Box::new(PersonChanges { vault, clock, snapshot: Arc::clone(snapshot) }),
            Route::Vpvkac => {
                let registry = self.registry.registry(&self.context.log).await?;
                let ids = registry.centres.iter().map(|centre| centre.id.clone());
                Box::new(CentreEvents { centres: ids.collect::<Set>(), vault, clock })
            }
            Route::Portal => Box::new(PortalEvents { vault, clock }),
        })
    }
}

type Set = std::collections::HashSet<CentreId>;

/// How often it is told at least that gaps are known up to now.
const CHECKED_EVERY: Duration = Duration::from_secs(60);
/// How long a stream that could not be read is left alone.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Tells operators how many runs of people's changes have not come: from the start on, since a page that
/// ends with a restart is believed to be mended, and whoever appends. A stream that cannot be read is
/// read again; it ends with the log.
pub async fn watch_gaps(context: &Context, known: &Known) {
    let mut grown = context.log.subscribe(Topic::PersonChanges);
    // What the door knows of a nation is hundreds of megabytes: until somebody sends, its counts alone
    // are read, and let go of.
    let mut is_counted = false;
    let mut looked = count_gaps(&context.log).await;
    loop {
        let open = told(context, looked);
        is_counted |= open.is_some();
        looked = match open {
            None => {
                tokio::time::sleep(READ_AGAIN).await;
                match is_counted {
                    true => known_gaps(&context.log, known).await,
                    false => count_gaps(&context.log).await,
                }
            }
            Some(open) => match tokio::time::timeout(CHECKED_EVERY, grown.changed()).await {
                Ok(Ok(())) => known_gaps(&context.log, known).await,
                Ok(Err(_)) => return,
                // Nothing has come, so what was known is all that there is.
                Err(_) => Ok(open),
            },
        };
    }
}

/// Tells how many gaps there are, where that could be seen.
fn told(context: &Context, looked: Result<usize, LogError>) -> Option<usize> {
    match looked {
        Ok(open) => {
            context.metrics.gaps(open, context.clock.now());
            Some(open)
        }
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(
                error,
                "missing changes of people cannot be counted; it is tried again"
            );
            None
        }
    }
}

async fn count_gaps(log: &Arc<dyn Log>) -> Result<usize, LogError> {
    let mut people = Sequences::default();
    let counted = replay(log, Topic::PersonChanges, |stored| {
        people.apply(&stored);
        Ok::<(), LogError>(())
    });
    counted.await?;
    Ok(people.open())
}

async fn known_gaps(log: &Arc<dyn Log>, known: &Known) -> Result<usize, LogError> {
    let stream = known.stream(log, Topic::PersonChanges, intake::known_by).await?;
    Ok(stream.people().open())
}
