//! Whom a change of the registry's groups is about, where it only lists others than before.

use std::collections::BTreeSet;

use domain::{
    id::PersonToken,
    recipient::{Group, Member, Membership},
};

/// Who is on a list and was not, or was and is not; none where a condition changed, or a group came
/// or went, since that may be about anybody. What a group is called decides nothing.
pub(super) fn relisted(before: &[Group], now: &[Group]) -> Option<BTreeSet<PersonToken>> {
    let mut whom = BTreeSet::new();
    if before.len() != now.len() {
        return None;
    }
    for (before, now) in before.iter().zip(now) {
        match (&before.members, &now.members) {
            _ if before.id != now.id => return None,
            (before, now) if before == now => {}
            (Membership::List(before), Membership::List(now)) => {
                let (before, now) = (people(before), people(now));
                whom.extend(before.symmetric_difference(&now));
            }
            _ => return None,
        }
    }
    Some(whom)
}

fn people(members: &[Member]) -> BTreeSet<PersonToken> {
    let person = |member: &Member| match member {
        Member::Person(token) => Some(*token),
        Member::Means(_) => None,
    };
    members.iter().filter_map(person).collect()
}

#[cfg(test)]
mod tests {
    use domain::{
        id::{GroupId, MeansToken},
        text::Text,
    };

    use super::*;

    fn group(id: &str, members: Membership) -> Group {
        let id = GroupId::new(id).expect("an id");
        Group { id, name: Text::default(), grantor: None, members }
    }

    fn list(people: &[u128]) -> Membership {
        let people = people.iter().map(|number| PersonToken::from_u128(*number));
        let means = Member::Means(MeansToken::from_u128(7));
        Membership::List(people.map(Member::Person).chain([means]).collect())
    }

    #[test]
    fn another_list_is_about_who_differs_and_another_condition_about_anybody() {
        let old = || group("old", Membership::Where("age(birth_date) >= 65".into()));
        let whom = |before: &[Group], now: &[Group]| {
            let numbers = |of: BTreeSet<PersonToken>| of.into_iter().map(PersonToken::as_u128);
            relisted(before, now).map(|of| numbers(of).collect::<Vec<_>>())
        };
        let before = [old(), group("staff", list(&[1, 2]))];
        let mut named = before.clone();
        named[1].grantor = domain::id::GrantorId::new("riga").ok();
        assert_eq!(whom(&before, &named), Some(vec![]));
        let now = [old(), group("staff", list(&[2, 3]))];
        assert_eq!(whom(&before, &now), Some(vec![1, 3]));
        for about_anybody in [
            &before[..1],
            &[old(), group("other", list(&[1, 2]))],
            &[group("old", Membership::Where("true".into())), group("staff", list(&[1, 2]))],
            &[old(), group("staff", Membership::Where("true".into()))],
        ] {
            assert_eq!(whom(&before, about_anybody), None, "{about_anybody:?}");
        }
    }
}
