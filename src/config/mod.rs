//! Settings: flags and environment variables, parsed once.

mod environment;
mod serve;

pub use environment::refuse_unknown;
pub use serve::{Backend, LogFormat, ServeSettings, SettingsError, StoreSettings, duration};
