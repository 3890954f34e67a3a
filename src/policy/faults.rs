//! All that is wrong with a text of hand-written policies, for whoever wrote it.

use std::str::FromStr;

use cedar_policy::{EntityUid, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;

use super::{CompileError, names, snapshot::Snapshot};

/// More are not told.
const MOST: usize = 100;
/// How alike a name must be to what was probably meant, from 0 to 1.
const NEAR: f64 = 0.6;

impl Snapshot {
    /// Parses `source`, validates it strictly against the schema, and looks up whom it names; nothing is wrong with what
    /// has no faults.
    ///
    /// # Errors
    /// The schema cannot be built.
    pub fn faults(&self, name: &str, source: &str) -> Result<Vec<CompileError>, CompileError> {
        let fault = |fault: &dyn Diagnostic| CompileError::fault(name, source, fault);
        let set = match PolicySet::from_str(source) {
            Ok(set) => set,
            Err(errors) => return Ok(errors.iter().take(MOST).map(|error| fault(error)).collect()),
        };
        if set.templates().next().is_some() {
            return Ok(vec![CompileError::policy(name, "templates are not supported, write policies without slots")]);
        }
        if set.policies().next().is_none() {
            return Ok(vec![CompileError::policy(name, "no policy in this text")]);
        }
        let result = Validator::new(self.compiled().schema()?).validate(&set, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| fault(error));
        let mut faults: Vec<CompileError> =
            errors.chain(result.validation_warnings().map(|told| fault(told))).collect();
        let mut named: Vec<EntityUid> = set.policies().flat_map(cedar_policy::Policy::entity_literals).collect();
        named.sort_unstable();
        named.dedup();
        faults.extend(named.iter().filter_map(|uid| self.unknown(name, source, uid)));
        faults.sort_by_key(CompileError::place);
        faults.truncate(MOST);
        Ok(faults)
    }

    /// To Cedar every name is a good one, but a policy about nobody protects nobody.
    fn unknown(&self, name: &str, source: &str, uid: &EntityUid) -> Option<CompileError> {
        let id = uid.id().unescaped();
        let compiled = self.compiled();
        let meant = if names::is_role(uid) {
            if compiled.role_named(id).is_some() {
                return None;
            }
            nearest(id, compiled.role_names()).map(names::role)
        } else if names::is_user(uid) {
            // A principal of another issuer is known by its claims only.
            if id.contains('|') || names::user_id(uid).is_some_and(|id| self.user(id).is_some()) {
                return None;
            }
            None
        } else {
            return None;
        };
        let parsed: &cedar_policy_core::ast::EntityUID = uid.as_ref();
        let start = parsed.loc().map(cedar_policy_core::parser::Loc::start);
        let help = meant.map(|meant| format!("did you mean {meant}?"));
        Some(CompileError::at(name, source, &format!("there is no {uid}"), start, help))
    }
}

fn nearest<'n>(name: &str, others: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = others.map(|other| (strsim::normalized_damerau_levenshtein(name, other), other));
    scored.filter(|(score, _)| *score >= NEAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}
