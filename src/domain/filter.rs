//! Which events a reader wants.

use bytestring::ByteString;

use super::{Attributes, EventBody};

/// Event types: one, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypePattern {
    /// Exactly this type.
    Exact(ByteString),
    /// Every type that begins so.
    Prefix(ByteString),
}

impl TypePattern {
    /// A type, or a prefix that ends in `*`.
    pub fn new(pattern: &str) -> Self {
        match pattern.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(pattern.into()),
        }
    }

    fn covers(&self, r#type: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == r#type,
            Self::Prefix(prefix) => r#type.starts_with(&**prefix),
        }
    }
}

impl std::fmt::Display for TypePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Selects events: all fields that are set must match; within a list any entry may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Types.
    pub types: Vec<TypePattern>,
    /// Keys, exact.
    pub keys: Vec<ByteString>,
    /// Attributes, exact.
    pub attributes: Attributes,
    /// Correlation ids, exact.
    pub correlation_ids: Vec<ByteString>,
    /// Producers, exact.
    pub producers: Vec<ByteString>,
}

impl Filter {
    /// Whether every event passes.
    pub fn is_empty(&self) -> bool {
        let Self { types, keys, attributes, correlation_ids, producers } = self;
        types.is_empty()
            && keys.is_empty()
            && attributes.is_empty()
            && correlation_ids.is_empty()
            && producers.is_empty()
    }

    /// Whether this event passes.
    pub fn matches(&self, event: &EventBody) -> bool {
        let Self { types, keys, attributes, correlation_ids, producers } = self;
        let any = |wanted: &[ByteString], value: &ByteString| wanted.is_empty() || wanted.contains(value);
        (types.is_empty() || types.iter().any(|pattern| pattern.covers(&event.r#type)))
            && any(keys, &event.key)
            && any(correlation_ids, &event.correlation_id)
            && any(producers, &event.producer)
            && attributes.iter().all(|(name, value)| event.attributes.get(name) == Some(value))
    }
}
