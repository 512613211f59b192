//! Answers, made from an authorisation's records alone, so that asking again gives the same bytes.

use authoriser::{history::History, reply::Reply, rules::explain};
use chrono::SecondsFormat;
use domain::{amount::Amount, decision::SkipReason, text};
use ingest::wire::{self, Shared, v1};

use super::wire::{
    Authorisation, Benefit, Explanation, Line, Refunded, RefundedLine, Remaining, Reversed, Text,
};

/// How much of the explanation is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explain<'a> {
    /// What was applied: a terminal learns nothing of groups.
    Applied,
    /// Everything about one grantor's instructions.
    OfGrantor(&'a str),
    /// Everything: the recipient's own.
    All,
}

/// An authorisation as it stands after its last record.
#[must_use]
pub fn authorisation(history: &History, explain: Explain<'_>) -> Authorisation {
    let decided = &*history.decided;
    let applied = || decided.instructions.iter().filter(|outcome| outcome.reason.is_none());
    let told = decided.instructions.iter().filter(|outcome| match explain {
        Explain::Applied => outcome.reason.is_none(),
        Explain::OfGrantor(grantor) => outcome.grantor_id == grantor,
        Explain::All => true,
    });
    let refunds = history.changes.iter().filter(|change| change.transition == "refund");
    let mut owing = 0;
    Authorisation {
        authorisation_id: decided.authorisation_id.clone(),
        decision: decided.decision.clone(),
        decline_reason: decided.decline_reason.clone(),
        means_status: decided.means_status.clone(),
        status: history.status().code().into(),
        expires_at: decided.expires_at.map(instant),
        total_cents: decided.total_cents,
        benefit_cents: decided.benefit_cents,
        payable_cents: decided.payable_cents,
        points_earned: decided.points_earned,
        points_spent: decided.points_spent,
        lines: decided.lines.iter().map(|of| line(of, decided)).collect(),
        remaining: applied().filter(|of| of.show_remaining).flat_map(remaining).collect(),
        explanation: told.map(explanation).collect(),
        refunds: refunds.map(|change| refunded(change, &mut owing)).collect(),
        registry_version: decided.registry_version,
    }
}

/// What a grantor may see of an authorisation, as in the tables: the lines on which its own
/// benefits stand, with these alone and what they leave to pay. Of what else was bought, and of
/// what others gave, it learns nothing.
#[must_use]
pub fn part_of(history: &History, grantor: &str) -> History {
    let decided = &*history.decided;
    let own = decided.instructions.iter().filter(|outcome| outcome.grantor_id == grantor);
    let instructions: Vec<_> = own.cloned().collect();
    let is_own = |benefit: &str| instructions.iter().any(|outcome| outcome.benefit_id == benefit);
    let change = |change: &v1::AuthorisationChanged| v1::AuthorisationChanged {
        lines: own_lines(&change.lines, grantor),
        points: change.points.iter().filter(|of| is_own(&of.benefit_id)).cloned().collect(),
        ..change.clone()
    };
    let changes = history.changes.iter().map(|of| Shared::from(change(of))).collect();
    let lines = own_lines(&decided.lines, grantor);
    let total_cents = lines.iter().map(|line| line.total_cents).sum::<i64>();
    let payable_cents = lines.iter().map(|line| line.payable_cents).sum::<i64>();
    let decided = v1::AuthorisationDecided {
        total_cents,
        benefit_cents: total_cents - payable_cents,
        payable_cents,
        points_earned: instructions.iter().map(|outcome| outcome.points.max(0)).sum(),
        points_spent: instructions.iter().map(|outcome| (-outcome.points).max(0)).sum(),
        lines,
        instructions,
        ..decided.clone()
    };
    History { decided: decided.into(), changes }
}

fn own_lines(lines: &[v1::AuthorisationLine], grantor: &str) -> Vec<v1::AuthorisationLine> {
    let own = |line: &v1::AuthorisationLine| {
        let benefits = line.benefits.iter().filter(|of| of.grantor_id == grantor);
        let benefits: Vec<_> = benefits.cloned().collect();
        let given = benefits.iter().map(|of| of.amount_cents).sum::<i64>();
        let payable_cents = line.total_cents - given;
        let is_theirs = !benefits.is_empty();
        is_theirs.then(|| v1::AuthorisationLine { payable_cents, benefits, ..line.clone() })
    };
    lines.iter().filter_map(own).collect()
}

/// Microseconds since 1970 as RFC 3339.
fn instant(micros: i64) -> String {
    wire::instant(micros).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn line(line: &v1::AuthorisationLine, decided: &v1::AuthorisationDecided) -> Line {
    Line {
        line: line.line,
        total_cents: line.total_cents,
        payable_cents: line.payable_cents,
        benefits: line.benefits.iter().map(|of| benefit(of, decided)).collect(),
    }
}

fn benefit(given: &v1::LineBenefit, decided: &v1::AuthorisationDecided) -> Benefit {
    let of = decided.instructions.iter().find(|outcome| {
        outcome.instruction_id == given.instruction_id
            && outcome.instruction_version == given.instruction_version
    });
    let excess = given.excess_cents > 0;
    Benefit {
        instruction: given.instruction_id.clone(),
        label: of.map(|of| Text { lv: of.label_lv.clone(), en: of.label_en.clone() }),
        version: given.instruction_version,
        units: given.units,
        amount_cents: given.amount_cents,
        wanted_cents: given.wanted_cents,
        grantor_cents: given.grantor_cents,
        merchant_cents: given.merchant_cents,
        excess_cents: excess.then_some(given.excess_cents),
        excess_borne_by: excess.then(|| given.excess_borne_by.clone()),
    }
}

fn remaining(outcome: &v1::InstructionOutcome) -> impl Iterator<Item = Remaining> {
    outcome.limits.iter().map(|room| Remaining {
        instruction: outcome.instruction_id.clone(),
        per: room.per.clone(),
        period: room.period.clone(),
        measure: room.measure.clone(),
        left: room.after,
    })
}

fn explanation(outcome: &v1::InstructionOutcome) -> Explanation {
    let code = outcome.reason.as_deref();
    let skipped = code.and_then(|code| SkipReason::ALL.into_iter().find(|of| of.code() == code));
    let text = match skipped {
        Some(_) => explain::text(skipped),
        None => {
            let label = text::Text { lv: outcome.label_lv.clone(), en: outcome.label_en.clone() };
            let wanted = outcome.wanted_cents.map(Amount::from_cents);
            let amount = Amount::from_cents(outcome.amount_cents);
            explain::applied(&label, amount, wanted, outcome.points)
        }
    };
    Explanation {
        instruction: outcome.instruction_id.clone(),
        version: outcome.instruction_version,
        outcome: if skipped.is_some() { "skipped" } else { "applied" }.into(),
        reason: outcome.reason.clone(),
        text: Some(Text { lv: text.lv, en: text.en }),
        wanted_cents: outcome.wanted_cents,
    }
}

/// What the recipient gets back is what was paid: whatever a terminal gave offline beyond our
/// decision goes back to whoever bears it. Payable and excess round apart, and nobody pays for bringing
/// something back: a cent that is too much is kept from what comes back next.
fn refunded(change: &v1::AuthorisationChanged, owing: &mut i64) -> Refunded {
    let given = |line: &v1::AuthorisationLine| {
        line.benefits.iter().map(|benefit| -benefit.amount_cents).sum::<i64>()
    };
    let paid = |line: &v1::AuthorisationLine| {
        let excess = line.benefits.iter().map(|benefit| -benefit.excess_cents).sum::<i64>();
        -line.payable_cents - excess
    };
    let line = |line: &v1::AuthorisationLine| RefundedLine {
        line: line.line,
        quantity_thousandths: -line.quantity_thousandths,
        refunded_cents: paid(line),
        benefit_cents: given(line),
    };
    let back = change.lines.iter().map(paid).sum::<i64>() + *owing;
    *owing = back.min(0);
    Refunded {
        refunded_cents: back.max(0),
        benefit_cents: change.lines.iter().map(given).sum(),
        points: change.points.iter().map(|points| points.change).sum(),
        lines: change.lines.iter().map(line).collect(),
    }
}

/// What a reversal did.
#[must_use]
pub fn reversed(reply: &Reply, terminal: &str, undone: &str) -> Reversed {
    let (outcome, authorisation) = match reply {
        Reply::Blocked(_) => ("blocked", None),
        Reply::Authorisation(history) => {
            let outcome = match history.status().code() {
                "voided" => "voided",
                "expired" => "expired",
                _ => "refunded",
            };
            (outcome, Some(self::authorisation(history, Explain::Applied)))
        }
    };
    Reversed {
        terminal_id: terminal.into(),
        idempotency_key: undone.into(),
        outcome: outcome.into(),
        authorisation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_pays_for_bringing_something_back() {
        let refund = |(payable_cents, excess_cents): (i64, i64)| {
            let benefits = vec![v1::LineBenefit { excess_cents, ..v1::LineBenefit::default() }];
            let line = v1::AuthorisationLine {
                payable_cents,
                benefits,
                ..v1::AuthorisationLine::default()
            };
            Shared::from(v1::AuthorisationChanged {
                transition: "refund".into(),
                lines: vec![line],
                ..v1::AuthorisationChanged::default()
            })
        };
        // Of five cents payable the terminal gave four, and the goods come back by thirds.
        let changes = [(-2, -1), (-1, -2), (-2, -1)].map(refund).to_vec();
        let history = History { decided: Shared::default(), changes };
        let told = authorisation(&history, Explain::Applied).refunds;
        let cents: Vec<_> = told.iter().map(|of| of.refunded_cents).collect();
        assert_eq!(cents, [1, 0, 0], "one cent was paid");
    }
}
