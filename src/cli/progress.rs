//! How far long work has got: a bar on standard error, for people who watch.

use std::io::{IsTerminal, stderr, stdout};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

const OF_EVENTS: &str = "{wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left";
const OF_BYTES: &str = "{wide_bar} {bytes}/{total_bytes}, {msg}, {eta} left";
const OF_RUN: &str = "{msg} {wide_bar} {human_pos}/{human_len}, {per_sec}";
const COUNTED: &str = "{spinner} {human_pos} events, {per_sec}, {elapsed}";

/// A bar on the last line of the terminal, or nothing where standard error is none. Dropping it removes the bar.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Counts events, of so many if that is known.
    pub(super) fn of_events(total: Option<u64>) -> Self {
        Self::begin(total, if total.is_some() { OF_EVENTS } else { COUNTED })
    }

    /// Counts the bytes of an input of this size, and its events.
    pub(super) fn of_bytes(total: u64) -> Self {
        Self::begin(Some(total), OF_BYTES)
    }

    /// Counts the events of something that has a name.
    pub(super) fn of_run(total: u64, name: String) -> Self {
        let progress = Self::begin(Some(total), OF_RUN);
        if let Some(bar) = &progress.bar {
            bar.set_message(name);
        }
        progress
    }

    /// As `of_events`, where the events themselves are printed: on a terminal they show how far it is.
    pub(super) fn of_printed(total: Option<u64>) -> Self {
        if stdout().is_terminal() { Self::default() } else { Self::of_events(total) }
    }

    fn begin(total: Option<u64>, template: &str) -> Self {
        // The templates are constants; one that could not be read would cost the bar, not the work.
        let style = ProgressStyle::with_template(template).ok().filter(|_| stderr().is_terminal());
        let bar = style.map(|style| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style);
            bar.tick();
            bar
        });
        Self { bar }
    }

    /// So many events are done.
    pub(super) fn events(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// So many bytes are done, which held so many events.
    pub(super) fn bytes(&self, done: u64, events: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} events", HumanCount(events)));
            bar.set_position(done);
        }
    }

    /// Does something that writes to the terminal, with the bar out of the way.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressStyle;

    use super::{COUNTED, OF_BYTES, OF_EVENTS, OF_RUN};

    #[test]
    fn the_templates_can_be_read() {
        for template in [OF_EVENTS, OF_BYTES, OF_RUN, COUNTED] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
