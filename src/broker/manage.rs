//! Changing, moving and pausing consumers, also while streams serve them.

use super::{Broker, ConsumerView, ConsumersError, Stopped, subscribe::check_kept};
use crate::{
    domain::{Consumer, ConsumerChange, ConsumerName, Mode, StartFrom},
    notify::Control,
    store::StoreError,
};

impl Broker {
    /// Changes a consumer; its streams end and resume with the change. `for_queue`: also what only MODE_QUEUE
    /// has. Cancelling it may or may not change it.
    pub async fn update_consumer(
        &self,
        name: &ConsumerName,
        change: ConsumerChange,
        for_queue: bool,
    ) -> Result<ConsumerView, ConsumersError> {
        let found = self.store().find_consumer(name).await?;
        let consumer = || name.clone();
        let mode = found.as_ref().ok_or_else(|| ConsumersError::NotFound { consumer: consumer() })?.settings.mode;
        if for_queue && mode == Mode::Ordered {
            return Err(ConsumersError::WrongMode { consumer: consumer() });
        }
        if change == ConsumerChange::default() {
            return self.view(name, found).await;
        }
        let wanted = name.clone();
        let changed = self.change(move |store| async move { store.update_consumer(&wanted, &change).await }).await;
        self.changed(name, changed).await
    }

    /// Stops or restarts delivery; streams stay open. Cancelling it may or may not change it.
    pub async fn pause_consumer(&self, name: &ConsumerName, paused: bool) -> Result<ConsumerView, ConsumersError> {
        let wanted = name.clone();
        let changed = self.change(move |store| async move { store.pause_consumer(&wanted, paused).await }).await;
        self.changed(name, changed).await
    }

    /// Moves a consumer to a place that exists; its streams end and resume there. Cancelling it may or may not
    /// move it.
    pub async fn seek_consumer(&self, name: &ConsumerName, start: StartFrom) -> Result<ConsumerView, ConsumersError> {
        let missing = || ConsumersError::NotFound { consumer: name.clone() };
        let consumer = self.store().find_consumer(name).await?.ok_or_else(missing)?;
        let topic = &consumer.settings.topic;
        let handle = self.topic_now(topic).await?.ok_or_else(missing)?;
        let offset = self.resolve_start(&handle, start).await.map_err(ConsumersError::Start)?;
        if let StartFrom::After(_) = start {
            check_kept(topic, offset, handle.topic.bounds, false).map_err(ConsumersError::Start)?;
        }
        let id = consumer.id;
        let moved = self.change(move |store| async move { store.seek_consumer(id, offset).await }).await;
        self.changed(name, moved).await
    }

    /// Tells all servers of a change, and shows the consumer.
    async fn changed(
        &self,
        name: &ConsumerName,
        changed: Result<Result<Option<Consumer>, StoreError>, Stopped>,
    ) -> Result<ConsumerView, ConsumersError> {
        let consumer = changed.map_err(Stopped::store)??;
        if let Some(consumer) = &consumer {
            self.notifier().control(Control::ConsumerChanged(consumer.id));
        }
        self.view(name, consumer).await
    }

    async fn view(&self, name: &ConsumerName, consumer: Option<Consumer>) -> Result<ConsumerView, ConsumersError> {
        let mut consumer = consumer.ok_or_else(|| ConsumersError::NotFound { consumer: name.clone() })?;
        // What was changed is changed, whatever becomes of these looks.
        let heads = self.store().heads(&[consumer.topic_id]).await.unwrap_or_default();
        let queue = self.queue_statuses(std::slice::from_mut(&mut consumer)).await.unwrap_or_default().pop();
        let view = ConsumerView::plain(consumer, heads.first().map(|head| head.bounds));
        Ok(ConsumerView { queue: queue.or(view.queue), ..view })
    }
}
