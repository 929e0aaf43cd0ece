//! What the tests of devices and of backchannel authentication share: users, clients, decisions.

use std::net::IpAddr;

use keybound_authorization_server::approvals::{DecisionRefusal, UserDecision};
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{Actor, ApprovalRequestHash, AuditEntry, CreateUser, NewUser, PasswordHash};
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns};
use crate::world::{Plan, World, tls_client, with};

pub(crate) const HOME: [u8; 4] = [192, 0, 2, 7];

/// A running server with the users ada and grace, and clients with their certificates.
pub(crate) struct Cast {
    pub(crate) world: World,
    pub(crate) demo: Leaf,
    pub(crate) other: Leaf,
    pub(crate) ada: UserSubject,
    pub(crate) grace: UserSubject,
    /// Whose certificates the clients have.
    pub(crate) authority: Authority,
}

/// `more` goes into the metadata of `demo` and `other`; `plain` has none of it.
pub(crate) async fn cast(more: Value, change: impl FnOnce(Plan) -> Plan) -> Cast {
    cast_from(Plan::new(), more, change).await
}

/// The metadata is judged by the settings of `plan`; `change` comes after that.
pub(crate) async fn cast_from(plan: Plan, more: Value, change: impl FnOnce(Plan) -> Plan) -> Cast {
    let authority = Authority::root("corp");
    let scope = json!({"scope": "openid read write"});
    let client = |name: &str| with(with(tls_client(name), scope.clone()), more.clone());
    let plan = plan
        .trusts("corp", &authority)
        .client("demo", client("demo.example"))
        .client("other", client("other.example"))
        .client("plain", tls_client("demo.example"));
    let world = change(plan).start().await;
    let (ada, grace) = (UserSubject::from_random(&[1; 16]), UserSubject::from_random(&[2; 16]));
    for (name, subject) in [("ada", &ada), ("grace", &grace)] {
        let user = NewUser {
            name: UserName::parse(name).unwrap(),
            subject: subject.clone(),
            password_hash: PasswordHash::from_phc("none"),
            user_code_hash: None,
            claims: "{}".into(),
            is_disabled: false,
        };
        let created = world.store.users.create_user(user, entry(&world)).await.unwrap();
        assert!(matches!(created, CreateUser::Created { .. }));
    }
    Cast {
        demo: authority.issue(dns("demo.example")),
        other: authority.issue(dns("other.example")),
        world,
        ada,
        grace,
        authority,
    }
}

pub(crate) fn entry(world: &World) -> AuditEntry {
    AuditEntry::new(Timestamp::from_unix_secs(world.clock.now()), Actor::Operator)
}

impl Cast {
    pub(crate) async fn decide(
        &self,
        hash: ApprovalRequestHash,
        subject: &UserSubject,
        is_approved: bool,
    ) -> Result<(), DecisionRefusal> {
        let decision = UserDecision {
            hash,
            subject: subject.clone(),
            auth_time: Some(Timestamp::from_unix_secs(self.world.clock.now())),
            is_approved,
            entry: entry(&self.world),
        };
        self.world.server.decide(decision).await
    }

    /// The request behind a code that a user typed.
    pub(crate) fn typed(&self, user_code: &str, session: &str) -> Result<ApprovalRequestHash, DecisionRefusal> {
        let found = self
            .world
            .server
            .find_device_request(user_code, session, IpAddr::from(HOME));
        found.map(|waiting| waiting.hash)
    }
}
