//! What each feature builds, and what is said when it is missing.

use emitwire::{Endpoint, schemes};
use std::collections::BTreeSet;
use std::env;
use std::process::Command;

/// Each wire's feature, and the crate that shows that it was built: the one that nothing else here
/// would build.
const WIRES: [(&str, &str); 5] = [
    ("tcp", "mio"),
    ("tls", "tokio-rustls"),
    ("unix", "rustix"),
    ("ws", "tokio-tungstenite"),
    ("quic", "quinn"),
];

/// Wires that stand on another one's crate.
const ALSO: [(&str, &str); 4] = [("tls", "mio"), ("unix", "mio"), ("ws", "mio"), ("quic", "mio")];

/// Crates beside our own without any feature.
const MINIMAL_CRATES_MAX: usize = 30;

/// All crates with the default features.
const DEFAULT_CRATES_MAX: usize = 65;

/// The crates that an application builds with these features of the facade.
fn tree(features: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["tree", "--locked", "--package", "emitwire", "--edges", "normal,build"]);
    cargo.args(["--prefix", "none", "--format", "{p}"]).args(features);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    lines.lines().filter_map(name).collect()
}

#[test]
fn the_smallest_tree_and_the_usual_one_stay_small() {
    let ours = |name: &&String| name.starts_with("emitwire");
    let minimal = tree(&["--no-default-features"]);
    let beside = minimal.iter().filter(|name| !ours(name)).count();
    assert!(beside <= MINIMAL_CRATES_MAX, "{beside}: {minimal:?}");
    let usual = tree(&[]);
    assert!(usual.len() <= DEFAULT_CRATES_MAX, "{}: {usual:?}", usual.len());
}

#[test]
fn a_wire_builds_its_own_crates_and_those_of_no_other() {
    let none = tree(&["--no-default-features"]);
    for (_, mark) in WIRES {
        assert!(!none.contains(mark), "{mark} is built without a wire");
    }
    for (feature, _) in WIRES {
        let built = tree(&["--no-default-features", "--features", feature]);
        for (other, mark) in WIRES {
            let expected = other == feature || ALSO.contains(&(feature, mark));
            assert_eq!(built.contains(mark), expected, "{mark} of {other} by {feature}");
        }
    }
}

/// `cargo xtask test` runs this without any wire too.
#[test]
fn a_wire_that_is_not_compiled_in_names_its_feature() {
    for (scheme, _) in WIRES {
        let address = if scheme == "unix" { "/run/socket" } else { "127.0.0.1:7300" };
        let made = Endpoint::new(&format!("{scheme}://{address}"));
        if schemes().any(|known| known == scheme) {
            assert_eq!(made.unwrap().to_string(), format!("{scheme}://{address}"));
        } else {
            let error = made.unwrap_err().to_string();
            assert_eq!(error, format!("`{scheme}://` needs the feature `{scheme}` of emitwire"));
        }
    }
}
