//! What cannot be loaded keeps the server from starting (row 28).

use std::path::Path;

use tempfile::TempDir;

use super::World;
use super::wire::get;
use super::world::bearer;
use crate::support::Backend;
use crate::support::app::App;

#[tokio::test(flavor = "multi_thread")]
async fn row_28_nothing_starts_open() {
    let directory = TempDir::with_prefix("cedargate-files-").unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let parent = |path: &str| Path::new(path).parent().unwrap().display().to_string();
    let guard = "forbid (principal, action, resource) when { context.path like \"/open/never*\" };";
    let good = parent(&file("good/guard.cedar", guard));
    let syntax = parent(&file("syntax/guard.cedar", "forbid (principal, action"));
    let types =
        parent(&file("types/guard.cedar", "forbid (principal, action, resource) when { context.nonsense == 1 };"));
    let binary = directory.path().join("binary");
    std::fs::create_dir_all(&binary).unwrap();
    std::fs::write(binary.join("guard.cedar"), b"\xff\xfe").unwrap();
    let binary = binary.display().to_string();
    let missing = directory.path().join("missing").display().to_string();
    for policies in [syntax, types, binary, missing.clone()] {
        let error = App::start_error(Backend::Sqlite, &[("CEDARGATE_POLICY__DIR", &policies)]).await;
        assert!(error.contains("policy") || error.contains("guard"), "{policies}: {error}");
    }

    let mine = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = file("tls/certificate.pem", &mine.cert.pem());
    let key = file("tls/key.pem", &mine.signing_key.serialize_pem());
    let foreign = file("tls/foreign.pem", &other.signing_key.serialize_pem());
    let broken = file("tls/broken.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let empty = file("tls/empty.pem", "");
    for (certificate, key) in [
        (&certificate, &foreign),
        (&certificate, &broken),
        (&certificate, &empty),
        (&certificate, &missing),
        (&empty, &key),
        (&missing, &key),
    ] {
        let tls = [
            ("CEDARGATE_GATEWAY__TLS_CERTIFICATE", certificate.as_str()),
            ("CEDARGATE_GATEWAY__TLS_KEY", key.as_str()),
        ];
        let error = App::start_error(Backend::Sqlite, &tls).await;
        assert!(error.contains("certificate") || error.contains("tls"), "{certificate} {key}: {error}");
    }
    App::start_error(Backend::Sqlite, &[("CEDARGATE_AUTH__SECRET_KEY", "short")]).await;

    let world = World::start_with(&[("CEDARGATE_POLICY__DIR", &good)]).await;
    world.passes(&get("/open/x", "")).await;
    world.refuses(403, &get("/open/never", &bearer(&world.admin))).await;
}
