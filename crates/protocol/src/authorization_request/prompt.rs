//! `prompt` (OpenID Connect Core §3.1.2.1): what the user has to be asked, or must not be.

use serde::{Deserialize, Serialize};

use super::error::AuthorizationRequestError;

/// What the client wants the user to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prompt {
    /// `none`: nothing. Whatever would have to be asked is an error instead.
    pub none: bool,
    /// `login`: to sign in, also if a session says who it is.
    pub login: bool,
    /// `consent`: to consent, also if that was done before.
    pub consent: bool,
    /// `select_account`: who it is.
    pub select_account: bool,
}

impl Prompt {
    /// Reads `prompt`.
    ///
    /// # Errors
    /// [`AuthorizationRequestError::Prompt`] for a value that is not known, and for `none` with any other.
    pub fn parse(text: &str) -> Result<Self, AuthorizationRequestError> {
        let refused = || AuthorizationRequestError::Prompt(text.chars().take(100).collect());
        let mut prompt = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => return Err(refused()),
            }
        }
        match prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
            true => Err(refused()),
            false => Ok(prompt),
        }
    }
}
