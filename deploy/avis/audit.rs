//! `avis audit`: who read or changed what, and the proof that nobody rewrote it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ingest::audit::{self, Checkpoint, Deed, Verified};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;
use warehouse::file;

use crate::{cli::AuditCommand, commands::node, failure::Failure, node::Node, remote};

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
            let node = node(&data)?;
            let checkpoint = checkpoint(&node).await?;
            println!("{}", text(&checkpoint)?);
            Ok(())
        }
        AuditCommand::Verify { checkpoints, key, at } => {
            let own = checkpoints.is_none();
            let kept = checkpoints.map(|path| read(&path)).transpose()?;
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

fn text(checkpoint: &Checkpoint) -> Result<String, Failure> {
    Ok(serde_json::to_string(checkpoint).map_err(std::io::Error::from)?)
}

/// The checkpoints in a file.
///
/// # Errors
/// Where it cannot be read.
pub fn read(path: &Path) -> Result<Vec<Checkpoint>, Failure> {
    let failed = |source| Failure::Read { path: path.to_path_buf(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut kept = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(failed)?;
        match serde_json::from_str(&line) {
            Ok(checkpoint) => kept.push(checkpoint),
            // A crash may have cut a line off; what is damaged otherwise is said.
            Err(_) if !line.ends_with('}') => {}
            Err(error) => return Err(failed(error.into())),
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
/// tells any more.
///
/// # Errors
/// Where the stream cannot be used.
pub async fn keep(node: Arc<Node>, mut told: mpsc::UnboundedReceiver<Deed>) -> Result<(), Failure> {
    let mut due = tokio::time::interval(EVERY);
    let (mut deeds, signs) = (Vec::with_capacity(TOGETHER), node.roles.registers());
    loop {
        tokio::select! {
            count = told.recv_many(&mut deeds, TOGETHER) => {
                if count == 0 {
                    if signs {
                        checkpoint(&node).await?;
                    }
                    return Ok(());
                }
                audit::note(&node.log, node.clock.as_ref(), &deeds).await?;
                deeds.clear();
            }
            _ = due.tick(), if signs => drop(checkpoint(&node).await?),
        }
    }
}
