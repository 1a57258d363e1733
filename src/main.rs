//! The `eventflow` program.

fn main() {}
