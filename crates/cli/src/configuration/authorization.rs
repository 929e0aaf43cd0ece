//! `[authorization]` and `[[authorization_details_types]]`: what authorization requests may and have to be.

use std::collections::BTreeMap;

use keybound_authorization_server::settings::AuthorizationSettings;
use keybound_protocol::authorization_details::{AuthorizationDetailsType, AuthorizationDetailsTypes, FieldKind};

use super::diagnostic::Diagnostic;
use super::document::Section;

/// The settings, as far as they can be made sense of.
pub(super) fn settings(root: &Section<'_>) -> AuthorizationSettings {
    let authorization = root.section("authorization");
    let require_pushed = authorization.boolean("require_pushed_authorization_requests", false);
    authorization.finish();
    let mut types: Vec<AuthorizationDetailsType> = Vec::new();
    for section in root.sections("authorization_details_types") {
        let place = section.place_of("type").clone();
        let Some(read) = details_type(section) else { continue };
        if types.iter().any(|earlier| earlier.name == read.name) {
            let message = format!("authorization details type {:?} is there twice", read.name);
            root.report(Diagnostic::error("C010", &place, message));
            continue;
        }
        types.push(read);
    }
    AuthorizationSettings {
        require_pushed_authorization_requests: require_pushed.value,
        details_types: AuthorizationDetailsTypes::new(types),
    }
}

fn details_type(section: Section<'_>) -> Option<AuthorizationDetailsType> {
    let name = section.required("type");
    let description = section.string("description").map(|located| located.value);
    let (mut required, mut optional) = (BTreeMap::new(), BTreeMap::new());
    for section in section.sections("fields") {
        let is_required = section.boolean("required", false).value;
        if let Some((name, kind)) = field(section) {
            let fields = if is_required { &mut required } else { &mut optional };
            fields.insert(name, kind);
        }
    }
    section.finish();
    Some(AuthorizationDetailsType {
        name: name?.value,
        description,
        required,
        optional,
    })
}

fn field(section: Section<'_>) -> Option<(String, FieldKind)> {
    let name = section.required("name");
    let kind = section.required_parsed("kind", |text| {
        FieldKind::from_name(text)
            .ok_or_else(|| format!("must be one of {}", FieldKind::ALL.map(FieldKind::name).join(", ")))
    });
    section.finish();
    Some((name?.value, kind?.value))
}
