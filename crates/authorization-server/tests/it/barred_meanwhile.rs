//! A user who is disabled in the instant in which something is given: after the page looked, before the store has it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use keybound_authorization_server::approvals::DecisionRefusal;
use keybound_protocol::client::ClientId;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{
    Actor, Answer, ApprovalDecision, ApprovalRedemption, ApprovalRequestHash, ApprovalRequests, AuditEntry,
    BeginInteraction, CompleteInteraction, CreateApprovalRequest, DecideApprovalRequest, GiveSilently, Grant,
    GrantPage, GrantQuery, GrantRevocation, Grants, InteractionHash, InteractionOutcome, Interactions,
    NewApprovalRequest, NewInteraction, PollApprovalRequest, RedeemApprovalRequest, RevokeGrant, SignInToInteraction,
    SignedIn, SilentGrant, StoreError, StoredApprovalRequest, StoredGrant, StoredInteraction, UserChange, UserCodeHash,
    UserSessionStart, Users,
};
use serde_json::json;

use crate::approvals::cast;
use crate::browser::{Browser, add_user, form_token, location, parameters, text};
use crate::ciba::{asked, hash, polling, refused};
use crate::pki::Authority;
use crate::rfc9126::code_client;
use crate::world::{NOW, Plan, World, tls_client, with};

/// Disables a user once, when it is told that the moment has come.
#[derive(Clone)]
struct Moment {
    users: Arc<dyn Users>,
    name: &'static str,
    is_armed: Arc<AtomicBool>,
}

impl Moment {
    fn has_come(&self) {
        if !self.is_armed.swap(false, Ordering::SeqCst) {
            return;
        }
        let change = UserChange {
            name: UserName::parse(self.name).unwrap(),
            if_version: None,
            password_hash: None,
            user_code_hash: None,
            claims: None,
            is_disabled: Some(true),
            tokens_until: Timestamp::from_unix_secs(NOW + 400),
        };
        let entry = AuditEntry::new(Timestamp::from_unix_secs(NOW), Actor::Operator);
        // Verbs are done in the order in which they are begun, so nobody has to wait for this one.
        drop(self.users.change_user(change, entry));
    }
}

/// What the server is given in place of its store's own.
struct Between<T: ?Sized> {
    inner: Arc<T>,
    moment: Moment,
}

impl Interactions for Between<dyn Interactions> {
    fn begin_interaction(&self, interaction: NewInteraction) -> Answer<BeginInteraction> {
        self.inner.begin_interaction(interaction)
    }

    fn find_interaction(&self, hash: &InteractionHash) -> Result<Option<StoredInteraction>, StoreError> {
        self.inner.find_interaction(hash)
    }

    fn sign_in_to_interaction(
        &self,
        hash: InteractionHash,
        signed_in: SignedIn,
        session: Option<UserSessionStart>,
        entry: AuditEntry,
    ) -> Answer<SignInToInteraction> {
        self.moment.has_come();
        self.inner.sign_in_to_interaction(hash, signed_in, session, entry)
    }

    fn complete_interaction(
        &self,
        hash: InteractionHash,
        outcome: InteractionOutcome,
        entry: AuditEntry,
    ) -> Answer<CompleteInteraction> {
        self.moment.has_come();
        self.inner.complete_interaction(hash, outcome, entry)
    }
}

impl Grants for Between<dyn Grants> {
    fn find_grant(&self, grant_id: &GrantId) -> Result<Option<StoredGrant>, StoreError> {
        self.inner.find_grant(grant_id)
    }

    fn list_grants(&self, query: GrantQuery) -> Answer<GrantPage> {
        self.inner.list_grants(query)
    }

    fn live_grants(&self, subject: UserSubject, client_id: ClientId, now: Timestamp) -> Answer<Vec<Grant>> {
        self.inner.live_grants(subject, client_id, now)
    }

    fn give_silently(&self, silent: SilentGrant, entry: AuditEntry) -> Answer<GiveSilently> {
        self.moment.has_come();
        self.inner.give_silently(silent, entry)
    }

    fn revoke_grant(&self, revocation: GrantRevocation, entry: AuditEntry) -> Answer<RevokeGrant> {
        self.inner.revoke_grant(revocation, entry)
    }
}

impl ApprovalRequests for Between<dyn ApprovalRequests> {
    fn create_approval_request(
        &self,
        request: NewApprovalRequest,
        of_user_max: u32,
        entry: AuditEntry,
    ) -> Answer<CreateApprovalRequest> {
        self.inner.create_approval_request(request, of_user_max, entry)
    }

    fn find_approval_request(&self, hash: &ApprovalRequestHash) -> Result<Option<StoredApprovalRequest>, StoreError> {
        self.inner.find_approval_request(hash)
    }

    fn find_approval_request_by_user_code(
        &self,
        user_code: &UserCodeHash,
    ) -> Result<Option<StoredApprovalRequest>, StoreError> {
        self.inner.find_approval_request_by_user_code(user_code)
    }

    fn approval_requests_of(
        &self,
        subject: UserSubject,
        now: Timestamp,
        limit: u16,
    ) -> Answer<Vec<StoredApprovalRequest>> {
        self.inner.approval_requests_of(subject, now, limit)
    }

    fn decide_approval_request(
        &self,
        hash: ApprovalRequestHash,
        decision: ApprovalDecision,
        entry: AuditEntry,
    ) -> Answer<DecideApprovalRequest> {
        self.moment.has_come();
        self.inner.decide_approval_request(hash, decision, entry)
    }

    fn poll_approval_request(
        &self,
        hash: ApprovalRequestHash,
        client_id: ClientId,
        now: Timestamp,
    ) -> Answer<PollApprovalRequest> {
        self.inner.poll_approval_request(hash, client_id, now)
    }

    fn redeem_approval_request(
        &self,
        redemption: ApprovalRedemption,
        entry: AuditEntry,
    ) -> Answer<RedeemApprovalRequest> {
        self.inner.redeem_approval_request(redemption, entry)
    }
}

/// With a store in which `name` is disabled at the moment that is armed.
fn disabling(plan: &mut Plan, name: &'static str) -> Arc<AtomicBool> {
    let is_armed = Arc::new(AtomicBool::new(false));
    plan.around_store = Some(Box::new({
        let is_armed = Arc::clone(&is_armed);
        move |store| {
            let moment = Moment {
                users: Arc::clone(&store.users),
                name,
                is_armed,
            };
            let inner = Arc::clone(&store.interactions);
            let interactions: Between<dyn Interactions> = Between {
                inner,
                moment: moment.clone(),
            };
            store.interactions = Arc::new(interactions);
            let inner = Arc::clone(&store.grants);
            let grants: Between<dyn Grants> = Between {
                inner,
                moment: moment.clone(),
            };
            store.grants = Arc::new(grants);
            let inner = Arc::clone(&store.approval_requests);
            let approvals: Between<dyn ApprovalRequests> = Between { inner, moment };
            store.approval_requests = Arc::new(approvals);
        }
    }));
    is_armed
}

async fn world() -> (World, Arc<AtomicBool>) {
    let authority = Authority::root("corp");
    let mut plan = Plan::new();
    let is_armed = disabling(&mut plan, "helena");
    let world = plan
        .trusts("corp", &authority)
        .client("demo", with(code_client(tls_client("demo.example")), json!({})))
        .start()
        .await;
    add_user(&world, "helena").await;
    (world, is_armed)
}

/// How many grants count.
async fn live_grants(world: &World) -> usize {
    let query = GrantQuery {
        limit: 50,
        ..GrantQuery::default()
    };
    let page = world.store.grants.list_grants(query).await.unwrap();
    let live = |found: &&StoredGrant| found.state == keybound_store::GrantState::Live;
    page.grants.iter().filter(live).count()
}

/// Lets helena in again.
async fn enable(world: &World) {
    let change = UserChange {
        name: UserName::parse("helena").unwrap(),
        if_version: None,
        password_hash: None,
        user_code_hash: None,
        claims: None,
        is_disabled: Some(false),
        tokens_until: Timestamp::from_unix_secs(NOW),
    };
    let entry = AuditEntry::new(Timestamp::from_unix_secs(NOW), Actor::Operator);
    world.store.users.change_user(change, entry).await.unwrap();
}

const MAY_ACT: &str = "the user may act";

async fn assert_barred(world: &World, reply: &crate::world::Reply) {
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
    assert!(text(reply).contains("id=\"error-code\">access_denied<"), "{reply:?}");
    let refusal = world.refusal(reply).await;
    assert_eq!(refusal.reason, "the user is gone or disabled");
    assert_eq!(refusal.failed_rule().map(|rule| rule.rule.as_ref()), Some(MAY_ACT));
}

#[tokio::test]
async fn consenting_and_signing_in_leave_nothing_of_a_user_who_is_disabled_meanwhile() {
    let (world, is_armed) = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    let token = form_token(&browser.get(&consent).await);
    is_armed.store(true, Ordering::SeqCst);
    let answer = [("form_token", token.as_str()), ("decision", "approve")];
    let reply = browser.post(&consent, &answer).await;
    assert_barred(&world, &reply).await;
    assert_eq!(live_grants(&world).await, 0);
    enable(&world).await;
    // The session is over as well.
    assert!(location(&browser.get(&consent).await).ends_with("/login"));

    let other = Browser::of(&world);
    let login = other.begin().await;
    let token = form_token(&other.get(&login).await);
    let form = [
        ("form_token", token.as_str()),
        ("username", "helena"),
        ("password", crate::browser::PASSWORD),
    ];
    is_armed.store(true, Ordering::SeqCst);
    let reply = other.post(&login, &form).await;
    assert_barred(&world, &reply).await;
    assert_eq!(other.cookie("__Host-keybound-session"), None);
    enable(&world).await;
    assert!(location(&other.post(&login, &form).await).ends_with("/consent"));
    // Nobody interferes: it is given.
    let consent = location(&browser.sign_in(&consent.replace("consent", "login")).await);
    let told = parameters(&browser.decide(&consent, "approve").await);
    assert!(told.iter().any(|(name, _)| name == "code"), "{told:?}");
    assert_eq!(live_grants(&world).await, 1);
}

#[tokio::test]
async fn nothing_is_given_silently_to_the_client_of_a_user_who_is_disabled_meanwhile() {
    let (world, is_armed) = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    browser.decide(&consent, "approve").await;
    let silently = [("prompt", "none")];
    let told = parameters(&browser.authorize(&silently).await);
    assert!(told.iter().any(|(name, _)| name == "code"), "{told:?}");
    assert_eq!(live_grants(&world).await, 2);
    is_armed.store(true, Ordering::SeqCst);
    let told = parameters(&browser.authorize(&silently).await);
    let error = told.iter().find(|(name, _)| name == "error").unwrap();
    assert_eq!(error.1, "login_required");
    assert_eq!(live_grants(&world).await, 0);
    let reasons = crate::judged_again::reasons(&world, 1).await;
    assert_eq!(
        reasons,
        ["prompt=none, and the user who was signed in is gone or disabled"]
    );
}

#[tokio::test]
async fn what_a_user_approves_elsewhere_who_is_disabled_meanwhile_is_not_given() {
    let shared: Arc<Mutex<Option<Arc<AtomicBool>>>> = Arc::default();
    let cast = cast(polling(), |mut plan| {
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(disabling(&mut plan, "ada"));
        plan
    })
    .await;
    let is_armed = shared.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap();
    let (first, second) = (asked(&cast, &[]).await, asked(&cast, &[]).await);
    cast.decide(hash(&first), &cast.ada, true).await.unwrap();
    assert_eq!(live_grants(&cast.world).await, 1);
    is_armed.store(true, Ordering::SeqCst);
    let refusal = cast.decide(hash(&second), &cast.ada, true).await;
    assert!(matches!(refusal, Err(DecisionRefusal::UserBarred)), "{refusal:?}");
    assert_eq!(live_grants(&cast.world).await, 0);
    refused(&cast, &second, "authorization_pending").await;
    // What was given before has ended with the user.
    refused(&cast, &first, "access_denied").await;
}
