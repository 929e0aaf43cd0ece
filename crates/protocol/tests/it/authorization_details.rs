//! Rich authorization requests (RFC 9396).

use keybound_protocol::authorization_details::{
    AUTHORIZATION_DETAILS_BYTES_MAX, AUTHORIZATION_DETAILS_MAX, AuthorizationDetails, AuthorizationDetailsError,
    AuthorizationDetailsType, AuthorizationDetailsTypes, FieldKind,
};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::resource::ResourceUri;
use serde_json::{Value, json};

fn types() -> AuthorizationDetailsTypes {
    let fields = |fields: &[(&str, FieldKind)]| fields.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    let named = |name: &str, required: &[_], optional: &[_]| AuthorizationDetailsType {
        name: name.to_owned(),
        description: None,
        required: fields(required),
        optional: fields(optional),
    };
    AuthorizationDetailsTypes::new([
        named(
            "payment",
            &[
                ("instructedAmount", FieldKind::Object),
                ("creditorName", FieldKind::String),
            ],
            &[
                ("actions", FieldKind::Strings),
                ("locations", FieldKind::Strings),
                ("urgent", FieldKind::Boolean),
                ("days", FieldKind::Number),
                ("parts", FieldKind::Objects),
            ],
        ),
        named("accounts", &[], &[("actions", FieldKind::Strings)]),
    ])
}

fn payment() -> Value {
    json!({"type": "payment", "instructedAmount": {"currency": "EUR", "amount": "1.50"}, "creditorName": "Merchant"})
}

fn require(details: &Value, registered: &[&str]) -> Result<(), AuthorizationDetailsError> {
    let registered: Vec<String> = registered.iter().map(|name| (*name).to_owned()).collect();
    types().require(&AuthorizationDetails::parse(&details.to_string())?, &registered)
}

fn with(member: &str, value: Value) -> Value {
    let mut payment = payment();
    payment[member] = value;
    payment
}

// covers R9396-1
#[test]
fn a_detail_has_exactly_the_fields_of_its_type() {
    let without = |member: &str| {
        let mut payment = payment();
        payment.as_object_mut().unwrap().remove(member);
        payment
    };
    for detail in [
        json!({}),
        json!({"type": 1}),
        json!({"type": "Payment"}),
        json!({"type": "unknown"}),
        without("type"),
        without("instructedAmount"),
        without("creditorName"),
        with("unknown", json!(1)),
        with("Actions", json!(["a"])),
        with("creditorName", json!("")),
        with("creditorName", json!(["Merchant"])),
        with("instructedAmount", json!("1.50")),
        with("actions", json!("initiate")),
        with("actions", json!([])),
        with("actions", json!([1])),
        with("urgent", json!("true")),
        with("days", json!("1")),
        with("parts", json!([1])),
        with("parts", json!([])),
        with("urgent", Value::Null),
    ] {
        let error = require(&json!([payment(), detail]), &[]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidAuthorizationDetails, "{detail}");
    }
    let all = json!({
        "type": "payment", "instructedAmount": {}, "creditorName": "M", "actions": ["initiate"],
        "locations": ["https://api.example"], "urgent": true, "days": 1.5, "parts": [{"a": 1}],
    });
    assert_eq!(require(&json!([payment(), all, {"type": "accounts"}]), &[]), Ok(()));
}

// covers R9396-1
#[test]
fn what_is_no_list_of_objects_or_too_much_is_refused() {
    for text in [
        "",
        "{}",
        "[]",
        "[1]",
        "null",
        "[{\"type\":\"accounts\",\"type\":\"payment\"}]",
        "[{\"type\":\"accounts\"}",
    ] {
        let error = AuthorizationDetails::parse(text).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidAuthorizationDetails, "{text}");
    }
    let many = |count| Value::from(vec![json!({"type": "accounts"}); count]).to_string();
    assert!(AuthorizationDetails::parse(&many(AUTHORIZATION_DETAILS_MAX)).is_ok());
    let too_many = AUTHORIZATION_DETAILS_MAX + 1;
    assert_eq!(
        AuthorizationDetails::parse(&many(too_many)),
        Err(AuthorizationDetailsError::TooMany(too_many))
    );
    let long = format!("[{}]", " ".repeat(AUTHORIZATION_DETAILS_BYTES_MAX));
    assert_eq!(
        AuthorizationDetails::parse(&long),
        Err(AuthorizationDetailsError::TooLong(long.len()))
    );
    let deep = format!(
        "[{{\"type\":\"accounts\",\"x\":{}1{}}}]",
        "[".repeat(100),
        "]".repeat(100)
    );
    assert!(matches!(
        AuthorizationDetails::parse(&deep),
        Err(AuthorizationDetailsError::Json(_))
    ));
}

// covers R9396-4
#[test]
fn a_client_that_registered_types_uses_no_other() {
    let details = json!([{"type": "accounts"}]);
    assert_eq!(require(&details, &["payment", "accounts"]), Ok(()));
    assert_eq!(
        require(&details, &["payment"]),
        Err(AuthorizationDetailsError::TypeNotRegistered("accounts".to_owned()))
    );
    assert_eq!(types().names().collect::<Vec<_>>(), ["accounts", "payment"]);
}

// covers R9396-4
#[test]
fn what_was_granted_of_a_type_that_is_gone_is_left_out_and_refused_if_it_is_asked_for() {
    let parse = |value: &Value| AuthorizationDetails::parse(&value.to_string()).unwrap();
    // A field that the type has lost meanwhile was judged when it was asked for.
    let (accounts, payment) = (json!({"type": "accounts", "gone": 1}), payment());
    let both = parse(&json!([accounts, payment]));
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (registered, left) in [
        (&[][..], json!([accounts, payment])),
        (&["accounts", "payment"], json!([accounts, payment])),
        (&["payment"], json!([payment])),
        (&["other"], json!([])),
    ] {
        let registered = owned(registered);
        assert_eq!(types().of_permitted_types(&both, &registered).to_json(), left);
        let is_whole = left.as_array().unwrap().len() == 2;
        assert_eq!(types().require_types(&both, &registered).is_ok(), is_whole);
    }
    assert_eq!(
        types().require_types(&both, &owned(&["payment"])),
        Err(AuthorizationDetailsError::TypeNotRegistered("accounts".to_owned()))
    );
    let none = AuthorizationDetailsTypes::default();
    assert!(none.of_permitted_types(&both, &[]).is_empty());
    assert_eq!(
        none.require_types(&both, &[]),
        Err(AuthorizationDetailsError::TypeUnknown("accounts".to_owned()))
    );
}

// covers R9396-2
#[test]
fn a_token_request_may_ask_for_a_part_and_never_for_more() {
    let parse = |details: Value| AuthorizationDetails::parse(&details.to_string()).unwrap();
    let granted = parse(json!([
        {"type": "accounts", "actions": ["list", "read"]},
        {"type": "payment", "instructedAmount": {"amount": "5"}, "creditorName": "M"},
    ]));
    for part in [
        json!([{"type": "accounts", "actions": ["read", "list"]}]),
        json!([{"type": "accounts", "actions": ["read"]}]),
        json!([{"type": "payment", "instructedAmount": {"amount": "5"}, "creditorName": "M"}]),
    ] {
        assert_eq!(parse(part.clone()).require_within(&granted), Ok(()), "{part}");
    }
    for more in [
        json!([{"type": "accounts", "actions": ["read", "delete"]}]),
        json!([{"type": "accounts", "actions": []}]),
        json!([{"type": "accounts"}]),
        json!([{"type": "accounts", "actions": ["read"], "locations": ["x"]}]),
        json!([{"type": "payment", "instructedAmount": {"amount": "4"}, "creditorName": "M"}]),
        json!([{"type": "accounts", "actions": ["read"]}, {"type": "other"}]),
    ] {
        let error = parse(more.clone()).require_within(&granted).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidAuthorizationDetails, "{more}");
    }
}

// covers R9396-3
#[test]
fn a_resource_is_told_what_concerns_it() {
    let details = json!([
        {"type": "a"},
        {"type": "b", "locations": ["https://api.example", "https://other.example"]},
        {"type": "c", "locations": ["https://other.example"]},
    ]);
    let details = AuthorizationDetails::parse(&details.to_string()).unwrap();
    let resource = ResourceUri::parse("https://api.example").unwrap();
    assert_eq!(details.for_resource(&resource).types().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(AuthorizationDetails::parse(&details.to_json().to_string()), Ok(details));
}
