//! Creating, changing, deleting and listing users.

use secrecy::SecretString;

use super::{Broker, Stopped};
use crate::{
    auth::CryptoError,
    domain::{Role, Timestamp, Username},
    store::{StoreError, User, UserChange, UserError},
};

/// A user to be created.
#[derive(Debug)]
pub struct NewUser {
    /// Its name.
    pub name: Username,
    /// What it may do.
    pub role: Role,
    /// A disabled user's credentials are refused.
    pub disabled: bool,
    /// It keeps to the rule; `None`: a program, which can only use keys.
    pub password: Option<SecretString>,
}

/// Why something about a user was refused.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The name is taken.
    #[error("user {user} exists")]
    Exists {
        /// The user.
        user: Username,
    },
    /// There is no such user.
    #[error("user {user} does not exist")]
    NotFound {
        /// The user.
        user: Username,
    },
    /// Nobody could administer the server afterwards.
    #[error("user {user} is the last admin; make another user an admin first")]
    LastAdmin {
        /// The user.
        user: Username,
    },
    /// A password could not be hashed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Broker {
    /// Creates a user.
    pub async fn create_user(&self, new: NewUser) -> Result<User, UsersError> {
        let NewUser { name, role, disabled, password } = new;
        let password_hash = match &password {
            Some(password) => Some(self.inner.auth.hash_password(password).await?),
            None => None,
        };
        let user = User { name, role, disabled, password_hash, create_time: Timestamp::now() };
        let wanted = user.clone();
        let created = self.change(move |store| async move { store.create_user(&wanted).await }).await;
        if created.map_err(Stopped::store)?? { Ok(user) } else { Err(UsersError::Exists { user: user.name }) }
    }

    /// Users after `after`, in the order of names.
    pub async fn list_users(&self, after: &str, limit: usize) -> Result<Vec<User>, StoreError> {
        self.store().list_users(after, limit).await
    }

    /// Changes a user and returns it as it is then. Disabling it ends its sessions.
    pub async fn update_user(&self, name: &Username, change: UserChange) -> Result<User, UsersError> {
        let (store, wanted) = (self.store().clone(), name.clone());
        let update = async move { store.update_user(&wanted, change, Timestamp::now()).await };
        let updated = self.change_identities(update).await.map_err(Stopped::store)?;
        updated.map_err(|error| refusal(error, name))
    }

    /// Deletes a user with its sessions and keys.
    pub async fn delete_user(&self, name: &Username) -> Result<(), UsersError> {
        let (store, wanted) = (self.store().clone(), name.clone());
        let deleted = self.change_identities(async move { store.delete_user(&wanted).await }).await;
        deleted.map_err(Stopped::store)?.map_err(|error| refusal(error, name))
    }
}

fn refusal(error: UserError, name: &Username) -> UsersError {
    match error {
        UserError::NotFound => UsersError::NotFound { user: name.clone() },
        UserError::LastAdmin => UsersError::LastAdmin { user: name.clone() },
        UserError::Store(error) => error.into(),
    }
}
