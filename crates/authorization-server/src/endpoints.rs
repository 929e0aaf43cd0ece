//! What clients call: one file per endpoint, each a list of checks in a deliberate order.

mod answer;
pub(crate) mod authorization;
pub(crate) mod backchannel_authentication;
pub(crate) mod device_authorization;
pub(crate) mod introspection;
pub(crate) mod metadata;
pub(crate) mod pushed_authorization;
pub(crate) mod registration;
pub(crate) mod revocation;
pub(crate) mod revocations;
pub(crate) mod token;
pub(crate) mod userinfo;

use std::sync::Arc;

use http::HeaderMap;
use keybound_protocol::client::ClientId;
use keybound_protocol::form::Form;
use keybound_protocol::grant_type::GrantType;
use keybound_store::{Actor, AuditEntry};

use crate::client_authentication::{Attempt, Credential, Unauthenticated};
use crate::clients::PreparedClient;
use crate::configuration::Configuration;
use crate::error::Reason;
use crate::rate_limit::Asker;

pub(crate) use answer::Answer;

/// A request whose form was read; everything else is still to be asked.
#[derive(Clone, Copy)]
pub(crate) struct ClientRequest<'a> {
    pub(crate) attempt: Attempt<'a>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) configuration: &'a Configuration,
}

/// A refusal, with the client if it was authenticated.
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    pub(crate) client: Option<Arc<PreparedClient>>,
}

impl<'a> ClientRequest<'a> {
    fn form(&self) -> &'a Form<'a> {
        self.attempt.form
    }

    /// Whom this request is counted for.
    pub(crate) fn asker<'b>(&self, client: &'b PreparedClient, credential: &Credential) -> Asker<'b> {
        match credential {
            Credential::Authenticated(_) | Credential::Assertion(_) => Asker::Client(client.client.client_id()),
            Credential::Public(_) => Asker::Address(self.attempt.connection.remote_addr().ip()),
        }
    }

    /// Who changes something by this request, if it does.
    pub(crate) fn audit_entry(&self, client_id: &ClientId) -> AuditEntry {
        AuditEntry {
            remote_address: Some(self.attempt.connection.remote_addr().ip().to_string()),
            thumbprint: self
                .attempt
                .presented
                .end_entity()
                .map(|certificate| *certificate.thumbprint()),
            ..AuditEntry::new(self.attempt.now, Actor::Client(client_id.clone()))
        }
    }
}

impl Refused {
    /// A refusal of a client that is known to be who it says.
    pub(crate) fn of(client: &Arc<PreparedClient>, reason: impl Into<Reason>) -> Refused {
        Refused {
            reason: reason.into(),
            client: Some(Arc::clone(client)),
        }
    }
}

impl From<Unauthenticated> for Refused {
    fn from(error: Unauthenticated) -> Refused {
        Refused {
            reason: error.into(),
            client: None,
        }
    }
}

/// Whether the client registered that it uses this grant.
fn require_grant_type(client: &PreparedClient, presented: GrantType) -> Result<(), Reason> {
    let metadata = client.client.metadata();
    if metadata.permits_grant_type(presented) {
        return Ok(());
    }
    Err(Reason::GrantNotRegistered {
        presented,
        registered: metadata.grant_types().to_vec(),
    })
}
