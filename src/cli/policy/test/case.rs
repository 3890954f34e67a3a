//! One test: asked, and compared with what it expects.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::file::{BadFile, meant};
use super::outcome::{Got, Outcome};
use crate::explain::Question;
use crate::model::{
    Timestamp, UserId, Username,
    rules::{Assignment, UserState},
};
use crate::policy::{Explanation, PolicyBrief, Snapshot};

/// A user that no database has: ids of rows begin with 1.
const SOMEBODY: (UserId, &str) = (UserId(0), "somebody");

/// One test.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) who: Who,
    pub(super) question: Question,
    pub(super) expected: Expected,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// The user of this name or id.
    User(String),
    /// Somebody with exactly these roles.
    Roles(Vec<String>),
    /// Somebody without a token.
    Nobody,
}

/// What shall come out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Expected {
    /// `allow` or `deny`.
    pub(super) decision: String,
    /// The reason's code, if it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// Ids or names of all determining policies, if they matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policies: Option<Vec<String>>,
}

impl Case {
    /// Asks the engine.
    ///
    /// # Errors
    /// The test speaks of a user or a role that there is not, or of claims of nobody.
    pub(super) fn ask(&self, snapshot: &Snapshot, now: Timestamp) -> Result<Explanation, BadFile> {
        let user = self.user(snapshot)?;
        let asked = self.question.ask(snapshot, user.as_ref(), Ipv4Addr::LOCALHOST.into(), now);
        asked.map_err(|fault| self.bad(format!("context: {fault}")))
    }

    fn user(&self, snapshot: &Snapshot) -> Result<Option<Arc<UserState>>, BadFile> {
        match &self.who {
            Who::Nobody => Ok(None),
            Who::User(text) => {
                let named = Username::try_from(text.as_str()).ok().and_then(|name| snapshot.user_by_name(&name));
                let found = named.or_else(|| snapshot.user(UserId(text.parse().ok()?)));
                found.cloned().map(Some).ok_or_else(|| self.bad(format!("there is no user '{text}'")))
            }
            Who::Roles(names) => {
                let roles = names.iter().map(|name| self.role(snapshot, name)).collect::<Result<_, _>>()?;
                let (id, username) = SOMEBODY;
                let username = Username::try_from(username).map_err(|fault| self.bad(fault.to_string()))?;
                Ok(Some(Arc::new(UserState { id, username, is_active: true, token_epoch: 0, roles })))
            }
        }
    }

    fn role(&self, snapshot: &Snapshot, name: &str) -> Result<Assignment, BadFile> {
        let roles = snapshot.compiled();
        let found = roles.role_named(name).map(|role_id| Assignment { role_id, expires_at: None });
        found.ok_or_else(|| {
            let known: Vec<&str> = roles.role_names().collect();
            self.bad(format!("there is no role '{name}'{}", meant(name, &known)))
        })
    }

    fn bad(&self, message: String) -> BadFile {
        BadFile { file: self.file.clone(), line: Some(self.line), message }
    }

    /// Compares the answer with what is expected.
    pub(super) fn compare(&self, told: &Explanation) -> Outcome {
        let Expected { decision, reason, policies } = &self.expected;
        let fits = decision == told.decision
            && reason.as_deref().is_none_or(|reason| reason == told.reason)
            && policies.as_deref().is_none_or(|policies| are_those(policies, &told.policies));
        Outcome {
            file: self.file.clone(),
            line: self.line,
            name: self.name.clone(),
            passed: fits,
            expected: self.expected.clone(),
            got: Got::of(told),
        }
    }
}

/// Whether each policy is named, and each name is that of a policy.
fn are_those(names: &[String], policies: &[PolicyBrief]) -> bool {
    let is = |name: &String, policy: &PolicyBrief| *name == policy.id || *name == policy.name;
    names.iter().all(|name| policies.iter().any(|policy| is(name, policy)))
        && policies.iter().all(|policy| names.iter().any(|name| is(name, policy)))
}
