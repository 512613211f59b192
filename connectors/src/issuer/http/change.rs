//! Changing a means: by whom, from which state, and what it is afterwards.

use axum::{http::HeaderMap, response::Response};
use domain::id::{MeansToken, RecipientId};
use ingest::wire::v1::MeansChanged;

use super::{Caller, Changed, Door, Kept, Status, conflict, invalid, told, unknown};
use crate::{access::Identity, precondition::Seen, problem::Problem};

impl Door {
    /// Changes a means of the caller's, and answers how it is then.
    pub(super) async fn change(
        &self,
        identity: &Identity,
        caller: &Caller,
        token: &str,
        headers: &HeaderMap,
        wanted: Changed,
    ) -> Result<Response, Problem> {
        caller.may(&wanted)?;
        let token = MeansToken::parse(token).ok_or_else(unknown)?;
        let mut turn = self.ledger.turn().await?;
        let kept = self.ledger.known(token).await?.filter(|kept| caller.has_kept(kept));
        let kept = kept.ok_or_else(unknown)?;
        Seen::of(headers).is_newest(Some(kept.version))?;
        self.allows(caller, &kept, &wanted).await?;
        let changed = changed(&kept.change, &wanted)?;
        if changed == kept.change {
            return told(&kept);
        }
        let after = format!("after/{}", kept.version);
        let source = match caller {
            Caller::Issuer(issuer) | Caller::Grantor(issuer) => issuer.to_string(),
            Caller::Holder(_) => identity.role.code().into(),
        };
        let record = self.record(&changed.token, &after, source, changed.clone());
        self.ledger.append(&mut turn, &[record]).await?;
        self.context.metrics.taken("issuer", 1);
        self.tell(identity, deed(&wanted), &changed.token);
        told(&self.ledger.known(token).await?.ok_or_else(unknown)?)
    }

    /// Whether a means in its state may be changed so.
    async fn allows(&self, caller: &Caller, kept: &Kept, wanted: &Changed) -> Result<(), Problem> {
        let before = Status::of(kept.change.blocked, &kept.change.reason);
        let again = wanted.status == Some(before) && !wanted.moves_days();
        if before.is_final() && !again {
            let detail = format!("the means is {} and stays so", before.code());
            return Err(conflict("wrong_state", detail));
        }
        if matches!(caller, Caller::Grantor(_)) && before == Status::Lost && !again {
            return Err(conflict(
                "wrong_state",
                "a means reported lost is its issuer's to unblock",
            ));
        }
        if wanted.status == Some(Status::Active) && self.holder_is_erased(&kept.change) {
            return Err(conflict("wrong_state", "the means of somebody forgotten stays blocked"));
        }
        if let Some(by) = wanted.replaced_by {
            let found = self.ledger.known(by).await?;
            let own = found.is_some_and(|of| of.change.issuer_id == kept.change.issuer_id);
            if !own || by.to_string() == kept.change.token {
                return Err(invalid("/replaced_by", "is no other means of this issuer"));
            }
        }
        Ok(())
    }

    /// Whether the holder was forgotten since.
    pub(super) fn holder_is_erased(&self, change: &MeansChanged) -> bool {
        let person = change.person.as_deref().and_then(RecipientId::parse);
        person.is_some_and(|person| self.context.vault.is_erased(person))
    }
}

/// What the audit trail calls a change.
const fn deed(wanted: &Changed) -> &'static str {
    match wanted.status {
        Some(Status::Active) => "means.unblock",
        Some(Status::Blocked) => "means.block",
        Some(Status::Lost) => "means.lost",
        Some(Status::Replaced) => "means.replace",
        Some(Status::Withdrawn) => "means.withdraw",
        None => "means.renew",
    }
}

/// The next state of a means.
fn changed(before: &MeansChanged, wanted: &Changed) -> Result<MeansChanged, Problem> {
    let mut after = before.clone();
    // Whoever registered it is known by that record.
    after.request_hash.clear();
    if let Some(status) = wanted.status {
        after.blocked = status != Status::Active;
        after.reason = if after.blocked { status.code().into() } else { String::new() };
        // Withdrawing says nothing new of what is in its place.
        if status != Status::Withdrawn {
            after.replaced_by = wanted.replaced_by.map(|by| by.to_string());
        }
    }
    if let Some(from) = wanted.valid_from {
        after.valid_from = from.to_string();
    }
    if let Some(to) = wanted.valid_to {
        after.valid_to = to.map(|to| to.to_string());
    }
    // ISO dates are in the order of their texts.
    if after.valid_to.as_ref().is_some_and(|to| *to < after.valid_from) {
        return Err(invalid("/valid_to", "ends before it begins"));
    }
    if after.valid_to == before.valid_to
        && after.valid_from == before.valid_from
        && (after.blocked, &after.reason) == (before.blocked, &before.reason)
        && after.replaced_by == before.replaced_by
    {
        return Ok(before.clone());
    }
    Ok(after)
}
