//! What dynamic client registration (RFC 7591) is told: who may register clients, and what those may be.

use std::collections::BTreeSet;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::profile::Profile;
use keybound_protocol::secret::SecretHash;
use keybound_protocol::software_statement::SoftwareStatementIssuer;
use keybound_protocol::trust_anchor::TrustAnchorName;

/// The registration endpoint. Nobody registers without an initial access token: where there is none, nobody does.
#[derive(Clone, Debug)]
pub struct RegistrationSettings {
    /// Who may register clients.
    pub initial_access_tokens: Vec<InitialAccessToken>,
    /// Whose software statements count.
    pub software_statement_issuers: Vec<SoftwareStatementIssuer>,
    /// Clients that may be registered in all.
    pub clients_max: u64,
    /// Registrations that one address, or one IPv6 /64, may make in an hour.
    pub per_address_and_hour_max: u64,
}

/// An initial access token (RFC 7591 §3), by the name under which audit and registrations know it.
#[derive(Clone, Debug)]
pub struct InitialAccessToken {
    /// Its name.
    pub name: String,
    /// What is kept of it.
    pub token: SecretHash,
    /// What clients may be that are registered with it.
    pub policy: ClientPolicy,
}

/// What a client may be that registers itself. It never has reserved scopes, and never introspects others' tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPolicy {
    /// The methods that it may register.
    pub methods: BTreeSet<AuthenticationMethod>,
    /// The grant types that it may register; `None` for all that are served.
    pub grant_types: Option<BTreeSet<GrantType>>,
    /// The scope words that it may register; `None` for all that are configured.
    pub scopes: Option<BTreeSet<String>>,
    /// The trust anchors that may have issued its certificate, and do if it names none; `None` for all.
    pub trust_anchors: Option<Vec<TrustAnchorName>>,
    /// The profile that it has at least.
    pub profile: Profile,
    /// Whether it has to come with a software statement.
    pub software_statement_required: bool,
    /// How many such clients there may be.
    pub clients_max: u64,
}

/// The methods of a policy that names none: those of the FAPI 2.0 profile.
pub const REGISTRATION_METHODS: [AuthenticationMethod; 3] = [
    AuthenticationMethod::TlsClientAuth,
    AuthenticationMethod::SelfSignedTlsClientAuth,
    AuthenticationMethod::PrivateKeyJwt,
];
