//! Cedar: a policy per instruction, a request per line; the policies that permit are the
//! instructions that match it.
//!
//! It says who may what, no more. It cannot express: any sum of money (no effect, rounding,
//! allocation or funding), the order of instructions and what they leave each other, stacking,
//! contests, limits and their counters, points, what the basket holds as a whole, and reasons why an
//! instruction gave nothing.

use std::{
    collections::{HashMap, HashSet},
    hint::black_box,
    str::FromStr,
};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
};
use domain::{basket::Line, instruction::Instruction, recipient::Recipient};

use crate::{
    case::Cases,
    terms,
    times::{Times, times},
};

/// How long the policies take to decide the lines of a basket.
pub fn measure(
    cases: &Cases,
    instructions: &[Instruction],
) -> Result<Times, Box<dyn std::error::Error>> {
    let policies =
        PolicySet::from_policies(instructions.iter().map(policy).collect::<Result<Vec<_>, _>>()?)?;
    let mut requests = Vec::new();
    for case in &cases.all {
        let asked = case.lines.iter().map(|line| request(&case.recipient, line));
        requests.push(asked.collect::<Result<Vec<_>, _>>()?);
    }
    let entities = entities(cases)?;
    let authorizer = Authorizer::new();
    let permitting = |request| {
        let response = authorizer.is_authorized(request, &policies, &entities);
        response.diagnostics().reason().count()
    };
    if requests.iter().flatten().any(|request| permitting(request) < 4) {
        return Err("Cedar finds fewer than the four that mean every line".into());
    }
    Ok(times(requests.len(), |at| {
        black_box(requests[at].iter().map(permitting).sum::<usize>());
    }))
}

fn policy(instruction: &Instruction) -> Result<Policy, Box<dyn std::error::Error>> {
    let (categories, group) = terms(instruction);
    let principal =
        group.map_or("principal".to_owned(), |group| format!("principal in Group::\"{group}\""));
    let within = |category: &&str| format!("resource in Category::\"{category}\"");
    let categories: Vec<String> = categories.iter().map(within).collect();
    let categories = if categories.is_empty() { "true".into() } else { categories.join(" || ") };
    let text = format!("permit({principal}, action, resource) when {{ {categories} }};");
    Ok(Policy::parse(Some(PolicyId::new(instruction.id.as_str())), text)?)
}

fn request(recipient: &Recipient, line: &Line) -> Result<Request, Box<dyn std::error::Error>> {
    let action = uid("Action", "give")?;
    let category = line.category.as_ref().map_or("", |category| category.as_str());
    let resource = uid("Category", category)?;
    Ok(Request::new(person(recipient)?, action, resource, Context::empty(), None)?)
}

/// The recipients within their groups, the categories within those above them.
fn entities(cases: &Cases) -> Result<Entities, Box<dyn std::error::Error>> {
    let mut parents: HashMap<EntityUid, HashSet<EntityUid>> = HashMap::new();
    for case in &cases.all {
        let groups = case.recipient.groups.iter().map(|group| uid("Group", group.as_str()));
        parents.insert(person(&case.recipient)?, groups.collect::<Result<_, _>>()?);
        for mut category in
            case.lines.iter().filter_map(|line| line.category.as_ref()).map(|of| of.as_str())
        {
            while let Some((above, _)) = category.rsplit_once('.') {
                parents
                    .entry(uid("Category", category)?)
                    .or_default()
                    .insert(uid("Category", above)?);
                category = above;
            }
        }
    }
    let entities = parents.into_iter().map(|(uid, parents)| Entity::new_no_attrs(uid, parents));
    Ok(Entities::from_entities(entities, None)?)
}

fn person(recipient: &Recipient) -> Result<EntityUid, Box<dyn std::error::Error>> {
    uid("Person", &recipient.id.to_string())
}

fn uid(kind: &str, name: &str) -> Result<EntityUid, Box<dyn std::error::Error>> {
    Ok(EntityUid::from_str(&format!("{kind}::\"{name}\""))?)
}
