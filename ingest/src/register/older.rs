//! What was known of people before what is known of them now: few have such versions, so they are
//! chained in a table of their own.

use std::sync::Arc;

use super::entitlements::Days;
use crate::dense::Packed;

/// What is known of a person from an instant on: 48 bytes, 64 with the person's id.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) household: Packed,
    /// Microseconds since 1970.
    pub(super) known_from: i64,
    /// Shared by all who are in the same groups on the same days.
    pub(super) memberships: Arc<[Days]>,
    pub(super) alive: bool,
    /// The place of what was known before, or [`NONE`].
    pub(super) older: u32,
}

/// No place: an `Option` would cost every version eight bytes.
pub(super) const NONE: u32 = u32::MAX;

/// Everybody's versions but the newest.
#[derive(Debug, Default)]
pub(super) struct Older {
    versions: Vec<Option<Version>>,
    free: Vec<u32>,
}

impl Older {
    /// The newest version whose instant is not after `instant`.
    pub(super) fn at<'a>(&'a self, newest: &'a Version, instant: i64) -> Option<&'a Version> {
        let mut version = newest;
        while version.known_from > instant {
            version = self.versions.get(version.older as usize)?.as_ref()?;
        }
        Some(version)
    }

    /// Takes a person's versions out, the newest first.
    pub(super) fn unlink(&mut self, newest: Version) -> Vec<Version> {
        let mut place = newest.older;
        let mut known = vec![newest];
        while let Some(version) = self.versions.get_mut(place as usize).and_then(Option::take) {
            self.free.push(place);
            place = version.older;
            known.push(version);
        }
        known
    }

    /// Keeps all versions but the newest, which stands first and is answered.
    pub(super) fn link(&mut self, known: Vec<Version>) -> Option<Version> {
        let mut older = NONE;
        let mut versions = known.into_iter().rev().peekable();
        while let Some(version) = versions.next() {
            let version = Version { older, ..version };
            if versions.peek().is_none() {
                return Some(version);
            }
            older = self.keep(version);
        }
        None
    }

    fn keep(&mut self, version: Version) -> u32 {
        if let Some(place) = self.free.pop() {
            self.versions[place as usize] = Some(version);
            return place;
        }
        self.versions.push(Some(version));
        u32::try_from(self.versions.len() - 1).expect("fewer versions than memory has room for")
    }

    /// Bytes held, without the lists of memberships.
    pub(super) fn memory(&self) -> usize {
        self.versions.capacity() * size_of::<Option<Version>>()
            + self.free.capacity() * size_of::<u32>()
    }
}
