//! The contract of users.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{Role, Timestamp, Username};

/// Keeping people, and programs with a role.
#[async_trait]
pub trait UserStore {
    /// Whether any user exists.
    async fn has_users(&self) -> Result<bool, StoreError>;

    /// Creates a user; false if the name is taken, and then nothing changes. Of two servers that
    /// create the same user at once, exactly one gets true.
    async fn create_user(&self, user: &User) -> Result<bool, StoreError>;

    /// The user of this name.
    async fn find_user(&self, name: &Username) -> Result<Option<User>, StoreError>;

    /// Users whose names come after `after`, in the byte order of names.
    async fn list_users(&self, after: &str, limit: usize) -> Result<Vec<User>, StoreError>;

    /// Changes a user and returns it as it is then; disabling it ends its sessions at `now`.
    ///
    /// Of several changes and deletions at once, on any number of servers, none leaves the store
    /// without an admin who is enabled.
    async fn update_user(&self, name: &Username, change: UserChange, now: Timestamp) -> Result<User, UserError>;

    /// Deletes a user with its sessions and keys, or nothing. What is created for the name later is
    /// opened by none of them.
    async fn delete_user(&self, name: &Username) -> Result<(), UserError>;

    /// Replaces a user's password and ends its sessions at `now`.
    ///
    /// With `old_hash` only if that still is the hash. False if nothing changed, also for want of the
    /// user.
    async fn set_password(
        &self,
        name: &Username,
        old_hash: Option<&str>,
        new_hash: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
}

/// A person, or a program with a role.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: Username,
    /// What it may do.
    pub role: Role,
    /// A disabled user's credentials are refused.
    pub disabled: bool,
    /// The password's argon2id hash in PHC format; `None`: it can only use keys.
    pub password_hash: Option<String>,
    /// When it was created.
    pub create_time: Timestamp,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// What to change about a user; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserChange {
    /// A new role.
    pub role: Option<Role>,
    /// Disables the user, or enables it again.
    pub disabled: Option<bool>,
}

/// Why a user was neither changed nor deleted.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such user.
    #[error("the user does not exist")]
    NotFound,
    /// No enabled admin would be left.
    #[error("the user is the last admin")]
    LastAdmin,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
