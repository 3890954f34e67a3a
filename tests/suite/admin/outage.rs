//! A database that is gone.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{Caller, refused};
use crate::support::Backend;
use crate::support::app::App;

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_refused_and_decisions_go_on() {
    let app = App::start_with(Backend::Postgres, &[("CEDARGATE_DATABASE__POOL_TIMEOUT_MS", "500")]).await;
    let admin = Caller::superadmin(&app).await;
    let (base, name) = app.database.rsplit_once('/').unwrap();
    let mut server = PgConnection::connect(&format!("{base}/postgres")).await.unwrap();
    server.execute(AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))).await.unwrap();
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    server.execute(AssertSqlSafe(end)).await.unwrap();

    let gone = "Service temporarily unavailable";
    for _ in 0..2 {
        refused(admin.post("/roles/", json!({ "name": "x" })).await, 503, gone);
        refused(admin.get("/roles/").await, 503, gone);
        refused(app.login("testuser", "testuser123").await, 503, gone);
        assert_eq!(admin.gateway("GET", "/demo/articles").await, 200);
        assert_eq!(app.gateway("GET", "/demo/articles").await.status, 401);
    }

    server.execute(AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))).await.unwrap();
    admin.post("/roles/", json!({ "name": "x" })).await.expect(200);
}
