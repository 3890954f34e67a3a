use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, sqlx::Type)]
        $(#[$doc])*
        #[schemars(inline, example = 1)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// A user; `User::"<id>"` in Cedar.
    UserId;
    /// A role; Cedar names roles by name.
    RoleId;
    /// A permission.
    PermissionId;
    /// A module of the navigation tree.
    ModuleId;
    /// A route; `Route::"<id>"` in Cedar.
    RouteId;
    /// An upstream.
    UpstreamId;
    /// A hand-written policy.
    PolicyId;
    /// A key that tokens are signed with.
    SigningKeyId;
    /// An identity provider whose tokens are believed.
    IssuerId;
}
