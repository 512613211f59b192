//! Tokens of an outside issuer hold beside our own, and nothing that merely looks like them does.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, routing::get};
use chrono::{DateTime, TimeDelta, Utc};
use connectors::access::{
    Identity, Role, Tokens,
    oidc::{Issuer, Settings},
};
use domain::person_code::PersonCode;
use ingest::{clock::ManualClock, vault::Vault};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn noon() -> DateTime<Utc> {
    "2025-06-02T09:00:00Z".parse().expect("an instant")
}

/// An issuer that really serves its discovery document and keys.
struct Elsewhere {
    url: String,
    published: Arc<Mutex<Vec<Value>>>,
}

struct Key {
    kid: &'static str,
    sign: EncodingKey,
    public: Value,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let drawn =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let sign = EncodingKey::from_ec_der(drawn.expect("a key").as_ref());
        let public = Jwk::from_encoding_key(&sign, Algorithm::ES256).expect("a key");
        let mut public = serde_json::to_value(public).expect("JSON");
        public["kid"] = json!(kid);
        Self { kid, sign, public }
    }

    fn token(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.sign).expect("a token")
    }
}

impl Elsewhere {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let published = Arc::<Mutex<Vec<Value>>>::default();
        let keys = async |State(published): State<Arc<Mutex<Vec<Value>>>>| {
            let keys = published.lock().expect("unpoisoned").clone();
            Json(json!({"keys": keys}))
        };
        let found = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(|| async { Json(found) }))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&published));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, published }
    }

    fn publish(&self, keys: &[&Key]) {
        *self.published.lock().expect("unpoisoned") =
            keys.iter().map(|key| key.public.clone()).collect();
    }

    fn issuer(&self) -> Arc<Issuer> {
        Issuer::new(Settings {
            issuer: self.url.clone(),
            audience: "avis".into(),
            keys: String::new(),
            role_claim: "realm_access.roles".into(),
            organisation_claim: "org".into(),
            person_claim: "serial_number".into(),
        })
    }

    fn claims(&self) -> Value {
        json!({"iss": self.url, "aud": "avis", "sub": "anna", "org": "riga",
            "exp": (noon() + TimeDelta::hours(1)).timestamp(),
            "realm_access": {"roles": ["offline_access", "grantor"]}})
    }
}

fn tokens(issuer: &Arc<Issuer>) -> (tempfile::TempDir, Tokens) {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = Vault::open(folder.path()).expect("a vault");
    let clock = Arc::new(ManualClock::at(noon()));
    let tokens = Tokens::beside(&vault, clock, Some(Arc::clone(issuer)), Arc::default());
    (folder, tokens)
}

#[tokio::test]
async fn an_issuers_token_holds_and_nothing_that_looks_like_it() {
    let elsewhere = Elsewhere::new().await;
    let (key, other) = (Key::new("a"), Key::new("a"));
    elsewhere.publish(&[&key]);
    let issuer = elsewhere.issuer();
    let (_folder, tokens) = tokens(&issuer);
    let token = key.token(&elsewhere.claims());
    assert_eq!(tokens.verify(&token), None, "no key is known yet");
    assert!(issuer.fetch().await.expect("fetched"));
    let anna =
        Identity { role: Role::Grantor, organisation: "riga".into(), subject: "anna".into() };
    assert_eq!(tokens.verify(&token), Some(anna.clone()));
    let own = tokens.issue(&anna, noon() + TimeDelta::hours(1)).expect("a token");
    assert_eq!(tokens.verify(&own), Some(anna), "our own hold, too");
    assert_eq!(tokens.verify(&other.token(&elsewhere.claims())), None, "another key");
    let with = |name: &str, value: Value| {
        let mut claims = elsewhere.claims();
        claims[name] = value;
        tokens.verify(&key.token(&claims))
    };
    assert_eq!(with("iss", json!("https://elsewhere.lv")), None);
    assert_eq!(with("aud", json!("another")), None);
    assert_eq!(with("aud", Value::Null), None);
    assert_eq!(with("exp", json!(noon().timestamp())), None, "expired");
    assert_eq!(with("exp", Value::Null), None, "for ever");
    assert_eq!(with("nbf", json!(noon().timestamp() + 3_600)), None, "not yet");
    assert_eq!(with("sub", json!("")), None);
    assert_eq!(with("realm_access", json!({"roles": ["grantor", "finance"]})), None, "two roles");
    assert_eq!(with("realm_access", json!({"roles": ["root"]})), None);
    // The published key is no secret: who signs with it as if it were one is nobody.
    let public = EncodingKey::from_secret(elsewhere_bytes(&key).as_bytes());
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let header = Header { kid: Some("a".into()), ..Header::new(algorithm) };
        let forged = jsonwebtoken::encode(&header, &elsewhere.claims(), &public).expect("a token");
        assert_eq!(tokens.verify(&forged), None, "{algorithm:?}");
    }
    let claims = token.split('.').nth(1).expect("claims");
    // {"alg":"none","kid":"a"}
    assert_eq!(tokens.verify(&format!("eyJhbGciOiJub25lIiwia2lkIjoiYSJ9.{claims}.")), None);
}

fn elsewhere_bytes(key: &Key) -> String {
    key.public["x"].as_str().expect("a coordinate").to_owned()
}

#[tokio::test]
async fn a_recipient_of_an_issuer_is_found_by_their_personal_code() {
    let elsewhere = Elsewhere::new().await;
    let key = Key::new("a");
    elsewhere.publish(&[&key]);
    let issuer = elsewhere.issuer();
    issuer.fetch().await.expect("fetched");
    let folder = tempfile::tempdir().expect("a folder");
    let vault = Vault::open(folder.path()).expect("a vault");
    let clock = Arc::new(ManualClock::at(noon()));
    let tokens = Tokens::beside(&vault, clock, Some(issuer), Arc::default());
    let code = PersonCode::parse("326180-33995").expect("a code");
    let id = vault.enrol(&[code]).expect("enrolled")[0].to_string();
    let subject = |role: &str, person: Value| {
        let mut claims = elsewhere.claims();
        claims["realm_access"] = json!({"roles": [role]});
        claims["serial_number"] = person;
        tokens.verify(&key.token(&claims)).map(|identity| identity.subject.to_string())
    };
    for code in ["326180-33995", "PNOLV-326180-33995", "32618033995"] {
        assert_eq!(subject("recipient", json!(code)), Some(id.clone()), "{code}");
    }
    for nobody in [json!("322360-67989"), json!("x"), Value::Null, json!(1)] {
        assert_eq!(subject("recipient", nobody).as_deref(), Some("nobody"));
    }
    assert_eq!(subject("grantor", json!("326180-33995")).as_deref(), Some("anna"));
}

#[tokio::test]
async fn keys_change_while_the_node_serves() {
    let elsewhere = Elsewhere::new().await;
    let (old, new) = (Key::new("old"), Key::new("new"));
    elsewhere.publish(&[&old]);
    let issuer = elsewhere.issuer();
    issuer.fetch().await.expect("fetched");
    let (_folder, tokens) = tokens(&issuer);
    let following = tokens.clone();
    let following = tokio::spawn(async move { following.follow_issuer().await });
    let (by_old, by_new) = (old.token(&elsewhere.claims()), new.token(&elsewhere.claims()));
    assert!(tokens.verify(&by_old).is_some());
    elsewhere.publish(&[&new]);
    // A token under an unknown key asks for the keys again, though not at every turn.
    let holds = async {
        while tokens.verify(&by_new).is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(30), holds).await;
    assert!(waited.is_ok(), "the new key is not known");
    assert_eq!(tokens.verify(&by_old), None, "the old one vouches for nobody any more");
    following.abort();
}

/// A key that both sides would have to know is not one that an issuer publishes.
#[tokio::test]
async fn a_published_secret_is_no_key() {
    let elsewhere = Elsewhere::new().await;
    let secret = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"});
    elsewhere.published.lock().expect("unpoisoned").push(secret);
    let issuer = elsewhere.issuer();
    assert!(!issuer.fetch().await.expect("fetched"), "no key that could be used");
    let (_folder, tokens) = tokens(&issuer);
    let header = Header { kid: Some("a".into()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(b"secret");
    let forged = jsonwebtoken::encode(&header, &elsewhere.claims(), &key).expect("a token");
    assert_eq!(tokens.verify(&forged), None);
}
