//! What a terminal needs to decide offline: the instructions in its scope, blocked means and who is
//! in which group, as salted hashes; caps per card and day. Signed, with a version, and with what
//! changed since an earlier one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, RwLock},
};

use authoriser::{
    refresh::{People, Version, read},
    service::Handle,
};
use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use domain::{
    id::{GroupId, MeansToken, TerminalId},
    instruction::Instruction,
    period::LocalTime,
};
use ingest::{
    log::{Log, READ_BATCH},
    register::means::MeansRegister,
    topic::Topic,
    vault::Vault,
    wire::v1::Event,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::http::{Door, json};
use crate::{access, access::Role, problem::Problem, registry};

/// How long a kit holds.
const HOLDS: TimeDelta = TimeDelta::days(7);
/// How long the groups of one look at all means serve further kits.
const FRESH: TimeDelta = TimeDelta::minutes(15);
/// One in so many strangers is taken for a member.
const STRANGERS: f64 = 10_000.0;
/// Changes of means beyond which a whole kit is shorter than what changed.
const MOST_CHANGES: u64 = 100_000;

/// What an offline terminal may give to one card on one day.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Baskets with a benefit.
    pub uses: u32,
    /// Cents given.
    pub cents: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self { uses: 4, cents: 2_000 }
    }
}

/// Members of a group as a Bloom filter (Bloom 1970) over salted hashes: with the high and the low
/// half of a hash, h and l, the bits (h + i × (l | 1)) mod `bits` for i from 0 to before `hashes` are
/// set, bit b in byte b ÷ 8, its lowest bit first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Filter {
    /// How many bits there are.
    pub bits: u64,
    /// How many bits each member sets.
    pub hashes: u32,
    /// How many members it holds.
    pub count: u64,
    /// The bits, base 64 (URL-safe, no padding).
    #[serde(serialize_with = "encoded")]
    #[schema(value_type = String)]
    pub filter: Vec<u8>,
}

fn encoded<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
}

impl Filter {
    fn of(count: u64) -> Self {
        // The least bits for the chance of a false member (Bloom 1970): n ln p ÷ (ln 2)².
        let each = STRANGERS.ln() / std::f64::consts::LN_2.powi(2);
        let bits = ((count.max(1) as f64 * each).ceil() as u64).next_multiple_of(8);
        let hashes = (each * std::f64::consts::LN_2).round() as u32;
        let filter = vec![0; usize::try_from(bits / 8).unwrap_or(0)];
        Self { bits, hashes, count: 0, filter }
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, u8)> + use<> {
        let (high, low) = (hash >> 32, hash & u64::from(u32::MAX));
        let bits = self.bits;
        (0..u64::from(self.hashes)).map(move |i| {
            let bit = (high + i * (low | 1)) % bits;
            (usize::try_from(bit / 8).unwrap_or(0), 1 << (bit % 8))
        })
    }

    fn insert(&mut self, hash: u64) {
        for (byte, bit) in self.places(hash) {
            self.filter[byte] |= bit;
        }
        self.count += 1;
    }

    /// Whether a hash is, most probably, a member's; one that is never is missed.
    #[must_use]
    pub fn holds(&self, hash: u64) -> bool {
        self.places(hash).all(|(byte, bit)| self.filter[byte] & bit != 0)
    }
}

/// What an offline terminal needs. A whole one has everything; one since an earlier version leaves
/// out what is the same.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Kit {
    terminal_id: String,
    /// Ask with `?since=` this version for what changes from here on.
    version: String,
    /// The version that this one follows; none for a whole kit.
    since: Option<String>,
    issued_at: String,
    /// Nothing is given offline by this kit after that.
    expires_at: String,
    /// The salt of every hash, hexadecimal: the first eight bytes of HMAC-SHA-256 under it over the
    /// means' kind, a zero byte and its value.
    salt: String,
    /// Instructions in the terminal's scope, as the registry has them.
    #[schema(value_type = Option<Vec<Object>>)]
    instructions: Option<Vec<Value>>,
    /// The merchant's catalogue: its categories go before the terminal's.
    #[schema(value_type = Option<Vec<Object>>)]
    catalogue: Option<Vec<Value>>,
    /// Hashes of means that are blocked, hexadecimal; of a kit since an earlier one those blocked
    /// since.
    blocked: Vec<String>,
    /// Hashes that are no longer blocked.
    unblocked: Vec<String>,
    /// Who is in each group that the instructions name, today.
    groups: Option<BTreeMap<String, Filter>>,
    caps: KitCaps,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct KitCaps {
    uses_per_card_and_day: u32,
    cents_per_card_and_day: u32,
}

/// A kit with its signature: JWS, flattened JSON (RFC 7515), Ed25519 (RFC 8037).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SignedKit {
    /// The kit as JSON, base 64 (URL-safe, no padding).
    payload: String,
    /// `alg` and the public key as `jwk`, likewise.
    protected: String,
    /// Over `protected`, a full stop and `payload`.
    signature: String,
}

/// Who is in each group, as of one look at all means.
#[derive(Debug)]
struct Members {
    version: Version,
    day: NaiveDate,
    at: DateTime<Utc>,
    groups: HashMap<GroupId, Arc<Filter>>,
    blocked: BTreeSet<u64>,
}

/// Makes kits.
#[derive(Debug)]
pub struct Kits {
    people: Arc<RwLock<People>>,
    log: Arc<dyn Log>,
    salt: [u8; 32],
    signing: Option<Ed25519KeyPair>,
    caps: Caps,
    /// The last look; whoever needs a new one makes it for all.
    members: Mutex<Option<Arc<Members>>>,
}

impl Kits {
    /// The kits of a node.
    #[must_use]
    pub fn new(authoriser: &Handle, vault: &Vault, caps: Caps) -> Self {
        let seed = vault.secret_for("offline kit signature");
        Self {
            people: Arc::clone(authoriser.people()),
            log: Arc::clone(&authoriser.parts().log),
            salt: vault.offline_salt(),
            // Thirty-two bytes are a seed, whatever they are.
            signing: Ed25519KeyPair::from_seed_unchecked(&seed).ok(),
            caps,
            members: Mutex::default(),
        }
    }

    async fn members(
        &self,
        now: DateTime<Utc>,
        wanted: BTreeSet<GroupId>,
    ) -> Result<Arc<Members>, Problem> {
        let day = LocalTime::of(now).date;
        let mut last = self.members.lock().await;
        let version = read(&self.people).version;
        if let Some(members) = &*last {
            // Of more changes a kit would not learn what is blocked by now.
            let is_near = version.means.abs_diff(members.version.means) <= MOST_CHANGES;
            let serves = members.version == version || (now - members.at < FRESH && is_near);
            let whole = wanted.iter().all(|group| members.groups.contains_key(group));
            if serves && whole && members.day == day {
                return Ok(Arc::clone(members));
            }
        }
        let people = Arc::clone(&self.people);
        let look = tokio::task::spawn_blocking(move || look(&people, now, &wanted));
        // A look that was cut off is none: signed, it would say for a week that nothing is blocked.
        let members = Arc::new(look.await.map_err(Problem::stopping)?);
        *last = Some(Arc::clone(&members));
        Ok(members)
    }

    /// Hashes blocked and unblocked since some offset of the means' changes; `None` where too much
    /// has changed.
    async fn changed(&self, from: u64) -> Option<(BTreeSet<u64>, BTreeSet<u64>)> {
        let to = read(&self.people).version.means;
        if from > to || to - from > MOST_CHANGES {
            return None;
        }
        let mut tokens = BTreeMap::new();
        let mut next = from;
        while next < to {
            let batch = self.log.read(Topic::MeansChanges, 0, next, READ_BATCH).await.ok()?;
            next = batch.last()?.position.offset + 1;
            for stored in batch {
                let Event::MeansChanged(change) = stored.record.event else { continue };
                if change.offline_hash != 0 {
                    tokens.insert(MeansToken::parse(&change.token)?, change.offline_hash);
                }
            }
        }
        let people = read(&self.people);
        let is_blocked = |token: &MeansToken| people.means.get(*token).is_some_and(|of| of.blocked);
        let (blocked, free): (Vec<_>, Vec<_>) =
            tokens.into_iter().partition(|(token, _)| is_blocked(token));
        let hashes = |of: Vec<(MeansToken, u64)>| of.into_iter().map(|(_, hash)| hash).collect();
        Some((hashes(blocked), hashes(free)))
    }

    /// All that are blocked now. Groups may be those of a look some minutes ago, but what was lost since
    /// would be taken for a week by whoever goes offline with their first kit.
    async fn blocked(&self, members: &Members) -> Result<BTreeSet<u64>, Problem> {
        let changed = self.changed(members.version.means).await;
        let unread = || Problem::unavailable("which means are blocked cannot be read now");
        let (blocked, free) = changed.ok_or_else(unread)?;
        let mut all = members.blocked.clone();
        all.extend(blocked);
        all.retain(|hash| !free.contains(hash));
        Ok(all)
    }

    fn sign(&self, kit: &Kit) -> Option<SignedKit> {
        let signing = self.signing.as_ref()?;
        let key = URL_SAFE_NO_PAD.encode(signing.public_key());
        let header = json!({"alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": key}});
        let protected = URL_SAFE_NO_PAD.encode(header.to_string());
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(kit).ok()?);
        let signature = signing.sign(format!("{protected}.{payload}").as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        Some(SignedKit { payload, protected, signature })
    }
}

/// Looks at all means a part at a time, so that the till never waits for a kit: once to count the
/// members, once to note them.
fn look(people: &RwLock<People>, now: DateTime<Utc>, wanted: &BTreeSet<GroupId>) -> Members {
    let day = LocalTime::of(now).date;
    let version = read(people).version;
    let mut counts: HashMap<GroupId, u64> = wanted.iter().map(|id| (id.clone(), 0)).collect();
    let mut blocked = BTreeSet::new();
    each(people, now, day, |hash, groups| match groups {
        None => drop(blocked.insert(hash)),
        Some(groups) => {
            for group in groups {
                if let Some(count) = counts.get_mut(group) {
                    *count += 1;
                }
            }
        }
    });
    let mut filters: HashMap<GroupId, Filter> =
        counts.into_iter().map(|(group, count)| (group, Filter::of(count))).collect();
    each(people, now, day, |hash, groups| {
        for group in groups.unwrap_or_default() {
            if let Some(filter) = filters.get_mut(group) {
                filter.insert(hash);
            }
        }
    });
    let groups = filters.into_iter().map(|(group, filter)| (group, Arc::new(filter))).collect();
    Members { version, day, at: now, groups, blocked }
}

/// Every means that terminals can know: blocked (no groups), or valid today with its groups.
fn each(
    people: &RwLock<People>,
    now: DateTime<Utc>,
    day: NaiveDate,
    mut tell: impl FnMut(u64, Option<&[GroupId]>),
) {
    for part in 0..MeansRegister::PARTS {
        let people = read(people);
        for (hash, means) in people.means.part(part).filter(|(hash, _)| *hash != 0) {
            if means.blocked {
                tell(hash, None);
            } else if means.valid.contains(day)
                && let Some(recipient) = people.holder(&means, now, day).recipient
            {
                tell(hash, Some(&recipient.groups));
            }
        }
    }
}

/// What a terminal needs to decide offline.
#[utoipa::path(
    get,
    path = "/v1/terminals/{id}/offline-kit",
    tag = "offline",
    params(
        ("id" = String, Path, description = "The terminal; that of the token"),
        ("since" = Option<String>, Query, description = "The version of an earlier kit: only what changed since"),
    ),
    responses(
        (status = 200, description = "The signed kit", body = SignedKit),
        super::openapi::Refusals,
    ),
    security(("token" = []))
)]
pub(super) async fn offline_kit(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let identity = access::identity(&door.tokens, &headers)?;
    if identity.role != Role::Terminal || *identity.subject != *id {
        return Err(Problem::forbidden("a terminal gets its own kit"));
    }
    let terminal = door.terminal(&identity)?;
    let since = query.as_deref().and_then(|query| {
        query.split('&').find_map(|part| part.strip_prefix("since=")).map(str::to_owned)
    });
    let kit = make(&door, &terminal, since.as_deref()).await?;
    let internal = || {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "Internal error", "the kit cannot be signed")
    };
    json(&door.kits.sign(&kit).ok_or_else(internal)?)
}

async fn make(door: &Door, terminal: &TerminalId, since: Option<&str>) -> Result<Kit, Problem> {
    let now = door.authoriser.parts().clock.now();
    let rules = door.authoriser.rules();
    let index = rules.terminal(terminal).ok_or_else(|| Problem::not_found("no such terminal"))?;
    let (from, to) = (LocalTime::of(now).date, LocalTime::of(now + HOLDS).date);
    let offered: Vec<&Instruction> = rules.offered(index, from, to).collect();
    let named = offered.iter().flat_map(|instruction| {
        let recipients = &instruction.recipients;
        recipients.any.iter().chain(&recipients.all).chain(&recipients.none).cloned()
    });
    let named: BTreeSet<GroupId> = named.collect();
    let members = door.kits.members(now, named.clone()).await?;
    let edition = Edition { read: members.version, day: Some(members.day) };
    let earlier = since.and_then(Edition::parse);
    let changed = match earlier {
        Some(earlier) => door.kits.changed(earlier.read.means).await,
        None => None,
    };
    let earlier = earlier.filter(|_| changed.is_some());
    let (blocked, unblocked) = match changed {
        Some(changed) => changed,
        None => (door.kits.blocked(&members).await?, BTreeSet::new()),
    };
    let is_same = |of: Edition| of.read.registry == edition.read.registry && of.day == edition.day;
    let same_rules = earlier.is_some_and(is_same);
    let merchant = rules.site(index).merchant.as_str();
    let (instructions, catalogue) = match same_rules {
        true => (None, None),
        false => documents(door, &offered, merchant).await?,
    };
    let groups = (earlier != Some(edition)).then(|| {
        let of =
            |group: &GroupId| Some((group.to_string(), (**members.groups.get(group)?).clone()));
        named.iter().filter_map(of).collect()
    });
    let hex = |hashes: BTreeSet<u64>| hashes.into_iter().map(|of| format!("{of:016x}")).collect();
    let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Ok(Kit {
        terminal_id: terminal.to_string(),
        version: edition.to_string(),
        since: earlier.map(|earlier| earlier.to_string()),
        issued_at: instant(now),
        expires_at: instant(now + HOLDS),
        salt: door.kits.salt.iter().map(|byte| format!("{byte:02x}")).collect(),
        instructions,
        catalogue,
        blocked: hex(blocked),
        unblocked: hex(unblocked),
        groups,
        caps: KitCaps {
            uses_per_card_and_day: door.kits.caps.uses,
            cents_per_card_and_day: door.kits.caps.cents,
        },
    })
}

/// The registry's own entries of the instructions, and of the merchant's catalogue.
async fn documents(
    door: &Door,
    offered: &[&Instruction],
    merchant: &str,
) -> Result<(Option<Vec<Value>>, Option<Vec<Value>>), Problem> {
    let view = registry::view(&door.log).await.map_err(|error| {
        tracing::error!(%error, "the registry cannot be read");
        Problem::from(authoriser::command::Refusal::Stopped)
    })?;
    let document = view.document();
    let list = |name: &str| document.get(name).and_then(Value::as_array).cloned();
    let is_offered = |entry: &Value| {
        offered.iter().any(|instruction| {
            entry["id"] == instruction.id.as_str()
                && entry["version"].as_u64().unwrap_or(1) == u64::from(instruction.version)
        })
    };
    let mut instructions = list("instructions").unwrap_or_default();
    instructions.retain(is_offered);
    let mut catalogue = list("catalogue").unwrap_or_default();
    catalogue.retain(|entry| entry["merchant"] == merchant);
    Ok((Some(instructions), Some(catalogue)))
}

/// What a kit was made of. Also of its day: instructions come within its reach, and cards into
/// groups, without anything being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edition {
    read: Version,
    /// None of kits that did not say so.
    day: Option<NaiveDate>,
}

impl Edition {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (registry, means, entitlements) = (number()?, number()?, number()?);
        // Kits of before lists have three numbers.
        let memberships = number().unwrap_or(0);
        let day = parts.next().and_then(|part| part.parse().ok());
        Some(Self { read: Version { registry, means, entitlements, memberships }, day })
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { registry, means, entitlements, memberships } = self.read;
        write!(f, "{registry}.{means}.{entitlements}.{memberships}")?;
        match self.day {
            Some(day) => write!(f, ".{day}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_misses_no_member_and_takes_few_strangers() {
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (n << 7);
        let mut filter = Filter::of(10_000);
        (0..10_000).for_each(|n| filter.insert(hash(n)));
        assert!((0..10_000).all(|n| filter.holds(hash(n))));
        let strangers = (10_000..210_000).filter(|n| filter.holds(hash(*n))).count();
        assert!(strangers < 100, "{strangers} of 200 000");
    }

    #[test]
    fn a_version_is_read_as_it_was_told() {
        for text in ["7.8.9.10.2025-06-02", "7.8.9.10"] {
            let edition = Edition::parse(text).expect("one that was told");
            assert_eq!(edition.to_string(), text);
        }
        let before_lists = Edition::parse("7.8.9").expect("one that was told");
        assert_eq!((before_lists.read.memberships, before_lists.day), (0, None));
        assert_eq!(Edition::parse("7.8"), None);
    }
}
