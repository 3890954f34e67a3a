//! Scanners and floods of others, against a gateway that stands at the edge.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::Backend;
use crate::support::app::App;
use crate::support::programs;
use crate::support::raw::{Recorder, exchange};

/// Writes a certificate that is valid for 90 days, as public ones are, and its key; returns the certificate.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let day = Duration::from_hours(24);
    params.not_before = (SystemTime::now() - day).into();
    params.not_after = (SystemTime::now() + 89 * day).into();
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("certificate.pem"), made.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    CertificateDer::from_pem_slice(made.pem().as_bytes()).unwrap()
}

/// What sslyze finds; and what it says, which is also where that falls behind Mozilla's "intermediate" configuration.
fn sslyze(port: u16, folder: &Path) -> (Value, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/venv.sh");
    let made = Command::new("bash").args([script, "tls"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let venv = String::from_utf8(made.stdout).unwrap();
    let report = folder.join("report.json");
    let output = Command::new(Path::new(venv.trim()).join("bin/sslyze"))
        .args(["--mozilla_config=intermediate", "--early_data", "--compression", "--heartbleed", "--robot"])
        .args(["--openssl_ccs", "--reneg", "--fallback"])
        .args([&format!("--json_out={}", report.display()), &format!("localhost:{port}")])
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_slice(&std::fs::read(report).unwrap_or_else(|_| panic!("{told}"))).unwrap();
    (report, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn sslyze_finds_nothing_but_an_unknown_issuer() {
    let folder = TempDir::with_prefix("cedargate-tls-").unwrap();
    let trusted = certificate(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let app = App::start_with(
        Backend::Sqlite,
        &[
            ("CEDARGATE_GATEWAY__TLS_CERTIFICATE", &path("certificate.pem")),
            ("CEDARGATE_GATEWAY__TLS_KEY", &path("key.pem")),
        ],
    )
    .await;
    let (port, place) = (app.gateway.port(), folder.path().to_owned());
    let (report, told) = tokio::task::spawn_blocking(move || sslyze(port, &place)).await.unwrap();
    let found = &report["server_scan_results"][0]["scan_result"];
    let of = |command: &str| {
        assert_eq!(found[command]["status"], "COMPLETED", "{command}: {told}");
        found[command]["result"].clone()
    };
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert_eq!(of(&format!("{version}_cipher_suites"))["is_tls_version_supported"], false, "{version}");
    }
    for version in ["tls_1_2", "tls_1_3"] {
        let suites = of(&format!("{version}_cipher_suites"))["accepted_cipher_suites"].clone();
        let suites = suites.as_array().unwrap().clone();
        assert!(suites.len() >= 3, "{version}: {suites:?}");
        for suite in suites.iter().map(|suite| &suite["cipher_suite"]) {
            let name = suite["name"].as_str().unwrap();
            // Forward secrecy and authenticated encryption; TLS 1.3 has nothing else.
            assert!(version == "tls_1_3" || name.starts_with("TLS_ECDHE_"), "{name}");
            assert!(name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_"), "{name}");
            assert!(suite["is_anonymous"] == false && suite["key_size"].as_i64() >= Some(128), "{suite}");
        }
    }
    assert_eq!(of("tls_compression")["supports_compression"], false);
    assert_eq!(of("tls_1_3_early_data")["supports_early_data"], false);
    assert_eq!(of("session_renegotiation")["is_vulnerable_to_client_renegotiation_dos"], false);
    assert_eq!(of("tls_fallback_scsv")["supports_fallback_scsv"], true);
    assert_eq!(of("heartbleed")["is_vulnerable_to_heartbleed"], false);
    assert_eq!(of("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"], false);
    assert!(of("robot")["robot_result"].as_str().unwrap().starts_with("NOT_VULNERABLE"), "{told}");
    let faults: Vec<_> = told.lines().filter_map(|line| line.trim().strip_prefix("* ")?.split_once(": ")).collect();
    let faults: Vec<_> = faults.into_iter().map(|(what, _)| what).collect();
    assert_eq!(faults, ["certificate_path_validation"], "{told}");

    for (offered, expected) in [
        (&[&b"h2"[..], b"http/1.1"][..], Ok(Some("h2"))),
        (&[b"http/1.1", b"h2"], Ok(Some("h2"))),
        (&[b"http/1.1"], Ok(Some("http/1.1"))),
        (&[], Ok(None)),
        (&[b"spdy/3"], Err(())),
    ] {
        assert_eq!(
            negotiated(&app, &trusted, offered).await.as_ref().map(Option::as_deref),
            expected.as_ref().copied()
        );
    }
}

/// The protocol that is agreed on by ALPN.
async fn negotiated(app: &App, trusted: &CertificateDer<'static>, offered: &[&[u8]]) -> Result<Option<String>, ()> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    let tcp = TcpStream::connect(app.gateway).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(drop)?;
    Ok(tls.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()))
}

/// Slow heads, slow bodies, slow reads and odd ranges at once, for twenty seconds: who asks as usual is answered as usual.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_keep_nobody_from_being_answered() {
    let app = App::start_with(
        Backend::Sqlite,
        &[
            ("CEDARGATE_GATEWAY__HEADER_TIMEOUT_MS", "1000"),
            ("CEDARGATE_GATEWAY__BODY_READ_TIMEOUT_MS", "1000"),
            ("CEDARGATE_GATEWAY__KEEPALIVE_TIMEOUT_MS", "2000"),
        ],
    )
    .await;
    let (back, admin) = (Recorder::start().await, app.token("superadmin").await);
    let operations = json!([{ "methods": ["*"], "access": "public" }]);
    app.route_to(&admin, "back", back.address, "/open/{*rest}", operations).await;
    let url = format!("http://{}/open/x", app.gateway);
    let floods: Vec<_> = ["-H", "-B", "-X", "-R"]
        .map(|mode| {
            let mut command = programs::command("slowhttptest");
            command.args([mode, "-c", "150", "-r", "100", "-i", "1", "-l", "20", "-p", "3", "-v", "1", "-u", &url]);
            tokio::task::spawn_blocking(move || command.output().expect("slowhttptest is missing: run tests/run.sh"))
        })
        .into();
    let (until, mut times) = (Instant::now() + Duration::from_secs(20), Vec::new());
    while Instant::now() < until {
        let begun = Instant::now();
        app.gateway("GET", "/open/ordinary").await.expect(200);
        let fresh = exchange(app.gateway, b"GET /open/fresh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(fresh.starts_with("HTTP/1.1 200"), "{fresh}");
        times.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort_unstable();
    assert!(times.len() > 100 && times[times.len() * 99 / 100] < Duration::from_secs(1), "{times:?}");
    for flood in floods {
        let output = flood.await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("service available") && !told.contains("NO\n"), "{told}");
    }
}
