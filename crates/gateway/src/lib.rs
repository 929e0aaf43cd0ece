//! A reverse proxy that checks certificate-bound access tokens in front of any upstream.
