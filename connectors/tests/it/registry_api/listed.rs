//! Who is listed in a group, by code: named nowhere on the stream, and taken out when erased.

use connectors::registry::{self, listed};
use domain::person_code::PersonCode;
use ingest::wire::v1::{Event, RegistryChanged};

use super::*;

const CODE: &str = "326180-33995";
const OTHER: &str = "322360-67989";
const MEANS: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// Whether some text tells of somebody by a code, however it is written.
fn names(text: &str) -> bool {
    let codes = [CODE, OTHER].into_iter().flat_map(|code| [code.to_owned(), code.replace('-', "")]);
    codes.into_iter().any(|code| text.contains(&code))
}

impl Node {
    /// The changes that the registry's stream holds.
    async fn changes(&self) -> Vec<RegistryChanged> {
        let mut changes = Vec::new();
        ingest::log::replay(&self.log, Topic::RegistryChanges, |stored| {
            if let Event::RegistryChanged(change) = stored.record.event {
                changes.push(change);
            }
            Ok::<(), ingest::error::LogError>(())
        })
        .await
        .expect("a readable stream");
        changes
    }

    fn enrol(&self, code: &str) -> domain::id::RecipientId {
        let code = PersonCode::parse(code).expect("a code");
        self.vault.enrol(&[code]).expect("enrolled")[0]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_person_stands_nowhere_by_code_however_the_list_came() {
    let node = Node::new(false).await;
    node.fill().await;
    let path = "/v1/groups/friends";
    let list = json!({"grantor": "riga", "members": [CODE, MEANS]});
    let put = node.put(RIGA, path, "", &list).await;
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    let told = put.json();
    assert_eq!(told["members"][1], MEANS);
    // Put again, as it was written or as it was shown, it is the same.
    let end = node.log.end(Topic::RegistryChanges, 0).expect("an end");
    for same in [&list, &told] {
        assert_eq!(node.put(RIGA, path, "", same).await.status, 200);
    }
    assert_eq!(node.log.end(Topic::RegistryChanges, 0).expect("an end"), end);
    // By a draft, and a preview of it.
    let entries = json!({"entries": {"groups": [{"id": "guests", "members": [OTHER]}]}});
    let draft = node.put(RIGA, "/v1/drafts/guests", "", &entries).await;
    assert_eq!(draft.status, 201, "{}", String::from_utf8_lossy(&draft.body));
    let preview = node.ask(RIGA, "POST", "/v1/instructions:preview", "", &entries).await;
    assert_eq!((preview.status, &preview.json()["faults"]), (200, &json!([])));
    // As a whole: what was exported with somebody more, written by code.
    let exported = node.get(ADMINISTRATOR, "/v1/registry").await;
    let mut whole = exported.json();
    let groups = whole["groups"].as_array_mut().expect("groups");
    let friends = groups.iter_mut().find(|of| of["id"] == "friends").expect("friends");
    friends["members"].as_array_mut().expect("members").push(json!(OTHER));
    let diff = node.ask(ADMINISTRATOR, "POST", "/v1/registry:diff", "", &whole).await;
    assert_eq!(diff.json()["changes"].as_array().map(Vec::len), Some(1));
    let tag = exported.headers["etag"].clone();
    let imported = node.put(ADMINISTRATOR, "/v1/registry", &tag, &whole).await;
    assert_eq!(imported.status, 200, "{}", String::from_utf8_lossy(&imported.body));

    let mut told = vec![put, draft, preview, exported, diff, imported];
    for path in [path, "/v1/groups/friends/history", "/v1/drafts/guests"] {
        told.push(node.get(RIGA, path).await);
    }
    told.push(node.get(ADMINISTRATOR, "/v1/registry").await);
    for answer in &told {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!names(&text), "{text}");
    }
    let kept = node.changes().await;
    assert!(kept.iter().any(|change| change.document.contains("person:")));
    for change in &kept {
        assert!(!names(&change.document), "{change:?}");
    }
    // What is neither a code (its control digit is wrong) nor a token is told of, and not repeated.
    let wrong = json!({"grantor": "riga", "members": [CODE, "010180-12346"]});
    let refused = node.put(RIGA, "/v1/groups/wrong", "", &wrong).await;
    assert_eq!(refused.json()["errors"][0]["pointer"], "/members/1");
    assert!(!names(&String::from_utf8_lossy(&refused.body)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_erased_is_on_no_list_and_comes_on_none() {
    let node = Node::new(false).await;
    node.fill().await;
    let (gone, _) = (node.enrol(CODE), node.enrol(OTHER));
    let list = json!({"grantor": "riga", "members": [CODE, OTHER]});
    assert_eq!(node.put(RIGA, "/v1/groups/friends", "", &list).await.status, 201);
    let draft = json!({"entries": {"groups": [{"id": "guests", "members": [CODE]}]}});
    assert_eq!(node.put(RIGA, "/v1/drafts/guests", "", &draft).await.status, 201);
    assert_eq!(listed::tidy(&node.log, &node.vault, noon()).await.expect("tidied"), 0);

    node.vault.destroy(&[gone]).expect("destroyed");
    // The group, what `fill` lists the same person in, and the draft.
    assert_eq!(listed::tidy(&node.log, &node.vault, noon()).await.expect("tidied"), 4);
    assert_eq!(listed::tidy(&node.log, &node.vault, noon()).await.expect("tidied"), 0);
    let friends = node.get(RIGA, "/v1/groups/friends").await;
    assert_eq!(friends.json()["members"].as_array().map(Vec::len), Some(1));
    let guests = node.get(RIGA, "/v1/drafts/guests").await.json();
    assert_eq!(guests["entries"]["groups"][0]["members"], json!([]));
    // Told of again, the list stays as it is.
    let again = node.put(RIGA, "/v1/groups/friends", "", &list).await;
    assert_eq!((again.status, again.json()), (200, friends.json()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_kept_by_code_is_named_anew() {
    let node = Node::new(false).await;
    node.fill().await;
    let change = RegistryChanged {
        kind: "groups".into(),
        id: "friends".into(),
        document: json!({"id": "friends", "members": [CODE]}).to_string(),
        changed_by: String::new(),
    };
    let record = ingest::record::Record {
        id: ingest::record::outside_id("registry", "earlier"),
        key: "registry".into(),
        source: "registry".into(),
        sequence: 0,
        event_time: noon(),
        recorded_at: noon(),
        event: Event::RegistryChanged(change),
    };
    node.log.append(Topic::RegistryChanges, &[record]).await.expect("appended");
    assert_eq!(listed::tidy(&node.log, &node.vault, noon()).await.expect("tidied"), 1);
    let registry = registry::view(&node.log).await.expect("a view").registry();
    let friends = registry.groups.iter().find(|of| of.id.as_str() == "friends").expect("friends");
    let token = node.vault.person_token(&PersonCode::parse(CODE).expect("a code"));
    let listed = vec![domain::recipient::Member::Person(token)];
    assert_eq!(friends.members, domain::recipient::Membership::List(listed));
}
