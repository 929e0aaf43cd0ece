//! The authorization server: endpoints, client authentication, grants, admin API.
