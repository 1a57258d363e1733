//! `eventflow bench`: how fast a server is, measured from outside, through the public API.

mod calls;
mod embedded;
mod entries;
mod fanout;
mod figures;
mod growth;
mod idle;
mod lane;
mod latency;
mod load;
mod messages;
mod order;
mod publish;
mod queue;
mod reader;
mod replay;
mod report;
mod resident;
mod settings;
mod spread;
mod target;
mod verify;
mod workload;

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{interval, timeout},
};

pub(super) use self::settings::BenchArgs;
use self::{
    embedded::Embedded,
    figures::{Counter, Measured, Run},
    report::{Outcome, Style},
    settings::{Plan, Settings},
    target::Target,
    workload::Workload,
};
use super::{
    args::ClientOptions, connection::Connection, credentials::Given, failure::Failure, output::Output,
    progress::Progress,
};

/// How long removing what was made may take.
const REMOVAL: Duration = Duration::from_secs(60);
/// How often the bar is drawn.
const DRAWN: Duration = Duration::from_millis(200);

/// Measures, and leaves nothing behind, also when it fails or is interrupted, unless it is to be kept.
pub(super) async fn run(
    options: &ClientOptions,
    given: &Given,
    output: Output,
    args: BenchArgs,
) -> Result<(), Failure> {
    let mut plan = args.plan();
    // One for the whole command: one that is made later knows nothing of a signal that came before.
    let mut stop = Stop::new()?;
    if !plan.embedded {
        return on_server(Connection::open(options, given.clone())?, options, given, output, &plan, &mut stop).await;
    }
    if options.server.is_some() {
        let why = "--embedded starts a server of its own; leave out --server, EVENTFLOW_SERVER and --second-server";
        return Err(Failure::Usage(why.to_owned()));
    }
    let mut embedded = Embedded::start()?;
    let measured = async {
        let record = tokio::select! {
            record = embedded.serves() => record?,
            () = stop.asked() => return Err(interrupted()),
        };
        plan.metrics = Some(record.http_listen.to_string());
        let connection = embedded.connection(&record, options)?;
        on_server(connection, options, given, output, &plan, &mut stop).await
    };
    let measured = measured.await;
    let ended = embedded.end().await;
    measured.and(ended)
}

async fn on_server(
    connection: Connection,
    options: &ClientOptions,
    given: &Given,
    output: Output,
    plan: &Plan,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let server = connection.address().name();
    let second = plan.second_server.clone().map(|server| ClientOptions { server: Some(server), ..options.clone() });
    let second = second.map(|options| Connection::open(&options, given.clone())).transpose()?;
    let target = tokio::select! {
        target = Target::open(connection, second, plan.metrics.clone()) => target?,
        () = stop.asked() => return Err(interrupted()),
    };
    let measured = tokio::select! {
        measured = measure_all(&target, Style::of(output), plan) => measured,
        () = stop.asked() => Err(interrupted()),
    };
    if plan.keep {
        return measured.map_err(|failure| failure.at(&server));
    }
    // A second interrupt ends it at once.
    let removed = tokio::select! {
        removed = timeout(REMOVAL, target.remove_all()) => removed,
        () = stop.asked() => return Err(interrupted()),
    };
    let removed = removed.unwrap_or_else(|_| Err(Failure::Local("the topics bench.* cannot be deleted".to_owned())));
    measured.and(removed).map_err(|failure| failure.at(&server))
}

async fn measure_all(target: &Target, style: Style, plan: &Plan) -> Result<(), Failure> {
    style.begin()?;
    for &workload in &plan.workloads {
        let settings = Settings { events: workload.events(plan.settings.events), ..plan.settings };
        let warm_up = plan.warm_up(settings.events);
        if warm_up > 0 {
            measure(target, workload.warm_up(), Settings { events: warm_up, ..settings }, "warm-up").await?;
        }
        let mut runs = Vec::new();
        for number in 1..=plan.runs {
            let label = format!("run {number} of {}", plan.runs);
            runs.push(measure(target, workload, settings, &label).await?);
        }
        style.print(&Outcome { workload, warm_up, runs })?;
    }
    Ok(())
}

/// One run under a bar.
async fn measure(target: &Target, workload: Workload, settings: Settings, label: &str) -> Result<Measured, Failure> {
    target.renew().await?;
    let progress = Counter::default();
    let bar = Progress::of_run(settings.events, format!("{}, {label}", workload.name()));
    let run = Run { target, settings: &settings, progress: &progress };
    let work = workload.run(&run);
    tokio::pin!(work);
    let mut drawn = interval(DRAWN);
    loop {
        tokio::select! {
            measured = &mut work => return measured,
            _ = drawn.tick() => bar.events(progress.get()),
        }
    }
}

/// Waits for interrupts.
struct Stop {
    signals: [tokio::signal::unix::Signal; 2],
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Local(format!("signals cannot be received: {error}"));
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Self { signals: [interrupt.map_err(failed)?, terminate.map_err(failed)?] })
    }

    async fn asked(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

fn interrupted() -> Failure {
    Failure::Local("interrupted".to_owned())
}
