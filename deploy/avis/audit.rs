//! `avis audit`: who read or changed what, and the proof that nobody rewrote it.

use std::{io, path::Path, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use ingest::audit::{self, Checkpoint, Deed, Verified};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use url::Url;
use utoipa::ToSchema;
use warehouse::{file, session::folder};

use crate::{
    cli::{AuditCommand, Data, Where},
    commands::node,
    config::Config,
    failure::Failure,
    node::Node,
    remote,
};

mod outside;

/// Where checkpoints are put in a node's folder; they are of use only with a copy elsewhere.
pub const CHECKPOINTS: &str = "audit-checkpoints.ndjson";
/// How often a node that serves makes one.
pub const EVERY: Duration = Duration::from_secs(3_600);
/// Faults that are told.
const FAULTS: usize = 1_000;
/// Deeds noted with one sync.
const TOGETHER: usize = 256;

/// `avis audit`.
///
/// # Errors
/// Where the stream or a file cannot be read, or the stream is not what it was.
pub async fn run(command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Key { data } => {
            println!("{}", BASE64_STANDARD.encode(audit::public_key(&node(&data)?.vault)));
            Ok(())
        }
        AuditCommand::Checkpoint { data } => {
            let (node, config) = (node(&data)?, config(&data)?);
            let checkpoint = checkpoint(&node).await?;
            if let Some(place) = config.checkpoints()? {
                outside::put(&place, &checkpoint).await?;
            }
            println!("{}", text(&checkpoint)?);
            Ok(())
        }
        AuditCommand::Verify { checkpoints, key, at } => {
            let kept = outside_of(&at, checkpoints.as_deref()).await?;
            let own = kept.is_none();
            let proved = match &at.server {
                Some(server) => {
                    remote::audit::prove(server, kept.as_deref(), key.as_deref()).await?
                }
                None => prove(&node(&at.data())?, kept, key.as_deref()).await?,
            };
            proved.tell(own)
        }
    }
}

/// What a verification of the trail has found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TrailProved {
    /// Records on the trail.
    pub records: u64,
    /// Records up to the newest checkpoint that fits.
    pub vouched: u64,
    /// Checkpoints compared.
    pub checkpoints: usize,
    /// What does not fit, in words; a thousand of them at most.
    pub faults: Vec<String>,
}

impl TrailProved {
    fn tell(&self, own: bool) -> Result<(), Failure> {
        if !self.faults.is_empty() {
            return Err(Failure::Audit(self.faults.join("\n  ")));
        }
        let Self { records, vouched, checkpoints, .. } = self;
        println!("{records} records, {vouched} of them vouched for by {checkpoints} checkpoints");
        if own {
            println!("these checkpoints lie beside the stream: compare with a copy kept elsewhere");
        }
        Ok(())
    }
}

/// Compares the trail with checkpoints that were kept elsewhere, or with the node's own.
///
/// # Errors
/// Where the trail or the node's checkpoints cannot be read, or the key is none.
pub async fn prove(
    node: &Node,
    checkpoints: Option<Vec<Checkpoint>>,
    key: Option<&str>,
) -> Result<TrailProved, Failure> {
    let kept = match checkpoints {
        Some(kept) => kept,
        None => read(&node.keys.join(CHECKPOINTS))?,
    };
    let key = match key {
        Some(text) => BASE64_STANDARD
            .decode(text.trim())
            .map_err(|_| Failure::Usage("the key is no base64".into()))?,
        None => audit::public_key(&node.vault),
    };
    let Verified { records, vouched, mut faults } = audit::verify(&node.log, &key, &kept).await?;
    faults.truncate(FAULTS);
    Ok(TrailProved { records, vouched, checkpoints: kept.len(), faults })
}

fn config(data: &Data) -> Result<Config, Failure> {
    Config::load(data.config.as_deref(), std::env::vars())
}

/// The checkpoints that are kept elsewhere: where somebody says, a file, a folder, or storage over the
/// network; or where the settings put them.
async fn outside_of(at: &Where, said: Option<&str>) -> Result<Option<Vec<Checkpoint>>, Failure> {
    let config = config(&at.data())?;
    let kept = match (said, config.checkpoints()?) {
        (Some(said), _) if said.contains("://") => {
            outside::read(&config.place("--checkpoints", said)?).await?
        }
        (Some(said), _) if Path::new(said).is_dir() => {
            outside::read(&folder(Path::new(said))?).await?
        }
        (Some(said), _) => read(Path::new(said))?,
        (None, Some(place)) => outside::read(&place).await?,
        (None, None) => return Ok(None),
    };
    Ok(Some(kept))
}

fn text(checkpoint: &Checkpoint) -> Result<String, Failure> {
    Ok(serde_json::to_string(checkpoint).map_err(std::io::Error::from)?)
}

/// The checkpoints in a file.
///
/// # Errors
/// Where it cannot be read.
pub fn read(path: &Path) -> Result<Vec<Checkpoint>, Failure> {
    let failed = |source| Failure::Read { path: path.to_path_buf(), source };
    parse(&std::fs::read_to_string(path).map_err(failed)?).map_err(failed)
}

/// The checkpoints in a text.
fn parse(text: &str) -> io::Result<Vec<Checkpoint>> {
    let mut kept = Vec::new();
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(checkpoint) => kept.push(checkpoint),
            // A crash may have cut a line off; what is damaged otherwise is said.
            Err(_) if !line.ends_with('}') => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(kept)
}

/// Makes a checkpoint, and puts it beside the others.
///
/// # Errors
/// Where the stream cannot be read or the file not be written.
pub async fn checkpoint(node: &Node) -> Result<Checkpoint, Failure> {
    let checkpoint = audit::checkpoint(&node.log, &node.vault, node.clock.now()).await?;
    file::append_line(&node.keys.join(CHECKPOINTS), &text(&checkpoint)?)?;
    Ok(checkpoint)
}

/// A deed at the machine itself: by whoever runs the command.
#[must_use]
pub fn at_the_machine(action: &'static str, object: String) -> Deed {
    let actor = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    Deed {
        actor: actor.unwrap_or_else(|_| "operator".into()),
        role: "machine".into(),
        action,
        object,
        outcome: "done".into(),
    }
}

/// Notes one deed.
///
/// # Errors
/// Where the stream cannot be appended to.
pub async fn note(node: &Node, deed: Deed) -> Result<(), Failure> {
    Ok(audit::note(&node.log, node.clock.as_ref(), &[deed]).await?)
}

/// Where deeds are told while a node serves.
#[derive(Clone, Debug)]
pub struct Auditor(mpsc::UnboundedSender<Deed>);

impl Auditor {
    /// An auditor, and what [`keep`] takes.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Deed>) {
        // Nobody waits to tell, so nothing is left out; connections bound how much can be told.
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells a deed.
    pub fn tell(&self, deed: Deed) {
        // The node is stopping, and has stopped noting.
        if let Err(lost) = self.0.send(deed) {
            tracing::error!(%lost, "a deed is not in the audit trail");
        }
    }
}

/// Notes deeds as they are told, and makes checkpoints now and then where the registers are written, until nobody
/// tells any more. They are put outside, too, where there is a place for them; noting does not wait for that.
///
/// # Errors
/// Where the stream cannot be used.
pub async fn keep(
    node: Arc<Node>,
    place: Option<Url>,
    mut told: mpsc::UnboundedReceiver<Deed>,
) -> Result<(), Failure> {
    let mut due = tokio::time::interval(EVERY);
    let (mut deeds, signs) = (Vec::with_capacity(TOGETHER), node.roles.registers());
    let (made, owed) = mpsc::unbounded_channel();
    let outside = place.filter(|_| signs).map(|place| {
        let (vitals, clock) = (Arc::clone(&node.metrics().vitals), Arc::clone(&node.clock));
        tokio::spawn(outside::keep(place, vitals, clock, owed))
    });
    loop {
        tokio::select! {
            count = told.recv_many(&mut deeds, TOGETHER) => {
                if count == 0 {
                    if signs {
                        // Where there is no place outside, nobody takes it.
                        let _ = made.send(checkpoint(&node).await?);
                    }
                    drop(made);
                    return match outside {
                        Some(outside) => Ok(outside.await?),
                        None => Ok(()),
                    };
                }
                audit::note(&node.log, node.clock.as_ref(), &deeds).await?;
                deeds.clear();
            }
            _ = due.tick(), if signs => {
                let _ = made.send(checkpoint(&node).await?);
            }
        }
    }
}
