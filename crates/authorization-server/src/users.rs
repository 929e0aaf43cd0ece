//! The user directory: who signs in, and what is known about them.
//!
//! Whoever guesses learns nothing but "no". One [text](REFUSED) is the answer to a wrong password, to an unknown name, to a user
//! that is disabled and to one that is locked out, also with the right password. Each of them costs one durable write (the
//! attempt, counted before anything is compared), one comparison at full cost (with a decoy where there is no user), and is answered
//! at a whole number of [intervals](crate::Limits::sign_in_answer_interval).
//!
//! Two limits hold: so many failures in a row lock a name out for a while (in the store, for every node), and one address prefix
//! has so many attempts a minute, whatever names it tries. Codes of CIBA are guarded in the same way, and counted apart.

mod sign_in_refusal;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{USER_SUBJECT_BYTES, UserClaims, UserName, UserSubject};
use keybound_store::{
    Actor, AuditEntry, BeginSignIn, BeginUserCode, ChangeUser, CreateUser, LockOut, NewUser, PasswordHash, StoreError,
    StoredUser, UserChange, Users,
};

pub use self::sign_in_refusal::{REFUSED, SignInRefusal};
use crate::answer_time::AnswerTimer;
use crate::limits::Limits;
use crate::passwords::{Password, PasswordHashing, PasswordHashingError};
use crate::rate_limit::AttemptLimit;
use crate::upstream::UpstreamUser;

/// The users of this server.
pub struct UserDirectory {
    stored: Arc<dyn Users>,
    hashing: PasswordHashing,
    random: SystemRandom,
    attempts: AttemptLimit,
    lock_out: LockOut,
    timer: Arc<AnswerTimer>,
    answer_interval: Duration,
}

/// A user, as tokens and pages need one.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// What the user types to sign in.
    pub name: UserName,
    /// What tokens call the user.
    pub subject: UserSubject,
    /// What is said about the user.
    pub claims: UserClaims,
    /// Whether the user is kept from signing in; nothing new is issued either.
    pub is_disabled: bool,
}

/// Somebody who gave the right password just now, or signed in at another provider: proof for whoever begins a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    subject: UserSubject,
    auth_time: Timestamp,
}

/// Somebody wants to sign in.
#[derive(Clone, Debug)]
pub struct SignInAttempt<'a> {
    /// The name, as typed.
    pub name: &'a str,
    /// The password, as typed.
    pub password: Password,
    /// From where.
    pub remote_address: IpAddr,
    /// When the request was complete, by the server's clock.
    pub now: Timestamp,
}

/// Why a user's code of CIBA was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserCodeRefusal {
    /// It is another one, or the user has none.
    #[error("the code is not the user's")]
    Wrong,
    /// Too many wrong ones.
    #[error("no code of the user is taken until {until}")]
    LockedOut {
        /// Until when.
        until: Timestamp,
    },
    /// It was not compared.
    #[error(transparent)]
    Hashing(#[from] PasswordHashingError),
    /// Our fault.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

impl SignedIn {
    /// Who it is.
    pub fn subject(&self) -> &UserSubject {
        &self.subject
    }

    /// When the password was given (`auth_time`), here or at another provider.
    pub fn auth_time(&self) -> Timestamp {
        self.auth_time
    }
}

impl UserDirectory {
    /// Starts the threads that hash.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(crate) fn start(stored: Arc<dyn Users>, timer: Arc<AnswerTimer>, limits: &Limits) -> std::io::Result<Self> {
        let random = SystemRandom::new();
        Ok(UserDirectory {
            stored,
            hashing: PasswordHashing::start(limits.password_threads, limits.passwords_waiting_max, &random)?,
            random,
            attempts: AttemptLimit::per_minute(limits.sign_ins_per_minute),
            lock_out: LockOut {
                failures_max: limits.failed_sign_ins_max.max(1),
                locked_for: limits.lock_out,
            },
            timer,
            answer_interval: limits.sign_in_answer_interval,
        })
    }

    /// Signs somebody in by name and password.
    ///
    /// # Errors
    /// [`SignInRefusal`]; show its [`text`](SignInRefusal::text). It comes at a time that does not depend on who was named.
    pub async fn authenticate(&self, attempt: SignInAttempt<'_>) -> Result<SignedIn, SignInRefusal> {
        let began = Instant::now();
        self.attempts
            .take_prefix(attempt.remote_address)
            .map_err(SignInRefusal::TooMany)?;
        let address = attempt.remote_address;
        let outcome = self.judge(attempt).await;
        // Whoever knows the password guessed nothing: many people may sign in from one network. It was counted until now, so that
        // guesses at once are no way around the limit.
        if outcome.is_ok() {
            self.attempts.give_back_prefix(address);
        } else {
            self.timer.wait(began, self.answer_interval).await;
        }
        outcome
    }

    async fn judge(&self, attempt: SignInAttempt<'_>) -> Result<SignedIn, SignInRefusal> {
        let entry = |actor| AuditEntry {
            remote_address: Some(attempt.remote_address.to_string()),
            ..AuditEntry::new(attempt.now, actor)
        };
        let name = UserName::parse(attempt.name).ok();
        let begun = self.stored.begin_sign_in(name, self.lock_out, entry(Actor::Server));
        let user = match begun.await? {
            BeginSignIn::Counted(user) => user,
            BeginSignIn::Barred(user) => {
                self.hashing.verify(attempt.password, &user.password_hash).await?;
                return Err(barred(*user, attempt.now));
            }
            BeginSignIn::Unknown => {
                self.hashing.verify(attempt.password, self.hashing.decoy()).await?;
                return Err(SignInRefusal::Unknown);
            }
        };
        if !self
            .hashing
            .verify(attempt.password.clone(), &user.password_hash)
            .await?
        {
            return Err(SignInRefusal::WrongPassword(user.name));
        }
        let rehashed = if PasswordHashing::is_outdated(&user.password_hash) {
            Some(self.hashing.hash(attempt.password, &self.random).await?)
        } else {
            None
        };
        let entry = entry(Actor::User(user.subject.to_string()));
        let completed = self
            .stored
            .complete_sign_in(user.name.clone(), user.version, rehashed, entry);
        if !completed.await? {
            return Err(SignInRefusal::Changed(user.name));
        }
        Ok(SignedIn {
            subject: user.subject,
            auth_time: attempt.now,
        })
    }

    /// Signs somebody in whom an upstream provider signed in, and takes over what it says about the user: also when that was. A provider
    /// that does not say is taken to have done it just now, and none does it later than that.
    ///
    /// # Errors
    /// [`SignInRefusal::Disabled`] for whom an administrator keeps out; [`SignInRefusal::Changed`] if one was busy with the user.
    pub(crate) async fn take_over(&self, user: UpstreamUser, entry: AuditEntry) -> Result<SignedIn, SignInRefusal> {
        let now = entry.at;
        let UpstreamUser {
            name,
            subject,
            claims,
            auth_time,
        } = user;
        match self.stored.find_user_by_subject(&subject)? {
            Some(known) if known.is_disabled => return Err(SignInRefusal::Disabled(known.name)),
            Some(known) if UserClaims::parse_stored(&known.claims).is_ok_and(|known| known == claims) => {}
            Some(known) => {
                let change = UserChange {
                    name: known.name.clone(),
                    if_version: Some(known.version),
                    password_hash: None,
                    user_code_hash: None,
                    claims: Some(claims.to_json()),
                    is_disabled: None,
                    // Nobody is disabled by this, so no token is denied.
                    tokens_until: now,
                };
                if !matches!(
                    self.stored.change_user(change, entry).await?,
                    ChangeUser::Changed { .. }
                ) {
                    return Err(SignInRefusal::Changed(known.name));
                }
            }
            None => {
                let new = NewUser {
                    name: name.clone(),
                    subject: subject.clone(),
                    // Nobody knows this password: there is only one way in.
                    password_hash: self.hashing.decoy().clone(),
                    user_code_hash: None,
                    claims: claims.to_json(),
                    is_disabled: false,
                };
                if !matches!(self.stored.create_user(new, entry).await?, CreateUser::Created { .. }) {
                    return Err(SignInRefusal::Changed(name));
                }
            }
        }
        Ok(SignedIn {
            subject,
            auth_time: auth_time.map_or(now, |auth_time| auth_time.min(now)),
        })
    }

    /// The user that tokens call this, if there (still) is one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn find(&self, subject: &UserSubject) -> Result<Option<User>, StoreError> {
        Ok(self.stored.find_user_by_subject(subject)?.map(User::from))
    }

    /// The user of this name. For whoever may know who exists.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn find_by_name(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        Ok(self.stored.find_user(name)?.map(User::from))
    }

    /// Hashes a password that is to be set.
    ///
    /// # Errors
    /// [`PasswordHashingError`]
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash, PasswordHashingError> {
        self.hashing.hash(password, &self.random).await
    }

    /// Judges a user's code of CIBA (CIBA Core §7.1), which was counted before it is compared, whichever client sent it.
    ///
    /// # Errors
    /// [`UserCodeRefusal`], at a time that does not depend on which it is.
    pub(crate) async fn require_user_code(
        &self,
        subject: &UserSubject,
        presented: Password,
        entry: AuditEntry,
    ) -> Result<(), UserCodeRefusal> {
        let began = Instant::now();
        let outcome = self.judge_user_code(subject, presented, entry).await;
        if outcome.is_err() {
            self.timer.wait(began, self.answer_interval).await;
        }
        outcome
    }

    async fn judge_user_code(
        &self,
        subject: &UserSubject,
        presented: Password,
        entry: AuditEntry,
    ) -> Result<(), UserCodeRefusal> {
        let begun = self
            .stored
            .begin_user_code(subject.clone(), self.lock_out, entry.clone());
        let (user, locked_until) = match begun.await? {
            BeginUserCode::Counted(user) => (user, None),
            BeginUserCode::LockedOut { user, until } => (user, Some(until)),
            BeginUserCode::Unknown => return Err(UserCodeRefusal::Wrong),
        };
        // Who has no code is compared with the decoy, and who is locked out with the code: it takes as long, and the answer is no.
        let hash = user.user_code_hash.as_ref();
        let is_right = self
            .hashing
            .verify(presented, hash.unwrap_or(self.hashing.decoy()))
            .await?;
        if let Some(until) = locked_until {
            return Err(UserCodeRefusal::LockedOut { until });
        }
        let is_theirs = is_right && hash.is_some();
        if !is_theirs || !self.stored.complete_user_code(user.name, user.version, entry).await? {
            return Err(UserCodeRefusal::Wrong);
        }
        Ok(())
    }

    /// A subject for a new user.
    pub(crate) fn new_subject(&self) -> Option<UserSubject> {
        let mut octets = [0; USER_SUBJECT_BYTES];
        self.random.fill(&mut octets).ok()?;
        Some(UserSubject::from_random(&octets))
    }

    /// Forgets whoever has made no attempts of late. Called on a timer.
    pub(crate) fn forget_old(&self) {
        self.attempts.forget_old();
    }
}

fn barred(user: StoredUser, now: Timestamp) -> SignInRefusal {
    match user.locked_until {
        Some(until) if !user.is_disabled && now < until => SignInRefusal::LockedOut { name: user.name, until },
        _ => SignInRefusal::Disabled(user.name),
    }
}

impl From<StoredUser> for User {
    fn from(stored: StoredUser) -> User {
        User {
            // What an older version let pass is better than nothing.
            claims: UserClaims::parse_stored(&stored.claims).unwrap_or_default(),
            name: stored.name,
            subject: stored.subject,
            is_disabled: stored.is_disabled,
        }
    }
}
