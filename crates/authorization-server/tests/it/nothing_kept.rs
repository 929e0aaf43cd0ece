//! Requests that ask for too much, or that name places to fetch from: they leave no row, and nobody is connected to.

use keybound_authorization_server::settings::AuthorizationSettings;
use keybound_protocol::authorization_details::{AuthorizationDetailsType, AuthorizationDetailsTypes, FieldKind};
use rusqlite::Connection;
use serde_json::json;

use crate::browser::{Browser, add_user, location, text};
use crate::ciba::CIBA;
use crate::hostile_urls::{Canary, SPELLINGS};
use crate::pki::{Authority, Leaf, dns};
use crate::rfc9126::{code_client, good};
use crate::world::{Plan, World, tls_client, with};

/// What a request of a client can leave behind.
const TABLES: [&str; 5] = [
    "pushed_requests",
    "interactions",
    "approval_requests",
    "grants",
    "authorization_codes",
];

fn rows(world: &World) -> [i64; 5] {
    let connection = Connection::open(world.directory.path().join("keybound.db")).unwrap();
    let count = |table| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
    TABLES.map(|table| count(table).unwrap())
}

async fn world() -> (World, Leaf) {
    let authority = Authority::root("corp");
    let mut plan = Plan::new();
    let payment = AuthorizationDetailsType {
        name: "payment".to_owned(),
        description: None,
        required: [("amount".to_owned(), FieldKind::String)].into(),
        optional: [].into(),
    };
    plan.settings.authorization = AuthorizationSettings {
        require_pushed_authorization_requests: false,
        details_types: AuthorizationDetailsTypes::new([payment]),
    };
    let client = with(
        code_client(tls_client("demo.example")),
        json!({
            "grant_types": ["authorization_code", CIBA], "backchannel_token_delivery_mode": "poll", "scope": "openid read",
        }),
    );
    let world = plan.trusts("corp", &authority).client("demo", client).start().await;
    add_user(&world, "ada").await;
    (world, authority.issue(dns("demo.example")))
}

// covers R9396-1
#[tokio::test]
async fn authorization_details_that_are_too_long_leave_nothing_at_any_endpoint() {
    let (world, leaf) = world().await;
    let browser = Browser::of(&world);
    let details = |amount: String| json!([{"type": "payment", "amount": amount}]).to_string();
    let form = |details: &str| -> Vec<(String, String)> {
        let code = good().into_iter().filter(|(name, _)| *name != "scope");
        code.chain([
            ("client_id", "demo"),
            ("scope", "openid read"),
            ("authorization_details", details),
        ])
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    };
    let asked = |details: &str| -> Vec<(String, String)> {
        [
            ("client_id", "demo"),
            ("scope", "openid read"),
            ("login_hint", "ada"),
            ("authorization_details", details),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    };
    fn borrowed(form: &[(String, String)]) -> Vec<(&str, &str)> {
        form.iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
    let empty = rows(&world);
    let oversized = details("9".repeat(20_000));
    let (code, backchannel) = (form(&oversized), asked(&oversized));
    let reply = world.post(Some(&leaf), "/par", &borrowed(&code)).await;
    const ERROR: &str = "invalid_authorization_details";
    world
        .assert_refused(&reply, 400, ERROR, "authorization request acceptable")
        .await;
    let reply = world.post(Some(&leaf), "/bc-authorize", &borrowed(&backchannel)).await;
    let rule = "backchannel authentication request acceptable";
    world.assert_refused(&reply, 400, ERROR, rule).await;
    let reply = browser.post("/authorize", &borrowed(&code)).await;
    assert!(location(&reply).contains(&format!("error={ERROR}")), "{reply:?}");
    assert_eq!(rows(&world), empty);
    // The control: what is not too long leaves one row of each kind.
    let fine = details("9".to_owned());
    let (code, backchannel) = (form(&fine), asked(&fine));
    assert_eq!(world.post(Some(&leaf), "/par", &borrowed(&code)).await.status, 201);
    assert_eq!(
        world
            .post(Some(&leaf), "/bc-authorize", &borrowed(&backchannel))
            .await
            .status,
        200
    );
    assert!(location(&browser.post("/authorize", &borrowed(&code)).await).ends_with("/login"));
    let [pushed, interactions, approvals, grants, codes] = empty;
    assert_eq!(
        rows(&world),
        [pushed + 1, interactions + 1, approvals + 1, grants, codes]
    );
}

// covers T22
#[tokio::test]
async fn a_request_uri_makes_the_server_connect_to_nobody() {
    let (world, leaf) = world().await;
    let browser = Browser::of(&world);
    let four = Canary::start("0.0.0.0:0").await;
    let six = Canary::start("[::1]:0").await;
    for port in [four.port, six.port] {
        for host in SPELLINGS {
            for scheme in ["https", "http"] {
                let uri = format!("{scheme}://{host}:{port}/request.jwt");
                let form = [("client_id", "demo"), ("request_uri", uri.as_str())];
                let query: String = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(form)
                    .finish();
                let page = browser.get(&format!("/authorize?{query}")).await;
                assert_eq!(page.status, 400, "{uri}: {page:?}");
                assert!(
                    text(&page).contains("id=\"error-code\">request_uri_not_supported<"),
                    "{uri}"
                );
                let pushed = world.post(Some(&leaf), "/par", &form).await;
                assert_eq!(
                    (pushed.status.as_u16(), &pushed.json()["error"]),
                    (400, &json!("invalid_request")),
                    "{uri}"
                );
            }
        }
    }
    four.assert_silent("127.0.0.1").await;
    six.assert_silent("::1").await;
}
