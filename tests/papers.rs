//! The papers, held against the code: what they name is there, what they say in numbers is so.
//! Links and the table of features are checked by `tests/tidy`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use emitwire::transport::{Capabilities, Transport};
use emitwire::{Config, Endpoint, schemes};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A README that has to be scrolled far is not read.
const README_LINES_MAX: usize = 95;

const ARCHITECTURE_LINES_MAX: usize = 200;

/// An example that does not fit on a screen or two explains nothing. Lines of code are counted, as
/// everywhere in this house. The tour is a tour, and those that measure check what they measure.
const EXAMPLE_LINES_MAX: usize = 80;

const LONGER_EXAMPLES: [&str; 3] = ["quickstart", "jitter", "avalanche"];

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every paper, with its path from the root.
fn papers() -> Vec<(String, String)> {
    let mut papers = Vec::new();
    for folder in ["", "docs/", "examples/"] {
        for entry in fs::read_dir(file(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                let path = format!("{folder}{name}");
                let text = read(&path);
                papers.push((path, text));
            }
        }
    }
    papers
}

/// The rows of the table whose first column is headed so.
fn table(text: &str, header: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let row = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(row.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let mut lines = text.lines().map(cells);
    let head = lines.find(|row| row.as_ref().is_some_and(|row| row[0] == header));
    let rows: Vec<_> = lines.skip(1).map_while(|row| row).collect();
    assert!(head.is_some() && !rows.is_empty(), "there is a table headed `{header}`");
    rows
}

/// What follows `before` in a text, as long as it is of such letters.
fn words<'a>(text: &'a str, before: &str, of: fn(char) -> bool) -> Vec<&'a str> {
    let behind = text.split(before).skip(1);
    behind.map(|rest| &rest[..rest.find(|it| !of(it)).unwrap_or(rest.len())]).collect()
}

fn in_code(cell: &str) -> &str {
    cell.split('`').nth(1).unwrap_or_else(|| panic!("`{cell}` has no name in code"))
}

#[test]
fn the_readme_is_one_screen_and_the_architecture_a_short_walk() {
    for (path, max) in
        [("README.md", README_LINES_MAX), ("ARCHITECTURE.md", ARCHITECTURE_LINES_MAX)]
    {
        let lines = read(path).lines().count();
        assert!(lines <= max, "{path} has {lines} lines, {max} are the limit");
    }
}

/// The tests that a paper links to, as `` [`name`](file.rs) ``: name and file.
fn named_tests(text: &str) -> Vec<(&str, String)> {
    let mut tests = Vec::new();
    for part in text.split("[`").skip(1) {
        let Some((name, rest)) = part.split_once("`](") else { continue };
        let target = rest.split(')').next().unwrap_or_default();
        if target.ends_with(".rs") {
            tests.push((name, target.replace("../", "")));
        }
    }
    tests
}

/// Whether a file has a test of that name.
fn has_test(source: &str, name: &str) -> bool {
    let mut attributes = String::new();
    for line in source.lines().map(str::trim) {
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        let named = function.and_then(|function| function.strip_prefix(name));
        if named.is_some_and(|rest| rest.starts_with('(')) {
            return attributes.contains("test");
        }
        if line.starts_with("#[") {
            attributes.push_str(line);
        } else {
            attributes.clear();
        }
    }
    false
}

#[test]
fn a_test_is_known_by_its_name_and_its_attribute() {
    let source = "#[tokio::test]\nasync fn a_b() {}\nfn c() {}\n#[test]\n#[cfg(x)]\nfn d(x: u8) {}";
    assert!(has_test(source, "a_b") && has_test(source, "d"));
    assert!(!has_test(source, "a") && !has_test(source, "c") && !has_test(source, "x"));
}

#[test]
fn every_test_that_a_paper_names_is_there() {
    for (path, text) in papers() {
        let tests = named_tests(&text);
        let needs_some = ["docs/CONCEPTS.md", "docs/GUARANTEES.md"].contains(&path.as_str());
        assert!(!tests.is_empty() || !needs_some, "{path} names its tests");
        for (name, file) in tests {
            assert!(has_test(&read(&file), name), "{path}: no test `{name}` in {file}");
        }
    }
}

#[test]
fn every_promise_names_a_test() {
    let text = read("docs/GUARANTEES.md");
    for header in ["wire", "what happens", "fate", "when", "hole", "over", "stack"] {
        let rows = table(&text, header);
        assert!(!rows.is_empty(), "no table of `{header}`");
        for row in rows {
            // By wire each column is a promise; elsewhere the last one holds the tests.
            let is_by_wire = ["wire", "over"].contains(&header);
            let promises = if is_by_wire { &row[1..] } else { &row[row.len() - 1..] };
            for promise in promises {
                assert!(!named_tests(promise).is_empty(), "{}: `{promise}` is a claim", row[0]);
            }
        }
    }
}

#[test]
fn the_guarantees_speak_of_every_wire_of_every_fate_and_of_every_counter_of_the_law() {
    let text = read("docs/GUARANTEES.md");
    let wires: BTreeSet<_> =
        table(&text, "wire").iter().map(|row| in_code(&row[0]).to_owned()).collect();
    let over = table(&text, "over");
    let over: BTreeSet<_> = over.iter().map(|row| in_code(&row[0]).to_owned()).collect();
    assert_eq!(over, wires, "with layers and without");
    if cfg!(feature = "full") {
        assert_eq!(wires, schemes().map(String::from).collect());
    }
    let fates = table(&text, "fate");
    let source = read("core/src/room/fate.rs");
    for row in table(&source.replace("/// ", ""), "fate") {
        let (fate, name) = (format!("`{}", in_code(&row[0])), in_code(&row[0]));
        assert!(fates.iter().any(|row| row[0].contains(&fate)), "{name} is not told");
    }
    let law = text.lines().find(|line| line.starts_with("events_out == ")).unwrap();
    let counters = emitwire::Stats::default();
    let counters = format!("{counters:?}");
    for counter in law.split([' ', '+', '=']).filter(|word| !word.is_empty()) {
        assert!(counters.contains(&format!(" {counter}: ")), "there is no counter `{counter}`");
    }
}

#[test]
fn every_question_names_a_test() {
    let text = read("docs/CONCEPTS.md");
    let questions: Vec<_> = text.split("\n## ").filter(|part| title(part).ends_with('?')).collect();
    assert_eq!(questions.len(), 6);
    for question in questions {
        assert!(!named_tests(question).is_empty(), "{}", title(question));
    }
}

fn title(part: &str) -> &str {
    part.lines().next().unwrap_or_default()
}

#[test]
fn the_papers_ask_for_the_rust_that_the_manifest_asks_for() {
    let mut papers_that_say = 0;
    for (path, text) in papers() {
        for version in words(&text, "Rust 1.", |letter| letter.is_ascii_digit()) {
            assert_eq!(format!("1.{version}"), env!("CARGO_PKG_RUST_VERSION"), "{path}");
            papers_that_say += 1;
        }
    }
    assert!(papers_that_say > 0, "the README says what it needs");
}

async fn capabilities(scheme: &str) -> Capabilities {
    let local = Endpoint::local(scheme).unwrap();
    let mut listener = local.bind().await.unwrap();
    let connecting = local.at(&listener.endpoint()).unwrap();
    let accepted = async { listener.accept().await.unwrap().handshake().await };
    let both = async { tokio::join!(connecting.connect(), accepted) };
    let (connected, _accepted) =
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("in time");
    connected.unwrap().capabilities()
}

#[tokio::test]
async fn the_readme_lists_the_wires_there_are_and_what_each_promises() {
    let readme = read("README.md");
    let rows = table(&readme, "scheme");
    let listed: BTreeSet<_> = rows.iter().map(|row| in_code(&row[0])).collect();
    let known: BTreeSet<_> = schemes().collect();
    if cfg!(feature = "full") {
        assert_eq!(listed, known);
    }
    for row in rows.iter().filter(|row| known.contains(in_code(&row[0]))) {
        let wire = capabilities(in_code(&row[0])).await;
        let promised = [wire.reliable, wire.ordered, wire.encrypted];
        let said: Vec<_> = row[2..].iter().map(|cell| cell == "yes").collect();
        assert_eq!(said, promised, "{}", row[0]);
    }
}

/// The settings and their defaults, as `Debug` writes them.
fn defaults() -> BTreeMap<String, String> {
    let text = format!("{:#?}", Config::default());
    let field = |line: &str| {
        let (name, value) = line.trim().strip_suffix(',')?.split_once(": ")?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(field).collect()
}

/// `4,096`, `2 MiB` or `25 ms` as `Debug` would write it.
fn plain(value: &str) -> String {
    let (number, unit) = value.split_once(' ').unwrap_or((value, ""));
    let number = number.replace(',', "");
    let times = |factor: usize| (number.parse::<usize>().unwrap() * factor).to_string();
    match unit {
        "KiB" => times(1024),
        "MiB" => times(1024 * 1024),
        unit => number + unit,
    }
}

#[test]
fn settings_that_the_papers_name_exist_and_their_defaults_are_as_said() {
    let defaults = defaults();
    assert_eq!(defaults.get("position_delay").map(String::as_str), Some("25ms"));
    for (path, text) in papers() {
        for name in words(&text, "`Config::", |letter| letter.is_ascii_lowercase() || letter == '_')
        {
            assert!(defaults.contains_key(name), "{path}: there is no `Config::{name}`");
        }
    }
    for row in table(&read("docs/GUARANTEES.md"), "setting") {
        let name = in_code(&row[0]);
        assert_eq!(defaults.get(name), Some(&plain(&row[1])), "`{name}` in GUARANTEES");
    }
}

#[test]
fn each_setting_says_its_default_as_it_is() {
    let mut said = String::new();
    let mut checked = 0;
    for line in read("core/src/run/config.rs").lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            said.push_str(doc);
            continue;
        }
        let field = line.strip_prefix("pub ").and_then(|line| line.split_once(": "));
        let default = said.rsplit_once("Default ").and_then(|(_, rest)| rest.strip_suffix('.'));
        if let (Some((name, _)), Some(default)) = (field, default) {
            assert_eq!(defaults().get(name), Some(&plain(default)), "`{name}` in its doc comment");
            checked += 1;
        }
        said.clear();
    }
    assert_eq!(checked, defaults().len(), "every setting says its default");
}

#[test]
fn the_two_commands_of_the_readme_are_there() {
    let readme = read("README.md");
    for command in ["cargo run --release --all-features --example quickstart", "cargo xtask test"] {
        assert!(readme.lines().any(|line| line.starts_with(command)), "`{command}` in README");
    }
    let quickstart = ["examples/quickstart.rs", "examples/quickstart/main.rs"];
    assert!(quickstart.iter().any(|path| file(path).exists()), "the example is there");
    assert!(read(".cargo/config.toml").contains("xtask = "), "so is the alias");
    assert!(read(".ci/run").contains("cargo xtask test"), "CI runs the same");
}

#[test]
fn every_file_that_the_architecture_names_by_its_floor_is_there() {
    for row in table(&read("ARCHITECTURE.md"), "floor") {
        for name in row[1].split('`').skip(1).step_by(2) {
            let path = format!("{}{name}", in_code(&row[0]));
            assert!(file(&path).is_file(), "there is no {path}");
        }
    }
}

/// The examples there are, each with its files.
fn examples() -> BTreeMap<String, Vec<PathBuf>> {
    let mut examples = BTreeMap::new();
    for path in entries(&file("examples")) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let files = if path.is_dir() { entries(&path) } else { vec![path] };
        let is_source = |file: &PathBuf| file.extension().is_some_and(|it| it == "rs");
        let files: Vec<_> = files.into_iter().filter(is_source).collect();
        if !files.is_empty() {
            examples.insert(name, files);
        }
    }
    examples
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_papers_list_the_examples_there_are_and_how_to_run_each() {
    let examples = examples();
    let there_are: BTreeSet<_> = examples.keys().map(String::as_str).collect();
    let of_a_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let papers = papers();
    for (path, text) in &papers {
        for name in words(text, "--example ", of_a_name) {
            assert!(there_are.contains(name), "{path}: there is no example `{name}`");
        }
    }
    let (_, index) = papers.iter().find(|(path, _)| path == "examples/README.md").unwrap();
    let can_be_run: BTreeSet<_> = words(index, "--example ", of_a_name).into_iter().collect();
    let described: BTreeSet<_> = words(index, ". [", of_a_name).into_iter().collect();
    assert_eq!(can_be_run, there_are, "examples/README.md says how to run each");
    assert_eq!(described, there_are, "examples/README.md says what each shows");
}

#[test]
fn an_example_can_be_read_at_once_and_its_first_lines_say_how_it_is_run() {
    for (name, files) in examples() {
        let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let command = format!("--example {name}");
        let mut heads = texts.iter().flat_map(|text| text.lines().take_while(|it| in_head(it)));
        assert!(heads.any(|line| line.contains(&command)), "{name}: no `{command}` at its head");
        let is_longer = LONGER_EXAMPLES.contains(&name.as_str());
        for (file, text) in files.iter().zip(&texts).filter(|_| !is_longer) {
            let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
            let (path, lines) = (file.display(), text.lines().filter(is_code).count());
            assert!(lines <= EXAMPLE_LINES_MAX, "{path}: {lines} lines of {EXAMPLE_LINES_MAX}");
        }
    }
}

fn in_head(line: &str) -> bool {
    line.starts_with("//!")
}

#[test]
fn every_bench_that_a_paper_names_is_there() {
    let mut named = 0;
    for (path, text) in papers() {
        for bench in words(&text, "cargo bench --bench ", |letter| letter.is_ascii_lowercase()) {
            assert!(file(&format!("benches/{bench}.rs")).is_file(), "{path}: no bench `{bench}`");
            named += 1;
        }
    }
    assert!(named > 0, "a paper says how to run them");
}

#[test]
fn every_command_of_xtask_that_a_paper_names_is_in_its_help() {
    let help = read("xtask/src/main.rs");
    for (path, text) in papers() {
        for command in words(&text, "cargo xtask ", |letter| letter.is_ascii_lowercase()) {
            let line = format!("\n  {command} ");
            assert!(help.contains(&line), "{path}: there is no `cargo xtask {command}`");
        }
    }
}
