//! The server as its operators see it: health, reflection, plain HTTP, starting, stopping, logs.

mod connections;
mod drain;
mod health;
mod http;
mod keepalive;
mod logs;
mod reflection;
mod secrets;
mod servers;
mod start;
mod streams;
