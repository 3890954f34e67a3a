//! What is wrong with a hand-written policy, before anybody saves it.
//!
//! ## Why
//! To Cedar, `Role::"edtior"` is as good a name as any: the policy is valid and never applies, and a `forbid` that never
//! applies protects nobody. So what a policy names must be there when it is written, and stay there as long as it speaks
//! of it.

use cedar_policy::EntityUid;

use super::{
    depth,
    error::{CompileError, Fault},
    handwritten::{self, Handwritten, MOST_FAULTS},
    names, schema,
    snapshot::Snapshot,
};
use crate::model::{
    ModuleName, PolicyName, RouteId, Username, nearest,
    rules::{PolicyRule, PolicyText},
};

/// As many names of one policy are compared with those that somebody may have meant.
const MOST_HELPED: usize = 10;

/// A text that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// What is wrong with it; nothing, if it can be activated.
    pub faults: Vec<Fault>,
}

impl Snapshot {
    /// Parses `text`, validates it strictly, and looks up what it names.
    ///
    /// # Errors
    /// The schema cannot be built.
    pub fn review(&self, text: &PolicyText) -> Result<Review, CompileError> {
        depth::with_room(|| self.look_at(text))
    }

    /// What is wrong with any of `texts`.
    ///
    /// # Errors
    /// The schema cannot be built.
    pub fn review_all(&self, texts: &[PolicyText]) -> Result<Vec<Fault>, CompileError> {
        let faults = texts.iter().map(|text| Ok(self.review(text)?.faults));
        Ok(faults.collect::<Result<Vec<_>, CompileError>>()?.concat())
    }

    fn look_at(&self, text: &PolicyText) -> Result<Review, CompileError> {
        let policies = match handwritten::parse(text) {
            Ok(policies) => policies,
            Err(faults) => return Ok(Review { faults }),
        };
        let mut faults: Vec<Fault> =
            policies.iter().flat_map(|policy| self.compiled().checked.unknown_verbs(policy)).collect();
        if faults.is_empty() {
            faults = handwritten::validate(&policies)?;
        }
        faults.extend(policies.iter().flat_map(|policy| self.unknown_names(policy)));
        faults.truncate(MOST_FAULTS);
        Ok(Review { faults })
    }

    /// What the operator's files speak of and nobody knows.
    pub fn unknown_names_in_files(&self) -> Vec<Fault> {
        let checked = &self.compiled().checked;
        let of_files = checked.of_files();
        of_files.flat_map(|policy| self.unknown_names(policy)).take(MOST_FAULTS).collect()
    }

    /// The hand-written policies of the database, as they are enforced.
    pub fn stored_policies(&self) -> impl Iterator<Item = PolicyRule> {
        self.compiled().checked.stored()
    }

    /// Every policy that is not of the database, and whether it is shipped with the program.
    pub fn file_policies(&self) -> impl Iterator<Item = (&PolicyText, bool)> {
        self.compiled().checked.files()
    }

    /// Whether a policy of this name is shipped, or comes from a file.
    pub fn has_file(&self, name: &PolicyName) -> bool {
        self.file_policies().any(|(text, _)| text.name == *name)
    }

    /// The Cedar schema that every policy is validated against.
    ///
    /// # Errors
    /// It cannot be put into words.
    pub fn schema_text(&self) -> Result<String, CompileError> {
        schema::text(&self.compiled().checked.verbs)
    }

    fn unknown_names(&self, policy: &Handwritten) -> Vec<Fault> {
        let mut named: Vec<&EntityUid> = policy.literals.iter().collect();
        named.sort_unstable();
        named.dedup();
        let offsets = policy.offsets();
        let fault = |(index, uid): (usize, &EntityUid)| {
            // All names are looked through for each, so only the first are helped.
            let meant = if index < MOST_HELPED { self.meant_by(uid) } else { None };
            let help = meant.map(|meant| format!("did you mean {meant}?"));
            let fault = Fault { help, ..Fault::new(&policy.text.name, format!("there is no {uid}")) };
            fault.at(&policy.text, offsets.get(uid).copied())
        };
        named.into_iter().filter(|uid| !self.knows(uid)).take(MOST_FAULTS).enumerate().map(fault).collect()
    }

    /// Whether policies may speak of `uid`.
    pub(super) fn knows(&self, uid: &EntityUid) -> bool {
        let id = uid.id().unescaped();
        let compiled = self.compiled();
        match uid.type_name().basename() {
            "Role" => compiled.roles.id_of(id).is_some(),
            "Module" => compiled.routing.module_names().any(|name| name.as_str() == id),
            "Resource" => compiled.permissions.has_resource(id) || compiled.routing.has_resource(id),
            "Route" => route_id(id).is_some_and(|id| compiled.routing.methods(id).next().is_some()),
            "Endpoint" => endpoint_id(id)
                .is_some_and(|(route, method)| compiled.routing.methods(route).any(|known| known == method)),
            // A principal of another issuer is known by its claims only.
            "User" => id.contains('|') || names::user_id(uid).is_some_and(|id| self.user(id).is_some()),
            "Anonymous" => *uid == names::anonymous(),
            "Claims" => *uid == names::request_claims(),
            "Params" => *uid == names::request_params(),
            // Cedar's validator knows which types there are, and what an enumeration has.
            _ => true,
        }
    }

    fn meant_by(&self, uid: &EntityUid) -> Option<EntityUid> {
        let id = uid.id().unescaped();
        let compiled = self.compiled();
        match uid.type_name().basename() {
            "Role" => nearest(id, compiled.roles.all().map(|(_, role)| &*role.name)).map(names::role),
            "Module" => nearest(id, compiled.routing.module_names().map(ModuleName::as_str)).map(names::module),
            "Resource" => nearest(id, compiled.permissions.resources()).map(names::resource),
            "Endpoint" => {
                let (route, method) = endpoint_id(id)?;
                nearest(method, compiled.routing.methods(route)).map(|method| names::endpoint(route, method))
            }
            "User" => {
                let name = Username::try_from(id).ok()?;
                self.user_by_name(&name).map(|user| names::user(user.id))
            }
            _ => None,
        }
    }
}

fn route_id(text: &str) -> Option<RouteId> {
    text.parse().ok().map(RouteId).filter(|id| id.to_string() == text)
}

fn endpoint_id(text: &str) -> Option<(RouteId, &str)> {
    let (route, method) = text.split_once(':')?;
    Some((route_id(route)?, method))
}
