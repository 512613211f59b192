//! Storage that speaks S3: tables at addresses of the form `s3://bucket/prefix`.
//!
//! A commit puts an entry of a table's log under a name that nobody has put anything under. So the
//! storage must refuse a second conditional PUT (`If-None-Match: *`) of one name; with that two
//! writers never lose each other's rows, and no lock beside the storage is needed.
//!
//! Parts of a large file that a killed process was sending are never seen, and never removed by us:
//! the bucket's own rule for unfinished uploads does that.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use deltalake::{
    DeltaResult, DeltaTableError,
    logstore::{
        LogStore, LogStoreFactory, ObjectStoreFactory, ObjectStoreRef, StorageConfig,
        default_logstore, logstore_factories, object_store_factories, store_for,
    },
};
use futures::StreamExt;
use object_store::{
    BackoffConfig, ClientOptions, Error as StoreError, ObjectStoreExt, PutMode, PutPayload,
    RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    client::SpawnedReqwestConnector,
    path::Path,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::runtime::{Builder, Handle, Runtime};
use url::Url;

use crate::{error::WarehouseError, table::Pending};

/// How long a connection may take, and a whole request: a part of a file, or a piece that is read.
/// One that hangs is given up in time to be tried again.
const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(12);
/// After so long, or so often, a request is not tried again.
const RETRIED_FOR: Duration = Duration::from_secs(30);
const RETRIES: usize = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// How long storage that cannot be reached yet is left alone.
const CHECKED_AGAIN: Duration = Duration::from_secs(5);
/// Threads that send and receive.
const THREADS: usize = 2;

/// How S3-compatible storage is reached.
#[derive(Clone)]
pub struct S3 {
    /// `http://host:port`, or `https://`; empty is Amazon's own, by region.
    pub endpoint: String,
    /// Where the buckets are; empty is what the environment says, or Amazon's default.
    pub region: String,
    /// Who asks; empty is what the environment says (`AWS_ACCESS_KEY_ID` and the like).
    pub access_key: String,
    /// What proves it.
    pub secret_key: String,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// From now on `s3://` addresses work in this process, for tables and queries alike.
///
/// # Errors
/// Where the endpoint is no address, or the threads that send and receive cannot be started.
pub fn register(settings: S3) -> Result<(), WarehouseError> {
    let is_address = |endpoint: &str| {
        Url::parse(endpoint).is_ok_and(|url| ["http", "https"].contains(&url.scheme()))
    };
    if !settings.endpoint.is_empty() && !is_address(&settings.endpoint) {
        return Err(WarehouseError::Address(settings.endpoint));
    }
    let scheme = "s3://";
    let failed = |source| WarehouseError::Storage { address: scheme.to_owned(), source };
    let io = io().map_err(|source| failed(DeltaTableError::Io { source }))?;
    let scheme = Url::parse(scheme).map_err(|_| WarehouseError::Address(scheme.to_owned()))?;
    let buckets = Buckets { settings, io, opened: Mutex::default() };
    object_store_factories().insert(scheme.clone(), Arc::new(buckets));
    logstore_factories().insert(scheme, Arc::new(Logs));
    Ok(())
}

/// Proves that the storage refuses a second conditional PUT of one name; there is nothing to prove of
/// a folder. A name below `_avis/` is written for it and removed. Storage that cannot be reached is
/// waited for: it may come up after us.
///
/// # Errors
/// Where the storage does not let us write and delete, or where it does not refuse: then a second
/// writer would replace what the first one committed.
pub fn check(root: &Url) -> Pending<'_, ()> {
    Box::pin(async move {
        if root.scheme() == "file" {
            return Ok(());
        }
        let failed = |source| WarehouseError::Storage { address: root.to_string(), source };
        let store = below(root)?;
        let name = Path::from(format!("_avis/{}", random().map_err(failed)?));
        loop {
            match proves(&store, &name).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    return Err(WarehouseError::Careless { address: root.to_string() });
                }
                Err(error @ StoreError::Generic { .. }) => tell_unreachable(root, &error),
                Err(error) => return Err(failed(error.into())),
            }
            tokio::time::sleep(CHECKED_AGAIN).await;
        }
    })
}

fn tell_unreachable(root: &Url, error: &StoreError) {
    let (error, address): (&dyn std::error::Error, _) = (error, root.as_str());
    tracing::warn!(error, address, "the storage of the tables cannot be reached yet");
}

/// Whether a second one of a name is refused; once that is known the name is free again.
async fn proves(store: &ObjectStoreRef, name: &Path) -> Result<bool, StoreError> {
    let refused = refuses_a_second(store, name).await;
    if matches!(refused, Err(StoreError::Generic { .. })) {
        return refused;
    }
    let removed = store.delete(name).await;
    let refused = refused?;
    if refused {
        removed?;
    }
    Ok(refused)
}

/// Whether nothing is stored below an address; nothing is where there is no such folder.
///
/// # Errors
/// Where the storage cannot be reached, or does not let us look.
pub fn is_empty(root: &Url) -> Pending<'_, bool> {
    Box::pin(async move {
        let failed = |source| WarehouseError::Storage { address: root.to_string(), source };
        if root.scheme() == "file"
            && let Ok(folder) = root.to_file_path()
        {
            return match std::fs::read_dir(folder) {
                Ok(mut files) => Ok(files.next().is_none()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
                Err(source) => Err(failed(DeltaTableError::Io { source })),
            };
        }
        let first = below(root)?.list(None).next().await.transpose();
        Ok(first.map_err(|source| failed(source.into()))?.is_none())
    })
}

/// Puts something under a name below an address over the network; what stands there already stays.
///
/// # Errors
/// Where the storage cannot be reached, or does not let us write.
pub fn put<'a>(root: &'a Url, name: &str, bytes: Vec<u8>) -> Pending<'a, ()> {
    let name = Path::from(name);
    Box::pin(async move {
        let failed = |source| WarehouseError::Storage { address: root.to_string(), source };
        let (store, content) = (below(root)?, PutPayload::from(bytes));
        match store.put_opts(&name, content, PutMode::Create.into()).await {
            // It went through unseen, and was sent again.
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(failed(error.into())),
        }
    })
}

/// Everything that is stored below an address over the network, in the order of the names.
///
/// # Errors
/// Where the storage cannot be reached, or does not let us read.
pub fn read(root: &Url) -> Pending<'_, Vec<Vec<u8>>> {
    Box::pin(async move {
        let failed = |source: StoreError| WarehouseError::Storage {
            address: root.to_string(),
            source: source.into(),
        };
        let (store, mut names) = (below(root)?, Vec::new());
        let mut listing = store.list(None);
        while let Some(listed) = listing.next().await {
            names.push(listed.map_err(failed)?.location);
        }
        names.sort_unstable();
        let mut all = Vec::with_capacity(names.len());
        for name in &names {
            let found = store.get(name).await.map_err(failed)?;
            all.push(found.bytes().await.map_err(failed)?.to_vec());
        }
        Ok(all)
    })
}

async fn refuses_a_second(store: &ObjectStoreRef, name: &Path) -> Result<bool, StoreError> {
    for _ in 0..2 {
        let content = PutPayload::from_static(b"a second one of this name is refused");
        match store.put_opts(name, content, PutMode::Create.into()).await {
            Ok(_) => {}
            // The first is refused, too, where it went through unseen and was sent again.
            Err(StoreError::AlreadyExists { .. }) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn random() -> DeltaResult<String> {
    let mut bytes = [0_u8; 16];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| DeltaTableError::generic("the operating system gives no randomness"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is stored below an address, by names relative to it.
pub(crate) fn below(address: &Url) -> Result<ObjectStoreRef, WarehouseError> {
    let none = std::iter::empty::<(&str, &str)>();
    store_for(address, none)
        .map_err(|source| WarehouseError::Storage { address: address.to_string(), source })
}

/// Where requests are sent and answers received: never on threads that a query computes on, or that
/// wait for the very answer.
fn io() -> std::io::Result<Handle> {
    static IO: OnceLock<Runtime> = OnceLock::new();
    if let Some(io) = IO.get() {
        return Ok(io.handle().clone());
    }
    let io = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("storage")
        .enable_all()
        .build()?;
    let handle = io.handle().clone();
    match IO.set(io) {
        Ok(()) => Ok(handle),
        // Somebody else came first.
        Err(second) => {
            second.shutdown_background();
            self::io()
        }
    }
}

/// One client per bucket, for all tables of it.
#[derive(Debug)]
struct Buckets {
    settings: S3,
    io: Handle,
    opened: Mutex<BTreeMap<String, ObjectStoreRef>>,
}

impl Buckets {
    fn open(&self, bucket: &str) -> Result<ObjectStoreRef, StoreError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = opened.get(bucket) {
            return Ok(Arc::clone(store));
        }
        let store: ObjectStoreRef = Arc::new(self.builder().with_bucket_name(bucket).build()?);
        opened.insert(bucket.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    fn builder(&self) -> AmazonS3Builder {
        let S3 { endpoint, region, access_key, secret_key } = &self.settings;
        let backoff = BackoffConfig { max_backoff: LONGEST_PAUSE, ..BackoffConfig::default() };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRIED_FOR };
        let mut builder = match access_key.is_empty() {
            true => AmazonS3Builder::from_env(),
            false => AmazonS3Builder::new()
                .with_access_key_id(access_key)
                .with_secret_access_key(secret_key),
        };
        if !region.is_empty() {
            builder = builder.with_region(region);
        }
        let client = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(REQUEST);
        let client = client.with_allow_http(endpoint.starts_with("http://"));
        if !endpoint.is_empty() {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        builder
            .with_client_options(client)
            .with_virtual_hosted_style_request(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry)
            .with_http_connector(SpawnedReqwestConnector::new(self.io.clone()))
    }
}

impl ObjectStoreFactory for Buckets {
    fn parse_url_opts(
        &self,
        url: &Url,
        _config: &StorageConfig,
    ) -> DeltaResult<(ObjectStoreRef, Path)> {
        let wrong = || DeltaTableError::InvalidTableLocation(url.to_string());
        let store = self.open(url.host_str().ok_or_else(wrong)?)?;
        Ok((store, Path::from_url_path(url.path()).map_err(StoreError::from)?))
    }
}

/// A log's entry is put under the next name if nobody has put one there.
#[derive(Debug)]
struct Logs;

impl LogStoreFactory for Logs {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str) -> S3 {
        let text = str::to_owned;
        let (region, access_key, secret_key) = (text("r"), text("somebody"), text("hidden"));
        S3 { endpoint: text(endpoint), region, access_key, secret_key }
    }

    #[test]
    fn the_secret_is_not_told() {
        let told = format!("{:?}", settings("http://here:1"));
        assert!(told.contains("somebody") && !told.contains("hidden"), "{told}");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for endpoint in ["here", "here:9000", "ftp://here"] {
            let refused = register(settings(endpoint));
            assert!(matches!(refused, Err(WarehouseError::Address(_))), "{endpoint}: {refused:?}");
        }
    }
}
