//! Who read or changed what: a stream that nobody can rewrite unseen.
//!
//! Every record is a leaf of a Merkle tree (RFC 6962, section 2.1, SHA-256). A checkpoint is the tree's
//! size and root, signed, and kept outside: with one at hand an edit, a deletion, another order, a tail
//! that is cut off and a stream that is written anew are all found, since none gives the same root.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Clock,
    error::LogError,
    log::{Log, replay},
    record::{Record, outside_id},
    topic::Topic,
    vault::Vault,
    wire::{
        encode,
        v1::{Audited, Event},
    },
};
use merkle::Tree;

mod merkle;

/// What is noted of one deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// Who did it: the subject of a token, or the name at the machine.
    pub actor: String,
    /// In which role.
    pub role: String,
    /// What: of a closed set, such as `person.erase`.
    pub action: &'static str,
    /// On what, without personal data: a period, a statement without values, an internal id.
    pub object: String,
    /// How it ended: `done`, `answered` or why not; `begun` where only the request is noted.
    pub outcome: String,
}

/// Notes deeds on the stream, in their order.
///
/// # Errors
/// Where the stream cannot be appended to.
pub async fn note(log: &Arc<dyn Log>, clock: &dyn Clock, deeds: &[Deed]) -> Result<(), LogError> {
    let now = clock.now();
    let end = log.end(Topic::Audit, 0)?;
    let record = |(at, deed): (u64, &Deed)| {
        let Deed { actor, role, action, object, outcome } = deed.clone();
        let event = Audited { actor, role, action: action.into(), object, outcome };
        // Unique without being drawn: two deeds alike at one instant are still two.
        let id = format!("{}/{}/{at}", now.timestamp_micros(), deed.object);
        Record {
            id: outside_id("audit", &id),
            key: "audit".into(),
            source: "audit".into(),
            sequence: at,
            event_time: now,
            recorded_at: now,
            event: Event::Audited(event),
        }
    };
    let records: Vec<_> = (end..).zip(deeds).map(record).collect();
    log.append(Topic::Audit, &records).await?;
    Ok(())
}

/// A tree's size and root at an instant, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How many records.
    pub size: u64,
    /// The root over them, in hexadecimal.
    pub root: String,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// The signature (Ed25519) over size, root and instant, in base64.
    pub signature: String,
}

impl Checkpoint {
    fn signed(size: u64, root: &str, at: DateTime<Utc>) -> String {
        format!("avis audit checkpoint\n{size}\n{root}\n{}\n", at.to_rfc3339())
    }

    /// Whether a key has signed it.
    #[must_use]
    pub fn is_of(&self, key: &[u8]) -> bool {
        let text = Self::signed(self.size, &self.root, self.at);
        let signature = BASE64_STANDARD.decode(&self.signature).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
    }
}

/// The key that signs a node's checkpoints.
fn key(vault: &Vault) -> Ed25519KeyPair {
    let seed = vault.secret_for("audit checkpoints");
    Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed has thirty-two bytes")
}

/// The public key by which checkpoints are verified; it is kept with them, outside.
#[must_use]
pub fn public_key(vault: &Vault) -> Vec<u8> {
    key(vault).public_key().as_ref().to_vec()
}

/// The stream as it is now, signed.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn checkpoint(
    log: &Arc<dyn Log>,
    vault: &Vault,
    at: DateTime<Utc>,
) -> Result<Checkpoint, LogError> {
    let mut tree = Tree::default();
    replay(log, Topic::Audit, |stored| {
        tree.push(&encode(&stored.record));
        Ok::<(), LogError>(())
    })
    .await?;
    let (size, root) = (tree.size(), hex(&tree.root()));
    let signature = key(vault).sign(Checkpoint::signed(size, &root, at).as_bytes());
    let signature = BASE64_STANDARD.encode(signature.as_ref());
    Ok(Checkpoint { size, root, at, signature })
}

/// What a verification has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records on the stream.
    pub records: u64,
    /// Records up to the newest checkpoint that fits: what stands after it nobody has vouched for yet.
    pub vouched: u64,
    /// What does not fit, in words.
    pub faults: Vec<String>,
}

/// Compares the stream with checkpoints that were kept outside.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn verify(
    log: &Arc<dyn Log>,
    key: &[u8],
    checkpoints: &[Checkpoint],
) -> Result<Verified, LogError> {
    let mut found = Verified::default();
    let mut ordered: Vec<_> = checkpoints.iter().collect();
    ordered.sort_by_key(|checkpoint| (checkpoint.size, checkpoint.at));
    for checkpoint in &ordered {
        if !checkpoint.is_of(key) {
            let text = format!("the checkpoint of {} is not signed by this key", checkpoint.at);
            found.faults.push(text);
        }
    }
    let mut tree = Tree::default();
    let mut next = 0;
    let mut compare = |tree: &Tree, found: &mut Verified| {
        while let Some(checkpoint) = ordered.get(next).filter(|of| of.size == tree.size()) {
            next += 1;
            if hex(&tree.root()) == checkpoint.root {
                found.vouched = checkpoint.size;
            } else {
                found.faults.push(format!(
                    "the first {} records are not those of the checkpoint of {}: something among \
                     them was changed, removed or put elsewhere",
                    checkpoint.size, checkpoint.at
                ));
            }
        }
    };
    compare(&tree, &mut found);
    replay(log, Topic::Audit, |stored| {
        tree.push(&encode(&stored.record));
        compare(&tree, &mut found);
        Ok::<(), LogError>(())
    })
    .await?;
    found.records = tree.size();
    for checkpoint in checkpoints.iter().filter(|of| of.size > tree.size()) {
        found.faults.push(format!(
            "the stream has {} records, and had {} at the checkpoint of {}: its end is cut off",
            tree.size(),
            checkpoint.size,
            checkpoint.at
        ));
    }
    Ok(found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, log::model::ModelLog};

    fn deed(object: &str) -> Deed {
        Deed {
            actor: "anna".into(),
            role: "finance".into(),
            action: "settlement.close",
            object: object.into(),
            outcome: "done".into(),
        }
    }

    async fn log(objects: &[&str]) -> Arc<dyn Log> {
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        let clock = ManualClock::at(DateTime::from_timestamp(1_700_000_000, 0).expect("then"));
        for object in objects {
            note(&log, &clock, &[deed(object)]).await.expect("noted");
        }
        log
    }

    #[tokio::test]
    async fn whatever_is_done_to_the_stream_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let key = public_key(&vault);
        let now = DateTime::from_timestamp(1_700_000_100, 0).expect("now");
        let whole = ["a", "b", "c", "d", "e"];
        let honest = log(&whole).await;
        let kept = checkpoint(&honest, &vault, now).await.expect("signed");
        let early = checkpoint(&log(&whole[..3]).await, &vault, now).await.expect("signed");
        let both = [kept.clone(), early.clone()];
        let fine = verify(&honest, &key, &both).await.expect("read");
        assert_eq!(fine, Verified { records: 5, vouched: 5, faults: Vec::new() });
        // More may come after.
        let longer = log(&["a", "b", "c", "d", "e", "f"]).await;
        let fine = verify(&longer, &key, &both).await.expect("read");
        assert_eq!((fine.vouched, fine.faults.len()), (5, 0));
        let bad: [(&str, &[&str]); 5] = [
            ("an edit", &["a", "b", "x", "d", "e"]),
            ("a deletion", &["a", "c", "d", "e", "f"]),
            ("another order", &["b", "a", "c", "d", "e"]),
            ("a tail that is cut off", &["a", "b", "c", "d"]),
            ("nothing left", &[]),
        ];
        for (what, objects) in bad {
            let found = verify(&log(objects).await, &key, &both).await.expect("read");
            assert!(!found.faults.is_empty(), "{what}");
        }
        // Written anew as a whole, with a checkpoint that fits: another key has signed it.
        let other = tempfile::tempdir().expect("a folder");
        let forger = Vault::open(other.path()).expect("a vault");
        let anew = log(&["x", "y"]).await;
        let forged = checkpoint(&anew, &forger, now).await.expect("signed");
        let found = verify(&anew, &key, &[forged]).await.expect("read");
        assert!(found.faults[0].contains("not signed by this key"), "{found:?}");
    }
}
