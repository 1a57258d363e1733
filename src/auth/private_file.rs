//! Files with secrets, which only their owner can read from the first byte on.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use secrecy::{ExposeSecret, SecretString};

use super::random;

/// Reading and writing for the owner, nothing for others.
const MODE: u32 = 0o600;
/// Bytes read from a file with one secret, at most.
const READ_BYTES: u64 = 4096;

/// Writes a secret and a line feed to a file that no one else can read, and waits until it is on disk.
///
/// It is written beside its place and moved there, so that the place holds the old file or the whole
/// new one. A file or link that stands there is replaced and not followed. Missing folders are made.
pub(super) fn write(path: &Path, secret: &SecretString) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(folder)?;
    let suffix = random::name().map_err(io::Error::other)?;
    let beside = path.with_extension(format!("{suffix}.new"));
    let written = write_new(&beside, secret).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Nothing is left behind; if that fails too, the first error tells more.
        let _ = fs::remove_file(&beside);
    }
    written?;
    File::open(folder)?.sync_all()
}

/// Reads the one line of a file; `None` if there is no such file.
pub(super) fn read(path: &Path) -> io::Result<Option<SecretString>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(READ_BYTES).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Some(line.strip_suffix('\r').unwrap_or(line).into()))
}

/// Takes away what others may do with a file.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.permissions().mode() & 0o777 == MODE {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(MODE))
}

/// Opens a file to lock it; made if it is missing, else left as it is.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write_new(path: &Path, secret: &SecretString) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(secret.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_written_secret_is_read_back_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/secret");
        write(&path, &"hidden treasure".into()).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("deep")), 0o700);
        assert_eq!(read(&path).unwrap().unwrap().expose_secret(), "hidden treasure");
        assert_eq!(fs::read_to_string(&path).unwrap(), "hidden treasure\n");
    }

    #[test]
    fn writing_again_replaces_the_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "open to all").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        write(&path, &"new".into()).unwrap();
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o600, "new\n"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, path) = (folder.path().join("target"), folder.path().join("secret"));
        fs::write(&target, "untouched").unwrap();
        symlink(&target, &path).unwrap();
        write(&path, &"new".into()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(write(&path, &"new".into()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_line_end_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (text, secret) in [("a b ", "a b "), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("", "")] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().expose_secret(), secret, "{text:?}");
        }
        assert!(read(&folder.path().join("missing")).unwrap().is_none());
    }
}
