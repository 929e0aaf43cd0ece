//! `keybound token …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ActingClient, Wanted};

/// `keybound token`.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Get a token by any grant; prints the token alone, or the whole answer with --output json.
    Get(Box<TokenGet>),
    /// Decode a token and check its binding against a certificate.
    Inspect(TokenInspect),
    /// Revoke a token (RFC 7009); with a refresh token, all that came from it.
    Revoke(TokenRevoke),
}

/// `--grant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Grant {
    /// The client for itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A user, by way of a browser on this machine (RFC 6749 §4.1, with PKCE and PAR).
    AuthorizationCode,
    /// A user, by way of any other device (RFC 8628).
    Device,
    /// A user whom the server asks by itself (CIBA, poll mode).
    Ciba,
    /// What a refresh token stands for (RFC 6749 §6).
    Refresh,
    /// Another token (RFC 8693).
    Exchange,
}

/// `--response-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResponseMode {
    /// In clear.
    Query,
    /// As a signed JWT (JARM).
    Jwt,
}

const GET_EXAMPLES: &str = "\
Examples:
  keybound token get --client clients/demo --scope read
  keybound token get --client clients/app --grant authorization-code --scope 'openid read' --output json > tokens.json
  keybound token get --client clients/app --grant refresh --refresh-token tokens.json
  keybound token get --client clients/tv --grant device --scope read
  keybound token get --client clients/shop --grant ciba --login-hint ada --binding-message 4711
  keybound token get --client clients/api --grant exchange --subject-token foreign.jwt --resource https://api.example
  keybound token get --client clients/spa --dpop-key dpop.pem --output json
      a client without mutual TLS: the token is bound to that key (RFC 9449); go on with `keybound call URL … --dpop-key dpop.pem`
  keybound token get --client clients/phone --grant authorization-code --new-identity --tls13-only
      a public client: the token is bound to a certificate that this instance alone has, made and kept in
      clients/phone/identities/…; go on with `keybound call URL --client clients/phone/identities/…`

With --grant authorization-code the client's registered redirect URI is http://127.0.0.1/callback: the port may be any
(RFC 8252 §7.3), unless --redirect-port says which.";

/// `keybound token get`.
#[derive(Debug, Args)]
#[command(after_help = GET_EXAMPLES)]
pub(crate) struct TokenGet {
    /// As which client to act.
    #[command(flatten)]
    pub client: ActingClient,
    /// What the token is for.
    #[command(flatten)]
    pub wanted: Wanted,
    /// By which grant.
    #[arg(long, value_enum, default_value_t = Grant::ClientCredentials)]
    pub grant: Grant,
    /// Present a certificate that was never used before: a self-signed one with a new key, for public clients whose tokens are
    /// bound (RFC 8705 §4) and for refreshing after a renewal. It is kept in DIR, by default below the client's directory, with
    /// a client.toml to go on with.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub new_identity: Option<Option<PathBuf>>,
    /// Wait this long for the user.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub wait: u64,
    /// authorization-code: the port of the redirect URI; any free one by default.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub redirect_port: u16,
    /// authorization-code: the path of the redirect URI.
    #[arg(long, value_name = "PATH", default_value = "/callback")]
    pub redirect_path: String,
    /// authorization-code: print the address only, open no browser.
    #[arg(long)]
    pub no_browser: bool,
    /// authorization-code: how the answer comes back.
    #[arg(long, value_enum, default_value_t = ResponseMode::Query)]
    pub response_mode: ResponseMode,
    /// authorization-code: go on though the server's metadata does not say that it supports PKCE by S256.
    #[arg(long)]
    pub assume_s256: bool,
    /// authorization-code, ciba: who is to sign in.
    #[arg(long, value_name = "NAME")]
    pub login_hint: Option<String>,
    /// authorization-code, ciba: what is asked for in detail (RFC 9396), a JSON array.
    #[arg(long, value_name = "JSON")]
    pub authorization_details: Option<String>,
    /// ciba: a text that the user sees where he is asked, and here.
    #[arg(long, value_name = "TEXT")]
    pub binding_message: Option<String>,
    /// refresh: a file with the token, or with the answer of --output json; a rotated token's successor is written back to it.
    /// `-` is standard input, and needs --output json.
    #[arg(long, value_name = "FILE|-")]
    pub refresh_token: Option<PathBuf>,
    /// exchange: a file with the token, or with the answer of --output json; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    pub subject_token: Option<PathBuf>,
    /// exchange: the type of that token.
    #[arg(
        long,
        value_name = "URN",
        default_value = "urn:ietf:params:oauth:token-type:access_token"
    )]
    pub subject_token_type: String,
    /// exchange: for whom, where that is a name and no URI; repeatable.
    #[arg(long, value_name = "NAME")]
    pub audience: Vec<String>,
}

/// `keybound token inspect`.
#[derive(Debug, Args)]
pub(crate) struct TokenInspect {
    /// The token, or `-` for standard input.
    #[arg(default_value = "-", allow_hyphen_values = true)]
    pub token: String,
    /// Compare the binding with this certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
}

/// `keybound token revoke`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound token revoke --client clients/app tokens.json     the refresh token in it, or else the access token
  keybound token get --client clients/demo | keybound token revoke --client clients/demo")]
pub(crate) struct TokenRevoke {
    /// A file with the token, or with the answer of `token get --output json`; `-` is standard input.
    #[arg(default_value = "-", value_name = "FILE|-")]
    pub token: PathBuf,
    /// As which client to act.
    #[command(flatten)]
    pub client: ActingClient,
}
