//! What has come back of a sale, read back from the records of its refunds.

use std::collections::BTreeMap;

use domain::{
    id::InstructionId,
    refund::{RefundedBenefit, ReturnedLine},
};

use super::refund::Refunded;

impl Refunded {
    /// Notes a refund that was recorded.
    pub fn note(
        &mut self,
        returned: &[ReturnedLine],
        payable: &[(u32, i64)],
        benefits: &[RefundedBenefit],
        points: &[(InstructionId, i64)],
    ) {
        for line in returned {
            *self.returned.entry(line.number).or_default() += line.quantity.thousandths();
        }
        for (line, cents) in payable {
            *self.payable.entry(*line).or_default() += cents;
        }
        for benefit in benefits {
            let key = (benefit.line, benefit.instruction.clone());
            let back = self.benefits.entry(key).or_default();
            back.units += benefit.units;
            back.cents += benefit.amount.cents();
            back.grantor_cents += benefit.grantor_amount.cents();
        }
        for (instruction, change) in points {
            *self.points.entry(instruction.clone()).or_default() += change;
        }
    }

    /// How much of each line has come back, in thousandths.
    #[must_use]
    pub const fn returned(&self) -> &BTreeMap<u32, i64> {
        &self.returned
    }

    /// The points that a refund moved, by instruction, given what had come back before it.
    #[must_use]
    pub fn points_since(&self, before: &Self) -> Vec<(InstructionId, i64)> {
        let moved = self.points.iter().map(|(instruction, now)| {
            let then = before.points.get(instruction).copied().unwrap_or(0);
            (instruction.clone(), now - then)
        });
        moved.filter(|(_, change)| *change != 0).collect()
    }
}
