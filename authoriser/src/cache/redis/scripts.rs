//! The scripts, each atomic over one key, known to Redis by their digest.

use std::sync::LazyLock;

use redis::Script;

/// One script and the digest by which it is called.
#[derive(Debug)]
pub(super) struct Lua {
    pub(super) text: &'static str,
    pub(super) digest: String,
}

impl Lua {
    fn of(text: &'static str) -> Self {
        Self { text, digest: Script::new(text).get_hash().to_owned() }
    }
}

pub(super) static BUILD: LazyLock<Lua> =
    LazyLock::new(|| Lua::of(include_str!("../scripts/build.lua")));
pub(super) static LEAVE: LazyLock<Lua> =
    LazyLock::new(|| Lua::of(include_str!("../scripts/leave.lua")));
pub(super) static RESERVE: LazyLock<Lua> =
    LazyLock::new(|| Lua::of(include_str!("../scripts/reserve.lua")));
pub(super) static OPEN_BUDGET: LazyLock<Lua> =
    LazyLock::new(|| Lua::of(include_str!("../scripts/open_budget.lua")));
pub(super) static LEASE: LazyLock<Lua> =
    LazyLock::new(|| Lua::of(include_str!("../scripts/lease.lua")));
pub(super) static SPEND: LazyLock<Lua> =
    LazyLock::new(|| Lua::of(include_str!("../scripts/spend.lua")));
