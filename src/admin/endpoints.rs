//! The list of endpoints, from which the router, the gateway's mounted paths and the OpenAPI document are made.
//!
//! ```ignore
//! Endpoints::new("Roles")
//!     .get("/roles/", Needs("role:read"), "List roles", list)
//!     .reads(listing)
//!     .delete("/roles/{role_id}", Needs("role:delete"), "Delete a role", delete)
//! ```

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::input::{Input, Sketch, Valid};
use super::reply::{Answer, Answers, POLICY_REVISION};
use crate::policy::{MountedAccess, MountedOperation};

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Everybody with a valid token.
    SignedIn,
    /// Whom the engine permits this.
    Needs(&'static str),
    /// Everybody without a token, and those with one whom the engine permits this.
    PublicOr(&'static str),
}

/// What an operation is to whoever calls it.
pub(super) struct Operation {
    /// A heading for operations on one kind of thing.
    pub(super) tag: &'static str,
    pub(super) method: Method,
    /// Below the API prefix; a collection's ends in `/`.
    pub(super) path: &'static str,
    pub(super) access: Access,
    /// What it does, in a few words.
    pub(super) summary: &'static str,
    pub(super) answer: Answer,
    /// What it reads beside identifiers in the path.
    pub(super) reads: Option<Box<dyn Fn() -> Sketch>>,
    /// Statuses of errors that others of its kind do not have.
    pub(super) fails: &'static [u16],
    /// Whether it takes `dry_run`.
    pub(super) can_be_rehearsed: bool,
}

impl Operation {
    /// Whether it changes what the rules or the audit trail know, and can be refused for what the client has not seen.
    pub(super) fn is_guarded_write(&self) -> bool {
        self.answer.headers.contains(&POLICY_REVISION)
    }

    /// The same for the gateway, which tells what is asked for here.
    pub(super) fn mounted(&self) -> MountedOperation {
        let access = match self.access {
            Access::Public => MountedAccess::Public,
            Access::SignedIn => MountedAccess::SignedIn,
            Access::Needs(permission) => MountedAccess::Needs(permission.to_owned()),
            Access::PublicOr(permission) => MountedAccess::PublicOr(permission.to_owned()),
        };
        MountedOperation { method: self.method.to_string(), access }
    }
}

/// Endpoints of one state.
pub(super) struct Endpoints<S> {
    tag: &'static str,
    list: Vec<(Operation, MethodRouter<S>)>,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:ident;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name<H, M, A>(self, path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
        where
            H: Handler<M, S> + Answers<A>,
            M: 'static,
        {
            self.on((Method::$method, MethodFilter::$method), path, (access, summary), handler)
        }
    )*};
}

impl<S: Clone + Send + Sync + 'static> Endpoints<S> {
    /// None yet; `tag` is the heading of those to come.
    pub(super) fn new(tag: &'static str) -> Self {
        Self { tag, list: Vec::new() }
    }

    methods! {
        /// Adds an operation.
        get GET;
        /// Adds an operation.
        post POST;
        /// Adds an operation.
        put PUT;
        /// Adds an operation.
        patch PATCH;
        /// Adds an operation.
        delete DELETE;
    }

    fn on<H, M, A>(
        mut self,
        (method, filter): (Method, MethodFilter),
        path: &'static str,
        (access, summary): (Access, &'static str),
        handler: H,
    ) -> Self
    where
        H: Handler<M, S> + Answers<A>,
        M: 'static,
    {
        let operation = Operation {
            tag: self.tag,
            method,
            path,
            access,
            summary,
            answer: H::answer(),
            reads: None,
            fails: &[],
            can_be_rehearsed: false,
        };
        self.list.push((operation, on(filter, handler)));
        self
    }

    /// Says with what the operation that was added last reads its request.
    pub(super) fn reads<T>(mut self, read: impl Fn(&mut Input) -> Valid<T> + 'static) -> Self {
        if let Some((operation, _)) = self.list.last_mut() {
            operation.reads = Some(Box::new(move || Input::sketch(&read)));
        }
        self
    }

    /// Names statuses with which the operation that was added last may fail, beyond those of its kind.
    pub(super) fn fails(mut self, statuses: &'static [u16]) -> Self {
        if let Some((operation, _)) = self.list.last_mut() {
            operation.fails = statuses;
        }
        self
    }

    /// Those alone that change what the rules or the audit trail know.
    pub(super) fn guarded_writes(mut self) -> Self {
        self.list.retain(|(operation, _)| operation.is_guarded_write());
        self
    }

    /// Adds these endpoints below `prefix` to `router`.
    pub(super) fn mount(self, prefix: &str, state: &S, mut router: Router) -> Router {
        for (operation, methods) in self.list {
            for spelling in spellings(prefix, operation.path) {
                router = router.route(&spelling, methods.clone().with_state(state.clone()));
            }
        }
        router
    }

    /// What they do.
    pub(super) fn operations(self) -> impl Iterator<Item = Operation> {
        self.list.into_iter().map(|(operation, _)| operation)
    }
}

/// Each endpoint is served with and without a final slash: the predecessor redirected between them.
pub(super) fn spellings(prefix: &str, path: &str) -> [String; 2] {
    let bare = format!("{prefix}{}", path.trim_end_matches('/'));
    [format!("{bare}/"), bare]
}
