//! Logs, and the names of the metrics.

mod logs;
pub mod metric;

pub use logs::start_logs;
