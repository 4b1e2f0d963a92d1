//! Whoever takes a path does so alone, and holds it until they are gone.
//!
//! That nobody answers at a socket and that its file is removed are two steps. Between them another
//! process may have put its own there, which would then be removed while it is listened at. No
//! order of links and renames helps: they take names and not files, so what they replace may
//! always be newer than what was looked at. Nor is it sure that nobody is there where nobody
//! answers: some systems refuse like that for a listener at which too many wait. Hence a lock of
//! the system's, held as long as the socket, which is gone with its holder, however that ends.

use super::claim::FileId;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{self, Path, PathBuf};

/// The lock of one path. Its file is removed with it: only who holds the lock does that, and who
/// got one whose file is not there any more tries again.
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// # Errors
    /// `AddrInUse`: somebody has it.
    pub(super) fn acquire(socket: &Path) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(SUFFIX);
        // This process may go to another directory before the file is removed.
        let path = path::absolute(path)?;
        loop {
            let file = open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_in_place(&file, &path)? => return Ok(Self { path, file }),
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Err(io::ErrorKind::AddrInUse.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whatever else has this name was not made here.
        if self.file.metadata().is_ok_and(|file| file.is_file() && file.len() == 0) {
            // If it stays it harms nobody: the next holder takes it.
            let _ = FileId::of_open(&self.file).and_then(|file| file.remove(&self.path));
        }
    }
}

/// Follows no link: where others may write, it could lead to any file of this user's.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(LOCK_MODE);
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)
}

fn is_in_place(file: &File, path: &Path) -> io::Result<bool> {
    match FileId::at(path) {
        Ok(there) => Ok(there == FileId::of_open(file)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the lock's file is called, behind the path of the socket.
const SUFFIX: &str = ".lock";

/// The lock is the same user's.
const LOCK_MODE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_lock_whose_file_is_gone_is_none_and_leaves_the_next_alone() {
        let name = format!("emitwire-lock-{}", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let first = Lock::acquire(&socket).unwrap();
        let refused = Lock::acquire(&socket).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(is_in_place(&first.file, &first.path).unwrap());
        fs::remove_file(&first.path).unwrap();
        assert!(!is_in_place(&first.file, &first.path).unwrap());
        let second = Lock::acquire(&socket).unwrap();
        assert!(!is_in_place(&first.file, &first.path).unwrap());
        drop(first);
        assert!(is_in_place(&second.file, &second.path).unwrap());
        let path = second.path.clone();
        drop(second);
        assert!(!path.exists());
    }
}
