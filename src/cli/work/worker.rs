//! Taking deliveries, running their commands, and settling them, all at the same time.

use std::future::pending;

use futures::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    command::{self, Program},
    feed::{Feed, News},
    held::{Held, Job},
    report::Report,
    settling::{self, Answer, Finished, Settled, Word},
};
use crate::{
    cli::{connection::Connection, failure::Failure, retry::Backoff},
    proto::v1::settle_failure::Cause,
};

/// One run of `work`.
pub(super) struct Worker<'a> {
    connection: &'a Connection,
    consumer: String,
    program: Program,
    concurrency: usize,
    report: Report,
    /// Asks it to take no more.
    stop: CancellationToken,
    /// It takes no more.
    stopping: bool,
    held: Held,
    /// What the server was not told yet.
    untold: Vec<Word>,
    /// After a failure nothing is told until then.
    quiet_until: Option<Instant>,
    backoff: Backoff,
    /// When it is given up to tell the server, once nothing else is left to do.
    patience: Option<Instant>,
    /// Why the server was not told last time.
    trouble: Option<Failure>,
    /// How it will end.
    failure: Option<Failure>,
}

/// What is under way.
struct UnderWay<'a> {
    feed: Option<LocalBoxFuture<'a, Result<(), Failure>>>,
    news: mpsc::Receiver<News>,
    commands: FuturesUnordered<LocalBoxFuture<'static, Finished>>,
    settling: Option<LocalBoxFuture<'a, Vec<Answer>>>,
    printing: Option<LocalBoxFuture<'static, Result<(), Failure>>>,
}

impl<'a> Worker<'a> {
    /// Begins with nothing done.
    pub(super) fn new(
        connection: &'a Connection,
        consumer: String,
        program: Program,
        concurrency: usize,
        report: Report,
        stop: CancellationToken,
    ) -> Self {
        Self {
            connection,
            consumer,
            program,
            concurrency,
            report,
            stop,
            stopping: false,
            held: Held::default(),
            untold: Vec::new(),
            quiet_until: None,
            backoff: Backoff::default(),
            patience: None,
            trouble: None,
            failure: None,
        }
    }

    /// Works until the feed ends or it is told to stop, and then until nothing is under way. The stream stays open
    /// until everything is settled: with its end the server gives what it has leased to others.
    pub(super) async fn work(&mut self, feed: Feed<'a>) -> Result<(), Failure> {
        // One frame waits; the next one is read when it was looked at.
        let (sender, news) = mpsc::channel(1);
        let feed: Option<LocalBoxFuture<'a, _>> = Some(Box::pin(feed.follow(sender)));
        let commands = FuturesUnordered::new();
        let mut way = UnderWay { feed, news, commands, settling: None, printing: None };
        loop {
            self.begin(&mut way);
            if self.is_over(&way) {
                break;
            }
            let quiet = self.due_at(&way);
            tokio::select! {
                ended = result_of(&mut way.feed) => {
                    way.feed = None;
                    self.end_with(ended.err());
                }
                Some(news) = way.news.recv() => self.take(news),
                Some(finished) = way.commands.next() => {
                    self.held.ended(&finished.id);
                    self.untold.push(Word::Finished(finished));
                }
                answers = result_of(&mut way.settling) => {
                    way.settling = None;
                    answers.into_iter().for_each(|answer| self.told(answer));
                }
                printed = result_of(&mut way.printing) => {
                    way.printing = None;
                    if let Err(failure) = printed {
                        self.end_with(Some(failure));
                    }
                }
                () = sleep_until(quiet.unwrap_or_else(Instant::now)), if quiet.is_some() => {}
                () = self.stop.cancelled(), if !self.stopping => self.end_with(None),
            }
        }
        drop(way.feed);
        let untold = self.untold.len();
        if untold > 0 {
            self.report.say(format_args!("{untold} events come again, for the server could not be told of them"));
        }
        self.report.summarize();
        if let Some(printing) = self.report.print() {
            printing.await?;
        }
        self.failure.take().or(self.trouble.take()).map_or(Ok(()), Err)
    }

    /// Begins all that can begin.
    fn begin(&mut self, way: &mut UnderWay<'a>) {
        while !self.stopping && !self.report.is_full() && self.held.running() < self.concurrency {
            let Some(job) = self.held.begin() else { break };
            way.commands.push(Box::pin(finish(self.program.clone(), job)));
        }
        let now = Instant::now();
        if way.settling.is_none() && self.quiet_until.is_none_or(|until| until <= now) {
            let mut words = std::mem::take(&mut self.untold);
            words.extend(self.held.due(now).into_iter().map(Word::More));
            if !words.is_empty() {
                let (connection, consumer) = (self.connection, self.consumer.clone());
                way.settling = Some(Box::pin(async move { settling::settle(connection, &consumer, words).await }));
            }
        }
        if way.printing.is_none()
            && let Some(printing) = self.report.print()
        {
            way.printing = Some(Box::pin(printing));
        }
    }

    /// When there is something to be done although nothing happens.
    fn due_at(&self, way: &UnderWay<'a>) -> Option<Instant> {
        if way.settling.is_some() {
            return self.patience;
        }
        let due = if self.untold.is_empty() { self.held.due_at() } else { Some(Instant::now()) };
        due.map(|due| self.quiet_until.map_or(due, |quiet| due.max(quiet)))
    }

    /// Whether nothing is left to do, or nothing that can be done.
    fn is_over(&mut self, way: &UnderWay<'a>) -> bool {
        if !self.stopping || !way.commands.is_empty() {
            return false;
        }
        if way.settling.is_none() && self.untold.is_empty() {
            return way.printing.is_none();
        }
        let now = Instant::now();
        let patience = *self.patience.get_or_insert_with(|| now + self.connection.timeout());
        now >= patience
    }

    /// Takes no more, and ends with this failure if it is the first.
    fn end_with(&mut self, failure: Option<Failure>) {
        self.stopping = true;
        self.held.leave_rest();
        self.failure = self.failure.take().or(failure);
    }

    fn take(&mut self, news: News) {
        match news {
            News::Open => self.held.renew_all(Instant::now()),
            // They came too late, and go back with the end of the stream.
            News::Deliveries(..) if self.stopping => {}
            News::Deliveries(batch, received) => self.held.take(batch, received),
        }
    }

    fn told(&mut self, answer: Answer) {
        let Answer { words, asked, result } = answer;
        let settled = match result {
            Ok(settled) => settled,
            Err(failure) => return self.not_told(words, failure),
        };
        self.backoff.reset();
        (self.quiet_until, self.trouble) = (None, None);
        let Settled { failures, remaining } = settled;
        for word in words {
            match word {
                Word::Finished(finished) => {
                    let cause = failures.get(&finished.id.offset);
                    // An answer may have been lost on its way: then it was settled before.
                    self.report.settled(&finished, cause.is_some_and(|cause| *cause != Cause::AlreadySettled));
                }
                Word::More(id) if failures.contains_key(&id.offset) => self.held.lost(&id),
                Word::More(id) => self.held.renewed(&id, asked, remaining.as_ref()),
            }
        }
    }

    /// What ended is told again after a pause, and what needs more time still needs it then.
    fn not_told(&mut self, words: Vec<Word>, failure: Failure) {
        if !settling::may_repeat(&failure) {
            return self.end_with(Some(failure));
        }
        let status = match &failure {
            Failure::Refused(status) => Some(&**status),
            _ => None,
        };
        self.report.say(format_args!("not settled: {}", status.map_or("", |status| status.message())));
        self.quiet_until = Some(Instant::now() + self.backoff.pause(status));
        let finished = words.into_iter().filter(|word| matches!(word, Word::Finished(_)));
        self.untold.extend(finished);
        self.trouble = Some(failure);
    }
}

/// Runs the command of one delivery.
async fn finish(program: Program, job: Job) -> Finished {
    let began = Instant::now();
    let result = command::run(&program, &job).await;
    Finished { id: job.id, attempt: job.attempt, result, took: began.elapsed() }
}

/// The result of what is under way; waits for ever if nothing is. Cancelling it loses nothing.
async fn result_of<T>(under_way: &mut Option<LocalBoxFuture<'_, T>>) -> T {
    match under_way {
        Some(future) => future.await,
        None => pending().await,
    }
}
