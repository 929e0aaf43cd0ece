//! What is stored of things that must stay secret: their SHA-256, in a type for each kind.
//!
//! Each of these things has at least 128 random bits, so a plain hash is enough, and looking it up by index reveals nothing by
//! its timing. The types differ, so that a code's hash can't be looked up among refresh tokens.

/// A newtype over SHA-256 of a secret text.
macro_rules! secret_hash {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash of the secret, its characters as they travel.
            pub fn of(secret: &str) -> $name {
                $name(keybound_protocol::digest::sha256(secret.as_bytes()))
            }

            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The hash whose 32 bytes are known already.
            pub const fn from_bytes(bytes: [u8; 32]) -> $name {
                $name(bytes)
            }
        }

        impl std::fmt::Debug for $name {
            /// The first four bytes: enough to tell two apart in a log, too few to look one up.
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(formatter, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}…)"), a, b, c, d)
            }
        }
    };
}
pub(crate) use secret_hash;
