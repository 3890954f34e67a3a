//! Who may do what, without a request: what the policies alone say of roles and users.
//!
//! ## Why
//! "Who can?" and "what would change?" ask about every role and operation at once, and there is no request to evaluate a
//! condition with. So there are three answers, and each is certain: what is denied here the engine denies whatever the
//! request says, and what is allowed here it allows; what is conditional it decides by the request. A policy speaks to a
//! user by one `part::Part` of what the user is, and what several parts say is joined, so that a million users cost no more
//! than the roles they have.

mod access;
mod conditional;
mod difference;
mod matrix;
mod operations;
mod part;
mod sheet;
mod users;
mod who_can;

use std::ops::{BitOr, BitOrAssign};

use cedar_policy::Effect;
use schemars::JsonSchema;
use serde::Serialize;

pub use access::{Access, Reachable, access};
pub use conditional::{ConditionalChange, Turn};
pub use difference::{Anonymous, Changed, Difference, Opened, difference};
pub use matrix::{Cell, Grant, Matrix, MatrixBy, MatrixFilter, matrix};
pub use part::{Holder, reach};
pub use users::Pairs;
pub use who_can::{Entitled, Wanted, who_can};

/// What can be said of somebody and something without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Denied whatever the request says.
    Denied,
    /// It depends on the request.
    Conditional,
    /// Allowed whatever the request says.
    Allowed,
}

/// What policies say, all that apply taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Says(u8);

impl Says {
    const PERMIT: Self = Self(1);
    const PERHAPS_PERMIT: Self = Self(2);
    const FORBID: Self = Self(4);
    const PERHAPS_FORBID: Self = Self(8);

    fn of(effect: Effect, is_conditional: bool) -> Self {
        match (effect, is_conditional) {
            (Effect::Permit, false) => Self::PERMIT,
            (Effect::Permit, true) => Self::PERHAPS_PERMIT,
            (Effect::Forbid, false) => Self::FORBID,
            (Effect::Forbid, true) => Self::PERHAPS_FORBID,
        }
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn reach(self) -> Reach {
        if self.has(Self::FORBID) || !self.has(Self::PERMIT | Self::PERHAPS_PERMIT) {
            Reach::Denied
        } else if self.has(Self::PERMIT) && !self.has(Self::PERHAPS_FORBID) {
            Reach::Allowed
        } else {
            Reach::Conditional
        }
    }
}

impl BitOr for Says {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Says {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl FromIterator<Self> for Says {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), BitOr::bitor)
    }
}
