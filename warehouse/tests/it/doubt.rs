//! Storage that does not come to say what it did, and storage that does not keep what it promises.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use deltalake::{
    DeltaResult,
    logstore::{
        LogStore, LogStoreFactory, ObjectStoreFactory, ObjectStoreRef, StorageConfig,
        default_logstore, logstore_factories, object_store_factories,
    },
};
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};
use serde_json::json;
use url::Url;
use warehouse::{error::WarehouseError, schema, store, tail::Tails};

use crate::{
    table::{position, positions},
    world::{World, batch},
};

/// What becomes of the next entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// It goes through, and the answer is lost.
    Unseen,
    /// It goes through, the answer is lost, and the client asks again: its own entry refuses it.
    Repeated,
    /// Nobody knows where it is; it comes after the attempt that follows.
    Late,
    /// As before, but it comes before the attempt that follows.
    Slow,
}

#[derive(Debug, Default)]
struct Doubtful {
    inner: InMemory,
    doubt: Mutex<Option<Doubt>>,
    under_way: Mutex<Option<(Doubt, Path, PutPayload)>>,
    /// It does not ask whether a name is taken.
    careless: bool,
}

impl Doubtful {
    /// The storage, and a warehouse on it; the scheme is its own.
    fn at(self, scheme: &str) -> (Arc<Self>, World) {
        let storage = Arc::new(self);
        let key = Url::parse(&format!("{scheme}://")).unwrap();
        let factory = Arc::new(Factory(Arc::clone(&storage)));
        object_store_factories().insert(key.clone(), Arc::clone(&factory) as _);
        logstore_factories().insert(key, factory);
        (storage, World::at(Url::parse(&format!("{scheme}://bucket/warehouse")).unwrap()))
    }

    fn doubt(&self, doubt: Doubt) {
        *self.doubt.lock().unwrap() = Some(doubt);
    }

    /// What is stored of which the name has a part.
    async fn names(&self, part: &str) -> Vec<String> {
        let all = self.inner.list(None).map(|file| file.unwrap().location.to_string());
        all.filter(|name| std::future::ready(name.contains(part))).collect().await
    }
}

struct Factory(Arc<Doubtful>);

impl ObjectStoreFactory for Factory {
    fn parse_url_opts(&self, url: &Url, _: &StorageConfig) -> DeltaResult<(ObjectStoreRef, Path)> {
        Ok((Arc::clone(&self.0) as _, Path::from_url_path(url.path()).unwrap()))
    }
}

impl LogStoreFactory for Factory {
    fn with_options(
        &self,
        prefixed: ObjectStoreRef,
        root: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed, root, location, options))
    }
}

impl fmt::Display for Doubtful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("doubtful")
    }
}

fn lost() -> Error {
    Error::Generic { store: "doubtful", source: "no answer in time".into() }
}

#[async_trait::async_trait]
impl ObjectStore for Doubtful {
    async fn put_opts(
        &self,
        name: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        if self.careless {
            options.mode = PutMode::Overwrite;
        }
        if !name.as_ref().contains("_delta_log") || options.mode != PutMode::Create {
            return self.inner.put_opts(name, payload, options).await;
        }
        let doubt = self.doubt.lock().unwrap().take();
        match doubt {
            Some(Doubt::Unseen) => {
                self.inner.put_opts(name, payload, options).await?;
                return Err(lost());
            }
            Some(Doubt::Repeated) => {
                self.inner.put_opts(name, payload.clone(), options.clone()).await?;
                return self.inner.put_opts(name, payload, options).await;
            }
            Some(late) => {
                *self.under_way.lock().unwrap() = Some((late, name.clone(), payload));
                return Err(lost());
            }
            None => {}
        }
        let under_way = self.under_way.lock().unwrap().take();
        let Some((doubt, before, entry)) = under_way else {
            return self.inner.put_opts(name, payload, options).await;
        };
        let create = || PutOptions::from(PutMode::Create);
        if doubt == Doubt::Slow {
            self.inner.put_opts(&before, entry, create()).await?;
            return self.inner.put_opts(name, payload, options).await;
        }
        let put = self.inner.put_opts(name, payload, options).await;
        assert!(self.inner.put_opts(&before, entry, create()).await.is_err(), "it comes too late");
        put
    }

    async fn put_multipart_opts(
        &self,
        name: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(name, options).await
    }

    async fn get_opts(&self, name: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(name, options).await
    }

    fn delete_stream(
        &self,
        names: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(names)
    }

    fn list(&self, below: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(below)
    }

    async fn list_with_delimiter(&self, below: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(below).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

const TOKENS: &str = "SELECT COUNT(token) AS n, COUNT(DISTINCT token) AS tokens FROM means";

/// After a landing whose answer was lost, the pipeline lands again until it is told that the table has
/// moved, and begins at the table's positions: every row is there once.
#[tokio::test]
async fn a_landing_that_went_through_unseen_is_not_landed_twice() {
    for (doubt, scheme, answers) in [
        (Doubt::Unseen, "unseen", &["commit", "moved"][..]),
        (Doubt::Repeated, "repeated", &["commit", "moved"]),
        (Doubt::Late, "late", &["commit", "landed"]),
        (Doubt::Slow, "slow", &["commit", "commit", "moved"]),
    ] {
        let (storage, world) = Doubtful::default().at(scheme);
        let tails = Tails::default();
        let tail = tails.of(schema::table("means").unwrap());
        let table = world.table("means").await.with_tail(&tail);
        let append = |row: i64| {
            let rows = [batch("means", &[json!({"token": format!("T-{row}")})])];
            tail.append(&rows, &positions(&[("means/0", row)])).unwrap();
        };
        append(1);
        tail.land(&table).await.unwrap();
        append(2);
        storage.doubt(doubt);
        for expected in answers {
            let answer = match tail.land(&table).await {
                Ok(_) => "landed",
                Err(WarehouseError::Commit { .. }) => "commit",
                Err(WarehouseError::Moved { .. }) => "moved",
                Err(error) => panic!("{error}"),
            };
            assert_eq!(answer, *expected, "{doubt:?}");
        }
        assert_eq!(position(&table, "means/0").await, Some(2), "{doubt:?}");
        append(3);
        tail.land(&table).await.unwrap();
        assert_eq!(world.rows(TOKENS).await, [["3", "3"]], "{doubt:?}");
        assert_eq!(position(&world.table("means").await, "means/0").await, Some(3), "{doubt:?}");
    }
}

#[tokio::test]
async fn a_table_whose_making_went_through_unseen_is_made_once() {
    for (doubt, scheme) in [(Doubt::Unseen, "unseen-0"), (Doubt::Repeated, "repeated-0")] {
        let (storage, world) = Doubtful::default().at(scheme);
        storage.doubt(doubt);
        world.land("means", 1, &[json!({"token": "T-1"})]).await;
        assert_eq!(world.rows(TOKENS).await, [["1", "1"]], "{doubt:?}");
        assert_eq!(storage.names(".json").await.len(), 2, "{doubt:?}");
    }
}

#[tokio::test]
async fn storage_that_replaces_what_is_there_is_refused() {
    let (storage, world) = Doubtful { careless: true, ..Doubtful::default() }.at("careless");
    let refused = store::check(&world.url).await;
    assert!(matches!(refused, Err(WarehouseError::Careless { .. })), "{refused:?}");
    assert_eq!(storage.names("").await, [""; 0]);
    let (storage, world) = Doubtful::default().at("careful");
    store::check(&world.url).await.unwrap();
    assert_eq!(storage.names("").await, [""; 0]);
    // A folder has nothing to prove, whether it is there or not.
    store::check(&Url::parse("file:///nowhere/at/all").unwrap()).await.unwrap();
}

#[tokio::test]
async fn where_tables_are_is_not_empty() {
    for world in [Doubtful::default().at("filled").1, World::new()] {
        assert!(store::is_empty(&world.url).await.unwrap(), "{}", world.url);
        world.land("means", 1, &[json!({"token": "T-1"})]).await;
        assert!(!store::is_empty(&world.url).await.unwrap(), "{}", world.url);
    }
    assert!(store::is_empty(&Url::parse("file:///nowhere/at/all").unwrap()).await.unwrap());
}

#[tokio::test]
async fn a_table_that_is_not_in_a_folder_is_removed_and_begins_anew() {
    let (storage, world) = Doubtful::default().at("anew");
    crate::table::is_made_anew(&world).await;
    warehouse::table::delta::remove(&world.url, "means").await.unwrap();
    assert_eq!(storage.names("means").await, [""; 0]);
    assert!(!storage.names("calls").await.is_empty());
}
