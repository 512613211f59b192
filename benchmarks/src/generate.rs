//! Seeded data for the decision: a registry of which twenty instructions come into question, and
//! baskets of ten lines. The peers are measured on the same.

use std::collections::BTreeMap;

use domain::{
    amount::{Amount, BasisPoints, Quantity},
    basket::{Line, Lines},
    benefit::{Benefit, BenefitKind},
    grantor::{Contract, ExcessBearer, Grantor, GrantorKind},
    id::{
        BenefitId, ContractId, GrantorId, GroupId, HouseholdId, IdError, InstructionId, ItemId,
        MerchantId, PlaceId, RecipientId, TerminalId,
    },
    instruction::{
        Basis, Content, Effect, Instruction, OnLimit, OnRefund, PerWhat, Recipients, Scope,
        Selector, Stacking,
    },
    limit::{Limit, Measure, Per, Period},
    merchant::{CatalogueItem, Category, Merchant, Place, Territory},
    period::Validity,
    recipient::{Group, Membership, Recipient},
    registry::Registry,
    terminal::Terminal,
    text::Text,
};

/// How many lines a basket has.
pub const LINES: u32 = 10;

/// How many instructions come into question.
pub const INSTRUCTIONS: usize = 20;

/// The terminal that asks.
pub const TERMINAL: &str = "T-market-1";

/// What the shelves hold; every basket takes each once, so that every instruction finds its goods.
const CATEGORIES: [&str; LINES as usize] = [
    "grocery.fluid-milk-products",
    "grocery.eggs",
    "grocery.cheese",
    "grocery.soft-drinks",
    "grocery.coffee",
    "produce.apples",
    "produce.citrus",
    "pastry.rolls",
    "drug-gm.baby-foods",
    "drug-gm.vitamins",
];

const GROUPS: [&str; 4] = ["large-families", "seniors", "disability-any", "residents"];

const WITHOUT_FLOOR: Amount = Amount::ZERO;

/// A generator of pseudo-random numbers (splitmix64).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// So many baskets, half of their items in the merchant's catalogue.
pub fn baskets(count: usize, random: &mut Random) -> Result<Vec<Lines>, IdError> {
    let basket = |_| {
        let line = |(number, category): (u32, &&str)| {
            Ok(Line {
                number,
                item: ItemId::new(&item(number, random.below(2) == 0))?,
                category: Category::parse(category),
                quantity: match random.below(4) {
                    0 => Quantity::from_thousandths(150 + random.below(1_500).cast_signed()),
                    _ => Quantity::from_thousandths(1_000 * (1 + random.below(4).cast_signed())),
                },
                unit_price: Amount::from_cents(49 + random.below(900).cast_signed()),
                attributes: BTreeMap::new(),
            })
        };
        let lines: Result<Vec<Line>, IdError> = (1..).zip(&CATEGORIES).map(line).collect();
        Ok(Lines::new(lines?).unwrap_or_else(|error| unreachable!("{error}")))
    };
    (0..count).map(basket).collect()
}

/// One of so many recipients, in every group.
pub fn recipient(number: u64) -> Result<Recipient, IdError> {
    let groups = GROUPS.iter().map(|group| GroupId::new(group));
    Ok(Recipient {
        id: RecipientId::from_u128(u128::from(number) << 64 | 1),
        household: HouseholdId::from_u128(u128::from(number) << 64 | 2),
        groups: groups.collect::<Result<_, _>>()?,
    })
}

/// The registry: a ministry, a municipality and a merchant with its own programme.
pub fn registry() -> Result<Registry, IdError> {
    let market = MerchantId::new("market")?;
    let place = PlaceId::new("P-market-1")?;
    let days = Validity { from: chrono::NaiveDate::MIN, to: None };
    let grantor = |id, kind| -> Result<Grantor, IdError> {
        Ok(Grantor { id: GrantorId::new(id)?, name: named(id), kind, iban: None, reg_no: None })
    };
    let contract = |grantor: &str| -> Result<Contract, IdError> {
        Ok(Contract {
            id: ContractId::new(grantor)?,
            grantor: GrantorId::new(grantor)?,
            merchant: market.clone(),
            valid: days,
            vat: BasisPoints::WHOLE,
            offline_excess: ExcessBearer::Merchant,
        })
    };
    let group = |id: &&str| -> Result<Group, IdError> {
        let members = Membership::List(Vec::new());
        Ok(Group { id: GroupId::new(id)?, name: named(id), grantor: None, members })
    };
    let listed = |(number, category): (u32, &&str)| -> Result<CatalogueItem, IdError> {
        Ok(CatalogueItem {
            merchant: market.clone(),
            item: ItemId::new(&item(number, true))?,
            category: category_of(category),
            name: named(category),
        })
    };
    Ok(Registry {
        grantors: vec![
            grantor("ministry", GrantorKind::State)?,
            grantor("riga", GrantorKind::Municipality)?,
            grantor("market", GrantorKind::Merchant)?,
        ],
        merchants: vec![Merchant {
            id: market.clone(),
            name: named("market"),
            reg_no: None,
            iban: None,
            vat_no: None,
        }],
        places: vec![Place {
            id: place.clone(),
            merchant: market.clone(),
            territory: Territory::parse("LV0001000").unwrap_or_else(|| unreachable!("a code")),
            name: named("market 1"),
        }],
        terminals: vec![Terminal { id: TerminalId::new(TERMINAL)?, place, kind: "till".into() }],
        catalogue: (1..).zip(&CATEGORIES).map(listed).collect::<Result<_, _>>()?,
        contracts: vec![contract("ministry")?, contract("riga")?],
        groups: GROUPS.iter().map(group).collect::<Result<_, _>>()?,
        benefits: vec![
            benefit("family-card", "ministry")?,
            benefit("riga-card", "riga")?,
            benefit("market-club", "market")?,
        ],
        instructions: instructions(days)?,
        ..Registry::default()
    })
}

/// The twenty: each kind of effect, stacking and limit, as real programmes mix them.
fn instructions(days: Validity) -> Result<Vec<Instruction>, IdError> {
    let mut all = ministry()?;
    all.extend(municipality()?);
    all.extend(merchant()?);
    for (priority, instruction) in (1..).zip(&mut all) {
        instruction.id = InstructionId::new(&format!("{}-{priority}", instruction.benefit))?;
        instruction.priority = priority;
        instruction.valid = days;
    }
    Ok(all)
}

fn ministry() -> Result<Vec<Instruction>, IdError> {
    let given =
        |group, categories: &[&str], effect| given("family-card", group, categories, effect);
    Ok(vec![
        Instruction {
            grantor_share: bp(6_000),
            limits: vec![monthly(Per::Household, Measure::AmountCents, 900_000)],
            ..given("large-families", &["grocery.eggs", "grocery.cheese", "produce"], percent(500))?
        },
        Instruction {
            limits: vec![
                daily(Per::Recipient, Measure::Units, 2),
                monthly(Per::Recipient, Measure::Uses, 90_000),
            ],
            ..given("residents", &["grocery.fluid-milk-products"], price(60))?
        },
        Instruction {
            limits: vec![monthly(Per::Recipient, Measure::Uses, 90_000)],
            ..given("disability-any", &[], off(40, PerWhat::Basket))?
        },
        Instruction {
            limits: vec![
                monthly(Per::Recipient, Measure::AmountCents, 80_000),
                daily(Per::Recipient, Measure::Uses, 900),
            ],
            ..given("disability-any", &["drug-gm"], percent(2_575))?
        },
    ])
}

fn municipality() -> Result<Vec<Instruction>, IdError> {
    let given = |group, categories: &[&str], effect| given("riga-card", group, categories, effect);
    Ok(vec![
        Instruction {
            grantor_share: bp(7_500),
            limits: vec![
                daily(Per::Recipient, Measure::Uses, 900),
                monthly(Per::Recipient, Measure::AmountCents, 90_000),
            ],
            ..given("seniors", &["grocery", "produce"], percent(300))?
        },
        Instruction {
            limits: vec![
                monthly(Per::Instruction, Measure::AmountCents, 90_000_000),
                monthly(Per::Household, Measure::Units, 60_000),
            ],
            ..given("residents", &["drug-gm.baby-foods"], free(1, 1))?
        },
        Instruction {
            limits: vec![monthly(Per::Instruction, Measure::AmountCents, 90_000_000)],
            ..given("residents", &["grocery.cheese", "grocery.eggs"], off(5, PerWhat::Unit))?
        },
        Instruction {
            stacking: Stacking::Exclusive,
            grantor_share: bp(3_333),
            limits: vec![monthly(Per::Recipient, Measure::Units, 20_000)],
            ..given("residents", &["pastry"], off(9, PerWhat::Line))?
        },
        Instruction {
            stacking: Stacking::ExclusiveAll,
            grantor_share: bp(5_000),
            ..given("seniors", &["drug-gm.vitamins"], percent(1_000))?
        },
        Instruction {
            stacking: Stacking::Exclusive,
            grantor_share: bp(5_000),
            ..given("residents", &["grocery.coffee"], percent(1_000))?
        },
    ])
}

fn merchant() -> Result<Vec<Instruction>, IdError> {
    let given = |categories: &[&str], effect| given("market-club", "", categories, effect);
    let best = || Stacking::BestOf("weekend".into());
    let spend = Effect::SpendPoints {
        max: bp(2_000),
        point_value: Amount::from_cents(1),
        floor_unit_price: WITHOUT_FLOOR,
    };
    let basket =
        Limit { per: Per::Recipient, period: Period::Basket, measure: Measure::Units, max: 2 };
    let two_fruits = ["produce.apples", "produce.citrus"];
    Ok(vec![
        Instruction { stacking: best(), ..given(&["produce"], percent(700))? },
        Instruction { stacking: best(), ..given(&two_fruits, off(10, PerWhat::Unit))? },
        Instruction {
            limits: vec![daily(Per::Recipient, Measure::Units, 300)],
            ..given(&["grocery.coffee"], off(50, PerWhat::Line))?
        },
        Instruction { limits: vec![basket], ..given(&["grocery.soft-drinks"], free(3, 1))? },
        given(&["pastry.rolls"], percent(2_000))?,
        Instruction {
            stacking: Stacking::Exclusive,
            limits: vec![monthly(Per::Household, Measure::AmountCents, 50)],
            ..given(&["grocery.cheese"], percent(1_250))?
        },
        given(&["grocery.eggs"], price(99))?,
        Instruction {
            limits: vec![monthly(Per::Recipient, Measure::Uses, 20_000)],
            ..given(&[], off(33, PerWhat::Basket))?
        },
        given(&[], spend)?,
        given(&[], Effect::EarnPoints { per: Amount::from_cents(100), points: 3 })?,
    ])
}

/// An instruction for a group, or for everybody where none is named, on lines of some categories;
/// paid by the grantor, without limits and beside all others.
fn given(
    benefit: &str,
    group: &str,
    categories: &[&str],
    effect: Effect,
) -> Result<Instruction, IdError> {
    let selector =
        |text: &&str| Selector { category: Some(category_of(text)), ..Selector::default() };
    let everyone = group.is_empty();
    let any = if everyone { vec![] } else { vec![GroupId::new(group)?] };
    Ok(Instruction {
        id: InstructionId::new(benefit)?,
        benefit: BenefitId::new(benefit)?,
        label: named(benefit),
        version: 1,
        valid: Validity { from: chrono::NaiveDate::MIN, to: None },
        priority: 0,
        recipients: Recipients { everyone, any, ..Recipients::default() },
        scope: Scope::default(),
        schedule: None,
        content: Content { any: categories.iter().map(selector).collect(), ..Content::default() },
        effect,
        stacking: Stacking::Stack,
        on_limit: OnLimit::Clip,
        on_refund: OnRefund::Proportional,
        grantor_share: BasisPoints::WHOLE,
        limits: Vec::new(),
        min_benefit: Amount::ZERO,
        show_remaining: false,
    })
}

const fn monthly(per: Per, measure: Measure, max: i64) -> Limit {
    Limit { per, period: Period::Month, measure, max }
}

const fn daily(per: Per, measure: Measure, max: i64) -> Limit {
    Limit { per, period: Period::Day, measure, max }
}

fn benefit(id: &str, grantor: &str) -> Result<Benefit, IdError> {
    Ok(Benefit {
        id: BenefitId::new(id)?,
        grantor: GrantorId::new(grantor)?,
        name: named(id),
        legal_basis: None,
        kind: BenefitKind::Discount,
    })
}

fn percent(basis_points: u16) -> Effect {
    let (share, basis) = (bp(basis_points), Basis::Payable);
    Effect::PercentOff { share, basis, floor_unit_price: WITHOUT_FLOOR }
}

fn off(cents: i64, per: PerWhat) -> Effect {
    let amount = Amount::from_cents(cents);
    Effect::AmountOff { amount, per, floor_unit_price: WITHOUT_FLOOR }
}

fn price(cents: i64) -> Effect {
    let unit_price = Amount::from_cents(cents);
    Effect::FixedUnitPrice { unit_price, floor_unit_price: WITHOUT_FLOOR }
}

fn free(buy: u32, free: u32) -> Effect {
    Effect::FreeUnits { buy, free, floor_unit_price: WITHOUT_FLOOR }
}

fn bp(basis_points: u16) -> BasisPoints {
    BasisPoints::new(basis_points).unwrap_or(BasisPoints::WHOLE)
}

fn category_of(text: &str) -> Category {
    Category::parse(text).unwrap_or_else(|| unreachable!("{text} is a category"))
}

fn item(number: u32, listed: bool) -> String {
    format!("{}{number:07}", if listed { 'p' } else { 'x' })
}

fn named(name: &str) -> Text {
    Text { lv: name.into(), en: name.into() }
}
