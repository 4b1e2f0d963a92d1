//! Permissions of a socket's file, and of nothing else that has its name by then.

use super::claim::FileId;
use std::io;
use std::path::Path;

/// Gives this file at the path these permissions. Where others may write to the folder the name may
/// have become a link to another file of this user's, which keeps its own.
#[cfg(target_os = "linux")]
pub(super) fn set(path: &Path, id: FileId, mode: u32) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    use std::fs::{self, File, Permissions};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if FileId::of_open(&file)? != id {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    if file.metadata()?.permissions().mode() & super::MODE_MASK == mode {
        return Ok(());
    }
    // What is open only as a path has its permissions by this name alone (open(2)).
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(name, Permissions::from_mode(mode))
}

/// Gives what is at the path these permissions, without following a link.
#[cfg(not(target_os = "linux"))]
pub(super) fn set(path: &Path, _: FileId, mode: u32) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Mode, RawMode, chmodat};
    let mode = Mode::from_raw_mode(mode as RawMode);
    Ok(chmodat(CWD, path, mode, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_link_in_the_place_of_the_file_is_not_followed() {
        let folder = std::env::temp_dir().join(format!("emitwire-mode-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (socket, other) = (folder.join("socket"), folder.join("other"));
        fs::write(&socket, "").unwrap();
        let id = FileId::at(&socket).unwrap();
        set(&socket, id, 0o660).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&socket), 0o660);
        fs::write(&other, "").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
        fs::rename(&socket, folder.join("former")).unwrap();
        symlink(&other, &socket).unwrap();
        assert!(set(&socket, id, 0o666).is_err());
        assert_eq!(mode(&other), 0o600);
        fs::remove_dir_all(&folder).unwrap();
    }
}
