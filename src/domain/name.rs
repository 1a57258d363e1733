//! The one rule for names of topics, producers, consumers and users.

use super::limits::NAME_BYTES;

/// The rule in words, as error messages say it.
pub const NAME_RULE: &str = "a name is 1 to 255 of [a-z0-9._-] and begins with [a-z0-9]";

/// Checks a name; the error says what to change.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("must be set; {NAME_RULE}"));
    }
    if name.len() > NAME_BYTES {
        return Err(format!("has {} bytes; {NAME_RULE}", name.len()));
    }
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first_ok = name.bytes().next().is_some_and(alphanumeric);
    if !first_ok || !name.bytes().all(|b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-')) {
        return Err(format!("{name:?} is not a name; {NAME_RULE}"));
    }
    Ok(())
}

/// Defines a newtype for one kind of name.
macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// Parses a name; the error says what to change.
            pub fn parse(name: &str) -> Result<Self, String> {
                crate::domain::check_name(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use name_type;

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_keep_to_the_rule() {
        for good in ["a", "0", "orders", "shop.orders-v2_x", &"a".repeat(255)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".a", "-a", "_a", "Orders", "a b", "a/b", "ä", "a\0", &"a".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad:?} was taken for a name");
        }
    }
}
