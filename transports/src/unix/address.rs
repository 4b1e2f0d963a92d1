//! What a path stands for: a file, or an abstract name.

use super::UnixFault;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path that the system takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    File(PathBuf),
    /// As the system spells it: a zero byte, and then the name (unix(7)).
    Abstract(PathBuf),
}

impl Address {
    pub(super) fn parse(path: &Path) -> Result<Self, UnixFault> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() || bytes == b"@" || bytes.contains(&0) {
            // For the system some of them are names that it chooses itself.
            return Err(UnixFault::NoPath);
        }
        if bytes.len() > PATH_BYTES_MAX {
            return Err(UnixFault::TooLong { bytes: bytes.len(), max: PATH_BYTES_MAX });
        }
        match bytes.strip_prefix(b"@") {
            None => Ok(Self::File(path.to_owned())),
            Some(name) if HAS_ABSTRACT_NAMES => {
                let spelled = [b"\0", name].concat();
                Ok(Self::Abstract(OsStr::from_bytes(&spelled).into()))
            }
            Some(_) => Err(UnixFault::NoAbstractNames),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Abstract(path) => path,
        }
    }
}

const HAS_ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// `sun_path` of unix(7) less the zero byte at its end: 108 bytes on Linux, 104 on the BSDs.
const PATH_BYTES_MAX: usize = if HAS_ABSTRACT_NAMES { 107 } else { 103 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_file_and_a_name_behind_an_at_sign_has_none() {
        let parse = |path: &str| Address::parse(Path::new(path));
        assert_eq!(parse("/run/a"), Ok(Address::File("/run/a".into())));
        assert_eq!(parse("./@a"), Ok(Address::File("./@a".into())));
        let name = Ok(Address::Abstract("\0a".into()));
        let expected = if HAS_ABSTRACT_NAMES { name } else { Err(UnixFault::NoAbstractNames) };
        assert_eq!(parse("@a"), expected);
    }

    #[test]
    fn what_the_system_would_take_for_something_else_is_no_path() {
        for path in ["", "@", "\0", "\0a", "a\0b"] {
            assert_eq!(Address::parse(Path::new(path)), Err(UnixFault::NoPath), "{path:?}");
        }
    }
}
