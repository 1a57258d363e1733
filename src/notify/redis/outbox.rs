//! What waits to be said: each thing once, however often it was asked for.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::wire::Message;
use crate::notify::Control;

/// Messages that wait, at most; beyond that, one message that says "everything" stands for them all.
const WAITING: usize = 10_000;

/// Messages to be sent, in no particular order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashSet<Message>,
    /// Taken, and not yet known to be sent.
    taken: usize,
}

/// Messages taken out to be sent; dropping it puts those back that were not sent.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    outbox: &'a Outbox,
    messages: Vec<Message>,
}

impl Outbox {
    /// Adds a message, unless it waits already.
    pub(super) fn put(&self, message: Message) {
        self.state.lock().put(message);
        self.filled.notify_one();
    }

    /// Waits until there is something, and takes everything. Cancelling it takes nothing.
    pub(super) async fn take(&self) -> Taken<'_> {
        loop {
            {
                let mut state = self.state.lock();
                if !state.waiting.is_empty() {
                    let messages: Vec<Message> = std::mem::take(&mut state.waiting).into_iter().collect();
                    state.taken += messages.len();
                    return Taken { outbox: self, messages };
                }
            }
            self.filled.notified().await;
        }
    }

    /// Completes when everything has been sent.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            {
                let state = self.state.lock();
                if state.waiting.is_empty() && state.taken == 0 {
                    return;
                }
            }
            emptied.await;
        }
    }
}

impl State {
    fn put(&mut self, message: Message) {
        let everything = Message::Control(Control::Everything);
        if self.waiting.contains(&everything) {
            return;
        }
        if message == everything || self.waiting.len() >= WAITING {
            self.waiting.clear();
            self.waiting.insert(everything);
        } else {
            self.waiting.insert(message);
        }
    }
}

impl Taken<'_> {
    /// Some of the messages not yet sent; empty when all are.
    pub(super) fn chunk(&self, size: usize) -> &[Message] {
        &self.messages[self.messages.len().saturating_sub(size)..]
    }

    /// Says that what `chunk(size)` returned was sent.
    pub(super) fn sent(&mut self, size: usize) {
        let before = self.messages.len();
        self.messages.truncate(before.saturating_sub(size));
        self.outbox.state.lock().taken -= before - self.messages.len();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.outbox.state.lock();
        state.taken -= self.messages.len();
        for message in self.messages.drain(..) {
            state.put(message);
        }
        let empty = state.waiting.is_empty() && state.taken == 0;
        drop(state);
        if empty {
            self.outbox.emptied.notify_waiters();
        } else {
            self.outbox.filled.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::{Message, Outbox, WAITING};
    use crate::{domain::TopicId, notify::Control};

    fn grew(topic: i32) -> Message {
        Message::Grew(TopicId(topic))
    }

    #[tokio::test]
    async fn a_message_waits_once() {
        let outbox = Outbox::default();
        for _ in 0..100_000 {
            outbox.put(grew(1));
        }
        outbox.put(grew(2));
        assert_eq!(outbox.take().await.chunk(10).len(), 2);
    }

    #[tokio::test]
    async fn too_many_messages_become_one_that_stands_for_all() {
        let outbox = Outbox::default();
        for topic in 0..=i32::try_from(WAITING).unwrap_or(i32::MAX) {
            outbox.put(grew(topic));
        }
        outbox.put(grew(-1));
        assert_eq!(outbox.take().await.chunk(10), [Message::Control(Control::Everything)]);
    }

    #[tokio::test]
    async fn what_was_not_sent_waits_again() {
        let outbox = Outbox::default();
        for topic in 0..5 {
            outbox.put(grew(topic));
        }
        let mut taken = outbox.take().await;
        let sent = taken.chunk(2).to_vec();
        taken.sent(2);
        drop(taken);

        let taken = outbox.take().await;
        assert_eq!(taken.chunk(10).len(), 3);
        assert!(sent.iter().all(|message| !taken.chunk(10).contains(message)));
    }

    #[tokio::test]
    async fn it_is_empty_when_everything_was_sent() {
        let outbox = Outbox::default();
        outbox.emptied().await;
        outbox.put(grew(1));
        let mut taken = outbox.take().await;
        assert!(outbox.emptied().now_or_never().is_none(), "it is being sent");
        taken.sent(1);
        tokio::join!(outbox.emptied(), async { drop(taken) });
    }
}
