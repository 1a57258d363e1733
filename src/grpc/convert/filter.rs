//! Filters.

use bytestring::ByteString;

use super::{Checks, checks::text, event::attribute};
use crate::{
    domain::{Attributes, Filter, TypePattern, limits},
    grpc::reason::Reason,
    proto::v1,
};

/// A filter from the wire, at this path in its request; absent: every event.
pub(crate) fn filter(checks: &mut Checks, path: &str, filter: Option<v1::Filter>) -> Filter {
    let v1::Filter { types, keys, attributes, correlation_ids, producers } = filter.unwrap_or_default();
    let entries = types.len() + keys.len() + attributes.len() + correlation_ids.len() + producers.len();
    let lists = [&types, &keys, &correlation_ids, &producers];
    let bytes: usize = lists.iter().flat_map(|list| list.iter().map(String::len)).sum::<usize>()
        + attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if entries > limits::FILTER_ENTRIES || bytes > limits::FILTER_BYTES {
        let text = format!(
            "has {entries} entries of {bytes} bytes; at most {} of {} are taken",
            limits::FILTER_ENTRIES,
            limits::FILTER_BYTES
        );
        checks.add(Reason::FilterInvalid, path, text);
        return Filter::default();
    }
    let fields = [
        ("types", &types, limits::LABEL_BYTES),
        ("keys", &keys, limits::KEY_BYTES),
        ("correlation_ids", &correlation_ids, limits::ID_BYTES),
        ("producers", &producers, limits::LABEL_BYTES + "producers/".len()),
    ];
    for (name, values, max) in fields {
        for (index, value) in values.iter().enumerate() {
            let field = format!("{path}.{name}[{index}]");
            if value.is_empty() {
                checks.add(Reason::FilterInvalid, field, "is empty; leave it out");
            } else {
                checks.check(Reason::FilterInvalid, field, text(value, max));
            }
        }
    }
    for (index, pattern) in types.iter().enumerate() {
        if pattern.strip_suffix('*').unwrap_or(pattern).contains('*') {
            let text = format!("{pattern:?} has a \"*\" before its end");
            checks.add(Reason::FilterInvalid, format!("{path}.types[{index}]"), text);
        }
    }
    for (name, value) in &attributes {
        checks.check(Reason::FilterInvalid, format!("{path}.attributes[{name:?}]"), attribute(name, value));
    }
    let list = |values: Vec<String>| values.into_iter().map(ByteString::from).collect();
    Filter {
        types: types.iter().map(|pattern| TypePattern::new(pattern)).collect(),
        keys: list(keys),
        attributes: attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect::<Attributes>(),
        correlation_ids: list(correlation_ids),
        producers: list(producers),
    }
}

/// A filter for the wire; absent if every event passes.
pub(crate) fn filter_message(filter: &Filter) -> Option<v1::Filter> {
    let Filter { types, keys, attributes, correlation_ids, producers } = filter;
    let list = |values: &[ByteString]| values.iter().map(ToString::to_string).collect();
    (!filter.is_empty()).then(|| v1::Filter {
        types: types.iter().map(ToString::to_string).collect(),
        keys: list(keys),
        attributes: attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        correlation_ids: list(correlation_ids),
        producers: list(producers),
    })
}
