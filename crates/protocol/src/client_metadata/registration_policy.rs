//! What the server knows when it judges client metadata.

use std::collections::BTreeSet;

use super::authorization::DeliveryMode;
use crate::authentication_method::AuthenticationMethod;
use crate::client::ClientOrigin;
use crate::client_metadata::PermittedAnchors;
use crate::grant_type::GrantType;
use crate::profile::Profile;
use crate::resource::ResourceUri;
use crate::signature_algorithm::SignatureAlgorithm;
use crate::trust_anchor::TrustAnchorName;

/// The server's side of a registration. Everything is stated by the caller; nothing has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationPolicy {
    /// Who sends the metadata.
    pub origin: ClientOrigin,
    /// The server's profile; a client may be stricter.
    pub profile: Profile,
    /// The profiles that this server enforces: a client cannot register another, which would be a claim that nobody keeps.
    pub profiles: BTreeSet<Profile>,
    /// Whether clients may authenticate with secrets. If not, an omitted method is refused: its default is
    /// `client_secret_basic` (RFC 7591 §2).
    pub client_secrets_enabled: bool,
    /// The methods that such a client may register, as far as the profile permits them and secrets are enabled.
    pub methods: BTreeSet<AuthenticationMethod>,
    /// The grant types that this server serves.
    pub grant_types: BTreeSet<GrantType>,
    /// The algorithms that this server signs by: those that a client may want answers signed by.
    pub signing_algorithms: BTreeSet<SignatureAlgorithm>,
    /// The types of authorization details that are configured.
    pub authorization_details_types: BTreeSet<String>,
    /// How clients of backchannel authentication may be told the outcome.
    pub backchannel_delivery_modes: BTreeSet<DeliveryMode>,
    /// The trust anchors that a client can be limited to: each under its name and under that of its key.
    pub trust_anchors: BTreeSet<TrustAnchorName>,
    /// What a `tls_client_auth` client gets that does not register `keybound_trust_anchors`.
    pub trust_anchors_if_omitted: PermittedAnchors,
    /// The scope words that exist; `None` where the configuration lists none, so that any word may be registered.
    pub scopes: Option<BTreeSet<String>>,
    /// The resources whose tokens a client can be allowed to introspect.
    pub resources: BTreeSet<ResourceUri>,
}
