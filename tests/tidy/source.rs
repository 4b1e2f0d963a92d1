//! One `.rs` file as the checks see it: as written, and with everything blanked that is not code.

use std::fmt;

use crate::scan;

pub(crate) struct Source {
    /// From the workspace's root, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) text: String,
    /// `text` byte for byte, but comments are spaces and the insides of literals are quotes.
    pub(crate) all: String,
    /// `all` without what is only there for tests; a file of tests is blank.
    pub(crate) code: String,
}

/// One breach of a rule, displayed as `path:line: what`.
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let all = without_comments(text);
        let code = if is_test(path) { blank(&all, ' ') } else { without_test_modules(&all) };
        let (path, text) = (path.to_owned(), text.to_owned());
        Self { path, text, all, code }
    }

    /// Whether the file is in one of these folders.
    pub(crate) fn is_in(&self, folders: &[&str]) -> bool {
        let within = |folder| self.path.strip_prefix(folder)?.strip_prefix('/');
        folders.iter().any(|&folder| within(folder).is_some())
    }

    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// A breach at a byte of the text.
    pub(crate) fn finding(&self, at: usize, what: impl Into<String>) -> Finding {
        let line = 1 + self.text[..at].matches('\n').count();
        Finding::new(&self.path, line, what)
    }
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        let (path, what) = (path.to_owned(), what.into());
        Self { path, line, what }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn is_test(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.any(|part| part == "tests" || part == "tests.rs")
}

fn without_test_modules(all: &str) -> String {
    let mut code = all.to_owned();
    for attribute in scan::attributes(all) {
        let inside = &all[attribute.clone()];
        let for_tests = scan::conditions(inside).contains(&("test".to_owned(), false));
        if let (true, Some(module)) = (for_tests, scan::module_after(all, attribute.end + 1)) {
            let start = all[..attribute.start].rfind('#').unwrap_or_default();
            let range = start..module.end;
            code.replace_range(range.clone(), &blank(&all[range], ' '));
        }
    }
    code
}

fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (kind, length) = first_token(rest);
        let (token, after) = rest.split_at(length);
        match kind {
            Kind::Code => code.push_str(token),
            Kind::Comment => code.push_str(&blank(token, ' ')),
            Kind::Literal => code.push_str(&blank(token, '"')),
        }
        rest = after;
    }
    code
}

/// As many bytes on as many lines; spaces stay, so that a blank line inside a literal is blank.
fn blank(text: &str, by: char) -> String {
    let letter = |byte| match byte {
        b'\n' => '\n',
        b' ' => ' ',
        _ => by,
    };
    text.bytes().map(letter).collect()
}

enum Kind {
    Code,
    Comment,
    Literal,
}

/// What the text begins with, and how long that is.
fn first_token(text: &str) -> (Kind, usize) {
    if text.starts_with("//") {
        return (Kind::Comment, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return (Kind::Comment, block_comment(text));
    }
    if let Some(length) = raw_string(text).or_else(|| character(text)) {
        return (Kind::Literal, length);
    }
    if let Some(inside) = text.strip_prefix('"') {
        return (Kind::Literal, 1 + until_quote(inside, '"'));
    }
    // A word is taken whole: the `r` at the end of one begins no raw string.
    let word = text.find(|letter| !scan::in_word(letter));
    let one = text.chars().next().map_or(0, char::len_utf8);
    (Kind::Code, word.unwrap_or(text.len()).max(one))
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// `r"…"`, `br#"…"#` and their like.
fn raw_string(text: &str) -> Option<usize> {
    let text_of_bytes = text.strip_prefix(['b', 'c']);
    let rest = text_of_bytes.unwrap_or(text).strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let inside = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &rest[..hashes]);
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

/// `'x'` or `'\n'`, but not the lifetime `'x`.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let letter = inside.chars().next()?;
    if letter == '\\' {
        return Some(1 + until_quote(inside, '\''));
    }
    let length = letter.len_utf8();
    let closed = inside[length..].starts_with('\'');
    closed.then_some(length + 2)
}

/// Up to the first quote, and with it, that no backslash stands before.
fn until_quote(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        if letter == quote && !escaped {
            return at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    text.len()
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_moves() {
    let text = "let a = \"// no\"; // yes\n/* a /* b */ c */ let b = 'x';\n";
    let all = without_comments(text);
    assert_eq!(all.len(), text.len());
    let words: Vec<_> = scan::words(&all).map(|(_, word)| word).collect();
    assert_eq!(words, ["let", "a", "let", "b"]);
}

#[test]
fn literals_of_every_kind_end_where_they_end() {
    for literal in [
        r##"r#"a " b"#"##,
        r#""a \" b \\""#,
        r#"br"a\""#,
        r"'\''",
        r"'\u{1F600}'",
        "'é'",
        "'\"'",
        "'('",
    ] {
        let all = without_comments(&format!("{literal} after"));
        let words: Vec<_> = scan::words(&all).map(|(_, word)| word).collect();
        assert_eq!(words, ["after"], "{literal}");
    }
}

#[test]
fn a_lifetime_is_no_literal() {
    let text = "fn f<'a>(x: &'a str, y: &'a str) -> char { 'a' }";
    assert_eq!(without_comments(text), text.replace("'a' }", "\"\"\" }"));
}

#[test]
fn a_module_of_tests_is_no_code_and_what_follows_it_is() {
    let text = "fn a() {}\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests { fn b() {} }\nfn c() {}\n";
    let code = Source::new("src/x.rs", text).code;
    assert!(code.contains("fn a") && !code.contains("fn b") && code.contains("fn c"));
}

#[test]
fn a_module_that_is_there_without_tests_is_code() {
    let text = "#[cfg(not(test))]\nmod real { fn a() {} }\n";
    assert!(Source::new("src/x.rs", text).code.contains("fn a"));
}

#[test]
fn a_file_of_tests_has_no_code() {
    for path in ["tests/a.rs", "core/src/room/tests.rs", "core/src/room/tests/b.rs"] {
        assert_eq!(Source::new(path, "fn a() {}").code.trim(), "", "{path}");
    }
}
