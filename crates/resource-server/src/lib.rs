//! A tower layer that checks certificate-bound access tokens.
