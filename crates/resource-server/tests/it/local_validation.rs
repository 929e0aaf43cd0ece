//! Tokens that are JWTs: every rule of RFC 9068 §4 with the nearest token that breaks it, and what attackers try.

use keybound_protocol::access_token::AccessTokenError;
use keybound_protocol::base64url;
use keybound_protocol::jws::JwsError;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_resource_server::{
    AccessTokenRefusal, IssuerSettings, KeySource, ResourceServer, SettingsError, Validation,
};
use serde_json::{Value, json};

use crate::pki::Party;
use crate::support::{
    AUDIENCE, ISSUER, NOW, check, failed_rule, issuer, refused_as_invalid_token, resource_server, route, settings,
};
use crate::token_issuer::TokenIssuer;

/// A world in which one token is good: each test breaks one thing.
struct Good {
    issuer: TokenIssuer,
    party: Party,
}

impl Good {
    fn new() -> Good {
        Good {
            issuer: TokenIssuer::new(ISSUER),
            party: Party::new("demo"),
        }
    }

    fn claims(&self) -> Value {
        let mut claims = self.issuer.claims(AUDIENCE, NOW);
        claims["cnf"] = json!({"x5t#S256": self.party.thumbprint()});
        claims
    }

    /// The reason why a token is refused with which the certificate is right.
    fn refusal(&self, token: &str) -> (AccessTokenError, String) {
        let resource_server = resource_server(&self.issuer);
        let refused = refused_as_invalid_token(check(&resource_server, token, &self.party.presented(), &route()));
        let rule = failed_rule(&refused).rule.into_owned();
        // Nothing of a refused token is kept: the same answer the second time.
        refused_as_invalid_token(check(&resource_server, token, &self.party.presented(), &route()));
        match refused.into_reason() {
            AccessTokenRefusal::Token(error) | AccessTokenRefusal::Opaque(error) => (error, rule),
            reason => panic!("{reason:?}"),
        }
    }

    fn refusal_with_header(&self, change: impl Fn(&mut Value)) -> (AccessTokenError, String) {
        let mut header = self.issuer.header();
        change(&mut header);
        self.refusal(&self.issuer.sign(&header, &self.claims()))
    }

    fn refusal_with_claims(&self, change: impl Fn(&mut Value)) -> (AccessTokenError, String) {
        let mut claims = self.claims();
        change(&mut claims);
        self.refusal(&self.issuer.sign(&self.issuer.header(), &claims))
    }
}

// covers R9068-5
#[test]
fn a_type_that_is_no_access_tokens_is_refused() {
    let good = Good::new();
    for typ in [
        json!("JWT"),
        json!("jwt"),
        json!("dpop+jwt"),
        json!("logout+jwt"),
        json!(""),
        json!("at+jwt "),
    ] {
        let (error, rule) = good.refusal_with_header(|header| header["typ"] = typ.clone());
        assert!(
            matches!(error, AccessTokenError::Signature(JwsError::Type { .. })),
            "{typ}: {error:?}"
        );
        assert_eq!(rule, "token type permitted");
    }
    let (error, _) = good.refusal_with_header(|header| drop(header.as_object_mut().unwrap().remove("typ")));
    assert!(
        matches!(error, AccessTokenError::Signature(JwsError::Type { presented: None })),
        "{error:?}"
    );
}

// covers R9068-5
#[test]
fn an_algorithm_that_the_issuer_may_not_use_is_refused_and_none_of_all() {
    let good = Good::new();
    for algorithm in ["none", "None", "HS256", "HS512", "RS512", "ES512", "es256", ""] {
        let (error, rule) = good.refusal_with_header(|header| header["alg"] = json!(algorithm));
        assert!(
            matches!(&error, AccessTokenError::Signature(JwsError::AlgorithmNotAllowed { presented }) if presented == algorithm),
            "{error:?}"
        );
        assert_eq!(rule, "signature algorithm permitted");
    }
    // One of ours that this issuer is not configured for.
    let mut limited = settings(&good.issuer);
    limited.algorithms = vec![SignatureAlgorithm::Ps256];
    let token = good.issuer.sign(&good.issuer.header(), &good.claims());
    let resource_server = ResourceServer::new(vec![limited]).unwrap();
    let refused = refused_as_invalid_token(check(&resource_server, &token, &good.party.presented(), &route()));
    assert_eq!(failed_rule(&refused).presented.as_deref(), Some("ES256"));
}

// covers R9068-5
#[test]
fn every_algorithm_of_ours_is_verified_and_belongs_to_its_key() {
    let party = Party::new("demo");
    for algorithm in SignatureAlgorithm::ALL {
        let token_issuer = TokenIssuer::with_algorithm(ISSUER, algorithm);
        let resource_server = resource_server(&token_issuer);
        let token = token_issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
        assert!(
            check(&resource_server, &token, &party.presented(), &route()).is_ok(),
            "{algorithm}"
        );
        // The header names another algorithm that we know: the key is not for it.
        for other in SignatureAlgorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let mut header = token_issuer.header();
            header["alg"] = json!(other);
            let mut claims = token_issuer.claims(AUDIENCE, NOW);
            claims["cnf"] = json!({"x5t#S256": party.thumbprint()});
            let token = token_issuer.sign(&header, &claims);
            let refused = refused_as_invalid_token(check(&resource_server, &token, &party.presented(), &route()));
            assert!(
                matches!(
                    refused.reason(),
                    AccessTokenRefusal::Token(AccessTokenError::Signature(JwsError::AlgorithmNotOfKey { .. }))
                ),
                "{algorithm} as {other}: {:?}",
                refused.reason()
            );
        }
    }
}

// covers R9068-5
#[test]
fn a_key_that_the_issuer_does_not_publish_verifies_nothing_wherever_it_is_named() {
    let good = Good::new();
    let attacker = TokenIssuer::new(ISSUER);
    let claims = good.claims();
    // Signed by the attacker under the issuer's key id: the signature is wrong.
    let (error, rule) = good.refusal(&attacker.sign(&good.issuer.header(), &claims));
    assert!(
        matches!(error, AccessTokenError::Signature(JwsError::Signature)),
        "{error:?}"
    );
    assert_eq!(rule, "signature");
    // Under his own: there is no such key.
    let (error, rule) = good.refusal(&attacker.sign(&attacker.header(), &claims));
    assert!(
        matches!(error, AccessTokenError::Signature(JwsError::UnknownKey { .. })),
        "{error:?}"
    );
    assert_eq!(rule, "signing key known");
    // With his key, or a way to it, in the header.
    for (member, value) in [
        ("jwk", attacker.signer.public_jwk().to_json()),
        ("jku", json!("https://attacker.example/jwks")),
        ("x5u", json!("https://attacker.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
    ] {
        let mut header = good.issuer.header();
        header[member] = value;
        let (error, _) = good.refusal(&attacker.sign(&header, &claims));
        assert!(matches!(error, AccessTokenError::Signature(_)), "{member}: {error:?}");
    }
}

// covers R9068-5
#[test]
fn a_header_with_crit_is_refused() {
    let (error, _) = Good::new().refusal_with_header(|header| {
        header["crit"] = json!(["exp"]);
        header["exp"] = json!(1);
    });
    assert!(
        matches!(error, AccessTokenError::Signature(JwsError::Critical)),
        "{error:?}"
    );
}

// covers R9068-5
#[test]
fn an_audience_without_this_resource_is_refused() {
    let good = Good::new();
    for audience in [
        json!("https://other.example"),
        json!("https://api.example/"),
        json!("https://API.example"),
        json!("api.example"),
        json!(["https://other.example", "https://api.example/v1"]),
        json!([]),
    ] {
        let (error, rule) = good.refusal_with_claims(|claims| claims["aud"] = audience.clone());
        assert!(
            matches!(error, AccessTokenError::Audience { .. }),
            "{audience}: {error:?}"
        );
        assert_eq!(rule, "audience");
    }
    let (error, _) = good.refusal_with_claims(|claims| drop(claims.as_object_mut().unwrap().remove("aud")));
    assert!(matches!(error, AccessTokenError::ClaimMissing("aud")), "{error:?}");
    for wrong in [json!(1), json!(null), json!([1]), json!({"a": AUDIENCE})] {
        let (error, _) = good.refusal_with_claims(|claims| claims["aud"] = wrong.clone());
        assert!(matches!(error, AccessTokenError::ClaimType(_)), "{wrong}: {error:?}");
    }
}

// covers R9068-5, R6749-14
#[test]
fn a_token_outside_its_dates_is_refused() {
    let good = Good::new();
    let now = NOW.unix_secs();
    for (change, rule) in [
        (json!({"exp": now - 30}), "inside its validity"),
        (json!({"exp": 0}), "inside its validity"),
        (json!({"nbf": now + 31}), "inside its validity"),
        (json!({"iat": now + 31}), "inside its validity"),
        (json!({"exp": "never"}), "claims complete"),
        (json!({"exp": null}), "claims complete"),
        (json!({"exp": 1e300}), "claims complete"),
        (json!({"iat": "now"}), "claims complete"),
    ] {
        let (_, failed) = good.refusal_with_claims(|claims| {
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
        });
        assert_eq!(failed, rule, "{change}");
    }
    let (error, _) = good.refusal_with_claims(|claims| drop(claims.as_object_mut().unwrap().remove("exp")));
    assert!(matches!(error, AccessTokenError::ClaimMissing("exp")), "{error:?}");
}

// covers R6749-14
#[test]
fn a_known_token_is_refused_once_it_has_expired() {
    let good = Good::new();
    let resource_server = resource_server(&good.issuer);
    let parts = crate::support::with_token(&good.issuer.sign(&good.issuer.header(), &good.claims()));
    let at = |secs| {
        let now = NOW.plus(std::time::Duration::from_secs(secs));
        match resource_server.check(&parts, &good.party.presented(), &route(), now) {
            keybound_resource_server::Check::Done(verdict) => verdict,
            keybound_resource_server::Check::Pending(_) => panic!("nothing to wait for"),
        }
    };
    assert!(at(0).is_ok());
    // The leeway of 30 s, to the second.
    assert!(at(329).is_ok());
    let refused = at(330).unwrap_err();
    assert!(matches!(
        refused.reason(),
        AccessTokenRefusal::Token(AccessTokenError::Expired { .. })
    ));
    assert_eq!(failed_rule(&refused).rule, "inside its validity");
}

// covers R9068-5
#[test]
fn the_issuer_is_compared_octet_for_octet_and_nobody_vouches_for_another() {
    let party = Party::new("demo");
    let (one, two) = (
        TokenIssuer::new("https://one.example"),
        TokenIssuer::new("https://two.example"),
    );
    let resource_server = ResourceServer::new(vec![settings(&one), settings(&two)]).unwrap();
    for iss in [
        "https://one.example/",
        "https://ONE.example",
        "http://one.example",
        "https://three.example",
        "",
    ] {
        let mut claims = one.claims(AUDIENCE, NOW);
        claims["iss"] = json!(iss);
        claims["cnf"] = json!({"x5t#S256": party.thumbprint()});
        let token = one.sign(&one.header(), &claims);
        let refused = refused_as_invalid_token(check(&resource_server, &token, &party.presented(), &route()));
        assert!(
            matches!(refused.reason(), AccessTokenRefusal::UnknownIssuer { presented: Some(presented) } if presented == iss),
            "{:?}",
            refused.reason()
        );
        assert_eq!(failed_rule(&refused).rule, "an issuer that this route trusts");
    }
    // A good key, of the other issuer.
    let mut claims = one.claims(AUDIENCE, NOW);
    claims["iss"] = json!(two.issuer);
    claims["cnf"] = json!({"x5t#S256": party.thumbprint()});
    let token = one.sign(&one.header(), &claims);
    let refused = refused_as_invalid_token(check(&resource_server, &token, &party.presented(), &route()));
    assert!(
        matches!(
            refused.reason(),
            AccessTokenRefusal::Token(AccessTokenError::Signature(_))
        ),
        "{:?}",
        refused.reason()
    );
    // Each with its own is accepted.
    for issuer in [&one, &two] {
        let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
        let accepted = check(&resource_server, &token, &party.presented(), &route()).unwrap();
        assert_eq!(accepted.claims().issuer, issuer.issuer);
    }
}

// covers R9068-5
#[test]
fn a_route_takes_tokens_of_its_own_issuers_alone_known_or_not() {
    let party = Party::new("demo");
    let (one, two) = (
        TokenIssuer::new("https://one.example"),
        TokenIssuer::new("https://two.example"),
    );
    let resource_server = ResourceServer::new(vec![settings(&one), settings(&two)]).unwrap();
    let token = two.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let policy = route().with_issuers(vec![issuer(&one.issuer)]);
    for known in [false, true] {
        let refused = refused_as_invalid_token(check(&resource_server, &token, &party.presented(), &policy));
        assert!(
            matches!(refused.reason(), AccessTokenRefusal::IssuerNotAdmitted { .. }),
            "{known}: {:?}",
            refused.reason()
        );
        assert_eq!(refused.claims().is_some(), known);
        assert!(check(&resource_server, &token, &party.presented(), &route()).is_ok());
    }
}

// covers R9068-5
#[test]
fn a_known_token_is_refused_on_a_route_of_another_audience() {
    let good = Good::new();
    let resource_server = resource_server(&good.issuer);
    let token = good.issuer.sign(&good.issuer.header(), &good.claims());
    let other = keybound_resource_server::RoutePolicy::new("https://other.example".parse().unwrap());
    assert!(check(&resource_server, &token, &good.party.presented(), &route()).is_ok());
    let refused = check(&resource_server, &token, &good.party.presented(), &other).unwrap_err();
    assert!(matches!(
        refused.reason(),
        AccessTokenRefusal::Token(AccessTokenError::Audience { .. })
    ));
    let rule = failed_rule(&refused);
    assert_eq!(
        (rule.presented.as_deref(), rule.registered.as_deref()),
        (Some(AUDIENCE), Some("https://other.example"))
    );
}

#[test]
fn an_issuer_may_call_us_by_another_name_and_give_its_tokens_another_type() {
    let good = Good::new();
    let mut foreign = settings(&good.issuer);
    foreign.audiences = vec!["api://1b2c".to_owned()];
    foreign.token_types = vec!["JWT".to_owned()];
    let resource_server = ResourceServer::new(vec![foreign]).unwrap();
    let mut header = good.issuer.header();
    header["typ"] = json!("JWT");
    let mut claims = good.claims();
    claims["aud"] = json!(["account", "api://1b2c"]);
    let token = good.issuer.sign(&header, &claims);
    for _ in 0..2 {
        assert!(check(&resource_server, &token, &good.party.presented(), &route()).is_ok());
    }
    // With such a type, what looks like an ID token is one.
    claims["at_hash"] = json!("MTIzNDU2Nzg5MDEyMzQ1Ng");
    let token = good.issuer.sign(&header, &claims);
    let refused = refused_as_invalid_token(check(&resource_server, &token, &good.party.presented(), &route()));
    assert!(matches!(
        refused.reason(),
        AccessTokenRefusal::Token(AccessTokenError::OtherKindOfToken { .. })
    ));
    // And the type of RFC 9068 is not among those that were asked for.
    let token = good.issuer.sign(&good.issuer.header(), &good.claims());
    refused_as_invalid_token(check(&resource_server, &token, &good.party.presented(), &route()));
}

#[test]
fn a_claim_twice_in_a_token_is_refused() {
    let good = Good::new();
    let claims = good.claims().to_string();
    let header = good.issuer.header().to_string();
    for name in ["cnf", "aud", "iss", "exp", "scope"] {
        let first = good.claims()[name].to_string();
        let twice = format!("{},\"{name}\":{first}}}", claims.strip_suffix('}').unwrap());
        let token = good.issuer.sign_octets(header.as_bytes(), twice.as_bytes());
        let (error, rule) = good.refusal(&token);
        assert!(matches!(error, AccessTokenError::Claims(_)), "{name}: {error:?}");
        assert_eq!(rule, "a signed JWT");
    }
    let twice = format!("{},\"alg\":\"none\"}}", header.strip_suffix('}').unwrap());
    let (error, _) = good.refusal(&good.issuer.sign_octets(twice.as_bytes(), claims.as_bytes()));
    assert!(
        matches!(error, AccessTokenError::Signature(JwsError::Header(_))),
        "{error:?}"
    );
}

// covers R9068-5
#[test]
fn a_token_altered_in_any_one_character_is_refused() {
    let good = Good::new();
    let resource_server = resource_server(&good.issuer);
    let token = good.issuer.sign(&good.issuer.header(), &good.claims());
    assert!(check(&resource_server, &token, &good.party.presented(), &route()).is_ok());
    let (mut tried, mut accepted) = (0, 0);
    for position in 0..token.len() {
        for replacement in ["A", "_", "-", "9", "z", ".", "="] {
            if &token[position..=position] == replacement {
                continue;
            }
            let altered = format!("{}{replacement}{}", &token[..position], &token[position + 1..]);
            tried += 1;
            accepted += usize::from(check(&resource_server, &altered, &good.party.presented(), &route()).is_ok());
        }
        // Shortened, and lengthened.
        for altered in [
            token[..position].to_owned(),
            format!("{}A{}", &token[..position], &token[position..]),
        ] {
            tried += 1;
            accepted += usize::from(check(&resource_server, &altered, &good.party.presented(), &route()).is_ok());
        }
    }
    assert!(tried > 3_000, "{tried}");
    assert_eq!(accepted, 0);
    assert!(check(&resource_server, &token, &good.party.presented(), &route()).is_ok());
}

// Whatever a header says, whatever the claims say: without the issuer's signature over them nothing is accepted.
// covers R9068-5
#[test]
fn twenty_thousand_mutations_of_headers_and_claims_are_refused() {
    let good = Good::new();
    let attacker = TokenIssuer::new(ISSUER);
    let resource_server = resource_server(&good.issuer);
    let token = good.issuer.sign(&good.issuer.header(), &good.claims());
    let signature = token.rsplit('.').next().unwrap();
    let names = [
        "alg",
        "typ",
        "kid",
        "jku",
        "x5u",
        "jwk",
        "crit",
        "iss",
        "aud",
        "exp",
        "cnf",
        "scope",
        "client_id",
        "zip",
        "b64",
    ];
    let values = [
        json!("none"),
        json!("HS256"),
        json!(""),
        json!(null),
        json!(0),
        json!(true),
        json!([]),
        json!({}),
        json!("JWT"),
        json!(ISSUER),
        json!(AUDIENCE),
        json!(["https://attacker.example"]),
        json!(9_999_999_999_i64),
        json!("\u{0}"),
        attacker.signer.public_jwk().to_json(),
    ];
    let (mut tried, mut accepted) = (0, 0);
    let mut attempt = |token: &str| {
        tried += 1;
        accepted += usize::from(check(&resource_server, token, &good.party.presented(), &route()).is_ok());
    };
    for (place, name) in names.iter().enumerate() {
        for (other_place, value) in values.iter().enumerate() {
            for variant in 0..15 {
                let (mut header, mut claims) = (good.issuer.header(), good.claims());
                let second = names[(place + variant) % names.len()];
                header[*name] = value.clone();
                claims[second] = values[(other_place + variant) % values.len()].clone();
                claims["jti"] = json!(format!("{place}-{other_place}-{variant}"));
                let (header, claims) = (header.to_string(), claims.to_string());
                let input = format!(
                    "{}.{}",
                    base64url::encode(header.as_bytes()),
                    base64url::encode(claims.as_bytes())
                );
                // The signature of another token, none at all, the attacker's, and one keyed with the public key's text.
                attempt(&format!("{input}.{signature}"));
                attempt(&format!("{input}."));
                attempt(&attacker.sign_octets(header.as_bytes(), claims.as_bytes()));
                let mac_key = good.issuer.signer.public_jwk().to_json().to_string();
                let mac_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, mac_key.as_bytes());
                let mac = aws_lc_rs::hmac::sign(&mac_key, input.as_bytes());
                attempt(&format!("{input}.{}", base64url::encode(mac.as_ref())));
                attempt(&input);
                attempt(&format!("{input}.{signature}.{signature}.{signature}"));
            }
        }
    }
    assert!(tried >= 20_000, "{tried}");
    assert_eq!(accepted, 0);
    assert!(check(&resource_server, &token, &good.party.presented(), &route()).is_ok());
}

#[test]
fn settings_that_could_only_surprise_are_refused() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let change = |change: fn(&mut IssuerSettings)| {
        let mut settings = settings(&token_issuer);
        change(&mut settings);
        ResourceServer::new(vec![settings]).unwrap_err()
    };
    assert_eq!(ResourceServer::new(Vec::new()).unwrap_err(), SettingsError::NoIssuer);
    assert_eq!(
        change(|it| it.algorithms.clear()),
        SettingsError::NoAlgorithm(issuer(ISSUER))
    );
    assert_eq!(
        change(|it| it.token_types.clear()),
        SettingsError::NoTokenType(issuer(ISSUER))
    );
    let twice = vec![settings(&token_issuer), settings(&token_issuer)];
    assert_eq!(
        ResourceServer::new(twice).unwrap_err(),
        SettingsError::DuplicateIssuer(issuer(ISSUER))
    );
    let none = IssuerSettings::new(issuer(ISSUER), Validation::Local(KeySource::Static(Default::default())));
    assert!(ResourceServer::new(vec![none]).is_ok(), "keys may come later");
}
