mod activity;
mod assignments;
mod audit;
mod changes;
mod database;
mod hierarchy;
mod issuers;
mod lists;
mod mail;
mod migrations;
mod modules;
mod navigation;
mod permissions;
mod plans;
mod policies;
mod roles;
mod routes;
mod rules;
mod search;
mod sessions;
mod signing_keys;
mod upstreams;
mod users;

use cedargate::{
    model::{
        Ejection, HashOn, HeaderRules, ModuleId, NewModule, NewPermission, NewRole, NewRoute, NewUpstream, NewUser,
        PermissionId, RoleId, RouteId, Secret, Target, Timeouts, Timestamp, Upstream, UpstreamId, UserId,
    },
    store::{Error, Tx, modules as module_rows, permissions as permission_rows, roles as role_rows},
    store::{routes as route_rows, upstreams as upstream_rows, users as user_rows},
};

/// A fixed moment, so that what is read can be compared with what was written.
fn at(second: i64) -> Timestamp {
    let start = "2026-11-22T15:02:48.834466Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    Timestamp::from(start).plus_seconds(second)
}

fn new_user(name: &str, roles: &[RoleId]) -> NewUser {
    NewUser {
        username: name.try_into().unwrap(),
        email: format!("{name}@example.com").try_into().unwrap(),
        password_hash: Secret::new(format!("hash of {name}")),
        is_active: true,
        role_ids: roles.to_vec(),
        granted_by: None,
    }
}

fn new_role(name: &str, permissions: &[PermissionId]) -> NewRole {
    NewRole { name: name.try_into().unwrap(), description: None, permission_ids: permissions.to_vec() }
}

fn new_permission(name: &str) -> NewPermission {
    NewPermission {
        name: name.try_into().unwrap(),
        description: Some(format!("May {name}")),
        category: Some(name.split(':').next().unwrap().try_into().unwrap()),
    }
}

fn new_module(name: &str, roles: &[RoleId]) -> NewModule {
    NewModule {
        name: name.try_into().unwrap(),
        label: format!("The {name}").try_into().unwrap(),
        icon: Some("Boxes".try_into().unwrap()),
        route: format!("/{name}"),
        priority: 0,
        is_active: true,
        role_ids: roles.to_vec(),
    }
}

fn new_route(module: ModuleId, path: &str) -> NewRoute {
    NewRoute {
        route: path.to_owned().try_into().unwrap(),
        label: format!("At {path}").try_into().unwrap(),
        icon: None,
        is_active: true,
        is_sidebar: true,
        module_id: module,
        parent_id: None,
        priority: 0,
        role_ids: Vec::new(),
        host: None,
        upstream: None,
        strip_prefix: None,
        forward_authorization: true,
        rate_limit: None,
        max_body_bytes: None,
        headers: HeaderRules::default(),
        operations: Vec::new(),
    }
}

fn new_upstream(name: &str) -> NewUpstream {
    NewUpstream {
        name: name.try_into().unwrap(),
        is_active: true,
        protocol: cedargate::model::Protocol::Http1,
        targets: vec![Target { address: "127.0.0.1:9000".to_owned(), weight: 3 }],
        balance: cedargate::model::Balance::RoundRobin,
        hash_on: HashOn::default(),
        tls: None,
        host_header: None,
        timeouts: Timeouts::default(),
        retries: 1,
        retry_budget_percent: Upstream::RETRY_BUDGET_PERCENT,
        health_check: None,
        ejection: Some(Ejection::default()),
        max_body_bytes: None,
    }
}

async fn user(tx: &mut Tx, name: &str, roles: &[RoleId]) -> UserId {
    user_rows::insert(tx, &new_user(name, roles), at(0)).await.unwrap()
}

async fn role(tx: &mut Tx, name: &str, permissions: &[PermissionId]) -> RoleId {
    role_rows::insert(tx, &new_role(name, permissions), at(0)).await.unwrap()
}

async fn permission(tx: &mut Tx, name: &str) -> PermissionId {
    permission_rows::insert(tx, &new_permission(name), at(0)).await.unwrap()
}

async fn module(tx: &mut Tx, name: &str, roles: &[RoleId]) -> ModuleId {
    module_rows::insert(tx, &new_module(name, roles), at(0)).await.unwrap()
}

async fn route(tx: &mut Tx, module: ModuleId, path: &str) -> RouteId {
    route_rows::insert(tx, &new_route(module, path), at(0)).await.unwrap()
}

async fn upstream(tx: &mut Tx, name: &str) -> UpstreamId {
    upstream_rows::insert(tx, &new_upstream(name), at(0)).await.unwrap()
}

fn assert_conflict<T: std::fmt::Debug>(outcome: Result<T, Error>, expected: Option<&str>) {
    match outcome {
        Err(Error::Conflict { column }) => assert_eq!(column.as_deref(), expected),
        other => panic!("expected a conflict, got {other:?}"),
    }
}
