//! What the authorization server remembers: one small trait per noun, SQLite behind it.
