//! Logs, and the table of metrics.

pub mod label;
mod logs;
pub mod metric;
mod page;

pub use logs::start_logs;
pub use page::markdown;
