//! A means of a file as a record of the stream.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use domain::{
    id::{IssuerId, MeansToken, RecipientId},
    person_code::PersonCode,
};
use ingest::{
    dead_letter::Reason,
    document::{Cursor, Fields},
    record::{Record, outside_id},
    vault::{Purpose, Vault},
    wire::v1::{Event, MeansChanged},
};

use crate::{
    connector::Refusal,
    json,
    terminal::basket::{means_kind, means_value},
};

/// Translates one means.
///
/// # Errors
/// Every fault of the message, with the JSON pointer of each.
pub fn means(
    message: &[u8],
    issuers: &HashSet<IssuerId>,
    vault: &Vault,
    now: DateTime<Utc>,
) -> Result<Record, Refusal> {
    let document = json::message(message)?;
    let root = Cursor::root(&document);
    let change = root.fields().and_then(|fields| {
        let change = read(&fields, issuers, vault);
        fields.finish();
        change
    });
    let faults = root.faults();
    let change = change.filter(|_| faults.is_empty()).ok_or_else(|| Refusal::of(&faults))?;
    let (to, person) = (change.valid_to.as_deref(), change.person.as_deref());
    let at = now.timestamp_micros().to_string();
    let said = [&change.valid_from, to.unwrap_or_default(), person.unwrap_or_default(), &at];
    Ok(Record {
        id: outside_id(&change.token, &said.join("/")),
        key: change.person.clone().unwrap_or_else(|| change.token.clone()),
        source: change.issuer_id.clone(),
        sequence: 0,
        event_time: now,
        recorded_at: now,
        event: Event::MeansChanged(change),
    })
}

fn read(fields: &Fields<'_>, issuers: &HashSet<IssuerId>, vault: &Vault) -> Option<MeansChanged> {
    let holder = fields.optional("person").map(|at| holder(&at, vault));
    let issuer = fields.required("issuer").and_then(|at| {
        let id = at.id(IssuerId::new)?;
        if !issuers.contains(&id) {
            at.fault_of(Reason::UnknownReference, "no such issuer in the registry");
        }
        Some(id)
    });
    let kind = fields.required("kind").and_then(|at| means_kind(&at));
    let value = fields.required("value").and_then(|at| means_value(&at));
    let from = fields.required("valid_from").and_then(|at| at.date());
    let to = fields.optional("valid_to").map(|at| (at.date(), at));
    if let (Some(from), Some((Some(to), at))) = (from, &to)
        && *to < from
    {
        at.fault("ends before it begins");
    }
    let token: MeansToken = vault.means_token(kind?, value?);
    let person = match holder {
        Some(holder) => Some(holder?),
        None => None,
    };
    let recipient = person.map_or(token.as_u128(), RecipientId::as_u128);
    Some(MeansChanged {
        token: token.to_string(),
        issuer_id: issuer?.to_string(),
        kind: kind?.code().into(),
        person: person.map(|id| id.to_string()),
        valid_from: from?.to_string(),
        valid_to: match to {
            Some((to, _)) => Some(to?.to_string()),
            None => None,
        },
        blocked: false,
        recipient: Some(vault.pseudonym(Purpose::Recipient, recipient).to_string()),
        offline_hash: vault.offline_hash(kind?, value?),
        ..MeansChanged::default()
    })
}

/// Whose a means is.
pub(crate) fn holder(at: &Cursor<'_>, vault: &Vault) -> Option<RecipientId> {
    let holder = whose(at, vault)?;
    if holder.is_none() {
        at.fault_of(Reason::UnknownPerson, "the register has not told of this person");
    }
    holder
}

/// Whose a personal code is; `Some(None)` of one that nobody here has.
pub(crate) fn whose(at: &Cursor<'_>, vault: &Vault) -> Option<Option<RecipientId>> {
    let code = match PersonCode::parse(at.text()?) {
        Ok(code) => code,
        Err(error) => {
            at.fault(error.to_string());
            return None;
        }
    };
    // Whoever was erased is nobody's holder, however often the issuer tells of them.
    Some(vault.find(&code).filter(|id| !vault.is_erased(*id)))
}
