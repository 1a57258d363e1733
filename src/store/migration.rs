//! Bringing a store up to date, and what that did.

use sqlx::{
    SqlStr,
    migrate::{Migration as Step, MigrationType, Migrator},
};

use crate::domain::{LogId, TopicName};

/// What bringing a store up to date did, for whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// `postgres` or `sqlite`.
    pub store: &'static str,
    /// The number of the newest migration.
    pub schema: i64,
    /// The migrations that were missing, in order: number and name.
    pub applied: Vec<String>,
    /// The role of the servers, if it is not the owner's: it was granted what it needs.
    pub granted: Option<String>,
    /// After a restore, every topic with its new log, in the order of names; `None`: that was not asked for.
    pub replaced: Option<Vec<(TopicName, LogId)>>,
}

/// A migrator of what the build found in a folder: number, name and content. It is the one that `sqlx::migrate!` would
/// make; that macro brings all of sqlx along a second time, to be compiled for the compiler.
pub(super) fn migrator(found: &[(i64, &'static str, &'static str)]) -> Migrator {
    let step = |&(number, name, content): &(i64, &'static str, &'static str)| {
        Step::new(number, name.into(), MigrationType::Simple, SqlStr::from_static(content), false)
    };
    Migrator::with_migrations(found.iter().map(step).collect())
}

/// Those of `all` migrations that are not in `before`, as they are shown.
pub(super) fn missing<'a>(all: impl Iterator<Item = &'a Step>, before: &[i64]) -> Vec<String> {
    let missing = all.filter(|migration| !before.contains(&migration.version));
    missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect()
}

#[cfg(test)]
mod tests {
    use super::migrator;

    /// What databases have noted of their migrations: the numbers, the names, and the SHA-384 of the contents.
    #[test]
    fn migrations_are_what_databases_know_them_by() {
        let found = &[(2, "second step", "select 2"), (1, "first", "select 1")];
        let migrator = migrator(found);
        let steps: Vec<_> = migrator.iter().collect();
        assert_eq!(steps.iter().map(|step| step.version).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(steps[1].description, "second step");
        let hex: String = steps[0].checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "645e440deb3b1b7a7d1a63e7304e5089b8d9a4ca98be374d2f67c01db51b347a4b2eda8ded8079a6193f2fa2e11bc809"
        );
        assert!(steps.iter().all(|step| !step.no_tx && step.sql.as_str().starts_with("select ")));
    }
}
