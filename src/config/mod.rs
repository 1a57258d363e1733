//! Settings: flags and environment variables, parsed once.

mod environment;
mod migrate;
mod serve;

pub use environment::refuse_unknown;
pub use migrate::MigrateSettings;
pub use serve::{Backend, LogFormat, ServeSettings, SettingsError, StoreSettings, duration};
