//! The first start: its user, its password file, and the key of the commands.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use eventflow::{
    auth::{
        ADMIN_PASSWORD_FILE, Bootstrap, BootstrapError, EMBEDDED_KEY_FILE, EmbeddedKey, LoginError, bootstrap,
        embedded_key,
    },
    domain::{Caller, Role},
};

use crate::world::World;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What stands in a file with one secret.
fn line(path: &Path) -> String {
    fs::read_to_string(path).unwrap().trim_end().to_owned()
}

impl World {
    fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    async fn can_log_in(&self, password: &str) -> bool {
        match self.auth.login("admin", &password.into()).await {
            Ok(_) => true,
            Err(LoginError::Invalid) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// Creates the admin and returns its password.
    async fn bootstrapped() -> (Self, String) {
        let world = Self::new().await;
        let done = bootstrap(&world.auth, world.data_dir(), None).await.unwrap();
        let file = world.data_dir().join(ADMIN_PASSWORD_FILE);
        assert_eq!(done, Bootstrap::Created { password_file: Some(file.clone()) });
        (world, line(&file))
    }
}

#[tokio::test]
async fn the_first_start_creates_an_admin_whose_password_is_in_a_private_file() {
    let (world, password) = World::bootstrapped().await;
    let file = world.data_dir().join(ADMIN_PASSWORD_FILE);
    assert_eq!(mode(&file), 0o600);
    assert!(password.len() >= 24, "{} characters", password.len());

    let tokens = world.auth.login("admin", &password.as_str().into()).await.unwrap();
    let token = secrecy::ExposeSecret::expose_secret(&tokens.access_token);
    let principal = world.auth.authenticate(token).await.unwrap();
    assert!(matches!(principal.caller, Caller::User { role: Role::Admin, .. }));

    let again = bootstrap(&world.auth, world.data_dir(), None).await.unwrap();
    assert_eq!(again, Bootstrap::Existing);
    assert_eq!(line(&file), password, "a later start changed the file");
    let leftovers = fs::read_dir(world.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let leftovers = leftovers.filter(|name| name.to_string_lossy().starts_with(ADMIN_PASSWORD_FILE)).count();
    assert_eq!(leftovers, 1, "something lies beside the password");
}

#[tokio::test]
async fn a_file_left_by_a_start_that_broke_off_is_written_over() {
    let world = World::new().await;
    let file = world.data_dir().join(ADMIN_PASSWORD_FILE);
    fs::write(&file, "left over from before\n").unwrap();
    fs::write(world.data_dir().join("admin-password.lock"), "").unwrap();
    bootstrap(&world.auth, world.data_dir(), None).await.unwrap();
    assert!(!world.can_log_in("left over from before").await);
    assert!(world.can_log_in(&line(&file)).await);
    assert_eq!(mode(&file), 0o600);
}

#[tokio::test]
async fn without_a_place_for_the_password_no_user_is_created() {
    let world = World::new().await;
    let blocked = world.data_dir().join("not-a-folder");
    fs::write(&blocked, "").unwrap();
    let refusal = bootstrap(&world.auth, &blocked, None).await.unwrap_err();
    assert!(matches!(refusal, BootstrapError::WritePassword { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("--admin-password-file"), "{refusal}");
    assert!(!world.store.has_users().await.unwrap());

    // A folder stands where the file should.
    fs::create_dir_all(world.data_dir().join(ADMIN_PASSWORD_FILE).join("x")).unwrap();
    assert!(bootstrap(&world.auth, world.data_dir(), None).await.is_err());
    assert!(!world.store.has_users().await.unwrap());
}

#[tokio::test]
async fn of_two_starts_at_once_one_creates_the_user_and_only_its_file_remains() {
    for round in 0..5 {
        let world = World::new().await;
        let folders: [PathBuf; 2] = ["one", "two"].map(|name| world.data_dir().join(name));
        let (one, two) =
            tokio::join!(bootstrap(&world.auth, &folders[0], None), bootstrap(&world.auth, &folders[1], None),);
        let done = [one.unwrap(), two.unwrap()];
        assert_eq!(done.iter().filter(|done| **done == Bootstrap::Existing).count(), 1, "round {round}: {done:?}");
        for (folder, done) in folders.iter().zip(&done) {
            let file = folder.join(ADMIN_PASSWORD_FILE);
            match done {
                Bootstrap::Existing => assert!(!file.exists(), "the loser's password is still there"),
                Bootstrap::Created { .. } => assert!(world.can_log_in(&line(&file)).await),
            }
        }
    }
}

#[tokio::test]
async fn two_starts_in_one_folder_leave_the_password_that_works() {
    for _ in 0..5 {
        let world = World::new().await;
        let start = || bootstrap(&world.auth, world.data_dir(), None);
        let (one, two, three) = tokio::join!(start(), start(), start());
        let done = [one.unwrap(), two.unwrap(), three.unwrap()];
        assert_eq!(done.iter().filter(|done| **done == Bootstrap::Existing).count(), 2, "{done:?}");
        assert!(world.can_log_in(&line(&world.data_dir().join(ADMIN_PASSWORD_FILE))).await);
    }
}

#[tokio::test]
async fn a_given_password_is_taken_and_not_written_anywhere() {
    let world = World::new().await;
    let given = world.data_dir().join("given");
    for (text, problem) in [("short", "characters"), ("", "characters")] {
        fs::write(&given, text).unwrap();
        let refusal = bootstrap(&world.auth, world.data_dir(), Some(&given)).await.unwrap_err();
        assert!(
            matches!(refusal, BootstrapError::Password { .. }) && refusal.to_string().contains(problem),
            "{refusal}"
        );
    }
    let missing = bootstrap(&world.auth, world.data_dir(), Some(&world.data_dir().join("missing"))).await;
    assert!(matches!(missing, Err(BootstrapError::ReadPassword { .. })), "{missing:?}");
    assert!(!world.store.has_users().await.unwrap());

    fs::write(&given, "a password of its own\r\n").unwrap();
    let done = bootstrap(&world.auth, world.data_dir(), Some(&given)).await.unwrap();
    assert_eq!(done, Bootstrap::Created { password_file: None });
    assert!(world.can_log_in("a password of its own").await);
    assert!(!world.data_dir().join(ADMIN_PASSWORD_FILE).exists());
}

#[tokio::test]
async fn the_key_of_the_commands_is_private_and_lasts_over_starts() {
    let (world, _) = World::bootstrapped().await;
    let file = world.data_dir().join(EMBEDDED_KEY_FILE);
    assert_eq!(embedded_key(&world.auth, world.data_dir()).await.unwrap(), EmbeddedKey::Created);
    let key = line(&file);
    assert_eq!(mode(&file), 0o600);
    let principal = world.auth.authenticate(&key).await.unwrap();
    assert!(principal.name == "users/admin" && principal.expires.is_none());

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(embedded_key(&world.auth, world.data_dir()).await.unwrap(), EmbeddedKey::Existing);
    assert_eq!((line(&file), mode(&file)), (key, 0o600));
}

#[tokio::test]
async fn a_key_that_does_not_work_is_replaced() {
    let (world, _) = World::bootstrapped().await;
    let file = world.data_dir().join(EMBEDDED_KEY_FILE);
    let unknown = format!("efk_{}_{}", "a".repeat(16), "b".repeat(43));
    for bad in ["", "no key", unknown.as_str(), "\u{0}"] {
        fs::write(&file, bad).unwrap();
        assert_eq!(embedded_key(&world.auth, world.data_dir()).await.unwrap(), EmbeddedKey::Created, "{bad:?}");
        assert!(world.auth.authenticate(&line(&file)).await.is_ok());
    }
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert_eq!(embedded_key(&world.auth, world.data_dir()).await.unwrap(), EmbeddedKey::Created);
}

#[tokio::test]
async fn without_an_admin_there_is_no_key() {
    let world = World::new().await;
    assert_eq!(embedded_key(&world.auth, world.data_dir()).await.unwrap(), EmbeddedKey::NoAdmin);
    assert!(!world.data_dir().join(EMBEDDED_KEY_FILE).exists());
}
