//! Prepared statements: kept by a handle that nobody guesses, with the parameters that were bound last.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use datafusion::{common::ParamValues, sql::sqlparser::ast::Statement};
use ring::rand::{SecureRandom, SystemRandom};
use tonic::Status;

use crate::access::Reader;

/// The most at once; the oldest go first.
const MOST: usize = 10_000;

/// A statement that is kept.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) reader: Reader,
    pub(super) statement: Statement,
    pub(super) parameters: ParamValues,
    order: u64,
}

/// All that are kept.
#[derive(Default)]
pub(super) struct Kept {
    all: Mutex<HashMap<Vec<u8>, Prepared>>,
}

impl Kept {
    /// Keeps a statement; answers its handle.
    pub(super) fn keep(&self, reader: Reader, statement: Statement) -> Result<Vec<u8>, Status> {
        let mut handle = vec![0; 16];
        let drawn = SystemRandom::new().fill(&mut handle);
        drawn.map_err(|_| Status::internal("the operating system gives no randomness"))?;
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let order = all.values().map(|kept| kept.order).max().map_or(0, |last| last + 1);
        if all.len() >= MOST
            && let Some((oldest, _)) = all.iter().min_by_key(|(_, kept)| kept.order)
        {
            let oldest = oldest.clone();
            all.remove(&oldest);
        }
        let parameters = ParamValues::List(Vec::new());
        all.insert(handle.clone(), Prepared { reader, statement, parameters, order });
        Ok(handle)
    }

    /// A statement of a reader's own.
    pub(super) fn get(&self, reader: &Reader, handle: &[u8]) -> Result<Prepared, Status> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(handle).filter(|kept| kept.reader == *reader);
        found.cloned().ok_or_else(|| Status::not_found("there is no such prepared statement"))
    }

    /// Binds parameters to a statement of a reader's own.
    pub(super) fn bind(
        &self,
        reader: &Reader,
        handle: &[u8],
        parameters: ParamValues,
    ) -> Result<(), Status> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get_mut(handle).filter(|kept| kept.reader == *reader);
        let found =
            found.ok_or_else(|| Status::not_found("there is no such prepared statement"))?;
        found.parameters = parameters;
        Ok(())
    }

    /// Lets a statement of a reader's own go.
    pub(super) fn close(&self, reader: &Reader, handle: &[u8]) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(handle).is_some_and(|kept| kept.reader == *reader) {
            all.remove(handle);
        }
    }
}
