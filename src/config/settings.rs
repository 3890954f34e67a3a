use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::{Entry, Mode};
use crate::model::{ForwardedHeader, Issuer, Network, Secret, SigningAlgorithm};

/// All settings, resolved and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What they were loaded for.
    pub mode: Mode,
    /// Holds whatever the program keeps: `cedargate.db`, snapshot, keys. It need not exist yet.
    pub data_dir: PathBuf,
    /// The data plane.
    pub gateway: Gateway,
    /// The admin service.
    pub admin: Admin,
    /// `/docs`, `/redoc` and `/openapi.json`.
    pub docs: Docs,
    /// `/metrics`.
    pub metrics: Metrics,
    /// The store.
    pub database: Database,
    /// Tokens, passwords and sign-in.
    pub auth: Auth,
    /// When signing in is refused after failures.
    pub lockout: Lockout,
    /// How long one stays signed in.
    pub sessions: Sessions,
    /// What a new password must look like.
    pub password_policy: PasswordPolicy,
    /// The mail server; `None` sends no mail.
    pub smtp: Option<Smtp>,
    /// What mails look like, and how many there are.
    pub mail: Mail,
    /// The operator's own policies.
    pub policy: Policy,
    /// Why requests were answered as they were.
    pub explain: Explain,
    /// The audit trail.
    pub audit: Audit,
    /// The program's log.
    pub log: Log,
    /// One line per request.
    pub access_log: AccessLog,
    /// Cross-origin requests.
    pub cors: Cors,
    /// What browsers are told to be careful with.
    pub security_headers: SecurityHeaders,
    /// How much one client may ask of the admin service.
    pub rate_limit: RateLimit,
    /// What users do with their accounts.
    pub activity: Activity,
    /// How the service presents itself.
    pub app: App,
    pub(super) entries: Vec<Entry>,
}

/// The data plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Threads; resolved, never 0.
    pub workers: usize,
    /// Whether the admin paths are reachable on this listener too.
    pub mount: bool,
    /// Larger request bodies are refused with 413.
    pub max_body_bytes: u64,
    /// Open client connections; 0 is no limit.
    pub max_connections: usize,
    /// Open connections of one client address; 0 is no limit.
    pub max_connections_per_address: usize,
    /// A request's head must have arrived within this time.
    pub header_timeout: Duration,
    /// Each part of a request's body must arrive within this time.
    pub body_read_timeout: Duration,
    /// Idle client connections are closed after this time.
    pub keepalive_timeout: Duration,
    /// Requests in flight have this long at shutdown.
    pub shutdown_timeout: Duration,
    /// Serve TLS with these.
    pub tls: Option<TlsFiles>,
    /// Whose word about clients is believed, on the admin listener too.
    pub trusted_proxies: Vec<Network>,
    /// Where they give it.
    pub forwarded_header: ForwardedHeader,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Capacity of the cache of verified tokens.
    pub token_cache_entries: usize,
    /// Idle connections kept to upstreams.
    pub upstream_pool_size: usize,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The admin service.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Begins with `/`, does not end with it.
    pub api_prefix: String,
    /// Larger request bodies are refused with 413.
    pub max_body_bytes: usize,
    /// 401, or 403 for clients of the predecessor that expect it.
    pub missing_credentials_status: ::http::StatusCode,
    /// A request that takes longer is given up.
    pub request_timeout: Duration,
}

/// `/docs`, `/redoc` and `/openapi.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Docs {
    /// Whether they are served.
    pub enabled: bool,
}

/// `/metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Whether it is served at all.
    pub enabled: bool,
    /// A listener of its own; `None` is the admin listener.
    pub listen: Option<SocketAddr>,
}

/// The store.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// `sqlite:…` (percent-encoded path), `postgres://…` or `postgresql://…`; never empty.
    pub url: Secret<String>,
    /// Pool size and overflow together.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
}

/// Tokens, passwords and sign-in.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// Signs tokens (HS256); at least 32 bytes, except in [`Mode::Offline`], where it may be empty.
    pub secret_key: Secret<String>,
    /// What signs tokens; `None` is the secret.
    pub signing_algorithm: Option<SigningAlgorithm>,
    /// Signs tokens, instead of a key of the database.
    pub signing_key_file: Option<PathBuf>,
    /// Further keys that verify tokens.
    pub verifying_key_files: Vec<PathBuf>,
    /// Encrypts the private keys of the database; may be empty where none is made or used.
    pub key_encryption_key: Secret<String>,
    /// `iss` of tokens that the secret does not sign.
    pub issuer: String,
    /// `aud` of tokens that the secret does not sign.
    pub audience: String,
    /// Life of an access token.
    pub access_token: Duration,
    /// Password of the first administrator; `None` lets the seed make a random one.
    pub bootstrap_password: Option<Secret<String>>,
    /// Clocks may differ by this much.
    pub leeway: Duration,
    /// Threads that hash passwords; resolved, never 0.
    pub hash_threads: usize,
    /// Hashes that may wait for a thread; more are refused.
    pub hash_queue: usize,
    /// Cost of a password hash.
    pub argon2: Argon2,
    /// Whether anybody may make an account of their own.
    pub user_registration: bool,
    /// Whether users show that their mail addresses are their own.
    pub email_verification: EmailVerification,
    /// Failures within the window after which sign-in is refused.
    pub login_failures: u32,
    /// The window.
    pub login_window: Duration,
    /// Identity providers whose tokens are believed.
    pub issuers: Vec<Issuer>,
    /// How their keys are kept.
    pub issuer_keys: IssuerKeys,
}

/// How the keys of other issuers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerKeys {
    /// They are fetched again after this time.
    pub refresh: Duration,
    /// A key that is not known has them fetched no sooner after the last time.
    pub refetch: Duration,
    /// Keys that could not be fetched again for so long are used no more.
    pub outage: Duration,
}

/// When signing in is refused after failures, beyond those of one account at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// Failures of an account from everywhere; 0 is no limit.
    pub account_failures: u32,
    /// Failures of an address for all accounts; 0 is no limit.
    pub address_failures: u32,
    /// The longest wait.
    pub longest: Duration,
}

/// How long one stays signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Sessions of one user at the same time.
    pub max_per_user: u32,
    /// One that is not renewed for so long ends.
    pub idle: Duration,
    /// None lasts longer, however often it is renewed.
    pub longest: Duration,
    /// For so long the refresh token before the current one is taken for a request sent twice.
    pub refresh_grace: Duration,
}

/// Cost of a password hash (argon2id).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2 {
    /// Memory per hash, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

/// What a new password must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent requirements, each its own setting")]
pub struct PasswordPolicy {
    /// In characters.
    pub min_length: usize,
    /// An upper-case letter is demanded.
    pub require_uppercase: bool,
    /// A lower-case letter is demanded.
    pub require_lowercase: bool,
    /// A digit is demanded.
    pub require_numbers: bool,
    /// A character of another kind is demanded.
    pub require_special: bool,
    /// How hard to guess it is, from 0 to 4.
    pub min_strength: u8,
}

/// Whether users show that their mail addresses are their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailVerification {
    /// They are not asked to.
    Off,
    /// They are asked to, and sign in without it.
    On,
    /// They sign in only once they have.
    Required,
}

/// The mail server.
#[derive(Clone, Debug, PartialEq)]
pub struct Smtp {
    /// Its name or address.
    pub host: String,
    /// Its port; resolved, never 0.
    pub port: u16,
    /// How the way there is secured.
    pub security: SmtpSecurity,
    /// Name and password, if it wants them.
    pub credentials: Option<(String, Secret<String>)>,
    /// PEM file of the certificates to trust; `None` trusts those of the system.
    pub ca_file: Option<PathBuf>,
    /// Longest time for one mail.
    pub timeout: Duration,
}

/// How the way to the mail server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// By STARTTLS, without which nothing is sent.
    StartTls,
    /// By TLS from the first byte.
    Tls,
    /// Not at all.
    None,
}

/// What mails look like, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The sender; may be empty where no mail is sent.
    pub from: String,
    /// The front end's page that verifies an address.
    pub verify_path: String,
    /// Its page that asks for a new password.
    pub reset_path: String,
    /// How long an address can be verified.
    pub verification_life: Duration,
    /// How long a password can be reset.
    pub reset_life: Duration,
    /// Mails of one kind to one recipient in an hour.
    pub per_hour: u32,
    /// Mails that may wait.
    pub waiting: u32,
}

/// The operator's own policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Directory of `*.cedar`; `None` leaves the shipped guard rails alone.
    pub dir: Option<PathBuf>,
}

/// Why requests were answered as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explain {
    /// Requests that are remembered.
    pub recent_requests: usize,
}

/// The audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// How long a record is kept; `None` is for ever.
    pub retention: Option<Duration>,
}

/// The program's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is written.
    pub level: tracing::Level,
    /// How a line looks.
    pub format: LogFormat,
    /// The security log, if one is kept.
    pub security: Option<SecurityLog>,
}

/// A log of its own for what concerns security.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityLog {
    /// Its file.
    pub file: PathBuf,
    /// A new file is begun beyond this size.
    pub max_bytes: u64,
    /// A new file is begun every day too.
    pub daily: bool,
    /// Old files that are kept.
    pub backups: usize,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

/// One line per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Whether it is written.
    pub enabled: bool,
}

/// Cross-origin requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins without a trailing slash, or `*`.
    pub allowed_origins: Vec<String>,
    /// Whether browsers may send credentials.
    pub allow_credentials: bool,
    /// Methods, or `*`.
    pub allowed_methods: Vec<String>,
    /// Header names, or `*`.
    pub allowed_headers: Vec<String>,
    /// How long a preflight answer may be kept.
    pub max_age: Duration,
}

/// What browsers are told to be careful with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// Whether they are sent at all.
    pub enabled: bool,
    /// For how long browsers shall use TLS only, once they were served over TLS; zero says nothing.
    pub hsts_max_age: Duration,
}

/// How much one client may ask of the admin service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Whether there is a limit at all.
    pub enabled: bool,
    /// Without a valid token, for each address.
    pub anonymous: Allowance,
    /// With one, for each user.
    pub authenticated: Allowance,
    /// Of accounts that are asked for from one address.
    pub register: Allowance,
    /// Of mails that are asked for from one address without signing in.
    pub mail: Allowance,
    /// Without a valid token, for each address at the gateway.
    pub gateway_anonymous: Option<Allowance>,
    /// With one, for each user at the gateway.
    pub gateway_authenticated: Option<Allowance>,
}

/// What users do with their accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// For how long it is kept; zero keeps none.
    pub retention: Duration,
}

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests; not zero.
    pub requests: NonZeroU32,
    /// The time.
    pub window: Duration,
}

/// How the service presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: String,
    /// What it is for, in a sentence; may be empty.
    pub description: String,
    /// Its version: the program's own unless it is given another.
    pub version: String,
    /// Where front ends are, without a slash at the end; may be empty where no mail is sent.
    pub public_url: String,
    /// Where it runs.
    pub environment: Environment,
    /// Shown to clients of the predecessor; loosens nothing.
    pub debug: bool,
}

/// Where the service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// For real.
    Production,
    /// On a developer's machine.
    Development,
}
