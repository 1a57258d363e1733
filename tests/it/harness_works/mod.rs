//! That the harness keeps its own promises.

mod faults;
mod processes;
mod servers;
