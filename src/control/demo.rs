//! The rows of `cedargate dev`: routes to the demo back end, and what the demo accounts may do there.

use serde_json::json;

use super::{Control, Error, seed};
use crate::{
    model::{
        Balance, Ejection, HashOn, HeaderRules, Label, NewRoute, NewUpstream, PathTemplate, Protocol, RoleId, Target,
        Timeouts, Timestamp, Upstream, UpstreamName, UpstreamPatch,
    },
    store::{Tx, changes::Change, roles, routes, upstreams},
};

/// Name, password, mail and role of the demo accounts; public knowledge, hence loopback only.
pub const DEMO_ACCOUNTS: [(&str, &str, &str, &str); 4] = [
    ("superadmin", "superadmin123", "superadmin@gmail.com", "superadmin"),
    ("admin", "admin123", "admin@gmail.com", "admin"),
    ("user", "user123", "user@gmail.com", "user"),
    ("testuser", "testuser123", "testuser@gmail.com", "user"),
];

const NAME: &str = "demo";
const PERMISSIONS: [(&str, &str, &str); 6] = [
    ("article:read", "Read articles", "article"),
    ("article:create", "Create articles", "article"),
    ("article:update", "Change articles", "article"),
    ("article:delete", "Delete articles", "article"),
    ("order:read", "Read everybody's orders", "order"),
    ("order:read:own", "Read one's own orders", "order"),
];
const GRANTED_TO_USERS: [&str; 2] = ["article:read", "order:read:own"];

/// Makes the demo's permissions, module, upstream and routes once, and points the upstream at `address`.
///
/// # Errors
/// The database is away.
pub async fn seed_demo(control: &Control, address: std::net::SocketAddr) -> Result<(), Error> {
    let mut write = control.write().await?;
    let now = write.now();
    let targets = vec![Target { address: address.to_string(), weight: 1 }];
    match upstreams::find(write.tx(), NAME).await? {
        Some(id) => {
            let current = upstreams::get(write.tx(), id).await?;
            if current.is_some_and(|upstream| upstream.targets == targets) {
                return Ok(());
            }
            let patch = UpstreamPatch { targets: Some(targets), ..UpstreamPatch::default() };
            upstreams::update(write.tx(), id, &patch, now).await?;
        }
        None => create(write.tx(), targets, now).await?,
    }
    write.touch(Change::Rules);
    write.commit(()).await.map(|_| ())
}

async fn create(tx: &mut Tx, targets: Vec<Target>, now: Timestamp) -> Result<(), Error> {
    let user = roles::find(tx, "user").await?;
    let superadmin = roles::find(tx, crate::model::SUPER_ROLE).await?;
    for (name, description, category) in PERMISSIONS {
        let (permission, _) = seed::ensure_permission(tx, name, description, category, now).await?;
        let users_hold = GRANTED_TO_USERS.contains(&name);
        for role in superadmin.into_iter().chain(user.filter(|_| users_hold)) {
            roles::grant(tx, role, permission, now).await?;
        }
    }
    let upstream = NewUpstream {
        name: UpstreamName::try_from(NAME).expect("a literal name is valid"),
        is_active: true,
        protocol: Protocol::Http1,
        targets,
        balance: Balance::RoundRobin,
        hash_on: HashOn::default(),
        tls: None,
        host_header: None,
        timeouts: Timeouts::default(),
        retries: 0,
        retry_budget_percent: Upstream::RETRY_BUDGET_PERCENT,
        health_check: None,
        ejection: Some(Ejection::default()),
        max_body_bytes: None,
    };
    upstreams::insert(tx, &upstream, now).await?;
    let everybody: Vec<RoleId> = roles::infos(tx).await?.into_iter().map(|role| role.id).collect();
    let module = seed::module(tx, (NAME, "Demo", "FlaskConical", "/demo", 2), everybody.clone(), now).await?;
    for (path, label, operations) in demo_routes() {
        let route = NewRoute {
            route: PathTemplate::try_from(path.to_owned()).expect("a literal path is valid"),
            label: Label::try_from(label).expect("a literal label is valid"),
            icon: None,
            is_active: true,
            is_sidebar: false,
            module_id: module,
            parent_id: None,
            priority: 0,
            role_ids: everybody.clone(),
            host: None,
            upstream: Some(upstream.name.clone()),
            strip_prefix: Some("/demo".to_owned()),
            forward_authorization: true,
            rate_limit: None,
            max_body_bytes: None,
            headers: HeaderRules::default(),
            operations: serde_json::from_value(operations).expect("literal operations are valid"),
        };
        routes::insert(tx, &route, now).await?;
    }
    Ok(())
}

fn demo_routes() -> [(&'static str, &'static str, serde_json::Value); 5] {
    let needs = |methods: &[&str], permission: &str| json!({ "methods": methods, "access": "permission", "permission": permission });
    [
        ("/demo/articles", "Articles", json!([needs(&["GET"], "article:read"), needs(&["POST"], "article:create")])),
        (
            "/demo/articles/{id}",
            "Article",
            json!([
                needs(&["GET"], "article:read"),
                needs(&["PUT"], "article:update"),
                needs(&["DELETE"], "article:delete"),
            ]),
        ),
        (
            "/demo/users/{user_id}/orders",
            "Orders",
            json!([{
                "methods": ["GET"], "access": "permission", "permission": "order:read", "owner": "path.user_id",
            }]),
        ),
        ("/demo/whoami", "Who am I", json!([{ "methods": ["GET"], "access": "authenticated" }])),
        ("/demo/public", "Public", json!([{ "methods": ["GET"], "access": "public" }])),
    ]
}
