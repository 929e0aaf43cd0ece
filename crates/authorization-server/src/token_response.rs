//! The answer to a token request that gets something (RFC 6749 §5.1), whatever the grant.

use http::StatusCode;
use keybound_protocol::authorization_details::AuthorizationDetails;
use keybound_protocol::scope::Scope;

use crate::response::{self, Response};

/// What is handed out.
#[derive(Clone, Copy)]
pub(crate) struct TokenResponse<'a> {
    pub(crate) access_token: &'a str,
    pub(crate) token_type: &'static str,
    pub(crate) expires_in: u64,
    pub(crate) scope: &'a Scope,
    pub(crate) refresh_token: Option<&'a str>,
    pub(crate) id_token: Option<&'a str>,
    /// What the access token carries (RFC 9396 §7).
    pub(crate) authorization_details: Option<&'a AuthorizationDetails>,
    /// RFC 8693 §2.2.1
    pub(crate) issued_token_type: Option<&'static str>,
    /// CIBA Core §10.3.1, where it is pushed.
    pub(crate) auth_req_id: Option<&'a str>,
}

impl<'a> TokenResponse<'a> {
    /// An access token alone.
    pub(crate) fn new(access_token: &'a str, token_type: &'static str, expires_in: u64, scope: &'a Scope) -> Self {
        TokenResponse {
            access_token,
            token_type,
            expires_in,
            scope,
            refresh_token: None,
            id_token: None,
            authorization_details: None,
            issued_token_type: None,
            auth_req_id: None,
        }
    }

    /// The answer. No cache keeps it.
    pub(crate) fn to_response(self) -> Response {
        response::json(StatusCode::OK, self.to_json())
    }

    /// What the answer says.
    pub(crate) fn to_json(self) -> String {
        // No token, scope or registered name has a character that JSON escapes.
        let more = self.refresh_token.map_or(0, str::len) + self.id_token.map_or(0, str::len);
        let mut body = String::with_capacity(self.access_token.len() + self.scope.as_str().len() + more + 160);
        body.push_str(r#"{"access_token":""#);
        body.push_str(self.access_token);
        body.push_str(r#"","token_type":""#);
        body.push_str(self.token_type);
        body.push_str(r#"","expires_in":"#);
        body.push_str(&self.expires_in.to_string());
        let texts = [
            ("scope", Some(self.scope.as_str()).filter(|scope| !scope.is_empty())),
            ("refresh_token", self.refresh_token),
            ("id_token", self.id_token),
            ("issued_token_type", self.issued_token_type),
            ("auth_req_id", self.auth_req_id),
        ];
        for (name, text) in texts {
            let Some(text) = text else { continue };
            for part in [",\"", name, "\":\"", text, "\""] {
                body.push_str(part);
            }
        }
        if let Some(details) = self.authorization_details.filter(|details| !details.is_empty()) {
            body.push_str(r#","authorization_details":"#);
            body.push_str(&details.to_json().to_string());
        }
        body.push('}');
        body
    }
}
