//! The admin API: users.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::admin::{Administration, assert_problem};

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn a_user_lives_from_creation_to_deletion() {
    let it = Administration::new().await;
    let claims = json!({"email": "ada@example.org", "email_verified": true});
    let new = json!({"name": "Ada", "password": PASSWORD, "claims": claims});
    let reply = it.call(Method::POST, "/users", &[], Some(new.clone())).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (StatusCode::CREATED, Some("/admin/v1/users/ada"))
    );
    let entity_tag = reply.header("etag").unwrap().to_owned();
    let user = reply.json();
    assert_eq!((&user["name"], &user["claims"]), (&json!("ada"), &claims));
    assert_eq!((&user["disabled"], &user["user_code"]), (&json!(false), &json!(false)));
    // What went in as a secret is nowhere in what comes out.
    for text in [user.to_string(), it.get("/users").await.json().to_string()] {
        assert!(!text.contains("argon2") && !text.contains(PASSWORD), "{text}");
    }
    assert_eq!(it.get("/users/ADA").await.json(), user);
    assert_eq!(it.get("/users").await.json(), json!({"users": [user]}));
    let again = it.call(Method::POST, "/users", &[], Some(new)).await;
    assert_problem(&again, StatusCode::CONFLICT);

    // Replaced: what can be read and is left out is gone; what cannot be read stays.
    let put =
        async |headers: &[(&str, &str)], body: Value| it.call(Method::PUT, "/users/ada", headers, Some(body)).await;
    let stale = put(&[("if-match", "\"999\"")], json!({})).await;
    assert_problem(&stale, StatusCode::PRECONDITION_FAILED);
    let reply = put(
        &[("if-match", &entity_tag)],
        json!({"disabled": true, "user_code": "1815"}),
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let changed = reply.json();
    assert_eq!((&changed["claims"], &changed["disabled"]), (&json!({}), &json!(true)));
    assert_eq!((&changed["user_code"], &changed["sub"]), (&json!(true), &user["sub"]));
    assert_ne!(reply.header("etag").unwrap(), entity_tag);
    let reply = put(&[], json!({"user_code": null})).await;
    assert_eq!(reply.json()["user_code"], json!(false));

    let stale = it
        .call(Method::DELETE, "/users/ada", &[("if-match", &entity_tag)], None)
        .await;
    assert_problem(&stale, StatusCode::PRECONDITION_FAILED);
    let deleted = it.call(Method::DELETE, "/users/ada", &[], None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::DELETE] {
        assert_problem(&it.call(method, "/users/ada", &[], None).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn what_makes_no_user_is_refused_and_no_password_comes_back() {
    let it = Administration::new().await;
    let canary = "canary-7f3k22qd9m4tb2";
    for body in [
        json!({"password": canary}),
        json!({"name": "ada"}),
        json!({"name": "ada", "password": "1234567"}),
        json!({"name": "ada", "password": canary.repeat(60)}),
        json!({"name": "ada", "password": {"x": canary}}),
        json!({"name": "ada", "password": canary, "passwort": canary}),
        json!({"name": "a da", "password": canary}),
        json!({"name": "", "password": canary}),
        json!({"name": "\u{1b}[1m", "password": canary}),
        json!({"name": "ada", "password": canary, "claims": []}),
        json!({"name": "ada", "password": canary, "claims": {"sub": "root"}}),
        json!({"name": "ada", "password": canary, "claims": {"email": 1}}),
        json!({"name": "ada", "password": canary, "claims": {"name": "x".repeat(9_000)}}),
        json!({"name": "ada", "password": canary, "user_code": "123"}),
        json!([canary]),
    ] {
        let reply = it.call(Method::POST, "/users", &[], Some(body.clone())).await;
        assert_problem(&reply, StatusCode::BAD_REQUEST);
        assert!(!String::from_utf8_lossy(&reply.body).contains(canary), "{body}");
    }
    assert_eq!(it.get("/users").await.json(), json!({"users": []}));
    let other = json!({"name": "grace", "disabled": false});
    let reply = it.call(Method::PUT, "/users/ada", &[], Some(other)).await;
    assert_problem(&reply, StatusCode::BAD_REQUEST);
    for path in ["/users?limit=1&befor=x", "/users?after=%20"] {
        assert_problem(&it.get(path).await, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_listing_goes_on_where_it_stopped() {
    let it = Administration::new().await;
    for name in ["grace", "ada", "edsger"] {
        let new = json!({"name": name, "password": PASSWORD});
        let reply = it.call(Method::POST, "/users", &[], Some(new)).await;
        assert_eq!(reply.status, StatusCode::CREATED);
    }
    let names = |page: &Value| -> Vec<String> {
        let users = page["users"].as_array().unwrap().iter();
        users.map(|user| user["name"].as_str().unwrap().to_owned()).collect()
    };
    let page = it.get("/users?limit=2").await.json();
    assert_eq!(
        (names(&page), &page["next"]),
        (vec!["ada".into(), "edsger".into()], &json!("edsger"))
    );
    let page = it.get("/users?limit=2&after=edsger").await.json();
    assert_eq!((names(&page), page.get("next")), (vec!["grace".into()], None));
}
