use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::table::KEYS;
use super::*;

const SECRET: &str = "8f0d5c1be2a94c6793fd0b4b7f5a21c4e6d8a9b0c1d2e3f4";

/// Sources that read nothing but what a test gives them.
fn sources(mode: Mode, environment: &[(&str, &str)]) -> Sources {
    Sources {
        config_file: Some(PathBuf::from("/dev/null")),
        data_dir: PathBuf::from("data"),
        mode,
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        dotenv: None,
        flags: Vec::new(),
    }
}

fn serve(environment: &[(&str, &str)]) -> Result<Settings, String> {
    let with_secret = [&[("CEDARGATE_AUTH__SECRET_KEY", SECRET)], environment].concat();
    Settings::load(&sources(Mode::Serve, &with_secret)).map_err(|error| error.to_string())
}

fn source_of(settings: &Settings, key: &str) -> String {
    settings.effective().iter().find(|entry| entry.key == key).unwrap().source.clone()
}

fn offline(path: &Path) -> Settings {
    let sources = Sources { config_file: Some(path.to_owned()), ..sources(Mode::Offline, &[]) };
    Settings { entries: Vec::new(), ..Settings::load(&sources).unwrap() }
}

#[test]
fn the_shipped_file_states_every_default() {
    let shipped = include_str!("../../config/cedargate.toml");
    let settings: Vec<&str> = shipped
        .lines()
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .filter(|line| line.starts_with('[') || line.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.toml");
    std::fs::write(&path, settings.join("\n")).unwrap();
    let nothing = offline(Path::new("/dev/null"));
    assert_eq!(offline(&path), nothing);
    assert_eq!(offline(Path::new("config/cedargate.toml")), nothing);

    let mut section = "";
    let mut stated = Vec::new();
    for line in settings {
        match line.strip_prefix('[') {
            Some(rest) => section = rest.trim_end_matches(']'),
            None => stated.push(format!("{section}.{}", line.split(' ').next().unwrap())),
        }
    }
    let known: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(stated, known);
    for key in KEYS {
        assert!(shipped.contains(&key.variable()), "{} is not named", key.variable());
    }
}

#[test]
fn later_layers_win() {
    let dir = tempfile::tempdir().unwrap();
    let (file, dotenv) = (dir.path().join("a.toml"), dir.path().join(".env"));
    std::fs::write(&file, "[admin]\nlisten = '127.0.0.1:1'\n[app]\nname = 'file'\n[log]\nlevel = 'debug'\n").unwrap();
    std::fs::write(&dotenv, "CEDARGATE_ADMIN__LISTEN=127.0.0.1:2\nAPP_NAME=dotenv\n").unwrap();
    let mut sources = Sources {
        config_file: Some(file),
        dotenv: Some(dotenv),
        data_dir: dir.path().to_owned(),
        ..sources(Mode::Dev, &[("CEDARGATE_ADMIN__LISTEN", "127.0.0.1:3")])
    };
    let settings = Settings::load(&sources).unwrap();
    assert_eq!(settings.admin.listen.port(), 3);
    assert_eq!(settings.app.name, "dotenv");
    assert_eq!(source_of(&settings, "app.name"), ".env APP_NAME");
    assert_eq!(settings.log.level, tracing::Level::DEBUG);
    assert!(source_of(&settings, "log.level").ends_with("a.toml:6"));

    sources.flags.push(("admin.listen".to_owned(), "127.0.0.1:4".to_owned()));
    let settings = Settings::load(&sources).unwrap();
    assert_eq!(settings.admin.listen.port(), 4);
    assert_eq!(source_of(&settings, "admin.listen"), "flag");
}

#[test]
fn dev_generates_a_secret_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("new/data");
    let sources = Sources { data_dir: data_dir.clone(), ..sources(Mode::Dev, &[]) };
    let first = Settings::load(&sources).unwrap();
    assert_eq!(first.auth.secret_key.expose().len(), 64);
    assert_eq!(Settings::load(&sources).unwrap(), first);
    let mode = std::fs::metadata(data_dir.join("secret_key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(first.gateway.listen, "127.0.0.1:8000".parse().unwrap());
    assert_eq!(first.app.environment, Environment::Development);
}

#[test]
fn dev_serves_loopback_only() {
    let given = [("SECRET_KEY", SECRET), ("CEDARGATE_ADMIN__LISTEN", "0.0.0.0:8001")];
    let told = Settings::load(&sources(Mode::Dev, &given)).unwrap_err().to_string();
    assert!(told.starts_with("environment CEDARGATE_ADMIN__LISTEN: admin.listen is 0.0.0.0:8001, but"), "{told}");
}

#[test]
fn serve_demands_a_secret_of_ones_own() {
    let load = |secret| Settings::load(&sources(Mode::Serve, &[("SECRET_KEY", secret)])).map_err(|e| e.to_string());
    assert!(load("").unwrap_err().starts_with("auth.secret_key is not set"));
    let short = load("hunter2").unwrap_err();
    assert_eq!(short, "environment SECRET_KEY: auth.secret_key has 7 bytes; at least 32 are needed");
    assert!(load("your-super-secret-key-change-this-in-production").unwrap_err().contains("published"));
    assert!(load(SECRET).is_ok());
    assert!(Settings::load(&sources(Mode::Offline, &[])).is_ok());
}

#[test]
fn the_lenient_preset_yields_to_what_is_said() {
    let settings = serve(&[("CEDARGATE_PASSWORD_POLICY__PRESET", "lenient"), ("PASSWORD_REQUIRE_NUMBERS", "true")]);
    let policy = settings.unwrap().password_policy;
    assert_eq!((policy.min_length, policy.require_uppercase, policy.require_numbers), (6, false, true));
}

#[test]
fn the_database_is_found() {
    let url = |given: &[_]| serve(given).unwrap().database.url.expose().clone();
    assert_eq!(url(&[]), "sqlite:data/cedargate.db");
    assert_eq!(url(&[("DATABASE_URL", "postgresql+psycopg2://a:b@db/auth")]), "postgresql://a:b@db/auth");
    let told = serve(&[("DATABASE_URL", "mysql://a:hunter2@db/auth")]).unwrap_err();
    assert!(told.ends_with(r#", not "mysql://a:***@db/auth""#), "{told}");
    assert_eq!(serve(&[("DATABASE_POOL_SIZE", "7")]).unwrap().database.max_connections, 17);
}

#[test]
fn one_line_says_what_is_wrong() {
    for (name, value, told) in [
        (
            "CEDARGATE_ADMIN__LISTEN",
            "127.0.0.1:8000",
            "admin.listen is 127.0.0.1:8000, which gateway.listen (0.0.0.0:8000) occupies",
        ),
        ("CEDARGATE_GATEWAY__TLS_KEY", "k.pem", "gateway.tls_key is set without gateway.tls_certificate"),
        (
            "CEDARGATE_POLICY__DIR",
            "/does/not/exist",
            "policy.dir /does/not/exist: cannot be listed: No such file or directory (os error 2)",
        ),
        (
            "CEDARGATE_GATEWAY__MAX_BODY_BYTES",
            "0",
            "gateway.max_body_bytes must be a number from 1 to 1099511627776, not \"0\"",
        ),
        (
            "API_PREFIX",
            "/api/",
            "admin.api_prefix must be a path such as /api/v1: it begins with / and does not end with it; letters, digits, . _ ~ -, not \"/api/\"",
        ),
        (
            "CORS_ORIGINS",
            "app.example.com",
            "cors.allowed_origins must be a list of * or origins such as https://app.example.com, not \"app.example.com\"",
        ),
        (
            "CEDARGATE_GATEWAY__TRUSTED_PROXIES",
            "10.0.0.0/8, proxy.example",
            "gateway.trusted_proxies \"proxy.example\" is no network such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
        ),
        (
            "CEDARGATE_GATEWAY__TRUSTED_PROXIES",
            "10.0.0.1/8",
            "gateway.trusted_proxies \"10.0.0.1/8\" has host bits set: 10.0.0.0/8 is the network, 10.0.0.1 the address",
        ),
        ("CEDARGATE_GATEWAY__TRUSTED_PROXIES", "::/0", "gateway.trusted_proxies \"::/0\" is everybody"),
        (
            "CEDARGATE_GATEWAY__FORWARDED_HEADER",
            "x-real-ip",
            "gateway.forwarded_header must be \"x-forwarded-for\" or \"forwarded\", not \"x-real-ip\"",
        ),
        (
            "CEDARGATE_GATEWAY__PROXY_PROTOCOL",
            "on",
            "gateway.proxy_protocol is on, but gateway.trusted_proxies names nobody to speak it",
        ),
        (
            "CEDARGATE_GATEWAY__DNS_SERVERS",
            "192.0.2.53:53,dns.example:53",
            "gateway.dns_servers \"dns.example:53\" is no address:port such as 192.0.2.53:53",
        ),
        (
            "CEDARGATE_GATEWAY__UPSTREAM_CERTIFICATES",
            r#"[{"name":"fleet","certificate":"/does/not/exist.pem","key":"/dev/null"}]"#,
            "gateway.upstream_certificates /does/not/exist.pem: cannot be read: No such file or directory (os error 2)",
        ),
        ("PORT", "http", "PORT must be a number from 0 to 65535, not \"http\""),
        ("CEDARGATE_BOOTSTRAP_PASSWORD", "admin123", "auth.bootstrap_password is a published password"),
        (
            "CEDARGATE_AUTH__ISSUERS",
            r#"[{"name":"us","issuer":"cedargate","audiences":["api"],"jwks_url":"https://id.example.com/jwks"}]"#,
            "auth.issuers [0]: issuer 'cedargate' is this server itself",
        ),
    ] {
        assert_eq!(serve(&[(name, value)]).unwrap_err(), format!("environment {name}: {told}"));
    }
}

#[test]
fn nothing_printed_holds_a_secret() {
    let settings =
        serve(&[("CEDARGATE_BOOTSTRAP_PASSWORD", "hunter2hunter2"), ("DATABASE_URL", "postgres://a:hunter2@db/x")]);
    let settings = settings.unwrap();
    let printed = format!("{settings:?}");
    assert!(!printed.contains("hunter2") && !printed.contains(SECRET));
    assert!(printed.contains("postgres://a:***@db/x"));
}
