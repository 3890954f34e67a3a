//! Rows to Cedar, snapshots, the route table, and decisions.
//!
//! ## Why
//! Cedar is the source of truth, but `is_authorized` over a complete set costs time linear in its size. So the
//! set is taken apart: what generated policies grant is held by role, verb and resource, and decided without Cedar;
//! hand-written ones are indexed by scope, and those that can apply are evaluated by Cedar. The tests compare both together with Cedar over the complete set.
//! Compilation is a pure function of [`Rules`](crate::model::rules::Rules): this module knows no database.

mod caller;
mod checked;
mod compile;
mod decided;
mod depth;
mod dump;
mod engine;
mod error;
mod explain;
mod export;
mod facts;
mod foreign;
mod handwritten;
mod holdings;
mod index;
mod mounted;
mod named;
mod names;
mod operation;
mod permissions;
mod question;
mod reach;
mod review;
mod revoked;
mod roles;
mod route_headers;
mod routing;
mod schema;
mod scope;
mod slice;
mod snapshot;
mod table;
mod template;
mod upstreams;

pub use caller::Caller;
pub use compile::{Compiled, Fixed};
pub use decided::Decided;
pub use dump::dump;
pub use engine::{Ask, Decision, Destination, Determining, Facts, Permit, Subject};
pub use error::{CompileError, Fault, Place};
pub use explain::{
    ErrorBrief, Explanation, HeldRole, Inquiry, Now, OperationBrief, PolicyBrief, Principal, RequestBrief, RouteBrief,
    Suggestion, explain, recorded, refused,
};
pub use export::{Export, export};
pub use foreign::Identity;
pub use holdings::{Holdings, Marks};
pub use mounted::{MountedAccess, MountedOperation, MountedPath};
pub use named::Concern;
pub use operation::{CompiledOperation, GatewayRoute, QueryOf, check_operations};
pub use reach::{
    Access, Anonymous, Cell, Changed, ConditionalChange, Difference, Entitled, Grant, Holder, Matrix, MatrixBy,
    MatrixFilter, Opened, Pairs, Reach, Reachable, Turn, Wanted, access, difference, matrix, reach, who_can,
};
pub use review::Review;
pub use roles::RoleSet;
pub use route_headers::{FieldChanges, RouteHeaders};
pub use snapshot::{Snapshot, SnapshotHandle};
pub use table::{Entry, Matched, RouteTable};
