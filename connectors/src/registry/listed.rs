//! Who is listed in a group: a personal code becomes its keyed hash before anything is checked or
//! kept, so the registry's stream, drafts included, and whatever is made of it name nobody.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{person_code::PersonCode, recipient::Member, registry::Kind};
use ingest::{log::Log, topic::Topic, vault::Vault, wire::v1::RegistryChanged};
use serde_json::{Value, json};

use super::{draft, news, records, standing::Standing};
use crate::error::ConnectorError;

/// What a list keeps of a member as somebody wrote it; nothing of one whom it keeps no longer.
pub type Naming<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A member as a list keeps it: a personal code by its keyed hash, anything else as it is, and
/// nobody who is being erased; afterwards the code is one of somebody whom nobody knows.
#[must_use]
pub fn member(vault: &Vault, written: &str) -> Option<String> {
    let token = match (PersonCode::parse(written), Member::parse(written)) {
        (Ok(code), _) => vault.person_token(&code),
        (_, Some(Member::Person(token))) => token,
        _ => return Some(written.to_owned()),
    };
    let erased = vault.find_listed(token).is_some_and(|person| vault.is_erased(person));
    (!erased).then(|| Member::Person(token).to_string())
}

/// Names who is listed in the groups of a registry, or of a draft's entries.
pub fn name(lists: &mut Value, naming: Naming<'_>) {
    let groups = lists.get_mut(Kind::Group.list()).and_then(Value::as_array_mut);
    groups.into_iter().flatten().for_each(|group| name_in(group, naming));
}

/// Names who is listed in one group. What is no list of texts is left for the checks to tell of.
pub(super) fn name_in(group: &mut Value, naming: Naming<'_>) {
    let Some(members) = group.get_mut("members").and_then(Value::as_array_mut) else { return };
    let mut named = Vec::with_capacity(members.len());
    for member in members.drain(..) {
        match member.as_str() {
            Some(written) => named.extend(naming(written).map(Value::from)),
            None => named.push(member),
        }
    }
    *members = named;
}

/// Names anew whoever is listed in what stands, drafts included: takes out who was erased, and the
/// codes that an earlier version of this node kept. Answers how many entries changed.
///
/// # Errors
/// Where the stream cannot be used.
pub async fn tidy(
    log: &Arc<dyn Log>,
    vault: &Vault,
    now: DateTime<Utc>,
) -> Result<usize, ConnectorError> {
    let mut standing = Standing::default();
    standing.apply(&news(log, 0).await?);
    let naming = |written: &str| member(vault, written);
    let mut changes = Vec::new();
    for (id, entry) in standing.view.after(Kind::Group, "") {
        let mut named = entry.document.clone();
        name_in(&mut named, &naming);
        if named != entry.document {
            changes.push(change(Kind::Group.list(), id, &named));
        }
    }
    for (draft, _) in standing.drafts.iter() {
        let mut named = json!(draft);
        name(&mut named["entries"], &naming);
        if named != json!(draft) {
            changes.push(change(draft::LIST, &draft.id, &named));
        }
    }
    let records = records(standing.view.version(), changes.into_iter(), now);
    if !records.is_empty() {
        log.append(Topic::RegistryChanges, &records).await?;
    }
    Ok(records.len())
}

fn change(list: &str, id: &str, document: &Value) -> RegistryChanged {
    RegistryChanged {
        kind: list.into(),
        id: id.into(),
        document: document.to_string(),
        changed_by: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "326180-33995";

    #[test]
    fn a_code_is_kept_as_its_keyed_hash_and_an_erased_person_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let code = PersonCode::parse(CODE).expect("a code");
        let kept = |written: &str| member(&vault, written);
        let named = kept(CODE).expect("a name");
        assert!(!named.contains("33995") && named.starts_with("person:"), "{named}");
        // Written otherwise, and put back as it was shown, it is the same; before the register
        // tells, too.
        for written in ["32618033995", &named] {
            assert_eq!(kept(written).as_deref(), Some(named.as_str()));
        }
        let means = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        for other in [means, "326180-3399", ""] {
            assert_eq!(kept(other).as_deref(), Some(other), "left for the checks");
        }
        let mut lists = json!({"groups": [{"id": "staff", "members": [CODE, 7, means]},
            {"id": "old", "where": "true"}, {"id": "odd", "members": CODE}, 7]});
        let before = lists.clone();
        name(&mut lists, &kept);
        assert_eq!(lists["groups"][0]["members"], json!([named, 7, means]));
        assert_eq!(
            lists["groups"].as_array().expect("a list")[1..],
            before["groups"].as_array().expect("a list")[1..]
        );

        let ids = vault.enrol(&[code]).expect("enrolled");
        assert_eq!(kept(CODE).as_deref(), Some(named.as_str()));
        vault.destroy(&ids).expect("destroyed");
        assert_eq!((kept(CODE), kept(&named)), (None, None));
        // Afterwards nobody knows whose code it was: listed again, it is somebody new's.
        vault.unlink(&ids).expect("unlinked");
        assert_eq!(kept(CODE).as_deref(), Some(named.as_str()));
    }
}
