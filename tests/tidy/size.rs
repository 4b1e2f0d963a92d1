//! How much a reader has to hold at once. Blank lines, comments and docs cost nothing.

use crate::scan;
use crate::source::{Finding, Source};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 60;
const LINE_COLUMNS_MAX: usize = 100;

/// Files that may be longer, each with the reason.
const LONGER_FILES: &[(&str, &str)] = &[];

/// Tests are not counted: they are read one by one.
pub(crate) fn of_file(source: &Source) -> Vec<Finding> {
    let lines = scan::lines_of_code(&source.code);
    let excepted = LONGER_FILES.iter().any(|(path, _)| *path == source.path);
    let what = match (lines > FILE_LINES_MAX, excepted) {
        (true, false) => format!("{lines} lines of code, {FILE_LINES_MAX} are the limit"),
        (false, true) => format!("{lines} lines of code need no exception any more"),
        _ => return Vec::new(),
    };
    vec![source.finding(0, what)]
}

/// Tests are counted: one that fills more than a screen hides what it tests.
pub(crate) fn of_functions(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, range) in scan::functions(&source.all) {
        let lines = scan::lines_of_code(&source.all[range.clone()]);
        if lines > FUNCTION_LINES_MAX {
            let what = format!("`{name}` has {lines} lines, {FUNCTION_LINES_MAX} are the limit");
            findings.push(source.finding(range.start, what));
        }
    }
    findings
}

pub(crate) fn of_lines(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let what = format!("{columns} columns, {LINE_COLUMNS_MAX} are the limit");
            findings.push(Finding::new(&source.path, number, what));
        }
    }
    findings
}

fn file(lines: usize, rest: &str) -> Source {
    Source::new("core/src/x.rs", &("a();\n".repeat(lines) + rest))
}

#[test]
fn a_file_over_its_limit_is_found() {
    assert_eq!(of_file(&file(401, "")).len(), 1);
}

#[test]
fn blank_lines_comments_and_tests_do_not_count() {
    let rest = "\n// why\n/* and\nhow */\n#[cfg(test)]\nmod tests {\n    fn a() {}\n}\n";
    assert!(of_file(&file(400, rest)).is_empty());
    assert_eq!(of_file(&file(401, rest)).len(), 1);
}

#[test]
fn a_function_over_its_limit_is_found_by_name_and_line() {
    let function = |lines| format!("\nfn long() {{\n{}}}\n", "    a(\"}\");\n".repeat(lines));
    let findings = of_functions(&file(1, &function(59)));
    let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let expected = "core/src/x.rs:3: `long` has 61 lines, 60 are the limit";
    assert_eq!(findings, [expected]);
    assert!(of_functions(&file(1, &function(58))).is_empty());
}

#[test]
fn a_line_over_its_limit_is_found_and_letters_count_not_bytes() {
    assert_eq!(of_lines(&file(0, &"é".repeat(101))).len(), 1);
    assert!(of_lines(&file(0, &"é".repeat(100))).is_empty());
}
