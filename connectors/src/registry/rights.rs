//! Who reads and who changes which entries of the registry: `rights.csv`, and whose an entry is.

use std::{collections::HashMap, sync::LazyLock};

use domain::registry::Kind;
use serde_json::{Value, json};

use crate::access::{Identity, Role};

/// Of each kind and role what is read and what is changed, as `read/change`: all, own or nothing (`-`).
pub const TABLE: &str = include_str!("rights.csv");

/// How far a right goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reach {
    /// To nothing.
    #[default]
    Nothing,
    /// To what is of the organisation that somebody acts for.
    Own,
    /// To all entries of a kind.
    All,
}

/// What a role may do with a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rights {
    /// Whose entries it reads.
    pub read: Reach,
    /// Whose entries it changes.
    pub change: Reach,
}

static RIGHTS: LazyLock<HashMap<(Kind, Role), Rights>> = LazyLock::new(|| {
    let mut rows = TABLE.lines().map(|line| line.split(','));
    let roles: Vec<_> = rows.next().into_iter().flatten().skip(1).map(Role::parse).collect();
    let mut rights = HashMap::new();
    for mut row in rows {
        let Some(kind) = row.next().and_then(of_path) else { continue };
        let cells = roles.iter().zip(row);
        let known = cells.filter_map(|(role, cell)| Some(((kind, (*role)?), rights_of(cell)?)));
        rights.extend(known);
    }
    rights
});

fn rights_of(cell: &str) -> Option<Rights> {
    let reach = |word| match word {
        "-" => Some(Reach::Nothing),
        "own" => Some(Reach::Own),
        "all" => Some(Reach::All),
        _ => None,
    };
    let (read, change) = cell.split_once('/')?;
    Some(Rights { read: reach(read)?, change: reach(change)? })
}

/// The kind's name in a path: `e-services`.
#[must_use]
pub fn path_of(kind: Kind) -> String {
    kind.list().replace('_', "-")
}

/// The kind of a name in a path.
#[must_use]
pub fn of_path(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| path_of(*kind) == name)
}

/// What a role may do with a kind; nothing where the table says nothing.
#[must_use]
pub fn of(role: Role, kind: Kind) -> Rights {
    RIGHTS.get(&(kind, role)).copied().unwrap_or_default()
}

/// Finds an entry by kind and id.
pub type Find<'a> = &'a dyn Fn(Kind, &str) -> Option<&'a Value>;

/// Whether an entry is of the organisation that somebody acts for. `find` is asked for the entries that
/// it names: a terminal is of its place's merchant, an instruction of its benefit's grantor.
#[must_use]
pub fn is_own(identity: &Identity, kind: Kind, entry: &Value, find: Find<'_>) -> bool {
    let organisation = identity.organisation.as_ref();
    let text = |entry: &Value, name: &str| entry[name].as_str().map(str::to_owned);
    let named = |of: Kind, name: &str, field: &str| {
        text(find(of, &text(entry, name).unwrap_or_default())?, field)
    };
    let owner = match (identity.role, kind) {
        (Role::Grantor, Kind::Grantor)
        | (Role::Merchant, Kind::Merchant)
        | (Role::Issuer, Kind::Issuer)
        | (Role::Centre, Kind::Centre)
        | (Role::Official, Kind::Institution) => text(entry, "id"),
        (Role::Grantor, Kind::Contract | Kind::Benefit | Kind::Group) => text(entry, "grantor"),
        (Role::Grantor, Kind::Instruction) => named(Kind::Benefit, "benefit", "grantor"),
        (Role::Merchant, Kind::Place | Kind::CatalogueItem | Kind::Contract | Kind::EService) => {
            text(entry, "merchant")
        }
        (Role::Merchant, Kind::Terminal) => named(Kind::Place, "place", "merchant"),
        (Role::Official, Kind::Official) => text(entry, "institution"),
        _ => None,
    };
    !organisation.is_empty() && owner.as_deref() == Some(organisation)
}

/// Whether somebody reads an entry.
#[must_use]
pub fn reads(identity: &Identity, kind: Kind, entry: &Value, find: Find<'_>) -> bool {
    match of(identity.role, kind).read {
        Reach::Nothing => false,
        Reach::All => true,
        // A group of nobody's is for every grantor to name.
        Reach::Own if kind == Kind::Group && entry.get("grantor").is_none() => true,
        Reach::Own => is_own(identity, kind, entry, find),
    }
}

/// Whether somebody changes an entry.
#[must_use]
pub fn changes(identity: &Identity, kind: Kind, entry: &Value, find: Find<'_>) -> bool {
    match of(identity.role, kind).change {
        Reach::Nothing => false,
        Reach::All => true,
        Reach::Own => is_own(identity, kind, entry, find),
    }
}

/// An entry as somebody sees it: who is listed in a group is told to whose group it is, and to nobody
/// else, and accounts to whom they belong and to who pays.
#[must_use]
pub fn shown(identity: &Identity, kind: Kind, entry: &Value, find: Find<'_>) -> Value {
    let mut shown = entry.clone();
    let own = is_own(identity, kind, entry, find);
    let Some(fields) = shown.as_object_mut() else { return shown };
    if !own && let Some(members) = fields.remove("members") {
        let count = members.as_array().map_or(0, Vec::len);
        fields.insert("members_count".into(), json!(count));
    }
    if !own && !matches!(identity.role, Role::Administrator | Role::Finance) {
        fields.remove("iban");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_word_for_every_kind_and_role() {
        for kind in Kind::ALL {
            for role in Role::ALL {
                assert!(RIGHTS.contains_key(&(kind, role)), "{kind:?} {role:?}");
            }
        }
        assert_eq!(RIGHTS.len(), Kind::ALL.len() * Role::ALL.len());
    }

    #[test]
    fn what_is_changed_is_read() {
        for ((kind, role), rights) in RIGHTS.iter() {
            let is_less = matches!(
                (rights.read, rights.change),
                (Reach::Nothing, Reach::Own | Reach::All) | (Reach::Own, Reach::All)
            );
            assert!(!is_less, "{kind:?} {role:?}");
        }
    }
}
