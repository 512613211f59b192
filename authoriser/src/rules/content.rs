//! What must be in the basket (1), as bits: selectors of all instructions ask the same few things of
//! a line, so each is asked once per basket, and an instruction only joins the answers.

use domain::{
    basket::Line,
    id::ItemId,
    instruction::{self, Instruction},
    merchant::Category,
    registry::Registry,
};

use super::{index::Index, line_set::LineSet, state::LineState};

/// Something that a selector asks of a line: an item, a category, an attribute with its value.
type Mark = u32;

/// The mark that every line has; a selector without keys asks for no more.
const EVERY_LINE: Mark = 0;

/// The marks of all selectors of a rule set.
#[derive(Debug)]
pub(super) struct Marks {
    count: u32,
    items: Index<ItemId, Mark>,
    /// Of each category that a selector or a catalogue names, its chain.
    categories: Index<Box<str>, Chain>,
    /// Marks of one category and of those above it.
    chains: Vec<Box<[Mark]>>,
    attributes: Index<Box<str>, Index<Box<str>, Mark>>,
}

/// The place of a category's marks.
#[derive(Clone, Copy, Debug)]
struct Chain(u32);

/// An item of a merchant's catalogue.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) category: Category,
    chain: Option<Chain>,
    item: Option<Mark>,
}

/// What one instruction asks of the basket.
#[derive(Debug)]
pub(super) struct Content {
    any: Box<[Selector]>,
    none: Box<[Selector]>,
    requires: Box<[Selector]>,
    min_quantity: i64,
    min_basket: i64,
}

/// A selector: all of its marks hold together.
#[derive(Debug)]
struct Selector {
    first: Mark,
    others: Box<[Mark]>,
}

/// The lines of one basket that have each mark.
#[derive(Debug, Default)]
pub(super) struct Marked<const WORDS: usize> {
    lines: Vec<LineSet<WORDS>>,
}

impl Marks {
    /// The marks that the registry's instructions and catalogues need.
    pub(super) fn new(registry: &Registry) -> Self {
        let mut marks = Self {
            count: EVERY_LINE + 1,
            items: Index::default(),
            categories: Index::default(),
            chains: Vec::new(),
            attributes: Index::default(),
        };
        let mut categories: Index<&str, Mark> = Index::default();
        for selector in registry.instructions.iter().flat_map(selectors) {
            if let Some(item) = &selector.item {
                marks.items.entry(item.clone()).or_insert_with(|| next(&mut marks.count));
            }
            if let Some(category) = &selector.category {
                let mark = || next(&mut marks.count);
                categories.entry(category.as_str()).or_insert_with(mark);
            }
            for (name, value) in &selector.attributes {
                let values = marks.attributes.entry(name.as_str().into()).or_default();
                values.entry(value.as_str().into()).or_insert_with(|| next(&mut marks.count));
            }
        }
        let catalogue = registry.catalogue.iter().map(|item| item.category.as_str());
        for category in categories.keys().copied().chain(catalogue) {
            if !marks.categories.contains_key(category) {
                let place = Chain(u32::try_from(marks.chains.len()).unwrap_or(u32::MAX));
                let above = upwards(category).filter_map(|above| categories.get(above).copied());
                marks.chains.push(above.collect());
                marks.categories.insert(category.into(), place);
            }
        }
        marks
    }

    /// An item of a catalogue with the marks of its lines.
    pub(super) fn list(&self, item: &ItemId, category: &Category) -> Listed {
        Listed {
            category: category.clone(),
            chain: self.chain(category),
            item: self.items.get(item).copied(),
        }
    }

    /// What an instruction asks, by these marks.
    pub(super) fn content(&self, content: &instruction::Content) -> Content {
        let selectors = |of: &[instruction::Selector]| -> Box<[Selector]> {
            of.iter().map(|of| self.selector(of)).collect()
        };
        Content {
            any: selectors(&content.any),
            none: selectors(&content.none),
            requires: selectors(&content.requires),
            min_quantity: content.min_quantity,
            min_basket: content.min_basket.cents(),
        }
    }

    fn selector(&self, selector: &instruction::Selector) -> Selector {
        let item = selector.item.as_ref().and_then(|item| self.items.get(item)).copied();
        let category = selector.category.as_ref().and_then(|category| {
            // The chain of a category that a selector names begins with its own mark.
            self.chains.get(self.chain(category)?.0 as usize)?.first().copied()
        });
        let attributes = selector.attributes.iter();
        let attributes = attributes.filter_map(|(name, value)| self.attribute(name, value));
        let mut marks = item.into_iter().chain(category).chain(attributes);
        Selector { first: marks.next().unwrap_or(EVERY_LINE), others: marks.collect() }
    }

    fn attribute(&self, name: &str, value: &str) -> Option<Mark> {
        self.attributes.get(name)?.get(value).copied()
    }

    /// The chain of a category, or of the nearest one above it that is known: what lies between is
    /// named by no selector.
    fn chain(&self, category: &Category) -> Option<Chain> {
        upwards(category.as_str()).find_map(|above| self.categories.get(above)).copied()
    }

    /// Notes the marks of a basket's lines, with what the merchant's catalogue lists.
    pub(super) fn note<const WORDS: usize>(
        &self,
        lines: &[Line],
        catalogue: Option<&Index<ItemId, Listed>>,
        marked: &mut Marked<WORDS>,
    ) {
        marked.lines.clear();
        marked.lines.resize(self.count as usize, LineSet::EMPTY);
        for (at, line) in lines.iter().enumerate() {
            marked.note(EVERY_LINE, at);
            let (item, chain) = match catalogue.and_then(|items| items.get(&line.item)) {
                Some(listed) => (listed.item, listed.chain),
                None => (
                    self.items.get(&line.item).copied(),
                    line.category.as_ref().and_then(|category| self.chain(category)),
                ),
            };
            if let Some(item) = item {
                marked.note(item, at);
            }
            if let Some(chain) = chain.and_then(|chain| self.chains.get(chain.0 as usize)) {
                chain.iter().for_each(|mark| marked.note(*mark, at));
            }
            if self.attributes.is_empty() {
                continue;
            }
            for (name, value) in &line.attributes {
                if let Some(mark) = self.attribute(name, value) {
                    marked.note(mark, at);
                }
            }
        }
    }
}

impl<const WORDS: usize> Marked<WORDS> {
    fn note(&mut self, mark: Mark, at: usize) {
        self.lines[mark as usize].insert(at);
    }

    /// The matching lines; `None` where what the content asks for is not there.
    pub(super) fn matching(
        &self,
        content: &Content,
        states: &[LineState],
    ) -> Option<LineSet<WORDS>> {
        let mut counted = self.lines[EVERY_LINE as usize];
        if !content.none.is_empty() {
            counted = counted.without(self.some(&content.none));
        }
        let matching = match &*content.any {
            [] => counted,
            any => counted.and(self.some(any)),
        };
        // Every line has a unit at least, and no total is below zero.
        let units = || matching.places().map(|at| states[at].units).sum::<i64>();
        let total = || counted.places().map(|at| states[at].total).sum::<i64>();
        let there = !matching.is_empty()
            && (content.min_quantity <= 1 || units() >= content.min_quantity)
            && (content.min_basket <= 0 || total() >= content.min_basket)
            && content.requires.iter().all(|selector| !self.all(selector).is_empty());
        there.then_some(matching)
    }

    /// The lines that some selector means.
    fn some(&self, selectors: &[Selector]) -> LineSet<WORDS> {
        let lines = selectors.iter().map(|selector| self.all(selector));
        lines.fold(LineSet::EMPTY, LineSet::or)
    }

    /// The lines that a selector means.
    fn all(&self, selector: &Selector) -> LineSet<WORDS> {
        let others = selector.others.iter().map(|mark| self.lines[*mark as usize]);
        others.fold(self.lines[selector.first as usize], LineSet::and)
    }
}

fn selectors(instruction: &Instruction) -> impl Iterator<Item = &instruction::Selector> {
    let content = &instruction.content;
    content.any.iter().chain(&content.none).chain(&content.requires)
}

/// A category and those above it, from the particular to the general.
fn upwards(category: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(category), |below| Some(below.rsplit_once('.')?.0))
}

const fn next(count: &mut u32) -> Mark {
    let mark = *count;
    *count += 1;
    mark
}
