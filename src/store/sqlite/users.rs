//! Users.

use async_trait::async_trait;
use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use super::{
    SqliteStore,
    error::failed,
    keys,
    rows::{parsed, time_of},
    sessions,
};
use crate::{
    domain::{Role, Timestamp, Username},
    store::{KeyOwner, StoreError, User, UserChange, UserError, UserStore},
};

#[async_trait]
impl UserStore for SqliteStore {
    async fn has_users(&self) -> Result<bool, StoreError> {
        let query = self.query("has_users", "select exists (select 1 from users)");
        let row = query.fetch_one(&mut *self.reader().await?).await.map_err(failed)?;
        row.try_get(0).map_err(failed)
    }

    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        let User { name, role, disabled, password_hash, create_time } = user;
        let mut tx = self.begin().await?;
        let query = self.query("create_user", "insert into users values (?, ?, ?, ?, ?) on conflict do nothing");
        let query =
            query.bind(name.as_str()).bind(role.as_str()).bind(disabled).bind(password_hash).bind(create_time.micros());
        let created = query.execute(&mut *tx).await.map_err(failed)?.rows_affected() == 1;
        tx.commit().await.map_err(failed)?;
        Ok(created)
    }

    async fn find_user(&self, name: &Username) -> Result<Option<User>, StoreError> {
        let mut conn = self.reader().await?;
        find(self, &mut conn, name).await
    }

    async fn list_users(&self, after: &str, limit: usize) -> Result<Vec<User>, StoreError> {
        let query = self.query("list_users", "select * from users where name > ? order by name limit ?");
        let query = query.bind(after).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(user).collect()
    }

    async fn update_user(&self, name: &Username, change: UserChange, now: Timestamp) -> Result<User, UserError> {
        let mut tx = self.begin().await?;
        let mut user = find(self, &mut tx, name).await?.ok_or(UserError::NotFound)?;
        let was_admin = is_admin(&user);
        user.role = change.role.unwrap_or(user.role);
        user.disabled = change.disabled.unwrap_or(user.disabled);
        if was_admin && !is_admin(&user) {
            refuse_last_admin(self, &mut tx, name).await?;
        }
        let query = self.query("update_user", "update users set role = ?, disabled = ? where name = ?");
        let query = query.bind(user.role.as_str()).bind(user.disabled).bind(name.as_str());
        query.execute(&mut *tx).await.map_err(failed)?;
        if change.disabled == Some(true) {
            sessions::end_all(self, &mut tx, name, now).await?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(user)
    }

    async fn delete_user(&self, name: &Username) -> Result<(), UserError> {
        let mut tx = self.begin().await?;
        let user = find(self, &mut tx, name).await?.ok_or(UserError::NotFound)?;
        if is_admin(&user) {
            refuse_last_admin(self, &mut tx, name).await?;
        }
        let query = self.query("delete_user", "delete from users where name = ?").bind(name.as_str());
        query.execute(&mut *tx).await.map_err(failed)?;
        sessions::delete_all(self, &mut tx, name).await?;
        keys::delete_all(self, &mut tx, &KeyOwner::User(name.clone())).await?;
        Ok(tx.commit().await.map_err(failed)?)
    }

    async fn set_password(
        &self,
        name: &Username,
        old_hash: Option<&str>,
        new_hash: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "update users set password_hash = ?1 where name = ?2 and (?3 is null or password_hash = ?3)";
        let query = self.query("set_password", sql).bind(new_hash).bind(name.as_str()).bind(old_hash);
        if query.execute(&mut *tx).await.map_err(failed)?.rows_affected() == 0 {
            return Ok(false);
        }
        sessions::end_all(self, &mut tx, name, now).await?;
        tx.commit().await.map_err(failed)?;
        Ok(true)
    }
}

/// The user of this name.
pub(super) async fn find(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    name: &Username,
) -> Result<Option<User>, StoreError> {
    let query = store.query("find_user", "select * from users where name = ?").bind(name.as_str());
    let row = query.fetch_optional(conn).await.map_err(failed)?;
    row.as_ref().map(user).transpose()
}

/// Fails if nobody but this user is an admin who is enabled.
async fn refuse_last_admin(store: &SqliteStore, conn: &mut SqliteConnection, name: &Username) -> Result<(), UserError> {
    let sql = "select 1 from users where role = 'admin' and not disabled and name <> ? limit 1";
    let query = store.query("find_other_admin", sql).bind(name.as_str());
    let other = query.fetch_optional(conn).await.map_err(failed)?;
    other.map(drop).ok_or(UserError::LastAdmin)
}

fn is_admin(user: &User) -> bool {
    user.role == Role::Admin && !user.disabled
}

fn user(row: &SqliteRow) -> Result<User, StoreError> {
    let role = |name: &str| Role::from_name(name).ok_or_else(|| format!("{name:?} is no role"));
    Ok(User {
        name: parsed(row, "name", Username::parse)?,
        role: parsed(row, "role", role)?,
        disabled: row.try_get("disabled").map_err(failed)?,
        password_hash: row.try_get("password_hash").map_err(failed)?,
        create_time: time_of(row, "create_time")?,
    })
}
