//! The terminal's own memory of what it has asked for: a line before a request leaves, one when it was
//! answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is done about a request that nobody heard the outcome of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Then {
    /// It is undone: the customer has left without it.
    Undo,
    /// It is sent again: it has to be heard.
    Again,
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) key: String,
    pub(super) path: String,
    pub(super) body: Value,
    pub(super) then: Then,
}

impl Pending {
    /// What settles it.
    pub(super) fn settling(&self, terminal: &str) -> Self {
        match self.then {
            Then::Again => self.clone(),
            Then::Undo => Self {
                key: format!("{}-undone", self.key),
                path: "/v1/reversals".into(),
                body: json!({"terminal_id": terminal, "idempotency_key": self.key}),
                then: Then::Again,
            },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Begun(Pending),
    Done(String),
}

#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    open: BTreeMap<String, Pending>,
    /// The keys of open requests that are being delivered.
    on_their_way: BTreeSet<String>,
}

impl Journal {
    /// Reads what a run before left open, and begins a file with that alone.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut open = BTreeMap::new();
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    // The last line may be cut, in a letter even: its request never left.
                    match serde_json::from_slice(&line?) {
                        Ok(Line::Begun(pending)) => drop(open.insert(pending.key.clone(), pending)),
                        Ok(Line::Done(key)) => drop(open.remove(&key)),
                        Err(_) => {}
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let fresh = path.with_extension("fresh");
        let mut file = File::create(&fresh)?;
        for pending in open.values() {
            write(&mut file, &Line::Begun(pending.clone()))?;
        }
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { file, open, on_their_way: BTreeSet::new() })
    }

    /// Notes a request that is about to leave; it is on the disk when this returns.
    pub(super) fn begin(&mut self, pending: &Pending) -> io::Result<()> {
        write(&mut self.file, &Line::Begun(pending.clone()))?;
        self.file.sync_data()?;
        self.open.insert(pending.key.clone(), pending.clone());
        self.on_their_way.insert(pending.key.clone());
        Ok(())
    }

    /// Notes that a request was answered; it is on the disk when this returns, since a benefit that the
    /// customer has must not be undone after the next start.
    pub(super) fn done(&mut self, key: &str) -> io::Result<()> {
        write(&mut self.file, &Line::Done(key.to_owned()))?;
        self.file.sync_data()?;
        self.open.remove(key);
        self.on_their_way.remove(key);
        Ok(())
    }

    /// Notes that nobody goes on delivering a request, though nobody knows what became of it.
    pub(super) fn given_up(&mut self, key: &str) {
        self.on_their_way.remove(key);
    }

    /// The requests whose outcome nobody heard, and that nobody is delivering.
    pub(super) fn open_requests(&self) -> Vec<Pending> {
        let open = self.open.values().filter(|of| !self.on_their_way.contains(&of.key));
        open.cloned().collect()
    }
}

fn write(file: &mut File, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(key: &str, then: Then) -> Pending {
        Pending { key: key.into(), path: "/v1/authorisations".into(), body: json!({"a": 1}), then }
    }

    #[test]
    fn what_was_not_answered_is_open_after_a_restart_though_a_line_is_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).expect("a journal");
        for key in ["a", "b", "c"] {
            journal.begin(&pending(key, Then::Undo)).expect("noted");
        }
        journal.done("b").expect("noted");
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).expect("a file");
        file.write_all(b"{\"begun\":{\"key\":\"d\",\"path\":\"\xc4").expect("cut in a letter");
        for _ in 0..2 {
            let journal = Journal::open(&path).expect("a journal");
            let keys: Vec<_> = journal.open_requests().into_iter().map(|of| of.key).collect();
            assert_eq!(keys, ["a", "c"]);
        }
    }

    #[test]
    fn an_authorisation_is_undone_and_what_became_of_one_is_sent_again() {
        let undone = pending("k", Then::Undo).settling("T-1");
        assert_eq!((undone.key.as_str(), undone.path.as_str()), ("k-undone", "/v1/reversals"));
        assert_eq!(undone.body, json!({"terminal_id": "T-1", "idempotency_key": "k"}));
        let again = pending("k", Then::Again);
        assert_eq!(again.settling("T-1"), again);
    }
}
