//! The `eventflow` program.

/// Publishing spends 40 % of its time in glibc's allocator, and memory that another thread gives back stays with it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    eventflow::cli::run(std::env::args_os())
}
