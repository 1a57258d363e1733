//! The command line, as a process of its own against real servers.

mod codes;
mod event;
mod first_start;
mod login;
mod manage;
mod pipeline;
mod publish;
mod resume;
mod secrets;
mod serving;
mod shell;
mod tail;
