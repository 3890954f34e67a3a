//! Rows to Cedar, snapshots, the route table, and decisions.
//!
//! ## Why
//! Cedar is the source of truth, but `is_authorized` over a complete set costs time linear in its size. So the
//! set is indexed by scope, and each request is evaluated over the slice of original policies that can apply
//! to it. Where only generated policies can apply, the index alone decides, which the tests compare with Cedar.
//! Compilation is a pure function of [`Rules`](crate::model::rules::Rules): this module knows no database.

mod compile;
mod engine;
mod error;
mod explain;
mod export;
mod handwritten;
mod index;
mod names;
mod operation;
mod revoked;
mod roles;
mod schema;
mod snapshot;
mod table;
mod template;

pub use compile::{Compiled, Fixed};
pub use engine::{Ask, Decision, Destination, Determining, Facts, Permit, Subject};
pub use error::CompileError;
pub use explain::{Explanation, HeldRole, Inquiry, explain};
pub use export::{Export, export};
pub use operation::{AmbiguousOwner, CompiledOperation, GatewayRoute, QueryOf, check_operations};
pub use roles::RoleSet;
pub use snapshot::{Caller, Snapshot, SnapshotHandle};
pub use table::{Entry, Matched, MountedPath, RouteTable};
