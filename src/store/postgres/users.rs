//! Users.

use async_trait::async_trait;

use super::{PostgresStore, errors::corrupt, identity_rows as identity, rows, topics::to_limit};
use crate::{
    domain::{Role, Timestamp, Username},
    store::{StoreError, User, UserChange, UserError, UserStore},
};

#[async_trait]
impl UserStore for PostgresStore {
    async fn has_users(&self) -> Result<bool, StoreError> {
        let statement = sqlx::query("select exists (select from eventflow.users) as has_users");
        rows::get(&self.control.one("has_users", statement).await?, "has_users")
    }

    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        let User { name, role, disabled, password_hash, create_time } = user;
        let statement = sqlx::query(include_str!("sql/create_user.sql"))
            .bind(name.as_str())
            .bind(role.as_str())
            .bind(disabled)
            .bind(password_hash)
            .bind(create_time.to_datetime());
        Ok(self.control.execute("create_user", statement).await? == 1)
    }

    async fn find_user(&self, name: &Username) -> Result<Option<User>, StoreError> {
        let statement = sqlx::query(include_str!("sql/find_user.sql")).bind(name.as_str());
        self.control.optional("find_user", statement).await?.as_ref().map(identity::user).transpose()
    }

    async fn list_users(&self, after: &str, limit: usize) -> Result<Vec<User>, StoreError> {
        let statement = sqlx::query(include_str!("sql/list_users.sql")).bind(after).bind(to_limit(limit));
        self.control.all("list_users", statement).await?.iter().map(identity::user).collect()
    }

    async fn update_user(&self, name: &Username, change: UserChange, now: Timestamp) -> Result<User, UserError> {
        let UserChange { role, disabled } = change;
        let statement = sqlx::query(include_str!("sql/update_user.sql"))
            .bind(name.as_str())
            .bind(role.map(Role::as_str))
            .bind(disabled)
            .bind(now.to_datetime());
        let row = self.control.one("update_user", statement).await?;
        match rows::get(&row, "outcome")? {
            "changed" => Ok(identity::user(&row)?),
            "not_found" => Err(UserError::NotFound),
            "last_admin" => Err(UserError::LastAdmin),
            other => Err(corrupt(format!("a change of a user ended with {other:?}")).into()),
        }
    }

    async fn delete_user(&self, name: &Username) -> Result<(), UserError> {
        let statement = sqlx::query("select eventflow.delete_user_v1($1) as outcome").bind(name.as_str());
        let row = self.control.one("delete_user", statement).await?;
        match rows::get(&row, "outcome")? {
            "deleted" => Ok(()),
            "not_found" => Err(UserError::NotFound),
            "last_admin" => Err(UserError::LastAdmin),
            other => Err(corrupt(format!("the deletion of a user ended with {other:?}")).into()),
        }
    }

    async fn set_password(
        &self,
        name: &Username,
        old_hash: Option<&str>,
        new_hash: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let statement = sqlx::query("select eventflow.set_password_v1($1, $2, $3, $4) as changed");
        let statement = statement.bind(name.as_str()).bind(old_hash).bind(new_hash).bind(now.to_datetime());
        rows::get(&self.control.one("set_password", statement).await?, "changed")
    }
}
