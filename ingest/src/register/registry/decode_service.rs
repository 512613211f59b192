//! Service centres, officials and e-services as the domain's types.

use domain::{
    amount::BasisPoints,
    id::{CentreId, EServiceId, InstitutionId, MerchantId, OfficialId, ServiceId},
    service_centre::{
        Centre, CentreKind, EService, Institution, LoginBasket, Official, Service, Subsidy,
    },
};

use super::decode::{territory, validity};
use crate::document::{Cursor, Fields};

const KINDS: [(&str, CentreKind); 3] = [
    ("centre", CentreKind::Centre),
    ("library", CentreKind::Library),
    ("mobile", CentreKind::Mobile),
];

pub(super) fn e_service(fields: &Fields<'_>) -> Option<EService> {
    let id = fields.required("id").and_then(|at| at.id(EServiceId::new));
    let merchant = fields.required("merchant").and_then(|at| at.id(MerchantId::new));
    let url = fields.required("url").and_then(|at| {
        at.parsed("an https address", |text| text.starts_with("https://").then(|| text.to_owned()))
    });
    let login_basket = fields.required("login_basket").and_then(|at| {
        at.word(&[("public", LoginBasket::Public), ("merchant", LoginBasket::Merchant)])
    });
    let name = fields.translated("name");
    let (identity_means, life_situations) =
        (texts(fields, "identity_means"), texts(fields, "life_situations"));
    Some(EService {
        id: id?,
        merchant: merchant?,
        name,
        url: url?,
        login_basket: login_basket?,
        identity_means,
        life_situations,
    })
}

fn texts(fields: &Fields<'_>, name: &'static str) -> Vec<String> {
    fields.list(name).iter().filter_map(|at| at.text().map(str::to_owned)).collect()
}

pub(super) fn centre(fields: &Fields<'_>) -> Option<Centre> {
    let id = fields.required("id").and_then(|at| at.id(CentreId::new));
    let kind = fields.required("kind").and_then(|at| at.word(&KINDS));
    let territory = fields.required("territory").and_then(|at| territory(&at));
    let name = fields.translated("name");
    let degrees = |name, most| fields.optional(name).and_then(|at| degrees(&at, most));
    let (latitude_e6, longitude_e6) = (degrees("lat", 90.0), degrees("lon", 180.0));
    Some(Centre { id: id?, name, kind: kind?, territory: territory?, latitude_e6, longitude_e6 })
}

/// Degrees as millionths; a float only here, where a file has one.
fn degrees(at: &Cursor<'_>, most: f64) -> Option<i32> {
    let degrees = at.number()?;
    if degrees.abs() > most {
        at.fault(format!("must be from -{most} to {most} degrees"));
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "bounded just above")]
    Some((degrees * 1e6).round() as i32)
}

pub(super) fn institution(fields: &Fields<'_>) -> Option<Institution> {
    let id = fields.required("id").and_then(|at| at.id(InstitutionId::new));
    let name = fields.translated("name");
    Some(Institution { id: id?, name })
}

pub(super) fn official(fields: &Fields<'_>) -> Option<Official> {
    let id = fields.required("id").and_then(|at| at.id(OfficialId::new));
    let institution = fields.required("institution").and_then(|at| at.id(InstitutionId::new));
    let services = fields.list("services").iter().filter_map(|at| at.id(ServiceId::new)).collect();
    let languages = texts(fields, "languages");
    Some(Official { id: id?, institution: institution?, services, languages })
}

pub(super) fn service(fields: &Fields<'_>) -> Option<Service> {
    let id = fields.required("id").and_then(|at| at.id(ServiceId::new));
    let name = fields.translated("name");
    let criteria = fields.optional("criteria").and_then(|at| at.fields());
    let share =
        |name| criteria.as_ref().and_then(|of| of.optional(name)).and_then(|at| at.basis_points());
    let service = Service {
        id: id?,
        name,
        max_wait_seconds: criteria
            .as_ref()
            .and_then(|of| of.optional("max_wait_seconds"))
            .and_then(|at| at.integer(0, 86_400)),
        min_answered: share("min_answered_bp"),
        min_resolved: share("min_resolved_bp"),
        min_rating_tenths: criteria
            .as_ref()
            .and_then(|of| of.optional("min_rating"))
            .and_then(|at| tenths(&at)),
    };
    if let Some(criteria) = criteria {
        criteria.finish();
    }
    Some(service)
}

/// A rating from 1 to 5 as tenths.
fn tenths(at: &Cursor<'_>) -> Option<i64> {
    let rating = at.number()?;
    if !(1.0..=5.0).contains(&rating) {
        at.fault("must be from 1 to 5");
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "bounded just above")]
    Some((rating * 10.0).round() as i64)
}

pub(super) fn subsidy(fields: &Fields<'_>) -> Option<Subsidy> {
    let valid = validity(fields);
    let base = fields.optional("base_cents").map(|at| at.entries()).unwrap_or_default();
    let base = base.into_iter().filter_map(|(kind, at)| {
        let known = KINDS.iter().find(|(word, _)| *word == kind);
        if known.is_none() {
            at.fault("unknown kind of centre");
        }
        Some((known?.1, at.amount()?))
    });
    let base = base.collect();
    let per_service = fields.optional("per_service_cents").map(|at| at.entries());
    let per_service = per_service.unwrap_or_default().into_iter().filter_map(|(id, at)| {
        let id = ServiceId::new(id).map_err(|error| at.fault(error.to_string())).ok();
        Some((id?, at.amount()?))
    });
    let per_service = per_service.collect();
    let quality_floor = fields.optional("quality").and_then(|at| at.fields()).and_then(|quality| {
        let floor = quality.required("floor_bp").and_then(|at| at.basis_points());
        quality.finish();
        floor
    });
    Some(Subsidy {
        valid: valid?,
        base,
        per_service,
        quality_floor: quality_floor.or(BasisPoints::new(0))?,
    })
}
