//! Taking an ordered consumer for a stream, and waiting for one that another stream has.

use std::time::Duration;

use tokio::{
    select,
    sync::broadcast::error::RecvError,
    time::{Instant, sleep_until},
};
use tracing::Instrument;

use super::{
    Broker,
    holds::Hold,
    subscribe::SubscribeError,
    subscription::{LogSubscription, Reader},
};
use crate::{
    domain::{Consumer, ConsumerId, Offset, limits},
    notify::Control,
    store::{Claim, HoldError, StoreError},
};

/// A waiting stream asks again after this long, should nobody tell it that the consumer is free.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// And no sooner than this after it asked before, whatever it is told.
const REST: Duration = Duration::from_millis(50);

impl LogSubscription {
    /// Takes the stream's consumer and returns its stored offset.
    pub(super) async fn take_consumer(&mut self) -> Result<Offset, SubscribeError> {
        let Reader::Consumer { consumer, .. } = &self.reader else { return Ok(Offset::ZERO) };
        let (id, name) = (consumer.id, consumer.settings.name.clone());
        let claim = Claim {
            server: self.broker.server_id(),
            server_name: self.broker.server_name().to_owned(),
            subscription: self.id,
            peer: self.request.peer.clone(),
            take_over: self.request.take_over,
            lease: limits::HOLD_LEASE,
        };
        match self.broker.take_hold(id, claim).await {
            Ok((hold, consumer)) => {
                let stored = consumer.stored;
                self.set_hold(hold, consumer);
                Ok(stored)
            }
            Err(HoldError::Busy { remaining }) => Err(SubscribeError::ConsumerBusy { consumer: name, remaining }),
            Err(HoldError::NotFound) => Err(SubscribeError::ConsumerNotFound { consumer: name }),
            Err(HoldError::Store(error)) => Err(error.into()),
        }
    }

    /// Takes the consumer if it is free, after waiting for news of it, a heartbeat or a drain; its stored
    /// offset if it was.
    pub(super) async fn free_consumer(&mut self) -> Result<Option<Offset>, SubscribeError> {
        let Reader::Consumer { consumer, .. } = &self.reader else { return Ok(None) };
        let id = consumer.id;
        let mut controls = self.broker.hub().controls();
        let remaining = match self.take_consumer().await {
            Ok(stored) => return Ok(Some(stored)),
            Err(SubscribeError::ConsumerBusy { remaining, .. }) => remaining,
            Err(SubscribeError::Store(error)) if error.is_retryable() => ASK_AGAIN,
            Err(error) => return Err(error),
        };
        // However many messages come, the store is asked again only after a moment.
        let rested = Instant::now() + REST;
        let again = Instant::now() + remaining.clamp(Duration::from_millis(50), ASK_AGAIN);
        let shutdown = self.broker.shutdown().clone();
        loop {
            select! {
                () = shutdown.draining() => break,
                () = sleep_until(again.min(self.life.heartbeat_at)) => break,
                message = controls.recv() => match message {
                    Ok(Control::ConsumerChanged(changed)) if changed == id => {
                        sleep_until(rested).await;
                        break;
                    }
                    Ok(Control::Everything) | Err(RecvError::Lagged(_) | RecvError::Closed) => {
                        sleep_until(rested).await;
                        break;
                    }
                    Ok(Control::ConsumerChanged(_) | Control::TopicsChanged | Control::IdentitiesChanged) => {}
                },
            }
        }
        Ok(None)
    }
}

impl Broker {
    /// Takes a consumer. It runs in a task, so that a caller who leaves in the middle of it leaves no
    /// hold behind.
    async fn take_hold(&self, consumer: ConsumerId, claim: Claim) -> Result<(Hold, Consumer), HoldError> {
        let broker = self.clone();
        let take = async move {
            let asked = Instant::now();
            let taken = broker.store().take_hold(consumer, &claim).await?.consumer;
            let hold = broker.holds().keep(&taken, asked);
            broker.notifier().control(Control::ConsumerChanged(consumer));
            Ok((hold, taken))
        };
        self.shutdown()
            .spawn(take.in_current_span())
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(error.into()).into()))
    }
}
