/// What a new password must satisfy; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "five independent settings of the contract")]
pub struct Policy {
    /// Least number of characters.
    pub min_length: usize,
    /// At least one upper-case letter.
    pub uppercase: bool,
    /// At least one lower-case letter.
    pub lowercase: bool,
    /// At least one digit.
    pub numbers: bool,
    /// At least one character that is neither letter nor digit.
    pub special: bool,
}

/// The longest password that is accepted, in bytes; bounds the work of one hash.
pub const MAX_PASSWORD_BYTES: usize = 1_024;

impl Policy {
    /// Says which rule `password` breaks, if any.
    ///
    /// # Errors
    /// The rule, in the words of the contract.
    pub fn check(&self, password: &str) -> Result<(), String> {
        let missing = |wanted: bool, test: fn(char) -> bool| wanted && !password.chars().any(test);
        if password.chars().count() < self.min_length {
            return Err(format!("Password must be at least {} characters long", self.min_length));
        }
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(format!("Password must be at most {MAX_PASSWORD_BYTES} bytes long"));
        }
        let broken = if missing(self.uppercase, char::is_uppercase) {
            "Password must contain at least one uppercase letter"
        } else if missing(self.lowercase, char::is_lowercase) {
            "Password must contain at least one lowercase letter"
        } else if missing(self.numbers, char::is_numeric) {
            "Password must contain at least one number"
        } else if missing(self.special, |c| !c.is_alphanumeric()) {
            "Password must contain at least one special character"
        } else {
            return Ok(());
        };
        Err(broken.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_names_the_broken_rule() {
        let policy = Policy { min_length: 8, uppercase: true, lowercase: true, numbers: true, special: true };
        assert!(policy.check("Abcdef1!").is_ok());
        for (bad, word) in [
            ("Ab1!", "8 characters"),
            ("abcdef1!", "uppercase"),
            ("ABCDEF1!", "lowercase"),
            ("Abcdefg!", "number"),
            ("Abcdefg1", "special"),
        ] {
            assert!(policy.check(bad).unwrap_err().contains(word), "{bad}");
        }
    }
}
