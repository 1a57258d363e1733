//! What the servers say on Redis's channels, and how it is written.
//!
//! A payload is text: a version, the speaker's id, and words that depend on the channel. Anything else is
//! not understood, which loses a hint and nothing more.

use uuid::Uuid;

use crate::{
    domain::{ConsumerId, ServerId, TopicId},
    notify::Control,
};

/// The version of the payloads that this build writes and understands.
const VERSION: &str = "1";

/// Bytes in a payload that are looked at: what we say ourselves takes less.
pub(super) const PAYLOAD_BYTES: usize = 4096;

/// Topics that one payload names, at most; each takes up to 11 bytes.
pub(super) const TOPICS: usize = 256;

/// Something said to all servers over one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Message {
    /// The topic grew.
    Grew(TopicId),
    /// Something changed.
    Control(Control),
    /// A sign of life, for the speaker alone, with its time of sending on the speaker's own clock.
    Beat {
        /// Milliseconds since the speaker began.
        sent_ms: u64,
    },
}

/// What was said at once, and who said it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The speaker, as it says.
    pub(super) speaker: ServerId,
    /// What it said.
    pub(super) messages: Vec<Message>,
}

/// The channels of the servers over one store, as one of them uses them.
#[derive(Debug)]
pub(super) struct Wire {
    /// `eventflow:<cluster id>:`.
    prefix: String,
    speaker: ServerId,
}

impl Wire {
    /// The channels of a cluster, for this server.
    pub(super) fn new(cluster_id: Uuid, speaker: ServerId) -> Self {
        Self { prefix: format!("eventflow:{cluster_id}:"), speaker }
    }

    /// This server.
    pub(super) fn speaker(&self) -> ServerId {
        self.speaker
    }

    /// The pattern of the channels to listen to that have one for each topic.
    pub(super) fn pattern(&self) -> String {
        format!("{}topic:*", self.prefix)
    }

    /// The other channels to listen to.
    pub(super) fn channels(&self) -> Vec<String> {
        ["topics", "control", "beat"].map(|name| format!("{}{name}", self.prefix)).to_vec()
    }

    /// The channel and the payload that say it.
    pub(super) fn write(&self, message: Message) -> (String, String) {
        let (prefix, speaker) = (&self.prefix, self.speaker.0);
        let control = |words: &str| (format!("{prefix}control"), format!("{VERSION} {speaker} {words}"));
        match message {
            Message::Grew(topic) => (format!("{prefix}topic:{topic}"), format!("{VERSION} {speaker}")),
            Message::Beat { sent_ms } => (format!("{prefix}beat"), format!("{VERSION} {speaker} {sent_ms}")),
            Message::Control(Control::TopicsChanged) => control("topics"),
            Message::Control(Control::IdentitiesChanged) => control("identities"),
            Message::Control(Control::ConsumerChanged(ConsumerId(id))) => control(&format!("consumer {id}")),
            Message::Control(Control::Everything) => control("everything"),
        }
    }

    /// The channel and the payload that say that topics grew, up to [`TOPICS`]. One alone has a channel of its own,
    /// which people can listen to.
    pub(super) fn write_grown(&self, topics: &[TopicId]) -> (String, String) {
        if let [topic] = topics {
            return self.write(Message::Grew(*topic));
        }
        let mut payload = format!("{VERSION} {}", self.speaker.0);
        for topic in topics {
            payload.push(' ');
            payload.push_str(&topic.to_string());
        }
        (format!("{}topics", self.prefix), payload)
    }

    /// What was said; `None` if it cannot be understood.
    pub(super) fn read(&self, channel: &str, payload: &[u8]) -> Option<Heard> {
        if payload.len() > PAYLOAD_BYTES {
            return None;
        }
        let mut words = std::str::from_utf8(payload).ok()?.split(' ');
        if words.next()? != VERSION {
            return None;
        }
        let speaker = ServerId(words.next()?.parse().ok()?);
        let words: Vec<&str> = words.collect();
        let grew = |topic: &str| Some(Message::Grew(TopicId(topic.parse().ok()?)));
        let message = match (channel.strip_prefix(&self.prefix)?, words.as_slice()) {
            ("topics", topics) if (1..=TOPICS).contains(&topics.len()) => {
                let messages = topics.iter().map(|topic| grew(topic)).collect::<Option<_>>()?;
                return Some(Heard { speaker, messages });
            }
            ("beat", [sent_ms]) => Message::Beat { sent_ms: sent_ms.parse().ok()? },
            ("control", ["topics"]) => Message::Control(Control::TopicsChanged),
            ("control", ["identities"]) => Message::Control(Control::IdentitiesChanged),
            ("control", ["consumer", id]) => Message::Control(Control::ConsumerChanged(ConsumerId(id.parse().ok()?))),
            ("control", ["everything"]) => Message::Control(Control::Everything),
            (channel, []) => grew(channel.strip_prefix("topic:")?)?,
            _ => return None,
        };
        Some(Heard { speaker, messages: vec![message] })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Heard, Message, PAYLOAD_BYTES, TOPICS, Wire};
    use crate::{
        domain::{ConsumerId, ServerId, TopicId},
        notify::Control,
    };

    const CLUSTER: Uuid = Uuid::from_u128(7);
    const SPEAKER: ServerId = ServerId(Uuid::from_u128(9));

    #[test]
    fn what_is_written_is_read() {
        let wire = Wire::new(CLUSTER, SPEAKER);
        for message in [
            Message::Grew(TopicId(i32::MAX)),
            Message::Beat { sent_ms: u64::MAX },
            Message::Control(Control::TopicsChanged),
            Message::Control(Control::IdentitiesChanged),
            Message::Control(Control::ConsumerChanged(ConsumerId(17))),
            Message::Control(Control::Everything),
        ] {
            let (channel, payload) = wire.write(message);
            assert_eq!(
                wire.read(&channel, payload.as_bytes()),
                Some(Heard { speaker: SPEAKER, messages: vec![message] })
            );
            assert!(payload.len() < PAYLOAD_BYTES);
        }
    }

    #[test]
    fn topics_that_grew_are_written_together_and_read() {
        let wire = Wire::new(CLUSTER, SPEAKER);
        for count in [1, 2, TOPICS] {
            let topics: Vec<_> = (0..count).map(|n| TopicId(i32::MIN + n as i32)).collect();
            let (channel, payload) = wire.write_grown(&topics);
            let messages = topics.iter().copied().map(Message::Grew).collect();
            assert_eq!(wire.read(&channel, payload.as_bytes()), Some(Heard { speaker: SPEAKER, messages }));
            assert!(payload.len() < PAYLOAD_BYTES);
        }
    }

    #[test]
    fn channels_and_payloads_stay_what_servers_of_other_versions_know() {
        let wire = Wire::new(CLUSTER, SPEAKER);
        let channel = |name| format!("eventflow:00000000-0000-0000-0000-000000000007:{name}");
        let payload = "1 00000000-0000-0000-0000-000000000009";
        assert_eq!(wire.write(Message::Grew(TopicId(3))), (channel("topic:3"), payload.to_owned()));
        assert_eq!(wire.write(Message::Beat { sent_ms: 5 }), (channel("beat"), format!("{payload} 5")));
        assert_eq!(wire.write_grown(&[TopicId(3)]), wire.write(Message::Grew(TopicId(3))));
        let together = wire.write_grown(&[TopicId(3), TopicId(17)]);
        assert_eq!(together, (channel("topics"), format!("{payload} 3 17")));
        let control = Message::Control(Control::ConsumerChanged(ConsumerId(4)));
        assert_eq!(wire.write(control), (channel("control"), format!("{payload} consumer 4")));
        assert_eq!(wire.pattern(), channel("topic:*"));
        assert_eq!(wire.channels(), [channel("topics"), channel("control"), channel("beat")]);
    }

    #[test]
    fn anything_else_is_not_understood() {
        let wire = Wire::new(CLUSTER, SPEAKER);
        let good = format!("1 {}", SPEAKER.0);
        let other_cluster = Wire::new(Uuid::from_u128(8), SPEAKER);
        let prefix = "eventflow:00000000-0000-0000-0000-000000000007:";
        for (channel, payload) in [
            ("topic:1", String::new()),
            ("topic:1", "1".into()),
            ("topic:1", "1 me".into()),
            ("topic:1", good.replacen('1', "2", 1)),
            ("topic:1", format!("{good} more")),
            ("topic:1", format!("{good}{}", " ".repeat(PAYLOAD_BYTES))),
            ("topic:x", good.clone()),
            ("topic:99999999999", good.clone()),
            ("topics", good.clone()),
            ("topics", format!("{good}{}", " 1".repeat(TOPICS + 1))),
            ("topics", format!("{good} 1 x")),
            ("topics", format!("{good} 1  2")),
            ("topics", format!("{good} 99999999999")),
            ("control", good.clone()),
            ("control", format!("{good} nonsense")),
            ("control", format!("{good} consumer")),
            ("control", format!("{good} consumer x")),
            ("beat", format!("{good} -1")),
            ("elsewhere", good.clone()),
        ] {
            assert_eq!(wire.read(&format!("{prefix}{channel}"), payload.as_bytes()), None, "{channel} {payload}");
        }
        assert_eq!(wire.read(&format!("{prefix}topic:1"), b"1 \xff"), None);
        let (channel, payload) = other_cluster.write(Message::Grew(TopicId(1)));
        assert_eq!(wire.read(&channel, payload.as_bytes()), None);
    }
}
