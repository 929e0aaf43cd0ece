//! A browser without scripts: it keeps cookies, fills in forms, and follows redirects when told to.

use std::cell::RefCell;
use std::collections::BTreeMap;

use http::Method;
use keybound_protocol::client::ClientId;
use serde_json::{Value, json};

use crate::pki::Authority;
use crate::rfc9126::{code_client, good};
use crate::world::{ISSUER, Peer, Plan, Reply, Side, World, tls_client, with};

pub(crate) const PASSWORD: &str = "correct horse battery";
/// As this server makes it.
pub(crate) const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$srBzfv2AVH2NgTmOhDBOXw$O1tIuVssuUFcBqNmQDht9q/dM3qO1gKHpadEcGYtFVg";

/// A server with the user helena and the client `demo`.
pub(crate) async fn world_with(metadata: Value) -> World {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", with(code_client(tls_client("demo.example")), metadata))
        .start()
        .await;
    add_user(&world, "helena").await;
    world
}

pub(crate) async fn world() -> World {
    world_with(json!({"client_name": "Contas Claras"})).await
}

/// Adds a user as an administrator's request would.
pub(crate) async fn add_user(world: &World, name: &str) {
    use keybound_protocol::time::Timestamp;
    use keybound_protocol::user::{UserName, UserSubject};
    use keybound_store::{Actor, AuditEntry, NewUser, PasswordHash};
    let mut octets = [7; keybound_protocol::user::USER_SUBJECT_BYTES];
    for (octet, character) in octets.iter_mut().zip(name.bytes()) {
        *octet = character;
    }
    let user = NewUser {
        name: UserName::parse(name).unwrap(),
        subject: UserSubject::from_random(&octets),
        password_hash: PasswordHash::from_phc(PASSWORD_HASH),
        user_code_hash: None,
        claims: json!({"name": "Helena Prado"}).to_string(),
        is_disabled: false,
    };
    let now = Timestamp::from_unix_secs(world.clock.now());
    let entry = AuditEntry::new(now, Actor::Administrator(ClientId::parse("admin").unwrap()));
    world.store.users.create_user(user, entry).await.unwrap();
}

/// A browser with its cookies.
pub(crate) struct Browser {
    peer: Peer,
    cookies: RefCell<BTreeMap<String, String>>,
}

impl Browser {
    pub(crate) fn of(world: &World) -> Browser {
        Browser {
            peer: world.peer(Side::Public, None),
            cookies: RefCell::default(),
        }
    }

    pub(crate) fn cookie_names(&self) -> Vec<String> {
        self.cookies.borrow().keys().cloned().collect()
    }

    pub(crate) fn cookie(&self, prefix: &str) -> Option<String> {
        let cookies = self.cookies.borrow();
        let found = cookies.iter().find(|(name, _)| name.starts_with(prefix));
        found.map(|(_, value)| value.clone())
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], &[]).await
    }

    /// Sends a form as our own page would have it sent.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        let own = [("origin", ISSUER), ("sec-fetch-site", "same-origin")];
        self.send(Method::POST, path, form, &own).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Reply {
        let pairs: Vec<String> = self
            .cookies
            .borrow()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookie = pairs.join("; ");
        let mut all = headers.to_vec();
        if !cookie.is_empty() {
            all.push(("cookie", cookie.as_str()));
        }
        let reply = if method == Method::POST {
            self.peer.post_with(path, form, &all).await
        } else {
            self.peer.send(method, path, &all, None).await
        };
        for value in reply.headers.get_all("set-cookie") {
            let (pair, attributes) = value.to_str().unwrap().split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let mut cookies = self.cookies.borrow_mut();
            if attributes.contains("Max-Age=0;") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    /// Begins an interaction with a good request; the path of its first page.
    pub(crate) async fn begin(&self) -> String {
        self.begin_with(&[]).await
    }

    pub(crate) async fn begin_with(&self, other: &[(&str, &str)]) -> String {
        location(&self.authorize(other).await)
    }

    /// Opens `/authorize` with a good request, changed so.
    pub(crate) async fn authorize(&self, other: &[(&str, &str)]) -> Reply {
        let mut request: Vec<(&str, &str)> = good();
        request.retain(|(name, _)| other.iter().all(|(changed, _)| changed != name));
        request.extend(other.iter().filter(|(_, value)| !value.is_empty()));
        request.push(("client_id", "demo"));
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&request)
            .finish();
        self.get(&format!("/authorize?{query}")).await
    }

    /// Signs helena in on this page; what comes of it.
    pub(crate) async fn sign_in(&self, login: &str) -> Reply {
        let token = form_token(&self.get(login).await);
        let form = [
            ("form_token", token.as_str()),
            ("username", "helena"),
            ("password", PASSWORD),
        ];
        self.post(login, &form).await
    }

    /// From a good request to the consent page.
    pub(crate) async fn to_consent(&self) -> String {
        let login = self.begin().await;
        location(&self.sign_in(&login).await)
    }

    pub(crate) async fn decide(&self, consent: &str, decision: &str) -> Reply {
        let token = form_token(&self.get(consent).await);
        self.post(consent, &[("form_token", &token), ("decision", decision)])
            .await
    }
}

/// Where a 303 leads.
#[track_caller]
pub(crate) fn location(reply: &Reply) -> String {
    assert_eq!(reply.status, 303, "{reply:?}");
    reply.headers.get("location").unwrap().to_str().unwrap().to_owned()
}

pub(crate) fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

/// The hidden token of a page's form.
#[track_caller]
pub(crate) fn form_token(reply: &Reply) -> String {
    let html = text(reply);
    let (_, after) = html
        .split_once("name=\"form_token\" value=\"")
        .unwrap_or_else(|| panic!("no form: {html}"));
    after.split('"').next().unwrap().to_owned()
}

/// The parameters of a redirect to the client.
#[track_caller]
pub(crate) fn parameters(reply: &Reply) -> Vec<(String, String)> {
    let url = url::Url::parse(&location(reply)).unwrap();
    url.query_pairs().into_owned().collect()
}
