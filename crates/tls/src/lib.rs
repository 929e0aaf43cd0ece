//! Sockets and TLS: accept with an optional client certificate, dial out, reload.
