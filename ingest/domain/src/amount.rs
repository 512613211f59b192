//! Money in integer euro cents, rates in basis points, quantities in thousandths.
//!
//! Every product and quotient is rounded half away from zero where it arises; a sum that is split is
//! split by largest remainder, so that the parts always make the whole (`design.md`, rule engine, 6).

use std::fmt;

/// Euro cents. Arithmetic is checked: what does not fit is `None`, never a wrong sum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount that a basket may hold, in cents (ten billion euro). A thousand times this
    /// still fits in 64 bits, which is what makes the rule engine's sums total.
    pub const LARGEST: Self = Self(1_000_000_000_000);

    /// An amount of so many euro cents.
    #[must_use]
    pub const fn from_cents(cents: i64) -> Self {
        Self(cents)
    }

    /// The amount in euro cents.
    #[must_use]
    pub const fn cents(self) -> i64 {
        self.0
    }

    /// The sum, unless it does not fit in 64 bits.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(cents) => Some(Self(cents)),
            None => None,
        }
    }

    /// The difference, unless it does not fit in 64 bits.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(cents) => Some(Self(cents)),
            None => None,
        }
    }

    /// The sum of all, unless it does not fit in 64 bits.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

impl fmt::Display for Amount {
    /// Euro with two decimals: `-12.05`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let (euro, rest) = (cents.checked_div(100), cents.checked_rem(100));
        write!(f, "{sign}{}.{:02}", euro.unwrap_or(0), rest.unwrap_or(0))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A share in hundredths of a per cent, from 0 to 10 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// All of it.
    pub const WHOLE: Self = Self(10_000);

    /// A share of so many basis points; `None` above the whole.
    #[must_use]
    pub const fn new(basis_points: u16) -> Option<Self> {
        if basis_points <= 10_000 { Some(Self(basis_points)) } else { None }
    }

    /// The share in basis points.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// This share of `cents`, rounded half away from zero.
    #[must_use]
    #[inline]
    pub fn of(self, cents: i64) -> i64 {
        mul_div_half_away(cents, i64::from(self.0), 10_000)
    }
}

/// A quantity in thousandths of a unit: weighed goods have decimals, the rest are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(i64);

impl Quantity {
    /// The largest quantity of one line: a million units.
    pub const LARGEST: Self = Self(1_000_000_000);

    /// A quantity of so many thousandths.
    #[must_use]
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// The quantity in thousandths.
    #[must_use]
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// The units that limits and `min_quantity` count: the quantity where it is whole, else 1.
    #[must_use]
    #[inline]
    pub const fn units(self) -> i64 {
        match (self.0.checked_rem(1_000), self.0.checked_div(1_000)) {
            (Some(0), Some(units)) => units,
            _ => 1,
        }
    }

    /// The price of this quantity, rounded half away from zero to the cent.
    #[must_use]
    #[inline]
    pub fn price(self, unit_price: Amount) -> i64 {
        mul_div_half_away(unit_price.0, self.0, 1_000)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0.checked_div(1_000), self.0.checked_rem(1_000));
        match rest.unwrap_or(0).unsigned_abs() {
            0 => write!(f, "{}", whole.unwrap_or(0)),
            rest => {
                let digits = format!("{rest:03}");
                write!(f, "{}.{}", whole.unwrap_or(0), digits.trim_end_matches('0'))
            }
        }
    }
}

/// `value × numerator ÷ denominator`, rounded half away from zero; saturates at the ends of 64 bits
/// and is 0 for a denominator of 0.
#[must_use]
#[inline]
pub fn mul_div_half_away(value: i64, numerator: i64, denominator: i64) -> i64 {
    narrow_mul_div(value, numerator, denominator)
        .unwrap_or_else(|| wide_mul_div(value, numerator, denominator))
}

/// The same in 64 bits, which real baskets fit and which divides several times as fast.
#[inline]
fn narrow_mul_div(value: i64, numerator: i64, denominator: i64) -> Option<i64> {
    if denominator <= 0 {
        return None;
    }
    let product = value.checked_mul(numerator)?;
    let half = denominator.checked_div(2)?;
    let shifted =
        if product < 0 { product.checked_sub(half)? } else { product.checked_add(half)? };
    shifted.checked_div(denominator)
}

fn wide_mul_div(value: i64, numerator: i64, denominator: i64) -> i64 {
    let product = i128::from(value).saturating_mul(i128::from(numerator));
    let divisor = i128::from(denominator).saturating_abs();
    let product = if denominator < 0 { product.saturating_neg() } else { product };
    let half = divisor.checked_div(2).unwrap_or(0);
    let shifted =
        if product < 0 { product.saturating_sub(half) } else { product.saturating_add(half) };
    let quotient = shifted.checked_div(divisor).unwrap_or(0);
    i64::try_from(quotient).unwrap_or(if quotient < 0 { i64::MIN } else { i64::MAX })
}

/// `total` split in proportion to `weights` by largest remainder; ties go to the lower index.
///
/// The parts sum to `total` whenever some weight is positive (all parts are 0 otherwise). Weights
/// are not negative; a negative one counts as 0.
#[must_use]
pub fn allocate(total: i64, weights: &[i64]) -> Vec<i64> {
    let mut parts = weights.to_vec();
    allocate_in_place(total, &mut parts, &mut Remainders::default());
    parts
}

/// What is left of each division of a split: room that splits can share.
#[derive(Clone, Debug, Default)]
pub struct Remainders {
    of_parts: Vec<i64>,
    ascending: Vec<i64>,
}

/// As [`allocate`], with the weights replaced by the parts.
pub fn allocate_in_place(total: i64, parts: &mut [i64], remainders: &mut Remainders) {
    let mut weights = parts.iter().map(|weight| (*weight).max(0));
    let sum = weights.try_fold(0_i64, i64::checked_add);
    let fits = |sum: i64| total.checked_abs().is_some_and(|of| of.checked_mul(sum).is_some());
    match sum {
        Some(0) => parts.fill(0),
        // Each gets its weight.
        Some(sum) if sum == total => parts.iter_mut().for_each(|part| *part = (*part).max(0)),
        Some(sum) if fits(sum) => narrow_parts(total, sum, parts, remainders),
        _ => wide_parts(total, parts),
    }
}

/// In 64 bits, which |`total`| × `sum` fits.
fn narrow_parts(total: i64, sum: i64, parts: &mut [i64], remainders: &mut Remainders) {
    let Remainders { of_parts, ascending } = remainders;
    of_parts.clear();
    let mut left = total.saturating_abs();
    for part in parts.iter_mut() {
        let product = total.saturating_abs().saturating_mul((*part).max(0));
        *part = product.checked_div(sum).unwrap_or(0);
        left = left.saturating_sub(*part);
        of_parts.push(product.saturating_sub(part.saturating_mul(sum)));
    }
    if left > 0 {
        ascending.clone_from(of_parts);
        ascending.sort_unstable();
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let largest = ascending.get(ascending.len().saturating_sub(left)..).unwrap_or_default();
        let least = largest.first().copied().unwrap_or(i64::MAX);
        let mut ties = largest.iter().filter(|remainder| **remainder == least).count();
        for (part, remainder) in parts.iter_mut().zip(of_parts) {
            let tie = *remainder == least && ties > 0;
            ties = ties.saturating_sub(usize::from(tie));
            *part = part.saturating_add(i64::from(tie || *remainder > least));
        }
    }
    if total < 0 {
        parts.iter_mut().for_each(|part| *part = part.saturating_neg());
    }
}

fn wide_parts(total: i64, parts: &mut [i64]) {
    let sum: i128 = parts.iter().map(|weight| i128::from((*weight).max(0))).sum();
    let magnitude = i128::from(total).saturating_abs();
    let mut remainders = Vec::with_capacity(parts.len());
    let mut given: i128 = 0;
    for (index, part) in parts.iter_mut().enumerate() {
        let product = magnitude.saturating_mul(i128::from((*part).max(0)));
        let quotient = product.checked_div(sum).unwrap_or(0);
        given = given.saturating_add(quotient);
        remainders.push((product.checked_rem(sum).unwrap_or(0), index));
        *part = i64::try_from(quotient).unwrap_or(i64::MAX);
    }
    let left = usize::try_from(magnitude.saturating_sub(given)).unwrap_or(0);
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, index) in remainders.into_iter().take(left) {
        if let Some(part) = parts.get_mut(index) {
            *part = part.saturating_add(1);
        }
    }
    if total < 0 {
        parts.iter_mut().for_each(|part| *part = part.saturating_neg());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounds_half_away_from_zero() {
        for (value, numerator, denominator, expected) in [
            (5, 1, 10, 1),
            (-5, 1, 10, -1),
            (4, 1, 10, 0),
            (15, 1, 10, 2),
            (25, 1, 10, 3),
            (5, 1, -10, -1),
            (7, 3, 0, 0),
            (i64::MAX, 2, 1, i64::MAX),
        ] {
            assert_eq!(mul_div_half_away(value, numerator, denominator), expected);
        }
    }

    #[test]
    fn weighed_goods_count_as_one_unit_and_round_to_the_cent() {
        let quantity = Quantity::from_thousandths(755);
        assert_eq!(quantity.units(), 1);
        assert_eq!(quantity.price(Amount::from_cents(199)), 150);
        assert_eq!(Quantity::from_thousandths(3_000).units(), 3);
        assert_eq!(quantity.to_string(), "0.755");
        assert_eq!(Quantity::from_thousandths(2_500).to_string(), "2.5");
    }

    #[test]
    fn allocates_ties_to_the_lower_line() {
        assert_eq!(allocate(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(allocate(-100, &[1, 1, 1]), [-34, -33, -33]);
        assert_eq!(allocate(5, &[0, 0]), [0, 0]);
    }

    #[test]
    fn shows_cents() {
        assert_eq!(Amount::from_cents(-1_205).to_string(), "-12.05");
        assert_eq!(Amount::from_cents(7).to_string(), "0.07");
    }

    proptest! {
        #[test]
        fn sixty_four_bits_round_as_wide_ones(
            value in prop_oneof![any::<i64>(), -1_000_000_i64..1_000_000],
            numerator in prop_oneof![any::<i64>(), -20_000_i64..20_000],
            denominator in prop_oneof![any::<i64>(), 1_i64..20_000],
        ) {
            let rounded = mul_div_half_away(value, numerator, denominator);
            prop_assert_eq!(rounded, wide_mul_div(value, numerator, denominator));
        }

        #[test]
        fn sixty_four_bits_split_as_wide_ones(
            total in -20_i64..100_000, weights in prop::collection::vec(0_i64..9, 1..9),
        ) {
            let sum: i64 = weights.iter().sum();
            prop_assume!(sum > 0);
            let (mut narrow, mut wide) = (weights.clone(), weights);
            narrow_parts(total, sum, &mut narrow, &mut Remainders::default());
            wide_parts(total, &mut wide);
            prop_assert_eq!(narrow, wide);
        }

        #[test]
        fn parts_sum_to_the_whole(
            total in -1_000_000_000_i64..1_000_000_000,
            weights in prop::collection::vec(0_i64..1_000_000, 1..40),
        ) {
            let parts = allocate(total, &weights);
            let expected = if weights.iter().all(|weight| *weight == 0) { 0 } else { total };
            prop_assert_eq!(parts.iter().sum::<i64>(), expected);
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert!(*weight > 0 || *part == 0);
            }
        }
    }
}
