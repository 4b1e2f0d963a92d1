//! Which way imports point, and what a folder may know. Tests are free; code is not.

use crate::scan::{self, Path};
use crate::source::{Finding, Source};

/// The folders of the core, from the ground up: each may use itself and those before it.
const FLOORS: [&str; 6] = ["protocol", "transport", "room", "socket", "handler", "run"];

/// What a state machine must be told rather than ask for, or could not do without waiting.
const IMPURE_WORDS: [&str; 6] = ["tokio", "SystemTime", "rand", "getrandom", "Mutex", "RwLock"];
const IMPURE_PATHS: [[&str; 2]; 2] = [["Instant", "now"], ["std", "thread"]];

const WIRES: [&str; 6] = ["Tcp", "Udp", "WebSocket", "Quic", "tungstenite", "quinn"];

/// How the names of those plain values end that an error or an id may carry. None of them knows
/// more than others of its kind.
const VALUES: [&str; 5] = ["Id", "Error", "Reason", "Nak", "Payload"];

pub(crate) fn protocol_is_pure(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.is_in(&["core/src/protocol"]) {
        return findings;
    }
    for (at, word) in scan::words(&source.code) {
        if IMPURE_WORDS.contains(&word) {
            findings.push(source.finding(at, format!("`{word}` in the protocol")));
        }
    }
    for Path { at, segments } in scan::paths(&source.code) {
        for pair in IMPURE_PATHS {
            if segments.windows(2).any(|window| window == pair) {
                let what = format!("`{}` in the protocol", pair.join("::"));
                findings.push(source.finding(at, what));
            }
        }
    }
    findings
}

pub(crate) fn core_names_no_wire(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.is_in(&["core/src"]) {
        return findings;
    }
    for (at, word) in scan::words(&source.code) {
        if WIRES.iter().any(|wire| names(word, wire)) {
            findings.push(source.finding(at, format!("`{word}` names a wire in the core")));
        }
    }
    findings
}

/// Whether a part of the word is `part`: `Quick` is another word than `Quic`.
fn names(word: &str, part: &str) -> bool {
    let found = word.match_indices(part);
    let mut ends = found.map(|(at, _)| &word[at + part.len()..]);
    ends.any(|end| !end.starts_with(|letter: char| letter.is_lowercase()))
}

pub(crate) fn imports_run_one_way(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let inside = source.path.strip_prefix("core/src/").unwrap_or_default();
    let mut here = inside.split('/');
    let Some(floor) = here.next().and_then(floor_of) else {
        return findings;
    };
    // `mod.rs` is its folder, any other file is a module in it.
    let depth = 1 + here.filter(|part| *part != "mod.rs").count();
    let inner = scan::modules(&source.code);
    for Path { at, segments } in scan::paths(&source.code) {
        let depth = depth + inner.iter().filter(|module| module.contains(&at)).count();
        let Some(target) = from_root(&segments, depth) else {
            continue;
        };
        let path = segments.join("::");
        match floor_of(target) {
            None => {
                let what = format!("`{path}` is imported from the crate root: name its folder");
                findings.push(source.finding(at, what));
            }
            Some(above) if above > floor => {
                let what = format!("`{path}` is above {}", FLOORS[floor]);
                findings.push(source.finding(at, what));
            }
            Some(_) => {}
        }
    }
    findings
}

fn floor_of(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == folder)
}

/// The first segment behind the crate root, for a path that goes through there.
fn from_root<'a>(segments: &[&'a str], depth: usize) -> Option<&'a str> {
    let supers = segments.iter().take_while(|segment| **segment == "super");
    let up = supers.count();
    match segments[0] {
        "crate" => segments.get(1).copied(),
        "super" if up >= depth => segments.get(up).copied(),
        _ => None,
    }
}

pub(crate) fn errors_and_ids_import_nothing(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let packages = ["core/src", "transports/src", "middleware/src", "src"];
    if !source.is_in(&packages) || !["error.rs", "id.rs"].contains(&source.file_name()) {
        return findings;
    }
    for Path { at, segments } in scan::paths(&source.code) {
        let ours = ["crate", "super"].contains(&segments[0]);
        let name = segments.last().copied().unwrap_or_default();
        if ours && !VALUES.iter().any(|value| name.ends_with(value)) {
            let what = format!("`{}` is of the engine", segments.join("::"));
            findings.push(source.finding(at, what));
        }
    }
    findings
}

fn found(check: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
    let findings = check(&Source::new(path, text));
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_runtime_a_clock_chance_or_a_lock_is_found_in_the_protocol() {
    for line in [
        "use tokio::time;",
        "let now = std::time::Instant::now();",
        "use std::time::{Duration, SystemTime};",
        "let seed = getrandom::u64();",
        "use std::{fmt, thread};",
        "use std::sync::{Arc, Mutex as Lock};",
    ] {
        let found = |path| found(protocol_is_pure, path, line).len();
        assert_eq!(found("core/src/protocol/a.rs"), 1, "{line}");
        assert_eq!(found("core/src/run/a.rs"), 0, "{line}");
    }
}

#[test]
fn the_protocol_may_speak_of_what_it_must_not_use() {
    let text = "//! Not tokio, no Mutex.\nfn operand(now: Instant) {}\n\
                #[cfg(test)]\nmod tests { use std::sync::Mutex; }\n";
    assert!(found(protocol_is_pure, "core/src/protocol/a.rs", text).is_empty());
}

#[test]
fn a_wire_is_found_in_the_core_and_only_there() {
    for line in ["struct TcpListener;", "fn f(x: QuicStream) {}", "use tokio_tungstenite::x;"] {
        let found = |path| found(core_names_no_wire, path, line).len();
        assert_eq!(found("core/src/run/a.rs"), 1, "{line}");
        assert_eq!(found("transports/src/a.rs"), 0, "{line}");
    }
    let quick = "// over Tcp\nstruct Quickly;";
    assert!(found(core_names_no_wire, "core/src/run/a.rs", quick).is_empty());
}

#[test]
fn an_import_from_above_is_found_however_it_is_written() {
    for line in [
        "use crate::socket::Socket;",
        "use crate::{protocol::id::SessionId, handler::Handler};",
        "fn f(server: &crate::run::Server) {}",
        "use super::super::socket::Socket;",
        "mod inner { use super::super::super::socket::Socket; }",
    ] {
        let found = found(imports_run_one_way, "core/src/room/adapter.rs", line);
        assert_eq!(found.len(), 1, "{line} {found:?}");
    }
}

#[test]
fn an_import_from_the_crate_root_is_found() {
    for line in ["use crate::Socket;", "use crate::{Room, run};", "use crate::*;"] {
        let found = found(imports_run_one_way, "core/src/run/mod.rs", line);
        let from_root = found.iter().all(|finding| finding.contains("crate root"));
        assert!(found.len() == 1 && from_root, "{line} {found:?}");
    }
}

#[test]
fn an_import_from_below_or_beside_is_fine() {
    for line in [
        "use crate::protocol::id::SessionId;",
        "use crate::room::Room;",
        "use super::{Room, mailbox::Mailbox};",
        "pub(in crate::room) mod inner { use super::super::Room; }",
        "#[cfg(test)]\nmod tests { use crate::run::Server; }",
    ] {
        let found = found(imports_run_one_way, "core/src/room/adapter.rs", line);
        assert!(found.is_empty(), "{line} {found:?}");
    }
}

#[test]
fn an_error_file_that_knows_the_engine_is_found() {
    let check = errors_and_ids_import_nothing;
    for line in ["use super::Socket;", "use crate::room::{Mailbox, RoomError};", "use super::*;"] {
        let found = |path| found(check, path, line).len();
        assert_eq!(found("core/src/socket/error.rs"), 1, "{line}");
        assert_eq!(found("core/src/socket/emit.rs"), 0, "{line}");
    }
}

#[test]
fn an_error_file_may_carry_plain_values() {
    let text = "use crate::protocol::{DisconnectReason, SocketId};\nuse std::io;\n";
    assert!(found(errors_and_ids_import_nothing, "core/src/socket/error.rs", text).is_empty());
}
