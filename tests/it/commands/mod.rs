//! The command line, as a process of its own against real servers.

mod bench;
mod bench_faults;
mod codes;
mod completions;
mod consumers;
mod event;
mod first_start;
mod login;
mod manage;
mod migrate;
mod people;
mod pipeline;
mod progress;
mod publish;
mod queues;
mod resume;
mod secrets;
mod serving;
mod shell;
mod table;
mod tail;
mod verify;
mod work;
mod work_faults;
