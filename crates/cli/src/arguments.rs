//! The command line as types.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod token;

pub(crate) use token::{Grant, ResponseMode, Token, TokenGet, TokenInspect, TokenRevoke};

/// Access tokens that only the key holder can use: RFC 8705, every role.
#[derive(Debug, Parser)]
#[command(name = "keybound", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What is printed: a table for people or JSON for programs.
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Print results and errors only.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The commands of the one binary.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// From an empty directory to a bound token accepted and its replay refused, in one command.
    Quickstart(Quickstart),
    /// Write a commented keybound.toml, keys and the first administrator.
    Init(Init),
    /// Administrators of this installation.
    #[command(subcommand)]
    Admin(Admin),
    /// Run the authorization server.
    Serve(ConfigFile),
    /// Run the gateway in front of an API.
    Gateway(ConfigFile),
    /// Get a bound token by any grant, look inside one, revoke one.
    #[command(subcommand)]
    Token(Token),
    /// Get a bound token and call a protected resource with it.
    Call(Call),
    /// Certificates as RFC 8705 sees them.
    #[command(subcommand)]
    Certificate(Certificate),
    /// Registered clients.
    #[command(subcommand)]
    Client(Client),
    /// Users of the local directory.
    #[command(subcommand)]
    User(User),
    /// Backchannel authentication requests (CIBA), decided for the user who was asked.
    #[command(subcommand)]
    Backchannel(Backchannel),
    /// Cut a certificate off: whatever is bound to it ends at once, here and at every gateway that follows.
    Revoke(Revoke),
    /// Why a request was refused: every rule in order, the first that failed, the fix.
    Explain(Explain),
    /// Who changed what, newest first.
    Audit(Audit),
    /// Configuration files.
    #[command(subcommand)]
    Config(Config),
    /// Completion script for a shell.
    Completions(Completions),
    /// The manual page.
    Man,
}

/// `keybound quickstart`.
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Where everything is put, or continued with. By default the current directory if it is empty or holds a quickstart
    /// already, else ./keybound-quickstart.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Stop after the checks instead of serving on.
    #[arg(long)]
    pub exit: bool,
    /// Added to every port (8443, 8444, 9443, 8445, 9445) of a new quickstart, 0 by default; one that is there keeps its own.
    #[arg(long, value_name = "N")]
    pub port_offset: Option<u16>,
    /// Address that a new quickstart listens on, 127.0.0.1 by default; loopback only.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<IpAddr>,
}

/// `keybound init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where the files go.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// The issuer: what clients will know this server by.
    #[arg(long)]
    pub issuer: Option<String>,
    /// Ask nothing; take the defaults.
    #[arg(long)]
    pub yes: bool,
}

/// `keybound admin`.
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Make an administrator's certificate and client; opens the database locally.
    Create(AdminCreate),
}

/// `keybound admin create`.
#[derive(Debug, Args)]
pub(crate) struct AdminCreate {
    /// The server's configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The administrator's client_id; by default the first of admin, admin-2, admin-3 and so on that is free.
    #[arg(long)]
    pub name: Option<String>,
    /// Where NAME.toml, NAME/cert.pem and NAME/key.pem go; beside the configuration by default.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// A command that needs a configuration file.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// As which client to act.
#[derive(Debug, Args)]
pub(crate) struct ActingClient {
    /// A directory with client.toml, cert.pem, key.pem, or such a client.toml.
    #[arg(long, value_name = "DIR|FILE")]
    pub client: Option<PathBuf>,
    /// The authorization server.
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// Who asks.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub client_id: Option<String>,
    /// The client's certificate chain, PEM.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// The certificate's key, PEM.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Authorities that the server's certificate may come from, PEM.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How the client authenticates: by its certificate unless `private_key_jwt` or `none` is said.
    #[arg(long, value_name = "METHOD")]
    pub token_endpoint_auth_method: Option<String>,
    /// The key that signs its assertions (private_key_jwt) and request objects, PEM.
    #[arg(long, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
    /// The private key that tokens are bound to by DPoP instead of a certificate, PEM (PKCS#8; P-256, P-384, Ed25519, RSA):
    /// `keybound certificate create` makes one, as does `openssl genpkey`.
    #[arg(long, value_name = "FILE")]
    pub dpop_key: Option<PathBuf>,
    /// Go to the server's mtls_endpoint_aliases, also without a certificate.
    #[arg(long)]
    pub use_mtls_endpoint_aliases: bool,
    /// Refuse TLS 1.2, in which the certificate travels in clear (RFC 8705 §8).
    #[arg(long)]
    pub tls13_only: bool,
    /// Show each request and response.
    #[arg(long)]
    pub trace: bool,
}

/// What the token is for.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Scope to ask for; repeatable.
    #[arg(long)]
    pub scope: Vec<String>,
    /// Resource to ask for (RFC 8707); repeatable.
    #[arg(long, value_name = "URI")]
    pub resource: Vec<String>,
}

/// `keybound call`.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The protected resource.
    pub url: String,
    /// As which client to act.
    #[command(flatten)]
    pub client: ActingClient,
    /// What the token is for.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Use this token instead of getting one.
    #[arg(long, allow_hyphen_values = true)]
    pub token: Option<String>,
    /// Request method.
    #[arg(long, short = 'X', default_value = "GET")]
    pub method: String,
    /// Request body; `@FILE` reads a file.
    #[arg(long, short)]
    pub data: Option<String>,
    /// Further request header; repeatable.
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub header: Vec<String>,
}

/// `keybound certificate`.
#[derive(Debug, Subcommand)]
pub(crate) enum Certificate {
    /// Thumbprint, key, the five subject values as they are compared, ready registration JSON.
    Inspect(CertificateFile),
    /// Is it in order? Exit 20 expiring, 21 expired, 22 revoked, 23 untrusted.
    Check(CertificateCheck),
    /// Make a certificate for development.
    Create(CertificateCreate),
    /// Which registered clients this certificate would authenticate.
    Match(CertificateMatch),
}

/// A certificate file.
#[derive(Debug, Args)]
pub(crate) struct CertificateFile {
    /// PEM or DER, or `-` for standard input.
    pub file: PathBuf,
}

/// `keybound certificate check`.
#[derive(Debug, Args)]
pub(crate) struct CertificateCheck {
    /// PEM chain, leaf first.
    pub file: PathBuf,
    /// Trusted authorities, PEM.
    #[arg(long, value_name = "FILE")]
    pub ca: Vec<PathBuf>,
    /// Revocation lists, PEM or DER; they count below the authorities of --ca.
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub crl: Vec<PathBuf>,
    /// Warn when it expires within so many days.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub within: u32,
}

/// `keybound certificate create`.
#[derive(Debug, Args)]
pub(crate) struct CertificateCreate {
    /// Where cert.pem and key.pem go.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Subject common name.
    #[arg(long)]
    pub name: String,
    /// dNSName; repeatable.
    #[arg(long, value_name = "NAME")]
    pub dns: Vec<String>,
    /// uniformResourceIdentifier; repeatable.
    #[arg(long, value_name = "URI")]
    pub uri: Vec<String>,
    /// iPAddress; repeatable.
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Vec<IpAddr>,
    /// rfc822Name; repeatable.
    #[arg(long, value_name = "ADDRESS")]
    pub email: Vec<String>,
    /// Sign with this authority (PEM) instead of itself; needs --ca-key.
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    pub ca: Option<PathBuf>,
    /// The authority's key, PEM.
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub ca_key: Option<PathBuf>,
    /// Make a certification authority.
    #[arg(long, conflicts_with = "ca")]
    pub authority: bool,
    /// Make a server's certificate (extended key usage serverAuth).
    #[arg(long, conflicts_with = "authority")]
    pub server: bool,
    /// Days of validity.
    #[arg(long, default_value_t = 90)]
    pub days: u32,
}

/// `keybound certificate match`.
#[derive(Debug, Args)]
pub(crate) struct CertificateMatch {
    /// PEM chain, leaf first.
    pub file: PathBuf,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// As which administrator to act.
#[derive(Debug, Args)]
pub(crate) struct ActingAdmin {
    /// An admin.toml.
    #[arg(long, value_name = "FILE", env = "KEYBOUND_ADMIN", default_value = "admin.toml")]
    pub admin: PathBuf,
    /// Show each request and response.
    #[arg(long)]
    pub trace: bool,
}

/// `keybound client`.
#[derive(Debug, Subcommand)]
pub(crate) enum Client {
    /// Register a client.
    Create(ClientCreate),
    /// All clients.
    List(ClientList),
    /// One client.
    Show(ClientShow),
    /// Change members of a client's metadata.
    Update(ClientUpdate),
    /// Remove a client; its tokens stop working.
    Delete(ClientShow),
}

/// `keybound client list`.
#[derive(Debug, Args)]
pub(crate) struct ClientList {
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound client create`.
#[derive(Debug, Args)]
pub(crate) struct ClientCreate {
    /// One JSON object of client metadata, or `-` for standard input.
    #[arg(long, value_name = "FILE|-", conflicts_with = "set")]
    pub file: Option<PathBuf>,
    /// One member of the metadata; repeatable. JSON values are taken as JSON; a,b as a list where a list is wanted.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// A command about one client.
#[derive(Debug, Args)]
pub(crate) struct ClientShow {
    /// The client.
    #[arg(allow_hyphen_values = true)]
    pub client_id: String,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound client update`.
#[derive(Debug, Args)]
pub(crate) struct ClientUpdate {
    /// The client.
    #[arg(allow_hyphen_values = true)]
    pub client_id: String,
    /// One JSON object that replaces the metadata, or `-` for standard input.
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["set", "unset"])]
    pub file: Option<PathBuf>,
    /// One member to set; repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// One member to remove; repeatable.
    #[arg(long, value_name = "NAME")]
    pub unset: Vec<String>,
    /// Make a new secret and print it, once; the one before is wrong from now on.
    #[arg(long, conflicts_with_all = ["file", "set", "unset"])]
    pub rotate_secret: bool,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only this action (client.deleted), or all of a noun (client.).
    #[arg(long)]
    pub action: Option<String>,
    /// Only what was done to this client, user, key or grant.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub subject: Option<String>,
    /// How many records.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub newest: u16,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound user`.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Make a user.
    Create(UserCreate),
    /// All users.
    List(UserList),
    /// One user.
    Show(UserShow),
    /// Change a user's password or claims, or disable a user.
    Update(UserUpdate),
    /// Remove a user.
    Delete(UserShow),
}

/// `keybound backchannel`.
#[derive(Debug, Subcommand)]
pub(crate) enum Backchannel {
    /// What is asked, of whom, and what became of it.
    Show(BackchannelDecision),
    /// Say yes for the user who was asked.
    Approve(BackchannelDecision),
    /// Say no for the user who was asked.
    Deny(BackchannelDecision),
}

/// A command about one backchannel authentication request.
#[derive(Debug, Args)]
pub(crate) struct BackchannelDecision {
    /// The auth_req_id that the client was given.
    #[arg(allow_hyphen_values = true)]
    pub auth_req_id: String,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound user create`.
#[derive(Debug, Args)]
pub(crate) struct UserCreate {
    /// What the user types to sign in: letters, digits and . _ - + @
    pub name: String,
    /// A file with the password in its first line, or `-` for standard input.
    #[arg(long, value_name = "FILE|-")]
    pub password_file: PathBuf,
    /// One claim about the user, such as email=ada@example.org; repeatable. JSON values are taken as JSON.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// A file with the code that the user says to clients of CIBA that ask for one.
    #[arg(long, value_name = "FILE")]
    pub user_code_file: Option<PathBuf>,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound user list`.
#[derive(Debug, Args)]
pub(crate) struct UserList {
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// A command about one user.
#[derive(Debug, Args)]
pub(crate) struct UserShow {
    /// The user.
    pub name: String,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound user update`.
#[derive(Debug, Args)]
pub(crate) struct UserUpdate {
    /// The user.
    pub name: String,
    /// A file with the new password in its first line, or `-` for standard input.
    #[arg(long, value_name = "FILE|-")]
    pub password_file: Option<PathBuf>,
    /// One claim to set; repeatable. JSON values are taken as JSON.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// One claim to remove; repeatable.
    #[arg(long, value_name = "NAME")]
    pub unset: Vec<String>,
    /// A file with the code that the user says to clients of CIBA that ask for one.
    #[arg(long, value_name = "FILE", conflicts_with = "no_user_code")]
    pub user_code_file: Option<PathBuf>,
    /// Take that code away.
    #[arg(long)]
    pub no_user_code: bool,
    /// Keep the user from signing in.
    #[arg(long, conflicts_with = "enable")]
    pub disable: bool,
    /// Let the user sign in again.
    #[arg(long)]
    pub enable: bool,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// Where a gateway's operations listener is by default.
pub(crate) const DEFAULT_GATEWAY_OPERATIONS: &str = "http://127.0.0.1:9445";

/// `keybound explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The refusal's id, from the `Keybound-Refusal` header, or the `error_uri` that ends in it.
    pub id: String,
    /// Where a gateway's operations listener is, for ids that begin with G.
    #[arg(long, value_name = "URL", default_value = DEFAULT_GATEWAY_OPERATIONS)]
    pub gateway: String,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The certificate: a file (PEM, the leaf first, or DER; - for standard input), or its thumbprint (x5t#S256).
    #[arg(long, value_name = "FILE|THUMBPRINT", allow_hyphen_values = true)]
    pub certificate: PathBuf,
    /// Revoke nothing; say what would be.
    #[arg(long)]
    pub dry_run: bool,
    /// As which administrator to act.
    #[command(flatten)]
    pub admin: ActingAdmin,
}

/// `keybound config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Every error of a configuration file at once, with file, line, column and a caret.
    Check(ConfigCheck),
}

/// `keybound config check`.
#[derive(Debug, Args)]
pub(crate) struct ConfigCheck {
    /// The file; a gateway's is recognised by its keys or its name.
    #[arg(long, value_name = "FILE", default_value = "keybound.toml")]
    pub config: PathBuf,
}

/// `keybound completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}
