//! Cedar's names for our things, built from parts and never parsed from text.

use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid};

use crate::model::{RouteId, UserId};

macro_rules! types {
    ($($name:ident = $text:literal;)*) => {$(
        static $name: LazyLock<EntityTypeName> =
            LazyLock::new(|| $text.parse().expect("a literal Cedar type name parses"));
    )*};
}

types! {
    USER = "User";
    ANONYMOUS = "Anonymous";
    ROLE = "Role";
    STATUS = "Status";
    ACTION = "Action";
    RESOURCE = "Resource";
    ENDPOINT = "Endpoint";
    ROUTE = "Route";
    MODULE = "Module";
    CLAIMS = "Claims";
    PARAMS = "Params";
}

fn uid(kind: &LazyLock<EntityTypeName>, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id((**kind).clone(), EntityId::new(id))
}

pub(super) fn user(id: UserId) -> EntityUid {
    uid(&USER, &id.to_string())
}

/// The owner named by a request: whatever text the request says.
pub(super) fn owner(id: &str) -> EntityUid {
    uid(&USER, id)
}

pub(super) fn anonymous() -> EntityUid {
    static UID: LazyLock<EntityUid> = LazyLock::new(|| uid(&ANONYMOUS, "anonymous"));
    UID.clone()
}

pub(super) fn role(name: &str) -> EntityUid {
    uid(&ROLE, name)
}

pub(super) fn inactive() -> EntityUid {
    uid(&STATUS, "inactive")
}

pub(super) fn action(verb: &str) -> EntityUid {
    uid(&ACTION, verb)
}

pub(super) fn resource(name: &str) -> EntityUid {
    uid(&RESOURCE, name)
}

pub(super) fn endpoint(route: RouteId, method: &str) -> EntityUid {
    uid(&ENDPOINT, &format!("{route}:{method}"))
}

pub(super) fn route(id: RouteId) -> EntityUid {
    uid(&ROUTE, &id.to_string())
}

pub(super) fn module(name: &str) -> EntityUid {
    uid(&MODULE, name)
}

pub(super) fn request_claims() -> EntityUid {
    uid(&CLAIMS, "request")
}

pub(super) fn request_params() -> EntityUid {
    uid(&PARAMS, "request")
}

pub(super) fn is_user(uid: &EntityUid) -> bool {
    *uid.type_name() == *USER
}

pub(super) fn is_user_type(kind: &EntityTypeName) -> bool {
    *kind == *USER
}

pub(super) fn is_anonymous_type(kind: &EntityTypeName) -> bool {
    *kind == *ANONYMOUS
}

/// The user that `uid` stands for; `User::"007"` is nobody, and not user 7.
pub(super) fn user_id(uid: &EntityUid) -> Option<UserId> {
    let text = is_user(uid).then(|| uid.id().unescaped())?;
    let id = text.parse().ok().map(UserId)?;
    is_user_id(id, text).then_some(id)
}

/// Whether `text` is how `id` is written.
pub(super) fn is_user_id(id: UserId, text: &str) -> bool {
    itoa::Buffer::new().format(id.0) == text
}

pub(super) fn is_role(uid: &EntityUid) -> bool {
    *uid.type_name() == *ROLE
}

pub(super) fn is_action(uid: &EntityUid) -> bool {
    *uid.type_name() == *ACTION
}
