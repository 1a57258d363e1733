//! Events that a consumer gave up on: seeing them, putting them back, forgetting them.

use bytestring::ByteString;

use crate::{
    broker::{Broker, Stopped},
    domain::{
        Consumer, ConsumerName, DeadLetter, DeadLetters, Event, Mode, Moved, Offset, Permission, Principal, TopicName,
        limits,
    },
    notify::Control,
    store::StoreError,
};

/// A dead letter with its event.
#[derive(Debug, Clone)]
pub struct DeadLetterView {
    /// As stored.
    pub letter: DeadLetter,
    /// `None` if retention has removed it.
    pub event: Option<Event>,
    /// The topic of the event.
    pub topic: TopicName,
}

/// Why something about dead letters was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// There is no such consumer.
    #[error("consumer {consumer} does not exist")]
    NotFound {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The caller may not see it.
    #[error("{principal} has no access to consumer {consumer}")]
    Denied {
        /// The caller.
        principal: ByteString,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// It gives nothing up.
    #[error("consumer {consumer} is in MODE_ORDERED, which has no dead letters")]
    WrongMode {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Broker {
    /// Dead letters after an offset, in order, at most `limit`, with their events as far as they fit into a
    /// page; and whether there are more.
    pub async fn list_dead_letters(
        &self,
        principal: &Principal,
        name: &ConsumerName,
        after: Offset,
        limit: usize,
    ) -> Result<(Vec<DeadLetterView>, bool), DeadLettersError> {
        if !principal.may_on_consumer(Permission::ReadConsumers, name) {
            return Err(DeadLettersError::Denied { principal: principal.name.clone(), consumer: name.clone() });
        }
        let consumer = self.known_queue(name).await?;
        let mut letters = self.store().dead_letters(consumer.id, after, limit.saturating_add(1)).await?;
        let mut more = letters.len() > limit;
        letters.truncate(limit);
        let offsets: Vec<_> = letters.iter().map(|letter| letter.offset).collect();
        let picked = match offsets.is_empty() {
            true => None,
            false => self.store().pick(consumer.topic_id, &offsets, limits::FRAME_BYTES).await?,
        };
        let (events, up_to) = picked.map_or((Vec::new(), Offset::MAX), |picked| (picked.events, picked.up_to));
        let topic = consumer.settings.topic;
        let mut events = events.into_iter().peekable();
        let (mut views, mut bytes) = (Vec::with_capacity(letters.len()), 0);
        for letter in letters {
            let event = events.next_if(|event| event.offset == letter.offset);
            bytes += event.as_ref().map_or(0, |event| event.body.size()) + letter.error.len() + letter.key.len();
            if letter.offset > up_to || bytes > limits::FRAME_BYTES && !views.is_empty() {
                more = true;
                break;
            }
            views.push(DeadLetterView { letter, event, topic: topic.clone() });
        }
        Ok((views, more))
    }

    /// Puts dead letters back to be delivered from the first attempt on; with `validate_only` it counts only.
    /// Cancelling it may or may not do it.
    pub async fn redrive_dead_letters(
        &self,
        name: &ConsumerName,
        which: DeadLetters,
        validate_only: bool,
    ) -> Result<Moved, DeadLettersError> {
        let consumer = self.known_queue(name).await?.id;
        let redrive = self.change(move |store| async move {
            store.redrive(consumer, &which, limits::DEAD_LETTERS_MOVED, validate_only).await
        });
        let moved = redrive.await.map_err(Stopped::store)??;
        if !validate_only && moved.changed > 0 {
            self.notifier().control(Control::ConsumerChanged(consumer));
        }
        Ok(moved)
    }

    /// Forgets dead letters; with `validate_only` it counts only. Cancelling it may or may not do it.
    pub async fn discard_dead_letters(
        &self,
        name: &ConsumerName,
        which: DeadLetters,
        validate_only: bool,
    ) -> Result<Moved, DeadLettersError> {
        let consumer = self.known_queue(name).await?.id;
        let discard = self.change(move |store| async move {
            store.discard(consumer, &which, limits::DEAD_LETTERS_MOVED, validate_only).await
        });
        Ok(discard.await.map_err(Stopped::store)??)
    }

    /// A consumer in MODE_QUEUE, as it is now.
    async fn known_queue(&self, name: &ConsumerName) -> Result<Consumer, DeadLettersError> {
        let found = self.store().find_consumer(name).await?;
        let consumer = found.ok_or_else(|| DeadLettersError::NotFound { consumer: name.clone() })?;
        match consumer.settings.mode {
            Mode::Queue => Ok(consumer),
            Mode::Ordered => Err(DeadLettersError::WrongMode { consumer: name.clone() }),
        }
    }
}
