//! What a user allowed, put where the consent page puts it; and the requests of clients that were given a code.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use keybound_protocol::authorization_details::{AuthorizationDetailsType, AuthorizationDetailsTypes, FieldKind};
use keybound_protocol::client::ClientId;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::pkce::CodeVerifier;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{
    Actor, AuditEntry, AuthorizationCode, AuthorizationCodeHash, BeginInteraction, BrowserSecretHash,
    CompleteInteraction, Grant, InteractionHash, InteractionOutcome, NewInteraction, NewUser, PasswordHash, SignedIn,
    Store,
};
use serde_json::{Value, json};

use crate::pki::Leaf;
use crate::world::{Reply, World, tls_client, with};

/// RFC 7636 Appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const REDIRECT_URI: &str = "https://client.example/cb?a=1";
pub(crate) const ACR: &str = "urn:example:password";

/// What a user allows.
#[derive(Clone)]
pub(crate) struct Consent {
    pub(crate) client_id: &'static str,
    pub(crate) scope: &'static str,
    pub(crate) resources: Vec<&'static str>,
    pub(crate) authorization_details: Option<Value>,
    /// `claims` of OpenID Connect, and its `nonce`.
    pub(crate) claims: Option<Value>,
    pub(crate) nonce: Option<&'static str>,
    pub(crate) has_challenge: bool,
    pub(crate) dpop_jkt: Option<String>,
    pub(crate) redirect_uri: Option<&'static str>,
    /// How long the grant lives.
    pub(crate) lifetime: Duration,
}

impl Consent {
    /// To this client: `read write` for a year.
    pub(crate) fn to(client_id: &'static str) -> Consent {
        Consent {
            client_id,
            scope: "read write",
            resources: Vec::new(),
            authorization_details: None,
            claims: None,
            nonce: None,
            has_challenge: true,
            dpop_jkt: None,
            redirect_uri: Some(REDIRECT_URI),
            lifetime: Duration::from_secs(365 * 86_400),
        }
    }
}

/// The user of every consent.
pub(crate) fn user() -> UserSubject {
    UserSubject::from_random(&[7; 16])
}

/// A name that was not used before.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Has the store know the user, if it does not yet: nobody else is given anything.
async fn require_user(store: &Store, entry: AuditEntry) {
    if store.users.find_user_by_subject(&user()).unwrap().is_some() {
        return;
    }
    let new = NewUser {
        name: UserName::parse("consenting").unwrap(),
        subject: user(),
        password_hash: PasswordHash::from_phc("none"),
        user_code_hash: None,
        claims: "{}".into(),
        is_disabled: false,
    };
    // Of two who come at once, one is enough.
    store.users.create_user(new, entry).await.unwrap();
}

/// Has the user consent; returns the code, which is good for a minute.
pub(crate) async fn give(store: &Store, now: i64, consent: &Consent) -> String {
    let (number, now) = (next(), Timestamp::from_unix_secs(now));
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&number.to_be_bytes());
    let client_id = ClientId::parse(consent.client_id).unwrap();
    let signed_in = SignedIn {
        subject: user(),
        auth_time: now,
        acr: Some(ACR.into()),
    };
    let grant = Grant {
        grant_id: GrantId::from_random(octets),
        client_id: client_id.clone(),
        subject: user(),
        scope: consent.scope.into(),
        resources: consent.resources.iter().map(|uri| (*uri).to_owned()).collect(),
        authorization_details: consent.authorization_details.as_ref().map(Value::to_string),
        claims: consent.claims.as_ref().map(Value::to_string),
        auth_time: Some(now),
        acr: Some(ACR.into()),
        created_at: now,
        expires_at: now.plus(consent.lifetime),
        based_on: None,
    };
    let text = format!("code-{number}");
    let challenge = || CodeVerifier::parse(VERIFIER).unwrap().challenge().to_text();
    let code = AuthorizationCode {
        hash: AuthorizationCodeHash::of(&text),
        redirect_uri: consent.redirect_uri.map(str::to_owned),
        code_challenge: consent.has_challenge.then(challenge),
        nonce: consent.nonce.map(str::to_owned),
        dpop_jkt: consent.dpop_jkt.clone(),
        terms: None,
        expires_at: now.plus(Duration::from_secs(60)),
    };
    let interaction = NewInteraction {
        hash: InteractionHash::of(&text),
        browser: BrowserSecretHash::of("cookie"),
        client_id,
        request: "{}".into(),
        pushed: None,
        signed_in: Some(signed_in),
        expires_at: now.plus(Duration::from_secs(600)),
    };
    let hash = interaction.hash;
    let begun = store.interactions.begin_interaction(interaction).await.unwrap();
    assert_eq!(begun, BeginInteraction::Begun);
    let granted = InteractionOutcome::Granted {
        grant: Box::new(grant),
        code: Box::new(code),
    };
    let entry = AuditEntry::new(now, Actor::User(user().as_str().to_owned()));
    require_user(store, entry.clone()).await;
    let completed = store.interactions.complete_interaction(hash, granted, entry).await;
    assert_eq!(completed.unwrap(), CompleteInteraction::Completed);
    text
}

/// Types of authorization details of these names, which may have an amount.
pub(crate) fn details_types(names: &[&str]) -> AuthorizationDetailsTypes {
    AuthorizationDetailsTypes::new(names.iter().map(|name| AuthorizationDetailsType {
        name: (*name).to_owned(),
        description: None,
        required: [].into(),
        optional: [("amount".to_owned(), FieldKind::Number)].into(),
    }))
}

/// The metadata of a client that authenticates by certificate and asks users.
pub(crate) fn asking_client(san_dns: &str) -> Value {
    with(
        tls_client(san_dns),
        json!({"grant_types": ["authorization_code", "refresh_token"], "redirect_uris": [REDIRECT_URI]}),
    )
}

/// The metadata of a public client whose tokens are bound to whatever certificate it makes.
pub(crate) fn public_client() -> Value {
    json!({
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [REDIRECT_URI],
        "scope": "read write",
        "tls_client_certificate_bound_access_tokens": true,
    })
}

impl World {
    /// Has the user consent.
    pub(crate) async fn code(&self, consent: &Consent) -> String {
        give(&self.store, self.clock.now(), consent).await
    }

    /// Presents a code; `more` replaces parameters of the same name, and an empty value takes one out.
    pub(crate) async fn redeem(
        &self,
        leaf: Option<&Leaf>,
        client_id: &str,
        code: &str,
        more: &[(&str, &str)],
    ) -> Reply {
        let usual = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.post(leaf, "/token", &replaced(&usual, more)).await
    }

    /// Presents a refresh token.
    pub(crate) async fn refresh(
        &self,
        leaf: Option<&Leaf>,
        client_id: &str,
        refresh_token: &str,
        more: &[(&str, &str)],
    ) -> Reply {
        let usual = [
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("refresh_token", refresh_token),
        ];
        self.post(leaf, "/token", &replaced(&usual, more)).await
    }

    /// Has the user consent and redeems the code: the whole token response.
    pub(crate) async fn tokens(&self, leaf: &Leaf, consent: &Consent) -> Value {
        let code = self.code(consent).await;
        let reply = self.redeem(Some(leaf), consent.client_id, &code, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()
    }

    /// What `rs` hears about a token.
    pub(crate) async fn introspected(&self, rs: &Leaf, token: &str) -> Value {
        let reply = self
            .post(Some(rs), "/introspect", &[("client_id", "rs"), ("token", token)])
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()
    }
}

/// The parameters with others in place of or beside their own; an empty value takes one out.
pub(crate) fn replaced<'a>(usual: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = usual
        .iter()
        .filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    let added = more.iter().filter(|(_, value)| !value.is_empty());
    kept.chain(added).copied().collect()
}

/// A text member.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_else(|| panic!("no {name} in {object}"))
}
