//! A directory of one test's own.

use emitwire_core::transport::{BindError, ConnectError, Transport};
use emitwire_transports::{Unix, UnixFault};
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Removed with all that is in it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("emitwire-unix-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of what is in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The file of a listener that is gone, as a process leaves it that was killed.
pub(crate) fn leave_behind(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}

pub(crate) async fn bind_error(wire: &Unix) -> BindError {
    wire.bind().await.err().unwrap()
}

/// What the system, or the fault in its stead, says of why nobody is there.
pub(crate) async fn unreachable(wire: &Unix) -> io::Error {
    match wire.connect().await {
        Err(ConnectError::Unreachable { source, .. }) => source,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("connected"),
    }
}

pub(crate) fn fault(error: &io::Error) -> Option<&UnixFault> {
    error.get_ref()?.downcast_ref()
}
