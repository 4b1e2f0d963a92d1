//! Taking a path, and leaving it again.

use super::UnixFault;
use super::lock::Lock;
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Listens at the path, which nobody else takes meanwhile.
///
/// Dropping the future leaves nothing there: once the file is made it does not wait.
pub(super) async fn take(
    path: &Path,
    mode: u32,
    backlog: u32,
) -> io::Result<(UnixListener, Claim)> {
    let _alone = Lock::acquire(path).await?;
    make_way(path).await?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let claim = Claim { path: path.to_owned(), file: FileId::at(path)? };
    // A socket that is bound and does not listen yet refuses everybody, so nobody connects under
    // the permissions that the file was made with. A file that is made under another name and
    // renamed would do the same, but the other name may be too long where this one is not.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((socket.listen(backlog)?, claim))
}

/// Removes the file of a listener that is gone, and nothing else. For who holds the lock.
async fn make_way(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(UnixFault::NoSocket.into());
    }
    let refusal = match UnixStream::connect(path).await {
        Ok(_) => return Err(ErrorKind::AddrInUse.into()),
        Err(error) => error,
    };
    match refusal.kind() {
        ErrorKind::NotFound => return Ok(()),
        // So many wait there that there is no room for one more.
        ErrorKind::WouldBlock => return Err(ErrorKind::AddrInUse.into()),
        // A socket of another type is bound there, such as one for datagrams.
        _ if Errno::from_io_error(&refusal) == Some(Errno::PROTOTYPE) => {
            return Err(ErrorKind::AddrInUse.into());
        }
        _ => {}
    }
    if found.uid() != geteuid().as_raw() {
        return Err(UnixFault::OtherUser { user: found.uid() }.into());
    }
    if refusal.kind() != ErrorKind::ConnectionRefused {
        return Err(refusal);
    }
    FileId::of(&found).remove(path)
}

/// The file of a socket that is listened at; dropped, it is removed.
///
/// It is to be dropped before the socket: as long as that answers, nobody takes the file for left
/// behind, and puts another in its place between the look at it and its removal.
pub(super) struct Claim {
    path: PathBuf,
    file: FileId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // If it cannot be removed the next listener finds that nobody answers there.
        let _ = self.file.remove(&self.path);
    }
}

/// Which file it is, whatever its name. While a socket is open no other gets its number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    pub(super) fn of(file: &Metadata) -> Self {
        Self { device: file.dev(), number: file.ino() }
    }

    pub(super) fn at(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|file| Self::of(&file))
    }

    /// Removes what is at the path if it is this file.
    fn remove(self, path: &Path) -> io::Result<()> {
        match Self::at(path) {
            Ok(there) if there == self => fs::remove_file(path),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
