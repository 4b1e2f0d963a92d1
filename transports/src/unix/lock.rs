//! Whoever takes a path does so alone.
//!
//! That nobody answers at a socket and that its file is removed are two steps. Between them another
//! process may have put its own there, which would then be removed while it is listened at. No
//! order of links and renames helps: they take names and not files, so what they replace may
//! always be newer than what was looked at. Hence a lock of the system's, which is gone with its
//! holder, however that ends.

use super::UnixFault;
use super::claim::FileId;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The lock of one path. Its file is removed with it: only who holds the lock does that, and who
/// got one whose file is not there any more tries again.
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    pub(super) async fn acquire(socket: &Path) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(SUFFIX);
        let acquired = timeout(PATIENCE, wait(path.into())).await;
        acquired.unwrap_or_else(|_| Err(UnixFault::Busy { waited: PATIENCE }.into()))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whatever else has this name was not made here.
        if self.file.metadata().is_ok_and(|file| file.is_file() && file.len() == 0) {
            // Left behind it harms nobody: it is the next holder's.
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn wait(path: PathBuf) -> io::Result<Lock> {
    loop {
        let file = open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_in_place(&file, &path)? => return Ok(Lock { path, file }),
            Ok(()) | Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Follows no link: where others may write, it could lead to any file of this user's.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)
}

fn is_in_place(file: &File, path: &Path) -> io::Result<bool> {
    match FileId::at(path) {
        Ok(there) => Ok(there == FileId::of(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the lock's file is called, behind the path of the socket.
const SUFFIX: &str = ".emitwire-lock";

/// How long whoever has the lock is waited for. It is held for no longer than a few system calls
/// take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long until it is tried again.
const PAUSE: Duration = Duration::from_millis(2);
