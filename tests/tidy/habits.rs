//! Words that do not belong in what is finished.

use std::collections::HashSet;

use crate::scan;
use crate::source::{Finding, Source};

const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Where a panic is a fine way to say that something is wrong.
const MAY_UNWRAP: [&str; 5] = ["tests", "benches", "examples", "fuzz", "xtask"];

/// What users and their compilers read.
const PUBLISHED: [&str; 4] = ["src", "core/src", "transports/src", "middleware/src"];

const PLATFORMS: [&str; 4] = ["unix", "windows", "target_os", "target_family"];

pub(crate) fn nothing_half_done(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, word) in scan::words(&source.all) {
        let call = source.all[at + word.len()..].starts_with('!');
        if call && UNFINISHED.contains(&word) {
            findings.push(source.finding(at, format!("`{word}!` is left")));
        }
    }
    for attribute in scan::attributes(&source.all) {
        let mut words = scan::words(&source.all[attribute.clone()]).map(|(_, word)| word);
        let ignored = match words.next() {
            Some("ignore") => true,
            Some("cfg_attr") => words.any(|word| word == "ignore"),
            _ => false,
        };
        if ignored {
            findings.push(source.finding(attribute.start, "an ignored test tests nothing"));
        }
    }
    findings
}

pub(crate) fn no_unwrap(source: &Source) -> Vec<Finding> {
    if source.is_in(&MAY_UNWRAP) {
        return Vec::new();
    }
    let unwraps = source.code.match_indices(".unwrap()");
    let what = "`unwrap` says not why it cannot fail: `expect` does";
    unwraps.map(|(at, _)| source.finding(at, what)).collect()
}

/// The word means three things elsewhere: here they are a frame, a packet and an event.
pub(crate) fn no_message(source: &Source) -> Vec<Finding> {
    // A format is called so, and two errors of the TLS library.
    const FOREIGN: [&str; 3] = ["MessagePack", "InvalidMessage", "MessageTooLarge"];
    if !source.is_in(&PUBLISHED) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, word) in scan::words(&source.code) {
        let foreign = FOREIGN.iter().find(|foreign| word.contains(**foreign));
        if word.replace(foreign.map_or("", |foreign| foreign), "").contains("Message") {
            findings.push(source.finding(at, format!("`{word}`: a frame, a packet or an event?")));
        }
    }
    findings
}

/// Else what a feature adds is silently missing somewhere.
pub(crate) fn platforms_have_counterparts(source: &Source) -> Vec<Finding> {
    let (mut asked, mut answered) = (Vec::new(), HashSet::new());
    for attribute in scan::attributes(&source.all) {
        for (condition, negated) in scan::conditions(&source.text[attribute.clone()]) {
            let name = condition.split('=').next().unwrap_or_default();
            if negated {
                answered.insert(condition);
            } else if PLATFORMS.contains(&name) {
                asked.push((attribute.start, condition));
            }
        }
    }
    asked.retain(|(_, condition)| !answered.contains(condition));
    let what = |it: String| format!("`cfg({it})` has no `cfg(not(…))` in this file");
    let finding = |(at, condition)| source.finding(at, what(condition));
    asked.into_iter().map(finding).collect()
}

fn count(check: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> usize {
    check(&Source::new(path, text)).len()
}

#[test]
fn unfinished_work_is_found_in_tests_too() {
    for line in [
        "fn a() { todo!() }",
        "fn a() { unimplemented!(\"later\") }",
        "let x = dbg!(y);",
        "#[ignore = \"slow\"]\n#[test]\nfn a() {}",
        "#[cfg_attr(windows, ignore)]\n#[test]\nfn a() {}",
    ] {
        assert_eq!(count(nothing_half_done, "tests/a.rs", line), 1, "{line}");
    }
}

#[test]
fn words_of_unfinished_work_may_be_spoken() {
    let text = "// todo!() is banned\nlet todo = \"dbg!\";\n#[serde(ignore)]\nstruct A;";
    assert_eq!(count(nothing_half_done, "src/a.rs", text), 0);
}

#[test]
fn an_unwrap_is_found_where_users_would_meet_it() {
    let text = "/// `x.unwrap()` in an example.\nfn a() { b().unwrap(); }\n\
                #[cfg(test)]\nmod tests { fn c() { d().unwrap(); } }\n";
    assert_eq!(count(no_unwrap, "core/src/a.rs", text), 1);
    assert_eq!(count(no_unwrap, "core/src/room/tests.rs", text), 0);
    assert_eq!(count(no_unwrap, "examples/a.rs", text), 0);
}

#[test]
fn a_message_is_found_in_any_name() {
    for line in ["struct Message;", "enum ClientMessage {}", "fn f(x: MessageKind) {}"] {
        assert_eq!(count(no_message, "core/src/a.rs", line), 1, "{line}");
        assert_eq!(count(no_message, "transports/src/ws/a.rs", line), 1, "{line}");
        assert_eq!(count(no_message, "examples/a.rs", line), 0, "{line}");
    }
    let fine = "// a Message\nstruct MessagePack;\nlet message = \"Message\";";
    assert_eq!(count(no_message, "core/src/a.rs", fine), 0);
}

#[test]
fn a_platform_without_a_counterpart_is_found() {
    let check = platforms_have_counterparts;
    for line in [
        "#[cfg(unix)]\nfn a() {}",
        "#[cfg(all(feature = \"unix\", target_os = \"linux\"))]\nmod a;",
        "#[cfg(unix)]\nfn a() {}\n#[cfg(not(windows))]\nfn a() {}",
    ] {
        assert_eq!(count(check, "src/a.rs", line), 1, "{line}");
    }
}

#[test]
fn a_platform_with_a_counterpart_is_fine() {
    let check = platforms_have_counterparts;
    for line in [
        "#[cfg(unix)]\nfn a() {}\n#[cfg(not(unix))]\nfn a() {}",
        "#[cfg(target_os = \"linux\")]\nfn a() {}\n#[cfg(not(target_os=\"linux\"))]\nfn a() {}",
        "let x = if cfg!(windows) { 1 } else { 2 };",
        "#[cfg(feature = \"unix\")]\nmod a;",
    ] {
        assert_eq!(count(check, "src/a.rs", line), 0, "{line}");
    }
}
