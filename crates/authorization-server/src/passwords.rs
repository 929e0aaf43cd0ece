//! Hashing what people remember: argon2id (RFC 9106), on threads of its own.
//!
//! One hash takes some 20 ms and 19 MiB. On a thread that serves connections each of them would delay every token request there;
//! in unbounded number they would take the memory. So a few threads take one after the other from a queue of limited length, and
//! whoever finds it full is told to come back. Nothing is kept between two hashes. The threads give way to those that serve
//! connections: where there is not enough of the processor for both, people wait, and token requests do not.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use keybound_store::PasswordHash;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// The shortest password that is set, in characters (NIST SP 800-63B §3.1.1.2).
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// The longest password that is set or tried, in octets.
pub const PASSWORD_BYTES_MAX: usize = 1024;

const SALT_BYTES: usize = 16;

/// What somebody typed. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Why something was not hashed or compared.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PasswordHashingError {
    /// The queue is full.
    #[error("{waiting_max} passwords are waiting to be hashed; refusing more")]
    Busy {
        /// The limit that was reached.
        waiting_max: usize,
    },
    /// Longer than any password.
    #[error("longer than {PASSWORD_BYTES_MAX} octets")]
    TooLong,
    /// No randomness, no memory, or a stored hash that is none.
    #[error("hashing failed: {0}")]
    Failed(&'static str),
}

/// Hashes passwords, and compares them with hashes.
pub(crate) struct PasswordHashing {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    waiting_max: usize,
    /// The hash of a password that nobody knows, at the cost of everybody's.
    decoy: PasswordHash,
}

struct Job {
    password: Password,
    work: Work,
}

enum Work {
    Hash(
        [u8; SALT_BYTES],
        oneshot::Sender<Result<PasswordHash, PasswordHashingError>>,
    ),
    Verify(PasswordHash, oneshot::Sender<Result<bool, PasswordHashingError>>),
}

impl Password {
    /// Takes a text as it is.
    pub fn new(text: String) -> Password {
        Password(Zeroizing::new(text))
    }

    /// Whether it is fit to be set: neither short nor endless. What it is made of is nobody's business.
    pub(crate) fn is_acceptable(&self) -> bool {
        self.0.chars().count() >= PASSWORD_CHARACTERS_MIN && self.0.len() <= PASSWORD_BYTES_MAX
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

impl PasswordHashing {
    /// Starts `threads` threads (at least one), before which at most `waiting_max` passwords wait.
    ///
    /// # Errors
    /// If a thread cannot be started, or the decoy cannot be made.
    pub(crate) fn start(threads: usize, waiting_max: usize, random: &SystemRandom) -> io::Result<PasswordHashing> {
        let (queue, jobs) = sync_channel(waiting_max);
        let jobs = Arc::new(Mutex::new(jobs));
        let start = |number: usize| {
            let jobs = Arc::clone(&jobs);
            let name = format!("passwords-{number}");
            std::thread::Builder::new().name(name).spawn(move || run(&jobs))
        };
        let threads = (0..threads.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(PasswordHashing {
            queue: Some(queue),
            threads,
            waiting_max,
            decoy: decoy(random).map_err(io::Error::other)?,
        })
    }

    /// Hashes a password under a new salt.
    pub(crate) async fn hash(
        &self,
        password: Password,
        random: &SystemRandom,
    ) -> Result<PasswordHash, PasswordHashingError> {
        let mut salt = [0; SALT_BYTES];
        random
            .fill(&mut salt)
            .map_err(|_| PasswordHashingError::Failed("the system has no random numbers"))?;
        let (sender, hashed) = oneshot::channel();
        self.submit(password, Work::Hash(salt, sender))?;
        hashed
            .await
            .unwrap_or(Err(PasswordHashingError::Failed("the server is ending")))
    }

    /// Whether this is the password of a hash.
    pub(crate) async fn verify(&self, password: Password, hash: &PasswordHash) -> Result<bool, PasswordHashingError> {
        let (sender, verified) = oneshot::channel();
        self.submit(password, Work::Verify(hash.clone(), sender))?;
        verified
            .await
            .unwrap_or(Err(PasswordHashingError::Failed("the server is ending")))
    }

    /// What the password of an unknown user is compared with.
    pub(crate) fn decoy(&self) -> &PasswordHash {
        &self.decoy
    }

    /// Whether a hash was made by other rules than today's.
    pub(crate) fn is_outdated(hash: &PasswordHash) -> bool {
        let wanted = phc::ParamsString::try_from(hasher().params()).ok();
        phc::PasswordHash::new(hash.as_phc()).map_or(true, |hash| {
            Some(&hash.params) != wanted.as_ref() || hash.algorithm != Algorithm::Argon2id.ident()
        })
    }

    fn submit(&self, password: Password, work: Work) -> Result<(), PasswordHashingError> {
        if password.0.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordHashingError::TooLong);
        }
        let Some(queue) = &self.queue else {
            return Err(PasswordHashingError::Failed("the server is ending"));
        };
        queue.try_send(Job { password, work }).map_err(|error| match error {
            TrySendError::Full(_) => PasswordHashingError::Busy {
                waiting_max: self.waiting_max,
            },
            TrySendError::Disconnected(_) => PasswordHashingError::Failed("its threads have ended"),
        })
    }
}

impl Drop for PasswordHashing {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// By how much the threads are nicer than the process: one of them gets a thirtieth of a core that somebody else wants.
#[cfg(target_os = "linux")]
const NICER_BY: i32 = 15;

/// Lowers the priority of this thread alone, which is what Linux does where POSIX speaks of the process; others have no such call.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICER_BY) {
        tracing::warn!(%error, "passwords are hashed at the priority of everything else");
    }
}

/// What each thread does, until nobody can ask any more.
fn run(jobs: &Mutex<Receiver<Job>>) {
    give_way();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { password, work }) = job else { return };
        // Whoever does not wait any more gets nothing, and costs nothing. The answer of a send says that again.
        match work {
            Work::Hash(_, answer) if answer.is_closed() => {}
            Work::Verify(_, answer) if answer.is_closed() => {}
            Work::Hash(salt, answer) => {
                let _ = answer.send(hash(&password, &salt));
            }
            Work::Verify(expected, answer) => {
                let _ = answer.send(verify(&password, &expected));
            }
        }
    }
}

/// argon2id with 19 MiB, two passes, one lane: the second choice of RFC 9106 §4 is more than a server that others can make work should
/// spend; this is OWASP's first.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

fn hash(password: &Password, salt: &[u8]) -> Result<PasswordHash, PasswordHashingError> {
    let hashed: Result<phc::PasswordHash, _> = hasher().hash_password_with_salt(password.0.as_bytes(), salt);
    hashed
        .map(|hash| PasswordHash::from_phc(hash.to_string()))
        .map_err(|_| PasswordHashingError::Failed("argon2 refused"))
}

fn verify(password: &Password, expected: &PasswordHash) -> Result<bool, PasswordHashingError> {
    use argon2::password_hash::Error;
    let expected = phc::PasswordHash::new(expected.as_phc())
        .map_err(|_| PasswordHashingError::Failed("the stored hash is not a PHC string"))?;
    // The parameters are those of the hash.
    match hasher().verify_password(password.0.as_bytes(), &expected) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(PasswordHashingError::Failed("argon2 refused")),
    }
}

/// A salt and a hash that are both random: compared as slowly as any, and equal to nothing.
fn decoy(random: &SystemRandom) -> Result<PasswordHash, PasswordHashingError> {
    let mut octets = [0; SALT_BYTES + Params::DEFAULT_OUTPUT_LEN];
    random
        .fill(&mut octets)
        .map_err(|_| PasswordHashingError::Failed("the system has no random numbers"))?;
    let (salt, output) = octets.split_at(SALT_BYTES);
    let made = || {
        Some(phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: phc::ParamsString::try_from(hasher().params()).ok()?,
            salt: Some(phc::Salt::new(salt).ok()?),
            hash: Some(phc::Output::new(output).ok()?),
        })
    };
    made()
        .map(|decoy| PasswordHash::from_phc(decoy.to_string()))
        .ok_or(PasswordHashingError::Failed("argon2 refused"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn hashing(waiting_max: usize) -> PasswordHashing {
        PasswordHashing::start(1, waiting_max, &SystemRandom::new()).unwrap()
    }

    #[tokio::test]
    async fn only_the_very_password_is_the_one() {
        let hashing = hashing(8);
        let hash = hashing
            .hash(password("correct horse"), &SystemRandom::new())
            .await
            .unwrap();
        assert!(
            hash.as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            hash.as_phc()
        );
        for wrong in ["", "Correct horse", "correct horse ", "correct hors", "correct horse\0"] {
            assert!(!hashing.verify(password(wrong), &hash).await.unwrap(), "{wrong:?}");
        }
        assert!(hashing.verify(password("correct horse"), &hash).await.unwrap());
        let again = hashing
            .hash(password("correct horse"), &SystemRandom::new())
            .await
            .unwrap();
        assert_ne!(hash.as_phc(), again.as_phc(), "each has a salt of its own");
        assert!(!PasswordHashing::is_outdated(&hash));
    }

    #[tokio::test]
    async fn the_decoy_costs_the_same_and_is_nobodys() {
        let hashing = hashing(8);
        let cost = |hash: &PasswordHash| hash.as_phc().split('$').take(4).collect::<Vec<_>>().join("$");
        let hash = hashing
            .hash(password("correct horse"), &SystemRandom::new())
            .await
            .unwrap();
        assert_eq!(cost(hashing.decoy()), cost(&hash));
        assert_eq!(hashing.decoy().as_phc().len(), hash.as_phc().len());
        assert!(
            !hashing
                .verify(password("correct horse"), hashing.decoy())
                .await
                .unwrap()
        );
        let cheap = PasswordHash::from_phc(hash.as_phc().replace("t=2", "t=1"));
        assert!(PasswordHashing::is_outdated(&cheap));
        assert!(PasswordHashing::is_outdated(&PasswordHash::from_phc("")));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_an_endless_password_never_gets_there() {
        let hashing = hashing(1);
        let endless = hashing
            .verify(password(&"x".repeat(PASSWORD_BYTES_MAX + 1)), hashing.decoy())
            .await;
        assert!(matches!(endless, Err(PasswordHashingError::TooLong)));
        let attempts = (0..8).map(|_| hashing.verify(password("x"), hashing.decoy()));
        let mut busy = 0;
        let mut done = 0;
        let (mut waiting, mut context) = (Vec::new(), std::task::Context::from_waker(std::task::Waker::noop()));
        for attempt in attempts {
            let mut attempt = Box::pin(attempt);
            match attempt.as_mut().poll(&mut context) {
                std::task::Poll::Ready(Err(PasswordHashingError::Busy { waiting_max: 1 })) => busy += 1,
                std::task::Poll::Ready(other) => panic!("{other:?}"),
                std::task::Poll::Pending => waiting.push(attempt),
            }
        }
        for attempt in waiting {
            attempt.await.unwrap();
            done += 1;
        }
        assert!((1..=3).contains(&done), "one at work, one waiting: {done}");
        assert_eq!(busy + done, 8);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_the_threads_that_hash_give_way() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let ours = niceness();
        let given_way = std::thread::spawn(move || {
            give_way();
            niceness()
        });
        assert_eq!(given_way.join().unwrap(), (ours + NICER_BY).min(19));
        assert_eq!(niceness(), ours);
    }

    #[test]
    fn a_password_is_fit_by_its_length_alone() {
        for (text, fit) in [
            ("1234567", false),
            ("12345678", true),
            ("äöüßäöü", false),
            ("äöüßäöüß", true),
        ] {
            assert_eq!(password(text).is_acceptable(), fit, "{text}");
        }
        assert!(!password(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_acceptable());
        assert_eq!(format!("{:?}", password("secret")), "Password(…)");
    }
}
