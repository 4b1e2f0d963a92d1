//! Taking a path, and leaving it again.

use super::UnixFault;
use super::lock::Lock;
use super::permissions;
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{self, Path, PathBuf};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// A socket that is listened at, with its path.
///
/// The order of its fields is that in which they are dropped. The file goes first: as long as the
/// socket answers, other programs, which do not know the lock, do not take it for left behind and
/// put one of their own in its place between the look at it and its removal. The lock goes last.
pub(super) struct Claim {
    #[allow(dead_code, reason = "it is there to be dropped")]
    file: Option<SocketFile>,
    pub(super) listener: UnixListener,
    #[allow(dead_code, reason = "it is there to be dropped")]
    lock: Option<Lock>,
}

impl Claim {
    /// Listens at the path, which nobody else takes meanwhile.
    ///
    /// Dropping the future leaves nothing there: once the file is made it does not wait.
    pub(super) async fn file(path: &Path, mode: u32, backlog: u32) -> io::Result<Self> {
        // Before anybody is asked whether they are there: who has the lock is, and would have to
        // take the question for a peer.
        let lock = match Lock::acquire(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                // The lock is another user's. What is said of the socket says more.
                find_stale(path).await?;
                return Err(error);
            }
            lock => lock?,
        };
        if let Some(stale) = find_stale(path).await? {
            stale.remove(path)?;
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // A relative one is another's once this process goes to another directory.
        let file = SocketFile { path: path::absolute(path)?, id: FileId::at(path)? };
        // A socket that is bound and does not listen yet refuses everybody, so nobody connects
        // under the permissions that the file was made with. A file that is made under another
        // name and renamed would do too, but that name may be too long where this one is not.
        permissions::set(path, file.id, mode)?;
        Ok(Self { file: Some(file), listener: socket.listen(backlog)?, lock: Some(lock) })
    }

    /// Listens at a name without a file, spelled as the system does.
    pub(super) fn name(name: &Path, backlog: u32) -> io::Result<Self> {
        let socket = UnixSocket::new_stream()?;
        socket.bind(name)?;
        Ok(Self { file: None, listener: socket.listen(backlog)?, lock: None })
    }
}

/// The file that a listener has left behind which is gone, if there is one and it is ours.
///
/// # Errors
/// Whatever else is there, which is left alone.
async fn find_stale(path: &Path) -> io::Result<Option<FileId>> {
    loop {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        if !found.file_type().is_socket() {
            return Err(UnixFault::NoSocket.into());
        }
        match UnixStream::connect(path).await {
            Ok(_) => return Err(ErrorKind::AddrInUse.into()),
            // Whoever listened there has left this moment: now there is something else, or nothing.
            Err(error) if has_left(error.kind()) => {}
            Err(error) if is_busy(&error) => return Err(ErrorKind::AddrInUse.into()),
            Err(_) if found.uid() != geteuid().as_raw() => {
                return Err(UnixFault::OtherUser { user: found.uid() }.into());
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                return Ok(Some(FileId::of(&found)));
            }
            Err(error) => return Err(error),
        }
    }
}

fn has_left(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// So many wait there that there is no room for one more, or the socket is of another type, such
/// as one for datagrams.
fn is_busy(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || Errno::from_io_error(error) == Some(Errno::PROTOTYPE)
}

/// The file of a socket; dropped, it is removed.
struct SocketFile {
    path: PathBuf,
    id: FileId,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it cannot be removed the next listener finds that nobody answers there.
        let _ = self.id.remove(&self.path);
    }
}

/// Which file it is, whatever its name. While a socket is open no other gets its number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    fn of(file: &Metadata) -> Self {
        Self { device: file.dev(), number: file.ino() }
    }

    pub(super) fn of_open(file: &File) -> io::Result<Self> {
        file.metadata().map(|file| Self::of(&file))
    }

    pub(super) fn at(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|file| Self::of(&file))
    }

    /// Removes what is at the path if it is this file.
    pub(super) fn remove(self, path: &Path) -> io::Result<()> {
        match Self::at(path) {
            Ok(there) if there == self => fs::remove_file(path),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
