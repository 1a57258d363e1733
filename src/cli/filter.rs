//! `--filter`: which events are wanted.

use crate::proto::v1;

/// One condition, for example `type=order.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// A type, or a prefix that ends in `*`.
    Type(String),
    /// A key.
    Key(String),
    /// An attribute and its value.
    Attribute(String, String),
    /// A correlation id.
    Correlation(String),
    /// A producer, as in `producers/shop`.
    Producer(String),
}

/// Reads a condition.
pub(super) fn condition(text: &str) -> Result<Condition, String> {
    const FORMS: &str = "type=order.*, key=K, attr.NAME=V, correlation=ID or producer=NAME";
    let (field, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no \"=\"; write {FORMS}"))?;
    let value = value.to_owned();
    match field {
        "type" => Ok(Condition::Type(value)),
        "key" => Ok(Condition::Key(value)),
        "correlation" => Ok(Condition::Correlation(value)),
        "producer" if value.contains('/') => Ok(Condition::Producer(value)),
        "producer" => Ok(Condition::Producer(format!("producers/{value}"))),
        _ => match field.strip_prefix("attr.") {
            Some(name) if !name.is_empty() => Ok(Condition::Attribute(name.to_owned(), value)),
            _ => Err(format!("{field:?} is nothing to filter by; write {FORMS}")),
        },
    }
}

/// Reads `NAME=VALUE`.
pub(super) fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

/// All conditions as the API takes them; none if there are none.
pub(super) fn filter(conditions: &[Condition]) -> Option<v1::Filter> {
    if conditions.is_empty() {
        return None;
    }
    let mut filter = v1::Filter::default();
    for condition in conditions.iter().cloned() {
        match condition {
            Condition::Type(value) => filter.types.push(value),
            Condition::Key(value) => filter.keys.push(value),
            Condition::Correlation(value) => filter.correlation_ids.push(value),
            Condition::Producer(value) => filter.producers.push(value),
            Condition::Attribute(name, value) => {
                filter.attributes.insert(name, value);
            }
        }
    }
    Some(filter)
}

/// A filter as people read it, in the words of `--filter`.
pub(super) fn show(filter: Option<&v1::Filter>) -> String {
    let Some(v1::Filter { types, keys, attributes, correlation_ids, producers }) = filter else {
        return "-".to_owned();
    };
    let mut attributes: Vec<String> = attributes.iter().map(|(name, value)| format!("attr.{name}={value}")).collect();
    attributes.sort();
    let list =
        |field: &str, values: &[String]| values.iter().map(|value| format!("{field}={value}")).collect::<Vec<_>>();
    let parts = [
        list("type", types),
        list("key", keys),
        attributes,
        list("correlation", correlation_ids),
        list("producer", producers),
    ]
    .concat();
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::{Condition, attribute, condition, filter, show};

    #[test]
    fn conditions_name_a_field_and_a_value() {
        assert_eq!(condition("type=order.*"), Ok(Condition::Type("order.*".to_owned())));
        assert_eq!(condition("key=a=b"), Ok(Condition::Key("a=b".to_owned())));
        assert_eq!(condition("attr.region=eu"), Ok(Condition::Attribute("region".to_owned(), "eu".to_owned())));
        assert_eq!(condition("producer=shop"), Ok(Condition::Producer("producers/shop".to_owned())));
        assert_eq!(condition("producer=users/ada"), Ok(Condition::Producer("users/ada".to_owned())));
        for bad in ["order.*", "kind=x", "attr.=x", "attr=x", ""] {
            assert!(condition(bad).is_err(), "{bad:?} was taken for a condition");
        }
    }

    #[test]
    fn a_filter_holds_every_condition() {
        let texts = ["type=a", "type=b*", "key=k", "attr.x=1", "correlation=c", "producer=p"];
        let conditions: Vec<Condition> = texts.iter().map(|text| condition(text).expect("valid")).collect();
        let shown = show(filter(&conditions).as_ref());
        assert_eq!(shown, "type=a type=b* key=k attr.x=1 correlation=c producer=producers/p");
        assert_eq!(filter(&[]), None);
    }

    #[test]
    fn attributes_need_a_name() {
        assert_eq!(attribute("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(attribute("=b").is_err() && attribute("a").is_err());
    }
}
