//! The notifier of a server that is alone on its store.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Control, Hub, Notifier, NotifierState};
use crate::domain::TopicId;

/// There is nobody else to tell: the appender wakes this process itself.
#[derive(Debug)]
pub struct LocalNotifier {
    hub: Arc<Hub>,
    state: watch::Sender<NotifierState>,
}

impl LocalNotifier {
    /// A notifier of one process. `state` is [`NotifierState::Degraded`] if there may be other servers,
    /// which cannot be heard.
    pub fn new(hub: Arc<Hub>, state: NotifierState) -> Self {
        Self { hub, state: watch::channel(state).0 }
    }
}

#[async_trait]
impl Notifier for LocalNotifier {
    fn announce(&self, _topic: TopicId) {}

    fn control(&self, message: Control) {
        self.hub.control(message);
    }

    fn tell_others(&self, _message: Control) {}

    fn state(&self) -> watch::Receiver<NotifierState> {
        self.state.subscribe()
    }

    async fn shutdown(&self) {}
}
