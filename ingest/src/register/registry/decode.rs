//! A registry document as the domain's types: grantors, merchants and what belongs to them.

use std::collections::BTreeMap;

use domain::{
    amount::BasisPoints,
    benefit::{Benefit, BenefitKind},
    grantor::{Contract, ExcessBearer, Grantor, GrantorKind},
    iban::Iban,
    id::{
        BenefitId, ContractId, GrantorId, GroupId, IssuerId, ItemId, MerchantId, PlaceId,
        TerminalId,
    },
    identification_means::{Issuer, MeansKind},
    merchant::{CatalogueItem, Category, Merchant, Place, Territory},
    period::Validity,
    recipient::{Group, Member, Membership},
    registry::{Kind, Registry},
    terminal::Terminal,
};
use serde_json::Value;

use super::{Decoded, decode_instruction, decode_service as service};
use crate::document::{Cursor, Fields, Json};

/// What can be read of a document, and every fault of its form.
pub(super) fn document(document: &Value) -> Decoded {
    let document = Json::from(document);
    let root = Cursor::root(&document);
    let mut registry = Registry::default();
    let mut places: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
    for (name, list) in root.entries() {
        let Some(kind) = Kind::of_list(name) else {
            list.fault("unknown list");
            continue;
        };
        for (place, entry) in list.elements().iter().enumerate() {
            let Some(fields) = entry.fields() else { continue };
            if read(&mut registry, kind, &fields).is_some() {
                places.entry(kind).or_default().push(place);
            }
            fields.finish();
        }
    }
    Decoded { registry, faults: root.faults(), places }
}

fn read(registry: &mut Registry, kind: Kind, fields: &Fields<'_>) -> Option<()> {
    match kind {
        Kind::Grantor => registry.grantors.push(grantor(fields)?),
        Kind::Merchant => registry.merchants.push(merchant(fields)?),
        Kind::Place => registry.places.push(place(fields)?),
        Kind::Terminal => registry.terminals.push(terminal(fields)?),
        Kind::CatalogueItem => registry.catalogue.push(catalogue_item(fields)?),
        Kind::Contract => registry.contracts.push(contract(fields)?),
        Kind::Issuer => registry.issuers.push(issuer(fields)?),
        Kind::Group => registry.groups.push(group(fields)?),
        Kind::Benefit => registry.benefits.push(benefit(fields)?),
        Kind::Instruction => {
            registry.instructions.push(decode_instruction::instruction(fields)?);
        }
        Kind::EService => registry.e_services.push(service::e_service(fields)?),
        Kind::Centre => registry.centres.push(service::centre(fields)?),
        Kind::Institution => registry.institutions.push(service::institution(fields)?),
        Kind::Official => registry.officials.push(service::official(fields)?),
        Kind::Service => registry.services.push(service::service(fields)?),
        Kind::Subsidy => registry.subsidies.push(service::subsidy(fields)?),
    }
    Some(())
}

/// Days from `from` to `to`, both included; no `to` means without end.
pub(super) fn validity(fields: &Fields<'_>) -> Option<Validity> {
    let from = fields.required("from").and_then(|at| at.date());
    let to = fields.optional("to").and_then(|at| at.date());
    let from = from?;
    if to.is_some_and(|to| to < from) {
        fields.at().fault("ends before it begins");
        return None;
    }
    Some(Validity { from, to })
}

fn iban(fields: &Fields<'_>) -> Option<Iban> {
    let at = fields.optional("iban")?;
    match Iban::parse(at.text()?) {
        Ok(iban) => Some(iban),
        Err(error) => {
            at.fault(error.to_string());
            None
        }
    }
}

/// A number in the register of enterprises: eleven digits.
fn reg_no(fields: &Fields<'_>) -> Option<String> {
    let at = fields.optional("reg_no")?;
    at.parsed("eleven digits", |text| {
        let fits = text.len() == 11 && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| text.to_owned())
    })
}

fn grantor(fields: &Fields<'_>) -> Option<Grantor> {
    let id = fields.required("id").and_then(|at| at.id(GrantorId::new));
    let kind = fields.required("kind").and_then(|at| {
        at.word(&[
            ("state", GrantorKind::State),
            ("municipality", GrantorKind::Municipality),
            ("delegated", GrantorKind::Delegated),
            ("merchant", GrantorKind::Merchant),
        ])
    });
    let (name, iban, reg_no) = (fields.translated("name"), iban(fields), reg_no(fields));
    Some(Grantor { id: id?, name, kind: kind?, iban, reg_no })
}

fn merchant(fields: &Fields<'_>) -> Option<Merchant> {
    let id = fields.required("id").and_then(|at| at.id(MerchantId::new));
    let (name, iban, reg_no) = (fields.translated("name"), iban(fields), reg_no(fields));
    let vat_no = fields.optional("vat_no").and_then(|at| {
        at.parsed("LV and eleven digits", |text| {
            let digits = text.strip_prefix("LV")?;
            let fits = digits.len() == 11 && digits.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| text.to_owned())
        })
    });
    Some(Merchant { id: id?, name, reg_no, iban, vat_no })
}

pub(super) fn territory(at: &Cursor<'_>) -> Option<Territory> {
    at.parsed("a territory code, LV and seven digits", Territory::parse)
}

fn place(fields: &Fields<'_>) -> Option<Place> {
    let id = fields.required("id").and_then(|at| at.id(PlaceId::new));
    let merchant = fields.required("merchant").and_then(|at| at.id(MerchantId::new));
    let territory = fields.required("territory").and_then(|at| territory(&at));
    let name = fields.translated("name");
    Some(Place { id: id?, merchant: merchant?, territory: territory?, name })
}

fn terminal(fields: &Fields<'_>) -> Option<Terminal> {
    let id = fields.required("id").and_then(|at| at.id(TerminalId::new));
    let place = fields.required("place").and_then(|at| at.id(PlaceId::new));
    let kind = fields.required("kind").and_then(|at| at.text().map(str::to_owned));
    Some(Terminal { id: id?, place: place?, kind: kind? })
}

pub(super) fn category(at: &Cursor<'_>) -> Option<Category> {
    at.parsed("a category, words joined by dots", Category::parse)
}

fn catalogue_item(fields: &Fields<'_>) -> Option<CatalogueItem> {
    let merchant = fields.required("merchant").and_then(|at| at.id(MerchantId::new));
    let item = fields.required("item").and_then(|at| at.id(ItemId::new));
    let category = fields.required("category").and_then(|at| category(&at));
    let name = fields.translated("name");
    Some(CatalogueItem { merchant: merchant?, item: item?, category: category?, name })
}

fn contract(fields: &Fields<'_>) -> Option<Contract> {
    let id = fields.required("id").and_then(|at| at.id(ContractId::new));
    let grantor = fields.required("grantor").and_then(|at| at.id(GrantorId::new));
    let merchant = fields.required("merchant").and_then(|at| at.id(MerchantId::new));
    let valid = validity(fields);
    fields.optional("settlement").and_then(|at| at.word(&[("monthly", ())]));
    let vat = fields.optional("vat_bp").and_then(|at| at.basis_points());
    let offline_excess = fields.optional("offline_excess").and_then(|at| {
        at.word(&[("merchant", ExcessBearer::Merchant), ("grantor", ExcessBearer::Grantor)])
    });
    Some(Contract {
        id: id?,
        grantor: grantor?,
        merchant: merchant?,
        valid: valid?,
        vat: vat.or(BasisPoints::new(0))?,
        offline_excess: offline_excess.unwrap_or_default(),
    })
}

fn issuer(fields: &Fields<'_>) -> Option<Issuer> {
    let id = fields.required("id").and_then(|at| at.id(IssuerId::new));
    let name = fields.translated("name");
    let words = MeansKind::ALL.map(|kind| (kind.code(), kind));
    let means = fields.list("means").iter().filter_map(|at| at.word(&words)).collect();
    Some(Issuer { id: id?, name, means })
}

/// A group has a condition or a list, and not both.
fn group(fields: &Fields<'_>) -> Option<Group> {
    let id = fields.required("id").and_then(|at| at.id(GroupId::new));
    let name = fields.translated("name");
    let grantor = fields.optional("grantor").and_then(|at| at.id(GrantorId::new));
    let condition = fields.optional("where").and_then(|at| at.text());
    let list = fields.optional("members");
    let members = match (condition, list) {
        (Some(condition), None) => Some(Membership::Where(condition.to_owned())),
        (None, Some(list)) => {
            Some(Membership::List(list.elements().iter().filter_map(member).collect()))
        }
        (Some(_), Some(_)) => {
            fields.at().fault("has both where and members");
            None
        }
        (None, None) => {
            fields.at().fault("has neither where nor members");
            None
        }
    };
    Some(Group { id: id?, name, grantor, members: members? })
}

/// Somebody who is listed. A personal code has become its keyed hash by now: where it has not, it
/// is refused rather than kept.
fn member(at: &Cursor<'_>) -> Option<Member> {
    at.parsed("a person's code or a means' token", Member::parse)
}

fn benefit(fields: &Fields<'_>) -> Option<Benefit> {
    let id = fields.required("id").and_then(|at| at.id(BenefitId::new));
    let grantor = fields.required("grantor").and_then(|at| at.id(GrantorId::new));
    let name = fields.translated("name");
    let legal_basis = fields.text("legal_basis");
    let kind = fields.optional("kind").map_or(Some(BenefitKind::Discount), |at| {
        at.word(&[
            ("discount", BenefitKind::Discount),
            ("compensation", BenefitKind::Compensation),
            ("subsidy", BenefitKind::Subsidy),
            ("allowance", BenefitKind::Allowance),
            ("loyalty", BenefitKind::Loyalty),
        ])
    });
    Some(Benefit { id: id?, grantor: grantor?, name, legal_basis, kind: kind? })
}
