//! Terminals with keys of their own.

use super::*;

/// A terminal that signs its own tokens.
struct Signing {
    kid: String,
    public: String,
    pair: Ed25519KeyPair,
    sign: EncodingKey,
}

impl Signing {
    fn new(terminal: &str, key: &str) -> Self {
        let drawn = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(drawn.as_ref()).expect("a key");
        Self {
            kid: format!("{terminal}#{key}"),
            public: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            sign: EncodingKey::from_ed_der(drawn.as_ref()),
            pair,
        }
    }

    fn enrolling(&self, terminal: &str, key: &str, code: Option<&str>) -> Value {
        let proof = self.pair.sign(keys::proof(terminal, key, &self.public).as_bytes());
        let proof = URL_SAFE_NO_PAD.encode(proof.as_ref());
        json!({"public_key": self.public, "proof": proof, "code": code})
    }

    fn token(&self, subject: &str, seconds: i64) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let now = noon().timestamp();
        let claims = json!({"sub": subject, "aud": "avis", "iat": now, "exp": now + seconds});
        jsonwebtoken::encode(&header, &claims, &self.sign).expect("a token")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_enrols_its_own_key_changes_it_and_loses_it() {
    let node = Node::new(false).await;
    node.fill().await;
    let shop = Who(Role::Merchant, "shop", "maria");
    let path = "/v1/terminals/shop-till";
    let given = node.ask(shop, "PUT", &format!("{path}/enrolment"), "", &Value::Null).await;
    assert_eq!(given.status, 201);
    let code = given.json()["code"].as_str().expect("a code").to_owned();
    let kiosk = Who(Role::Merchant, "kiosk", "k");
    let other = node.ask(kiosk, "PUT", &format!("{path}/enrolment"), "", &Value::Null).await;
    assert_eq!(other.status, 404);
    let (first, second) = (Signing::new("shop-till", "k1"), Signing::new("shop-till", "k2"));
    let put = async |key: &str, token: &str, body: &Value| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let headers = if token.is_empty() { &[][..] } else { &headers[..] };
        let body = body.to_string();
        send(node.http, "PUT", &format!("{path}/keys/{key}"), headers, body.as_bytes()).await.status
    };
    let keys = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        send(node.http, "GET", &format!("{path}/keys"), &headers, b"").await
    };
    assert_eq!(keys(&first.token("shop-till", 600)).await.status, 401, "not enrolled");
    let wrong = first.enrolling("shop-till", "k1", Some("AAAA-AAAA-AAAA-AAAA"));
    assert_eq!(put("k1", "", &wrong).await, 401);
    let foreign = second.enrolling("shop-till", "k2", Some(&code));
    assert_eq!(put("k1", "", &foreign).await, 422, "the proof is of another key");
    let body = first.enrolling("shop-till", "k1", Some(&code.to_lowercase()));
    assert_eq!(put("k1", "", &body).await, 201);
    assert_eq!(put("k9", "", &second.enrolling("shop-till", "k9", Some(&code))).await, 401, "once");
    let listed = keys(&first.token("shop-till", 600)).await;
    assert_eq!((listed.status, listed.json()["items"].as_array().expect("keys").len()), (200, 1));
    assert_eq!(keys(&first.token("kiosk-till", 600)).await.status, 401, "another's name");
    assert_eq!(keys(&first.token("shop-till", 3_601)).await.status, 401, "for too long");
    assert_eq!(keys(&first.token("shop-till", 0)).await.status, 401, "expired");
    assert_eq!(keys(&second.token("shop-till", 600)).await.status, 401, "another key");
    // The next key comes under the present one.
    let next = second.enrolling("shop-till", "k2", None);
    assert_eq!(put("k2", &first.token("shop-till", 600), &next).await, 201);
    assert_eq!(put("k2", &first.token("shop-till", 600), &next).await, 200, "sent twice");
    assert_eq!(keys(&second.token("shop-till", 600)).await.status, 200);
    let revoked = node.ask(shop, "DELETE", &format!("{path}/keys/k1"), "", &Value::Null).await;
    assert_eq!(revoked.status, 204);
    assert_eq!(keys(&first.token("shop-till", 600)).await.status, 401, "from the next request on");
    assert_eq!(keys(&second.token("shop-till", 600)).await.status, 200);
    // A token that somebody issued is no key: whoever has it would outlast a revocation.
    let issued = Who(Role::Terminal, "shop", "shop-till");
    let third = Signing::new("shop-till", "k3").enrolling("shop-till", "k3", None);
    let outlasting = node.ask(issued, "PUT", &format!("{path}/keys/k3"), "", &third).await;
    assert_eq!(outlasting.status, 403);
    // Nothing of the code is on the stream.
    let plain: String = code.chars().filter(|letter| *letter != '-').collect();
    let end = node.log.end(Topic::RegistryChanges, 0).expect("an end");
    for stored in node.log.read(Topic::RegistryChanges, 0, 0, 10_000).await.expect("read") {
        let text = format!("{:?}", stored.record.event);
        assert!(!text.contains(&code) && !text.contains(&plain) && stored.position.offset < end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_enrols_with_a_code() {
    let node = Node::new(false).await;
    node.fill().await;
    let shop = Who(Role::Merchant, "shop", "maria");
    let path = "/v1/terminals/shop-till/enrolment";
    let given = node.ask(shop, "PUT", path, "", &Value::Null).await.json();
    let code = given["code"].as_str().expect("a code");
    let server = format!("http://{}", node.http);
    let patience = std::time::Duration::from_secs(5);
    let (key, other) = [client::Key::generate("first"), client::Key::generate("second")].into();
    let (key, other) = (key.expect("a key"), other.expect("a key"));
    let enrol = |key| client::enrol(&server, "shop-till", key, code, patience);
    for _ in 0..2 {
        enrol(&key).await.expect("enrolled, be the answer lost once");
    }
    let again = enrol(&other).await;
    assert!(matches!(again, Err(ClientError::Refused { status: 401, .. })), "a code is taken once");
    // Whoever has the terminal next does not have its keys.
    let listed = async || {
        let tag = node.tag("/v1/terminals/shop-till").await;
        let keys = node.get(ADMINISTRATOR, "/v1/terminals/shop-till/keys").await.json();
        (tag, keys["items"].as_array().expect("keys").len())
    };
    let (tag, keys) = listed().await;
    assert_eq!(keys, 1);
    let moved = json!({"place": "kiosk-place", "kind": "till"});
    assert_eq!(node.put(ADMINISTRATOR, "/v1/terminals/shop-till", &tag, &moved).await.status, 200);
    assert_eq!(listed().await.1, 0);
    assert!(matches!(enrol(&key).await, Err(ClientError::Refused { status: 401, .. })));
}
