//! Removing a table wholly, as before it is made anew.

use std::io::ErrorKind;

use deltalake::{DeltaTableError, Path};
use futures::TryStreamExt;
use object_store::ObjectStore;
use url::Url;

use super::{address, folder, vacuum::delete};
use crate::{error::WarehouseError, store::below, table::Pending};

/// Removes a table below the warehouse's address with everything in it; one that is not there is no
/// error. Nobody may write it meanwhile; who reads it may miss files.
///
/// # Errors
/// Where something of it cannot be removed. Then it is a table of an earlier version, or none that
/// can be opened, until it is removed again.
pub fn remove<'a>(root: &'a Url, table: &'static str) -> Pending<'a, ()> {
    Box::pin(async move {
        let address = address(root, table)?;
        let failed = |source| WarehouseError::Remove { table, source };
        if let Some(folder) = folder(&address) {
            return match tokio::fs::remove_dir_all(folder).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error.into())),
                _ => Ok(()),
            };
        }
        let store = below(&address)?;
        // Without its log it is no table; files that are left over then are never read, and go in
        // time. The other way round it would be a table that lacks rows.
        for part in [Some(Path::from("_delta_log")), None] {
            empty(&store, part.as_ref()).await.map_err(failed)?;
        }
        Ok(())
    })
}

async fn empty(store: &dyn ObjectStore, part: Option<&Path>) -> Result<(), DeltaTableError> {
    let files = store.list(part).map_ok(|file| file.location).try_collect().await?;
    delete(store, files).await?;
    Ok(())
}
