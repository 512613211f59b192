//! The registry's names, found by their identifiers.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use domain::{
    benefit::Benefit,
    id::{BenefitId, EServiceId, GrantorId, GroupId, IssuerId, ItemId, MerchantId, PlaceId},
    merchant::CatalogueItem,
    recipient::{Group, Membership},
    registry::Registry,
    text,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::terminal::wire::Text;

/// An entry of the registry by its identifier and its name.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Named {
    /// Its identifier.
    id: String,
    /// Its name; none where the registry does not have it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Text>,
}

impl Named {
    /// The name, or the identifier where there is none.
    pub(super) fn text(self) -> Text {
        let Self { id, name } = self;
        name.unwrap_or_else(|| Text { lv: id.clone(), en: id })
    }
}

/// The entries of one registry by their identifiers, as places in its lists.
#[derive(Debug, Default)]
pub(super) struct Names {
    registry: Arc<Registry>,
    grantors: HashMap<GrantorId, usize>,
    merchants: HashMap<MerchantId, usize>,
    places: HashMap<PlaceId, usize>,
    issuers: HashMap<IssuerId, usize>,
    groups: HashMap<GroupId, usize>,
    benefits: HashMap<BenefitId, usize>,
    e_services: HashMap<EServiceId, usize>,
    /// Of each item the merchants' listings.
    items: HashMap<ItemId, Vec<usize>>,
}

impl Names {
    pub(super) fn of(registry: Arc<Registry>) -> Self {
        let mut items: HashMap<ItemId, Vec<usize>> = HashMap::new();
        for (place, listed) in registry.catalogue.iter().enumerate() {
            items.entry(listed.item.clone()).or_default().push(place);
        }
        Self {
            grantors: places(&registry.grantors, |of| &of.id),
            merchants: places(&registry.merchants, |of| &of.id),
            places: places(&registry.places, |of| &of.id),
            issuers: places(&registry.issuers, |of| &of.id),
            groups: places(&registry.groups, |of| &of.id),
            benefits: places(&registry.benefits, |of| &of.id),
            e_services: places(&registry.e_services, |of| &of.id),
            items,
            registry,
        }
    }

    pub(super) fn grantor(&self, id: &str) -> Named {
        named(id, found(&self.registry.grantors, &self.grantors, id).map(|of| &of.name))
    }

    pub(super) fn merchant(&self, id: &str) -> Named {
        named(id, found(&self.registry.merchants, &self.merchants, id).map(|of| &of.name))
    }

    pub(super) fn place(&self, id: &str) -> Named {
        named(id, found(&self.registry.places, &self.places, id).map(|of| &of.name))
    }

    pub(super) fn issuer(&self, id: &str) -> Named {
        named(id, found(&self.registry.issuers, &self.issuers, id).map(|of| &of.name))
    }

    /// An e-service and its merchant; none that is not there any more.
    pub(super) fn e_service(&self, id: &str) -> Option<(Named, Named)> {
        let found = found(&self.registry.e_services, &self.e_services, id)?;
        Some((named(id, Some(&found.name)), self.merchant(found.merchant.as_str())))
    }

    pub(super) fn benefit(&self, id: &BenefitId) -> Option<&Benefit> {
        found(&self.registry.benefits, &self.benefits, id.as_str())
    }

    /// A group that is described by a condition. Who is on a list is not public, so a list is not
    /// told of, and neither is a group that is gone.
    pub(super) fn public_group(&self, id: &GroupId) -> Option<&Group> {
        let group = found(&self.registry.groups, &self.groups, id.as_str())?;
        matches!(group.members, Membership::Where(_)).then_some(group)
    }

    /// An item as a merchant's catalogue lists it.
    pub(super) fn listed(&self, merchant: &str, item: &str) -> Option<&CatalogueItem> {
        self.listings(item).find(|listed| listed.merchant.as_str() == merchant)
    }

    /// The name of an item in the first catalogue that lists it.
    pub(super) fn item(&self, item: &ItemId) -> Option<&text::Text> {
        self.listings(item.as_str()).next().map(|listed| &listed.name)
    }

    fn listings(&self, item: &str) -> impl Iterator<Item = &CatalogueItem> {
        let places = self.items.get(item).into_iter().flatten();
        places.filter_map(|place| self.registry.catalogue.get(*place))
    }
}

/// A text as answers have it.
pub(super) fn told(text: &text::Text) -> Text {
    Text { lv: text.lv.clone(), en: text.en.clone() }
}

/// An identifier with the name that was found for it.
pub(super) fn named(id: &str, name: Option<&text::Text>) -> Named {
    Named { id: id.to_owned(), name: name.map(told) }
}

fn places<T, K: Clone + Eq + Hash>(list: &[T], id: impl Fn(&T) -> &K) -> HashMap<K, usize> {
    list.iter().enumerate().map(|(place, entry)| (id(entry).clone(), place)).collect()
}

fn found<'a, T, K>(list: &'a [T], places: &HashMap<K, usize>, id: &str) -> Option<&'a T>
where
    K: Eq + Hash + std::borrow::Borrow<str>,
{
    list.get(*places.get(id)?)
}
