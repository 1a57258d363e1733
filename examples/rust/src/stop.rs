//! The wish that the program ends after what it has begun.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Whether SIGTERM or SIGINT came.
#[derive(Debug, Clone)]
pub struct Stop {
    wanted: watch::Receiver<bool>,
}

impl Stop {
    /// Catches the signals from now on.
    pub fn on_signals() -> io::Result<Self> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (sender, wanted) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            sender.send_replace(true);
        });
        Ok(Self { wanted })
    }

    /// Whether it is so already.
    pub fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Waits for it; returns at once when it is so already. Can be cancelled.
    pub async fn wanted(&mut self) {
        // The sender goes only after it has sent.
        let _ = self.wanted.wait_for(|wanted| *wanted).await;
    }
}
