//! Asks for bound tokens, introspects, discovers.
