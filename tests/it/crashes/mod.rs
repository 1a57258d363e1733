//! What was acknowledged outlives SIGKILL.

mod consumers;
mod databases;
mod growth;
mod servers;
