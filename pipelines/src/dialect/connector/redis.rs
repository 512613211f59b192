//! Options of `redis`: a sink of strings, lists or hashes, and rows looked up by key.

use std::{fmt, num::NonZeroU64, time::Duration};

use arrow::datatypes::DataType;

use crate::dialect::{
    fault::Fault,
    options::{Options, missing},
    table::{Column, Origin, TableType},
};

/// Options of `redis`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Where it listens, and as whom.
    pub connection: RedisConnection,
    /// What the table is there.
    pub table: RedisTable,
}

/// Where Redis listens, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConnection {
    /// A server or a cluster.
    pub address: RedisAddress,
    /// The user; `{{ NAME }}` stands for a variable of the environment.
    pub username: Option<String>,
    /// The password, likewise.
    pub password: Option<String>,
}

/// A server or a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    /// `address`.
    Server(String),
    /// `cluster.addresses`, with commas between.
    Cluster(Vec<String>),
}

/// What a table is in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisTable {
    /// Rows are written.
    Sink(RedisTarget),
    /// Rows are looked up by key.
    Lookup(LookupCache),
}

/// How many rows that were looked up are kept, and how long.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LookupCache {
    /// `lookup.cache.max_bytes`.
    pub max_bytes: Option<u64>,
    /// `lookup.cache.ttl`.
    pub ttl: Option<Duration>,
}

/// What a row becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisTarget {
    /// A string.
    String {
        /// What keys begin with.
        key_prefix: String,
        /// The column that they end with.
        key_column: Option<String>,
        /// After how many seconds it expires.
        ttl_secs: Option<NonZeroU64>,
    },
    /// An element of a list.
    List {
        /// What keys begin with.
        key_prefix: String,
        /// The column that they end with.
        key_column: Option<String>,
        /// To what length the list is cut.
        max_length: Option<NonZeroU64>,
        /// At which end.
        operation: ListOperation,
    },
    /// A field of a hash.
    Hash {
        /// What keys begin with.
        key_prefix: String,
        /// The column that they end with.
        key_column: Option<String>,
        /// The column that names the field.
        field_column: String,
    },
}

/// At which end of a list a row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the option's own words")]
pub enum ListOperation {
    #[default]
    Append,
    Prepend,
}

/// A password is not for logs.
impl fmt::Debug for RedisConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisConnection")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Redis {
    pub(super) fn of(
        options: &mut Options,
        columns: &[Column],
        primary_key: &[String],
    ) -> Result<(Self, TableType), Fault> {
        let connection = RedisConnection {
            address: address(options)?,
            username: options.text("username")?,
            password: options.text("password")?,
        };
        let (table, table_type) = match options.need("type")?.as_str() {
            "sink" => {
                if columns.iter().any(|column| column.origin != Origin::Declared) {
                    let reason = "redis as a sink can't have virtual fields";
                    return Err(Fault::Wrong(reason.into()));
                }
                (RedisTable::Sink(target(options, columns)?), TableType::Sink)
            }
            "lookup" => {
                check_key(columns, primary_key)?;
                let cache = LookupCache {
                    max_bytes: options.unsigned("lookup.cache.max_bytes")?,
                    ttl: options.duration("lookup.cache.ttl")?,
                };
                (RedisTable::Lookup(cache), TableType::Lookup)
            }
            other => {
                return Err(Fault::Wrong(format!("'{other}' is not a valid type; must be `sink`")));
            }
        };
        Ok((Self { connection, table }, table_type))
    }
}

fn address(options: &mut Options) -> Result<RedisAddress, Fault> {
    let wrong = |reason: &str| Err(Fault::Wrong(reason.to_owned()));
    let address = match (options.text("address")?, options.text("cluster.addresses")?) {
        (Some(address), None) => RedisAddress::Server(address),
        (None, Some(addresses)) => {
            RedisAddress::Cluster(addresses.split(',').map(ToOwned::to_owned).collect())
        }
        (Some(_), Some(_)) => {
            return wrong("only one of `address` or `cluster.addresses` may be set");
        }
        (None, None) => return wrong("one of `address` or `cluster.addresses` must be set"),
    };
    let mut each = match &address {
        RedisAddress::Server(address) => std::slice::from_ref(address).iter(),
        RedisAddress::Cluster(addresses) => addresses.iter(),
    };
    let schemes = ["redis://", "rediss://", "redis+unix://", "unix://"];
    match each.find(|address| !schemes.iter().any(|scheme| address.starts_with(scheme))) {
        Some(address) => Err(Fault::Wrong(format!("invalid redis address: {address}"))),
        None => Ok(address),
    }
}

fn check_key(columns: &[Column], primary_key: &[String]) -> Result<(), Fault> {
    let is_key = |name: &String| {
        let column = columns.iter().find(|column| column.name == *name);
        let wanted = Origin::Metadata { key: "key".into() };
        column.is_some_and(|column| column.origin == wanted)
    };
    if !primary_key.is_empty() && primary_key.iter().all(is_key) {
        return Ok(());
    }
    Err(Fault::Wrong(
        "Redis lookup tables must have a PRIMARY KEY field defined as `field_name TEXT METADATA \
         FROM 'key'`"
            .into(),
    ))
}

fn target(options: &mut Options, columns: &[Column]) -> Result<RedisTarget, Fault> {
    let target = options.need("target")?;
    let key_prefix = options.need("target.key_prefix")?;
    let key_column = options.text("target.key_column")?;
    if let Some(column) = &key_column {
        check_column(columns, column, "target.key_column")?;
    }
    let positive = |options: &mut Options, key: &str| {
        let given = options.unsigned(key)?.map(NonZeroU64::new);
        match given {
            None => Ok(None),
            Some(Some(given)) => Ok(Some(given)),
            Some(None) => Err(Fault::Wrong(format!("{key} must be greater than 0"))),
        }
    };
    Ok(match target.as_str() {
        "string" => {
            let ttl_secs = positive(options, "target.ttl_secs")?;
            RedisTarget::String { key_prefix, key_column, ttl_secs }
        }
        "list" => {
            let operations =
                [("append", ListOperation::Append), ("prepend", ListOperation::Prepend)];
            RedisTarget::List {
                key_prefix,
                key_column,
                max_length: positive(options, "target.max_length")?,
                operation: options.choice("target.operation", &operations)?.unwrap_or_default(),
            }
        }
        "hash" => {
            let field_column = options.text("target.field_column")?;
            let field_column = field_column.ok_or_else(|| missing("target.field_column"))?;
            check_column(columns, &field_column, "targets.field_column")?;
            RedisTarget::Hash { key_prefix, key_column, field_column }
        }
        other => return Err(Fault::Wrong(format!("'{other}' is not a valid redis target"))),
    })
}

fn check_column(columns: &[Column], name: &str, key: &str) -> Result<(), Fault> {
    let column = columns.iter().find(|column| column.name == name);
    if column.is_some_and(|column| column.data_type == DataType::Utf8 && !column.nullable) {
        return Ok(());
    }
    Err(Fault::Wrong(format!(
        "invalid value '{name}' for {key}, must be the name of a non-nullable TEXT column on the \
         table"
    )))
}
