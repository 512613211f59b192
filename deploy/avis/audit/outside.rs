//! Checkpoints of the audit trail outside: on other storage, where whoever writes the trail anew does
//! not write them anew as well.

use std::{
    collections::VecDeque,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ingest::{audit::Checkpoint, clock::Clock};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};
use url::Url;
use warehouse::{file, store};

use super::{parse, text};
use crate::{failure::Failure, vitals::Vitals};

/// How long storage that did not take a checkpoint is left alone.
const AGAIN: Duration = Duration::from_secs(60);
/// What the names of checkpoints end with.
const ENDING: &str = ".json";

/// Puts checkpoints outside as they are made, the oldest first. What fails is tried again, until no
/// more are made and each that is left was tried once more.
pub async fn keep(
    place: Url,
    vitals: Arc<Vitals>,
    clock: Arc<dyn Clock>,
    mut made: mpsc::UnboundedReceiver<Checkpoint>,
) {
    // Storage that never took one is told of as long after the start as any other.
    vitals.checkpoint_is_outside(clock.now());
    let mut owed = VecDeque::new();
    loop {
        let next = match owed.is_empty() {
            true => Ok(made.recv().await),
            false => timeout(AGAIN, made.recv()).await,
        };
        let is_last = matches!(next, Ok(None));
        owed.extend(next.ok().flatten());
        while let Some(checkpoint) = owed.front() {
            match put(&place, checkpoint).await {
                Ok(()) => {
                    owed.pop_front();
                    vitals.checkpoint_is_outside(clock.now());
                }
                Err(error) => {
                    vitals.checkpoint_stays(&error);
                    break;
                }
            }
        }
        if is_last {
            return;
        }
    }
}

/// Puts one checkpoint outside.
///
/// # Errors
/// Where the folder is not there, or the storage does not take it.
pub async fn put(place: &Url, checkpoint: &Checkpoint) -> Result<(), Failure> {
    // In the order of the trail.
    let name = format!("{:020}-{}{ENDING}", checkpoint.size, checkpoint.at.timestamp_micros());
    let bytes = format!("{}\n", text(checkpoint)?).into_bytes();
    match local(place) {
        Some(folder) => {
            spawn_blocking(move || {
                // One that is not mounted would be made, on the very disk that it is to be apart from.
                if !folder.is_dir() {
                    return Err(Failure::Folder {
                        path: folder,
                        source: ErrorKind::NotFound.into(),
                    });
                }
                Ok(file::write(&folder.join(name), &bytes)?)
            })
            .await?
        }
        None => Ok(store::put(place, &name, bytes).await?),
    }
}

/// The checkpoints that are outside.
///
/// # Errors
/// Where they cannot be read, or there are none: then nothing vouches for the trail.
pub async fn read(place: &Url) -> Result<Vec<Checkpoint>, Failure> {
    let texts = match local(place) {
        Some(folder) => {
            spawn_blocking(move || {
                files(&folder).map_err(|source| Failure::Read { path: folder, source })
            })
            .await??
        }
        None => store::read(place).await?,
    };
    let failed = |source| Failure::Read { path: PathBuf::from(place.as_str()), source };
    let mut kept = Vec::with_capacity(texts.len());
    for bytes in texts {
        kept.extend(parse(&String::from_utf8_lossy(&bytes)).map_err(failed)?);
    }
    if kept.is_empty() {
        return Err(failed(io::Error::new(ErrorKind::NotFound, "no checkpoint is there")));
    }
    Ok(kept)
}

/// The folder of an address, where it is one.
fn local(place: &Url) -> Option<PathBuf> {
    if place.scheme() == "file" { place.to_file_path().ok() } else { None }
}

fn files(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.as_os_str().as_encoded_bytes().ends_with(ENDING.as_bytes()));
    paths.sort_unstable();
    paths.into_iter().map(fs::read).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ingest::clock::ManualClock;
    use prometheus::{Registry, TextEncoder};
    use warehouse::session::folder;

    use super::*;
    use crate::vitals::{CHECKPOINT, CHECKPOINT_FAILURES};

    fn checkpoint(size: u64) -> Checkpoint {
        let at = DateTime::from_timestamp(1_700_000_000, 0).expect("then");
        Checkpoint { size, root: "ab".into(), at, signature: "c2ln".into() }
    }

    /// Puts checkpoints outside, and answers what operators see of it.
    async fn kept(place: &Url, sizes: &[u64]) -> String {
        let (registry, own) = (Registry::new(), tempfile::tempdir().expect("a folder"));
        let vitals = Arc::new(Vitals::register(&registry, own.path()).expect("registered"));
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("now");
        let (send, made) = mpsc::unbounded_channel();
        sizes.iter().for_each(|size| send.send(checkpoint(*size)).expect("heard"));
        drop(send);
        keep(place.clone(), vitals, Arc::new(ManualClock::at(now)), made).await;
        TextEncoder::new().encode_to_string(&registry.gather()).expect("text")
    }

    #[tokio::test]
    async fn what_is_put_outside_is_read_back_in_the_order_of_the_trail() {
        let place = tempfile::tempdir().expect("a folder");
        let url = folder(place.path()).expect("an address");
        assert!(read(&url).await.is_err(), "nothing vouches for the trail");
        let told = kept(&url, &[3, 200, 10]).await;
        assert!(told.contains(&format!("{CHECKPOINT} 1700000000")), "{told}");
        assert!(told.contains(&format!("{CHECKPOINT_FAILURES} 0")), "{told}");
        // One that was cut off while it was written.
        fs::write(place.path().join("x.json.part"), "{").expect("written");
        let sizes: Vec<_> = read(&url).await.expect("read").iter().map(|of| of.size).collect();
        assert_eq!(sizes, [3, 10, 200]);
    }

    #[tokio::test]
    async fn a_folder_that_is_away_is_told_of_and_not_made() {
        let place = tempfile::tempdir().expect("a folder");
        let away = place.path().join("away");
        let url = folder(&away).expect("an address");
        let told = kept(&url, &[3]).await;
        let failures = told.lines().find(|line| line.starts_with(CHECKPOINT_FAILURES));
        assert!(failures.is_some_and(|line| !line.ends_with(" 0")), "{told}");
        assert!(!away.exists() && read(&url).await.is_err());
    }
}
