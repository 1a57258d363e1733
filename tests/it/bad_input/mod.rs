//! Bad input of every kind: a documented status with details, nothing stored, and the server lives on.

mod bytes;
mod enums_and_times;
mod events;
mod filters;
mod fuzz;
mod limits;
mod metadata;
mod pages;
mod transport;
mod valid;
mod world;
mod zero;
