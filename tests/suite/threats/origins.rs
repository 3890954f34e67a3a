//! Pages of other origins that send what looks like a form (row 68).

use serde_json::json;

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn row_68_a_write_of_a_foreign_page_is_refused() {
    let world = World::start_with(&[("CORS_ORIGINS", "https://front.example,capacitor://localhost")]).await;
    let (app, token) = (&world.app, &world.admin);
    let name = std::sync::atomic::AtomicUsize::new(0);
    let send = async |gateway: bool, origin: &str, site: &str| {
        let number = name.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = "/api/v1/roles/";
        let call = if gateway { app.gateway("POST", path) } else { app.internal("POST", path) };
        let call = if site.is_empty() { call } else { call.header("Sec-Fetch-Site", site) };
        call.bearer(token).header("Origin", origin).json(json!({ "name": format!("role{number}") })).await
    };
    let count = async || app.admin("GET", "/roles/count").bearer(token).await.expect(200).text;
    for gateway in [true, false] {
        let address = if gateway { app.gateway } else { app.admin };
        let before = count().await;
        for origin in [
            "https://evil.example",
            "http://front.example",
            "https://front.example.evil.example",
            "https://front.example:444",
            "null",
            "",
            "capacitor://localhos",
            &format!("http://{address}.evil.example"),
            &format!("http://127.0.0.1:{}", address.port() ^ 1),
        ] {
            for site in ["cross-site", "same-site", ""] {
                let refused = send(gateway, origin, site).await.expect(403);
                assert_eq!(refused.json()["detail"], "Cross-origin request refused", "{origin}");
                assert_eq!(refused.header("access-control-allow-origin"), None, "{origin}");
            }
        }
        assert_eq!(count().await, before, "nothing was written");
        for (origin, site) in [
            ("https://front.example", "cross-site"),
            ("capacitor://localhost", ""),
            (&*format!("http://{address}"), ""),
            ("https://behind.a.proxy.example", "same-origin"),
        ] {
            send(gateway, origin, site).await.expect(200);
        }
    }
    // Signing in needs no token, which another page could put in for its own; reading is harmless, and not shown to it.
    let login = json!({ "username": "testuser", "password": "testuser123" });
    let login = app.admin("POST", "/auth/login").header("Origin", "https://evil.example").json(login).await;
    login.expect(403);
    let read = app.admin("GET", "/auth/me").bearer(token).header("Origin", "https://evil.example").await.expect(200);
    assert_eq!(read.header("access-control-allow-origin"), None);
}
