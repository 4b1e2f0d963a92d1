//! Examples, built and ready to be run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// The example, built as this test was. Cargo builds it along with all tests, but not when it is
/// asked for this one only.
pub(crate) fn example(name: &str) -> io::Result<PathBuf> {
    let test = env::current_exe()?;
    let profile = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
    let folder = profile.join("examples");
    let example = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    if !is_fresh(&example, &folder.join(format!("{name}.d"))).unwrap_or(false) {
        build(name, profile)?;
    }
    Ok(example)
}

/// Whether it is newer than each of the sources that cargo has noted for it.
fn is_fresh(example: &Path, noted: &Path) -> io::Result<bool> {
    let built = fs::metadata(example)?.modified()?;
    let noted = fs::read_to_string(noted)?;
    let (_, sources) = noted.split_once(": ").unwrap_or_default();
    // A space inside of a path is noted as `\ `.
    for source in sources.trim_end().replace("\\ ", "\0").split(' ') {
        if fs::metadata(source.replace('\0', " "))?.modified()? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

fn build(name: &str, profile: &Path) -> io::Result<()> {
    let target = profile.parent().expect("a profile is a folder in target");
    let folder = profile.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let features: Vec<_> = FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--package", "emitwire", "--example", name])
        .args(["--profile", if folder == "debug" { "dev" } else { folder }])
        .args(["--no-default-features", "--features", &features.join(",")])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    assert!(status.success(), "the example does not build: {status}");
    Ok(())
}

/// Those that change what an example can show, and whether this test has them.
const FEATURES: &[(&str, bool)] = &[
    ("tcp", cfg!(feature = "tcp")),
    ("quic", cfg!(feature = "quic")),
    ("unix", cfg!(feature = "unix")),
    ("tls", cfg!(feature = "tls")),
    ("ws", cfg!(feature = "ws")),
    ("self-signed", cfg!(feature = "self-signed")),
];
