//! What was measured, for people and for programs.

use std::io::{IsTerminal, stdout};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::{
    figures::{Measured, Verified, median, micros, sorted},
    workload::Workload,
};
use crate::cli::{failure::Failure, output};

/// The quantiles that JSON has, by name.
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A table that grows.
    Table,
    /// `name<TAB>figure<TAB>unit`.
    Lines,
    /// An object for each workload.
    Json,
}

/// The runs of one workload.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) workload: Workload,
    /// Events that were published before the clock started, to get warm.
    pub(super) warm_up: u64,
    pub(super) runs: Vec<Measured>,
}

/// A figure over all runs.
struct Row {
    name: String,
    unit: &'static str,
    runs: Vec<f64>,
}

impl Style {
    /// For this standard output.
    pub(super) fn of(output: output::Output) -> Self {
        match output.is_json() {
            true => Self::Json,
            false if stdout().is_terminal() => Self::Table,
            false => Self::Lines,
        }
    }

    /// Prints what stands above the table.
    pub(super) fn begin(self) -> Result<(), Failure> {
        match self {
            Self::Table => output::print(&table_line("WORKLOAD", "MEDIAN", "UNIT", "LOWEST", "HIGHEST", "VERIFIED")),
            Self::Lines | Self::Json => Ok(()),
        }
    }

    /// Prints what was measured.
    pub(super) fn print(self, outcome: &Outcome) -> Result<(), Failure> {
        let rows = outcome.rows();
        let text: String = match self {
            Self::Json => outcome.json(&rows)?.to_string() + "\n",
            Self::Lines => {
                rows.iter().map(|row| format!("{}\t{:.0}\t{}\n", row.name, row.median(), row.unit)).collect()
            }
            Self::Table => rows.iter().map(|row| row.table_line(outcome.verified())).collect(),
        };
        output::print(&text)
    }
}

impl Outcome {
    /// What the last run verified; all runs do the same.
    fn verified(&self) -> Verified {
        self.runs.last().map_or_else(Verified::default, |run| run.verified)
    }

    /// Its figures, each over all runs.
    fn rows(&self) -> Vec<Row> {
        let Some(first) = self.runs.first() else { return Vec::new() };
        let row = |(index, figure): (usize, &super::figures::Figure)| Row {
            name: match figure.part {
                "" => self.workload.name().to_owned(),
                part => format!("{}.{part}", self.workload.name()),
            },
            unit: figure.unit,
            runs: self.runs.iter().filter_map(|run| run.figures.get(index)).map(|figure| figure.value).collect(),
        };
        first.figures.iter().enumerate().map(row).collect()
    }

    fn json(&self, rows: &[Row]) -> Result<Value, Failure> {
        let mut object = Map::new();
        object.insert("name".into(), self.workload.name().into());
        if let Some(first) = rows.first() {
            object.extend(first.json());
        }
        let verified = self.verified();
        object.insert("verified_events".into(), verified.events.to_string().into());
        object.insert("checksum".into(), format!("{:016x}", verified.checksum).into());
        object.insert("warm_up_events".into(), self.warm_up.to_string().into());
        if rows.len() > 1 {
            let figures = rows.iter().map(|row| (row.name.clone(), Value::Object(row.json())));
            object.insert("figures".into(), Value::Object(figures.collect()));
        }
        if let Some(latencies) = self.latencies()? {
            let at = |(name, quantile): (&str, f64)| (name.to_owned(), json!(tenths(micros(&latencies, quantile))));
            object.insert("percentiles_us".into(), Value::Object(QUANTILES.into_iter().map(at).collect()));
        }
        Ok(Value::Object(object))
    }

    /// The times of all runs together.
    fn latencies(&self) -> Result<Option<Histogram<u64>>, Failure> {
        let mut all: Option<Histogram<u64>> = None;
        for run in self.runs.iter().filter_map(|run| run.latencies.as_ref()) {
            match &mut all {
                Some(all) => all.add(run).map_err(|error| Failure::Local(error.to_string()))?,
                None => all = Some(run.clone()),
            }
        }
        Ok(all)
    }
}

impl Row {
    fn median(&self) -> f64 {
        median(&self.runs)
    }

    fn json(&self) -> Map<String, Value> {
        let runs: Vec<f64> = self.runs.iter().map(|value| value.round()).collect();
        let fields = [("median", json!(self.median().round())), ("unit", json!(self.unit)), ("runs", json!(runs))];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn table_line(&self, verified: Verified) -> String {
        let sorted = sorted(&self.runs);
        let shown = |value: Option<&f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
        let (lowest, highest) = (shown(sorted.first()), shown(sorted.last()));
        let median = format!("{:.0}", self.median());
        table_line(&self.name, &median, self.unit, &lowest, &highest, &verified.events.to_string())
    }
}

/// As wide as the longest name and the largest figures: the rows are printed one after the other.
fn table_line(name: &str, median: &str, unit: &str, lowest: &str, highest: &str, verified: &str) -> String {
    format!("{name:24}  {median:>10}  {unit:12}  {lowest:>10}  {highest:>10}  {verified:>10}\n")
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
