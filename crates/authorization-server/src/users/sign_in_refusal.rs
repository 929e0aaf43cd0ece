//! Why somebody was not signed in.

use std::time::Duration;

use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserName;
use keybound_store::StoreError;

use crate::passwords::PasswordHashingError;
use crate::rate_limit::TooMany;

/// What somebody is told who was not signed in, whatever the reason.
pub const REFUSED: &str = "The name or the password is wrong, or this account cannot sign in at the moment.";

/// Why somebody was not signed in. For operators, except for what [`text`](Self::text) says.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefusal {
    /// The name is nobody's. What was typed is not kept: people type passwords there.
    #[error("there is no user of the name that was typed")]
    Unknown,
    /// The name is somebody's and the password is not.
    #[error("the password of {0} is wrong")]
    WrongPassword(UserName),
    /// An administrator keeps the user out.
    #[error("{0} is disabled")]
    Disabled(UserName),
    /// Too many wrong passwords.
    #[error("{name} is locked out until {until}")]
    LockedOut {
        /// Who.
        name: UserName,
        /// Until when.
        until: Timestamp,
    },
    /// An administrator changed the user between the question and the answer.
    #[error("{0} was changed while signing in")]
    Changed(UserName),
    /// Too many attempts from one place.
    #[error("one attempt too many from this address prefix within a minute")]
    TooMany(TooMany),
    /// The password was not compared.
    #[error(transparent)]
    Hashing(#[from] PasswordHashingError),
    /// Our fault.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

const SELDOM: &str = "failed sign-ins of the address prefix within their limit";
const STORE: &str = "store answers";
const COMPARED: &str = "password compared with one on file";
const KNOWN: &str = "user known by the name";
const ADMITTED: &str = "user neither disabled nor locked out";
const PASSWORD: &str = "password of the user";
const UNCHANGED: &str = "user not changed meanwhile";

impl SignInRefusal {
    /// What is shown. One text for everything that depends on who was named.
    pub fn text(&self) -> &'static str {
        match self {
            SignInRefusal::Unknown
            | SignInRefusal::WrongPassword(_)
            | SignInRefusal::Disabled(_)
            | SignInRefusal::LockedOut { .. }
            | SignInRefusal::Changed(_)
            | SignInRefusal::Hashing(PasswordHashingError::TooLong) => REFUSED,
            SignInRefusal::TooMany(_) => "Too many attempts. Wait a minute, then try again.",
            SignInRefusal::Hashing(_) | SignInRefusal::Store(_) => {
                "Signing in is not possible at the moment. Try again in a few seconds."
            }
        }
    }

    /// Whether it says nothing against the user: HTTP 429 or 503, not a failed sign-in.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            SignInRefusal::TooMany(too_many) => Some(too_many.retry_after),
            SignInRefusal::Hashing(PasswordHashingError::Busy { .. } | PasswordHashingError::Failed(_))
            | SignInRefusal::Store(_) => Some(Duration::from_secs(1)),
            SignInRefusal::Unknown
            | SignInRefusal::WrongPassword(_)
            | SignInRefusal::Disabled(_)
            | SignInRefusal::LockedOut { .. }
            | SignInRefusal::Changed(_)
            | SignInRefusal::Hashing(PasswordHashingError::TooLong) => None,
        }
    }

    /// What is asked of somebody who signs in by name and password, in the order in which it is asked.
    pub(crate) const RULES: [&str; 7] = [SELDOM, STORE, COMPARED, KNOWN, ADMITTED, PASSWORD, UNCHANGED];

    /// The rule that was not held.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            SignInRefusal::TooMany(_) => SELDOM,
            SignInRefusal::Store(_) => STORE,
            SignInRefusal::Hashing(_) => COMPARED,
            SignInRefusal::Unknown => KNOWN,
            SignInRefusal::Disabled(_) | SignInRefusal::LockedOut { .. } => ADMITTED,
            SignInRefusal::WrongPassword(_) => PASSWORD,
            SignInRefusal::Changed(_) => UNCHANGED,
        }
    }

    /// What an operator can do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            SignInRefusal::TooMany(_) => {
                "find out who fails to sign in so often there; limits.sign_ins_per_minute bounds failures, not people"
            }
            SignInRefusal::Store(_) => {
                "see the server's log, and whether the database's disk is full or another process holds it"
            }
            SignInRefusal::Hashing(PasswordHashingError::TooLong) => "let the user type a password, which is shorter",
            SignInRefusal::Hashing(_) => {
                "see the server's log; limits.passwords_waiting_max bounds what waits, limits.password_threads work on it"
            }
            SignInRefusal::Unknown => {
                "tell the user the name (keybound user list), or make the user (keybound user create)"
            }
            SignInRefusal::Disabled(_) => "keybound user update NAME --enable, if the user may come in again",
            SignInRefusal::LockedOut { .. } => {
                "wait until then, and find out who guesses; a new password (keybound user update NAME --password-file) ends it, too"
            }
            SignInRefusal::WrongPassword(_) => {
                "let the user try again, or set a new password (keybound user update NAME --password-file)"
            }
            SignInRefusal::Changed(_) => "let the user sign in again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_by_a_rule_of_the_list_and_says_what_to_do() -> Result<(), keybound_protocol::user::UserNameError>
    {
        let ada = UserName::parse("ada")?;
        let until = Timestamp::from_unix_secs(1);
        let refusals = [
            SignInRefusal::TooMany(TooMany {
                retry_after: Duration::from_secs(1),
            }),
            SignInRefusal::Store(StoreError::Closed),
            SignInRefusal::Hashing(PasswordHashingError::Busy { waiting_max: 1 }),
            SignInRefusal::Hashing(PasswordHashingError::TooLong),
            SignInRefusal::Unknown,
            SignInRefusal::Disabled(ada.clone()),
            SignInRefusal::LockedOut {
                name: ada.clone(),
                until,
            },
            SignInRefusal::WrongPassword(ada.clone()),
            SignInRefusal::Changed(ada),
        ];
        let mut places = Vec::new();
        for refusal in &refusals {
            let place = SignInRefusal::RULES.iter().position(|rule| *rule == refusal.rule());
            assert!(place.is_some(), "{refusal} is by no rule of the list");
            assert!(!refusal.fix().is_empty(), "{refusal}");
            places.extend(place);
        }
        assert!(places.is_sorted(), "in the order in which they are asked: {places:?}");
        places.dedup();
        assert_eq!(places.len(), SignInRefusal::RULES.len(), "a rule that nobody can break");
        Ok(())
    }
}
