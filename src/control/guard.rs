//! Nobody hands on more than they hold, and somebody always holds everything: checked on what a write leads to. What a
//! `forbid` keeps even those from is not looked at: `cedargate policy deactivate` is the way back.

use super::{Error, Origin};
use crate::{
    model::{RoleId, Timestamp, UserId},
    policy::{Concern, Holdings, Snapshot},
    store::changes::Change,
};

/// The permission to hand on what one does not hold.
pub const ESCALATE: &str = "role:escalate";

/// A write: where it starts, where it leads, and what it touches.
pub(super) struct Step<'s> {
    pub(super) base: &'s Snapshot,
    pub(super) next: &'s Snapshot,
    pub(super) changes: &'s [Change],
    pub(super) now: Timestamp,
}

impl Step<'_> {
    /// # Errors
    /// `LastSuperuser`, `SuperRole`, `Rejected` for what a policy speaks of and is gone, and for a write that somebody asked for `Escalation`.
    pub(super) fn check(&self, origin: Option<&Origin>) -> Result<(), Error> {
        self.keeps_administration()?;
        self.next.keeps_names_of(self.base, &self.concerns())?;
        let Some(origin) = origin else { return Ok(()) };
        if origin.may(self.base, ESCALATE, self.now) {
            return Ok(());
        }
        let fine = self.changes.iter().all(|change| match change {
            Change::User(id) => self.user_is_within(*id, origin.actor),
            // Who is believed says who anybody is.
            Change::Issuer(_) => false,
            _ => true,
        });
        // What a policy may let somebody do is not for the writer's holdings to bound.
        let fine = fine && !(self.moves_rules() && self.next.compiled().loosens(self.base.compiled()));
        let fine = fine && (!self.moves_rules() || self.roles_gain_only(&self.own(origin.actor)));
        if fine { Ok(()) } else { Err(Error::Escalation) }
    }

    fn concerns(&self) -> Vec<Concern> {
        let concern = |change: &Change| match change {
            Change::Rules => vec![Concern::Roles, Concern::Permissions, Concern::Routes],
            Change::Role(_) => vec![Concern::Roles],
            Change::Permission(_) => vec![Concern::Permissions],
            Change::Module(_) | Change::Route(_) => vec![Concern::Routes],
            Change::User(id) => vec![Concern::User(*id)],
            Change::Files
            | Change::Upstream(_)
            | Change::Policy(_)
            | Change::Issuer(_)
            | Change::Revocation(_)
            | Change::Key(_) => Vec::new(),
        };
        self.changes.iter().flat_map(concern).collect()
    }

    fn moves_rules(&self) -> bool {
        self.changes.iter().any(Change::is_of_rules)
    }

    fn keeps_administration(&self) -> Result<(), Error> {
        if self.moves_rules() && !self.next.compiled().keeps_super_role_of(self.base.compiled()) {
            return Err(Error::SuperRole);
        }
        let loses = |change: &Change| match change {
            Change::User(id) => {
                let was = self.base.user(*id).is_some_and(|state| self.base.is_superuser(state));
                was && !self.next.user(*id).is_some_and(|state| self.next.is_superuser(state))
            }
            _ => false,
        };
        if self.changes.iter().any(loses) && !self.next.has_superuser() {
            return Err(Error::LastSuperuser);
        }
        Ok(())
    }

    /// What the actor may hand on: all that the actor held before, and what every new user is given.
    fn own(&self, actor: UserId) -> Holdings<'_> {
        let mut own = self.held(self.base, actor);
        let compiled = self.base.compiled();
        if let Some(role) = compiled.default_role() {
            own.add(&compiled.holdings(&compiled.standing(role), &self.next.compiled().marks()));
        }
        own
    }

    fn held<'s>(&self, snapshot: &'s Snapshot, user: UserId) -> Holdings<'s> {
        let Some(state) = snapshot.user(user) else { return Holdings::default() };
        let roles = snapshot.roles_of(state, self.now);
        snapshot.compiled().holdings(&roles, &self.next.compiled().marks())
    }

    /// A user who holds more than the actor is left alone, and nobody gains what the actor does not hold.
    fn user_is_within(&self, user: UserId, actor: UserId) -> bool {
        let mut own = self.own(actor);
        let (before, after) = (self.held(self.base, user), self.held(self.next, user));
        if self.is_spoken_of(user, user == actor) || (user != actor && !own.cover(&before)) {
            return false;
        }
        own.add(&before);
        own.cover(&after) && (self.next.user(user).is_none() || after.bear(&before))
    }

    /// Whether a hand-written policy speaks of the user, or of users by a name that this one is given or gives up; of
    /// themselves people may change all but that name.
    fn is_spoken_of(&self, user: UserId, is_oneself: bool) -> bool {
        let name = |snapshot: &Snapshot| snapshot.user(user).map(|state| state.username.clone());
        let is_renamed = name(self.base) != name(self.next);
        let speaks = |snapshot: &Snapshot| {
            let compiled = snapshot.compiled();
            (!is_oneself && compiled.names_user(user)) || (is_renamed && compiled.reads_usernames())
        };
        speaks(self.base) || speaks(self.next)
    }

    /// Whether a role has another name now, which tokens of other issuers may speak of.
    fn takes_given_name(&self, id: RoleId) -> bool {
        let name = self.next.compiled().role_name(id);
        name != self.base.compiled().role_name(id)
            && name.is_some_and(|name| self.next.issuers().values().any(|issuer| issuer.may_give(name)))
    }

    /// No role gains what the actor does not hold; the super role holds everything as it is.
    fn roles_gain_only(&self, own: &Holdings<'_>) -> bool {
        let (before, after) = (self.base.compiled(), self.next.compiled());
        let marks = after.marks();
        let super_role = before.super_role();
        after.changed_roles().into_iter().filter(|id| Some(*id) != super_role).all(|id| {
            // Whoever is given a role by its name gains all of one that takes the name.
            let is_given = self.takes_given_name(id);
            let gained = |was: &[_], is: &[_]| {
                let (held, holds) = (before.holdings(was, &marks), after.holdings(is, &marks));
                let mut allowed = if is_given { Holdings::default() } else { held.clone() };
                allowed.add(own);
                allowed.cover(&holds) && holds.bear(&held)
            };
            // Active or not: a grant to a sleeping role must not wait for somebody else to wake it.
            gained(before.effective(id), after.effective(id)) && gained(&before.standing(id), &after.standing(id))
        })
    }
}
