//! Draining: what tells everything in this process to end, and waits for it.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The end of the process, in two steps: first nothing new is begun, then tasks end.
///
/// Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Says that nothing new is to begin and streams are to end. What was begun is finished.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Whether draining has begun.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Completes when draining begins.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Completes when background tasks are to end.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Runs a task that the process waits for before it ends.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// How many tasks are under way.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Stops background tasks and waits until all tasks have ended. Cancelling it stops waiting.
    pub async fn finish(&self) {
        self.drain.cancel();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
