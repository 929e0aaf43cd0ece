//! Which claims about a user a client is told (OpenID Connect Core §5): by the scope that was granted, and one by one.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::claims_request::{ClaimRequest, ClaimsRequest};
use crate::scope::Scope;
use crate::user::{UserClaims, UserSubject};

/// The scope word that makes a request one of OpenID Connect.
pub const OPENID_SCOPE: &str = "openid";

/// The claims that a scope word asks for (§5.4).
const CLAIMS_OF_SCOPE: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

/// Claims about the sign-in, not about the user.
pub const ABOUT_SIGN_IN: [&str; 3] = ["sub", "auth_time", "acr"];

/// The scope words of OpenID Connect that mean something here.
pub fn scopes_supported() -> impl Iterator<Item = &'static str> {
    std::iter::once(OPENID_SCOPE).chain(CLAIMS_OF_SCOPE.into_iter().map(|(scope, _)| scope))
}

/// The claims that may be told, as metadata lists them. `acr` is not among them: no sign-in here has one.
pub fn claims_supported() -> impl Iterator<Item = &'static str> {
    let of_scopes = CLAIMS_OF_SCOPE
        .into_iter()
        .flat_map(|(_, claims)| claims.iter().copied());
    ["sub", "iss", "auth_time"].into_iter().chain(of_scopes)
}

/// What the userinfo endpoint answers: `sub`, and what was asked for by scope or by name, as far as it is known.
pub fn userinfo(
    subject: &UserSubject,
    scope: &Scope,
    requested: &ClaimsRequest,
    user: &UserClaims,
) -> Map<String, Value> {
    let mut claims = Map::new();
    for (word, names) in CLAIMS_OF_SCOPE {
        if scope.contains(word) {
            claims.extend(names.iter().filter_map(|name| known(name, user)));
        }
    }
    claims.extend(requested.userinfo().filter_map(|asked| wanted(asked, user)));
    claims.insert("sub".to_owned(), json!(subject.as_str()));
    claims
}

/// The claims about the user that were asked for in the ID token. Those of a scope are at the userinfo endpoint alone, for with a code
/// there is always a token for that (§5.4).
pub fn id_token_claims(requested: &ClaimsRequest, user: &UserClaims) -> Map<String, Value> {
    requested.id_token().filter_map(|asked| wanted(asked, user)).collect()
}

/// Whether a user who allowed `scope` and `consented` allowed all claims that `requested` asks for, wherever they are told. That somebody
/// signed in, when and how, needs no leave of its own.
pub fn is_consented(requested: &ClaimsRequest, scope: &Scope, consented: &ClaimsRequest) -> bool {
    let names = |claims: &ClaimsRequest| -> BTreeSet<String> {
        let all = claims.userinfo().chain(claims.id_token());
        all.map(|(name, _)| name.to_owned()).collect()
    };
    let of_scope = |name: &str| {
        let mut words = CLAIMS_OF_SCOPE.into_iter();
        words.any(|(word, claims)| scope.contains(word) && claims.contains(&name))
    };
    let consented = names(consented);
    names(requested)
        .iter()
        .all(|name| ABOUT_SIGN_IN.contains(&name.as_str()) || consented.contains(name) || of_scope(name))
}

fn known(name: &str, user: &UserClaims) -> Option<(String, Value)> {
    user.get(name).map(|value| (name.to_owned(), value.clone()))
}

/// The claim, unless other values of it were asked for (§5.5.1).
fn wanted((name, asked): (&str, &ClaimRequest), user: &UserClaims) -> Option<(String, Value)> {
    let (name, value) = known(name, user)?;
    let is_wanted = |wanted: &_| serde_json::to_value(wanted).is_ok_and(|wanted| wanted == value);
    (asked.values.is_empty() || asked.values.iter().any(is_wanted)).then_some((name, value))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    fn user() -> UserClaims {
        UserClaims::parse(&json!({"name": "Alice", "email": "a@example.com", "email_verified": true, "custom": [1]}))
            .unwrap()
    }

    fn check(scope: &str, claims: &str, expected: Value) {
        let subject = UserSubject::from_random(&[0; 16]);
        let requested = ClaimsRequest::parse(claims).unwrap();
        let mut shown = userinfo(&subject, &Scope::parse(scope).unwrap(), &requested, &user());
        assert_eq!(shown.remove("sub"), Some(json!(subject.as_str())));
        assert_eq!(Value::Object(shown), expected, "{scope} {claims}");
    }

    #[test]
    fn what_nobody_asked_for_is_not_told() {
        check("openid", "{}", json!({}));
        check("openid profile", "{}", json!({"name": "Alice"}));
        check(
            "email openid",
            "{}",
            json!({"email": "a@example.com", "email_verified": true}),
        );
        check("openid phone address", "{}", json!({}));
        check("openid", r#"{"id_token":{"name":null}}"#, json!({}));
        check(
            "openid",
            r#"{"userinfo":{"custom":null,"phone_number":{"essential":true}}}"#,
            json!({"custom": [1]}),
        );
        check(
            "openid",
            r#"{"userinfo":{"name":{"value":"Bob"},"sub":{"value":"x"}}}"#,
            json!({}),
        );
        check(
            "openid",
            r#"{"userinfo":{"name":{"values":["Bob","Alice"]}}}"#,
            json!({"name": "Alice"}),
        );
    }

    #[test]
    fn claims_are_consented_to_by_name_or_by_scope() {
        for (requested, scope, consented, expected) in [
            (r#"{"id_token":{"email":null}}"#, "openid", "{}", false),
            (r#"{"userinfo":{"custom":null}}"#, "openid profile email", "{}", false),
            (
                r#"{"userinfo":{"name":null,"vip":null}}"#,
                "openid",
                r#"{"userinfo":{"name":null}}"#,
                false,
            ),
            (r#"{"id_token":{"email":null}}"#, "openid email", "{}", true),
            (
                r#"{"id_token":{"vip":null}}"#,
                "openid",
                r#"{"userinfo":{"vip":null}}"#,
                true,
            ),
            (
                r#"{"id_token":{"sub":null,"auth_time":null,"acr":null}}"#,
                "openid",
                "{}",
                true,
            ),
        ] {
            let claims = |text| ClaimsRequest::parse(text).unwrap();
            let scope = Scope::parse(scope).unwrap();
            let found = is_consented(&claims(requested), &scope, &claims(consented));
            assert_eq!(found, expected, "{requested} {scope} {consented}");
        }
    }

    #[test]
    fn an_id_token_has_what_was_asked_for_in_it() {
        let requested =
            ClaimsRequest::parse(r#"{"id_token":{"name":null,"auth_time":null},"userinfo":{"email":null}}"#);
        assert_eq!(
            Value::Object(id_token_claims(&requested.unwrap(), &user())),
            json!({"name": "Alice"})
        );
    }
}
