//! The table of metrics as a page for people.

use super::{
    label::{OTHER, VALUES_MAX},
    metric::{ALL, Kind, Metric},
};

/// All metrics in Markdown, as `docs/metrics.md` has it.
pub fn markdown() -> String {
    let mut page = format!(
        "\
# Metrics

`/metrics` on the second listener (`--http-listen`, `127.0.0.1:9464` unless set) serves these in the text format of
Prometheus. This page is written by `eventflow metrics > docs/metrics.md`.

Counters begin at 0 when the process starts; one with labels is there from the first time that it counts. Each server counts for itself: sum over servers, unless it says otherwise.
The labels `topic` and `consumer` have at most {VALUES_MAX} values in a process, the first ones; what comes later is
counted as `{OTHER}`.

On Linux there are also the usual metrics of a process: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_open_fds`, `process_max_fds`, `process_threads` and others.
"
    );
    let mut part = "";
    for metric in ALL {
        if metric.part != part {
            part = metric.part;
            page.push_str(&format!(
                "\n## {part}\n\n| metric | kind, unit | labels | what |\n| --- | --- | --- | --- |\n"
            ));
        }
        page.push_str(&row(metric));
    }
    page
}

fn row(metric: &Metric) -> String {
    let Metric { name, kind, unit, labels, help, .. } = *metric;
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    let bounds = match kind {
        Kind::Histogram(bounds) => {
            let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
            format!(" Bounds: {}.", bounds.join(", "))
        }
        Kind::Counter | Kind::Gauge => String::new(),
    };
    format!("| `{name}` | {}, {unit} | {} | {help}{bounds} |\n", kind.as_str(), labels.join(", "))
}
