//! `eventflow migrate`.

use std::path::Path;

use serde_json::json;

use super::{
    failure::Failure,
    output::{Output, print, table},
    serve::refused,
};
use crate::{config::MigrateSettings, server, store::Migration};

/// What everybody has to know after a restore.
const AFTER_RESTORE: &str = "
What callers will see:
- Streams and requests with a log_id from before get FAILED_PRECONDITION / LOG_REPLACED: their offsets may be those of
  other events now. They choose a new start.
- Registered consumers go on at the offsets of the backup, in a new epoch: what they did since the backup, they do
  again. Commits of streams from before get ABORTED / CONSUMER_FENCED.
- Ids that were published since the backup are not known; producers may publish those events again.
- Users, keys and sessions are those of the backup: revoke again what was revoked since.
";

/// Brings the store up to date and says what that did.
pub(super) async fn run(settings: &MigrateSettings, data_dir: &Path, output: Output) -> Result<(), Failure> {
    let migration = server::migrate(settings, data_dir).await.map_err(|error| refused(&error))?;
    print(&if output.is_json() { as_json(&migration) } else { as_text(&migration) })
}

fn as_json(migration: &Migration) -> String {
    let Migration { store, schema, applied, granted, replaced } = migration;
    let topic = |(topic, log_id): &(_, _)| json!({ "topic": format!("{topic}"), "log_id": format!("{log_id}") });
    let replaced = replaced.as_ref().map(|topics| topics.iter().map(topic).collect::<Vec<_>>());
    let value =
        json!({ "store": store, "schema": schema, "applied": applied, "granted": granted, "replaced": replaced });
    format!("{value}\n")
}

fn as_text(migration: &Migration) -> String {
    let Migration { store, schema, applied, granted, replaced } = migration;
    let mut text: String = applied.iter().map(|name| format!("applied {name}\n")).collect();
    text.push_str(&format!("the {store} store is at schema {schema}\n"));
    if let Some(role) = granted {
        text.push_str(&format!("role {role} may serve it\n"));
    }
    if let Some(topics) = replaced {
        let rows = topics.iter().map(|(topic, log_id)| vec![topic.to_string(), log_id.to_string()]).collect();
        text.push_str(&format!("\nNew logs: {}\n{}", topics.len(), table(&["TOPIC", "LOG"], rows)));
        text.push_str(AFTER_RESTORE);
    }
    text
}
