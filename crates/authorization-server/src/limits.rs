//! Every limit of the authorization server, named in one place. Those of sockets and heads are in
//! `keybound_tls::Limits`, those of texts and of time (leeway, the life of an assertion) beside the types of protocol.

use std::time::Duration;

/// The limits of one authorization server. `Limits::default()` is what the documentation promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a form or JSON body; else 413.
    pub body_bytes_max: u64,
    /// Failed authentications that one client, and one address prefix (/32 or /64), may cause per second; else 429.
    pub failed_authentications_per_second: u32,
    /// Answers that must look alike (`invalid_client`, `{"active":false}`) are sent a whole number of these after their request was
    /// complete. More than the verdicts behind them take; zero sends them at once.
    pub alike_answer_interval: Duration,
    /// Prepared clients kept in memory.
    pub prepared_clients_max: usize,
    /// How old client metadata, trust anchors and signing keys may be in memory, when something outside this process changed them.
    pub refresh_interval: Duration,
    /// Cached certificate verdicts ("yes" alone), over all clients.
    pub accepted_certificates_max: usize,
    /// Fetched key sets kept in memory.
    pub key_sets_max: usize,
    /// The least time between two fetches of one client's `jwks_uri`.
    pub key_set_refetch_interval: Duration,
    /// Fetches of key sets per second, over all clients.
    pub key_set_fetches_per_second: u32,
    /// How long a key set still counts after the last fetch that succeeded.
    pub key_set_stale_max: Duration,
    /// Threads that hash passwords; at least one.
    pub password_threads: usize,
    /// Passwords that wait to be hashed; further ones get 503.
    pub passwords_waiting_max: usize,
    /// Attempts to sign in that one address prefix (/32 or /64) has per minute, whatever names it tries; else 429.
    pub sign_ins_per_minute: u32,
    /// So many wrong passwords in a row lock a user out; and so many wrong codes of CIBA, counted apart, lock out their code.
    pub failed_sign_ins_max: u32,
    /// How long a user is locked out.
    pub lock_out: Duration,
    /// A sign-in that failed is answered a whole number of these after it was asked for. More than comparing a password takes.
    pub sign_in_answer_interval: Duration,
    /// How long a pushed authorization request may be used: `expires_in` of its answer. Counted to the second, without leeway.
    pub pushed_request_lifetime: Duration,
    /// Requests for a user's approval (a device's, or by backchannel authentication) that one client makes per minute which
    /// authenticates; else 429.
    pub approval_requests_per_minute: u32,
    /// Questions for what became of them that one client asks per minute which authenticates, and for clients that do not one address
    /// prefix; else 429.
    pub approval_polls_per_minute: u32,
    /// Requests that one client pushes per minute which authenticates; else 429.
    pub pushed_requests_per_minute: u32,
    /// Requests, pushed or of devices, that come per minute from one address prefix by clients that do not authenticate; each kind is
    /// counted for itself. Else 429.
    pub public_requests_per_minute: u32,
    /// Interactions that browsers of one address prefix begin at `/authorize` per minute; else 429.
    pub interactions_per_minute: u32,
    /// User codes that one session, and one address prefix, may try per minute; and codes of CIBA that are tried for one user.
    pub user_codes_per_minute: u32,
    /// Backchannel authentication requests that wait for one user's decision at a time, whichever clients made them; else 429.
    pub approvals_waiting_per_user_max: u32,
    /// Notifications of clients that are on their way at once; further ones are not sent, and the client asks by itself.
    pub notifications_max: usize,
    /// DPoP proofs that are remembered, so that none is used twice, for up to two minutes; else 503. One key fills a sixteenth at most.
    pub dpop_proofs_max: usize,
    /// Admin requests at work at once; further ones get 503.
    pub admin_requests_max: usize,
    /// Questions for revocations that are held at once, one for each who follows; further ones get 503.
    pub revocation_followers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes_max: 64 * 1024,
            failed_authentications_per_second: 20,
            alike_answer_interval: Duration::from_millis(5),
            prepared_clients_max: 10_000,
            refresh_interval: Duration::from_secs(1),
            accepted_certificates_max: 20_000,
            key_sets_max: 10_000,
            key_set_refetch_interval: Duration::from_secs(30),
            key_set_fetches_per_second: 10,
            key_set_stale_max: Duration::from_secs(24 * 60 * 60),
            password_threads: 1,
            passwords_waiting_max: 64,
            sign_ins_per_minute: 60,
            failed_sign_ins_max: 10,
            lock_out: Duration::from_secs(15 * 60),
            sign_in_answer_interval: Duration::from_millis(250),
            pushed_request_lifetime: Duration::from_secs(60),
            approval_requests_per_minute: 600,
            approval_polls_per_minute: 6_000,
            pushed_requests_per_minute: 6_000,
            public_requests_per_minute: 300,
            interactions_per_minute: 300,
            user_codes_per_minute: 10,
            approvals_waiting_per_user_max: 20,
            notifications_max: 64,
            dpop_proofs_max: 200_000,
            admin_requests_max: 32,
            revocation_followers_max: 1_000,
        }
    }
}
