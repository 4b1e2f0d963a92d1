//! What the checks ask about code whose comments and literals are blanked already.
//!
//! This is no parser: no macro is expanded and no type is known. It need only be right about
//! code that rustfmt has formatted.

use std::ops::Range;

pub(crate) fn in_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Identifiers and keywords with where they begin; numbers are left out.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    tokens(code).filter(|(_, token)| is_word(token))
}

fn is_word(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

/// Words, numbers, `::`, and all other letters alone.
fn tokens(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += code[at..].find(|letter: char| !letter.is_whitespace())?;
        let rest = &code[at..];
        let word = rest.find(|letter| !in_word(letter)).unwrap_or(rest.len());
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => rest.chars().next()?.len_utf8(),
            word => word,
        };
        let token = (at, &rest[..length]);
        at += length;
        Some(token)
    })
}

/// The lines that are not blank.
pub(crate) fn lines_of_code(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}

/// From the bracket at `open` to behind the one that closes it.
pub(crate) fn bracketed(code: &str, open: usize) -> Range<usize> {
    let mut depth = 0;
    for (at, letter) in code[open..].char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth <= 0 {
            return open..open + at + 1;
        }
    }
    open..code.len()
}

/// Each function that has a body: its name, and from `fn` to the closing brace.
pub(crate) fn functions(code: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let mut last = (0, "");
    for (at, word) in words(code) {
        // `fn(` is a type, and no word follows it at once.
        let gap = &code[last.0 + last.1.len()..at];
        if last.1 == "fn" && gap.trim_matches(['$', ' ', '\n']).is_empty() {
            if let Some(open) = body_after(code, at) {
                found.push((word, last.0..bracketed(code, open).end));
            }
        }
        last = (at, word);
    }
    found
}

/// The brace that opens a body, past the brackets of a signature.
fn body_after(code: &str, mut at: usize) -> Option<usize> {
    loop {
        at += code[at..].find(['(', '[', '{', ';'])?;
        match code.as_bytes()[at] {
            b'{' => return Some(at),
            b';' => return None,
            _ => at = bracketed(code, at).end,
        }
    }
}

/// The insides of all attributes: `derive(Debug)` of `#[derive(Debug)]`.
pub(crate) fn attributes(code: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices('#') {
        let bracket = code[at + 1..].trim_start_matches('!');
        if bracket.starts_with('[') {
            let range = bracketed(code, code.len() - bracket.len());
            found.push(range.start + 1..range.end - 1);
        }
    }
    found
}

/// The body of the module that comes next, past further attributes and its visibility.
pub(crate) fn module_after(code: &str, mut at: usize) -> Option<Range<usize>> {
    loop {
        let (gap, token) = tokens(&code[at..]).next()?;
        at += gap;
        match token {
            "#" | "pub" => at += token.len(),
            "[" | "(" => at = bracketed(code, at).end,
            "mod" => break,
            _ => return None,
        }
    }
    let (offset, token) = tokens(&code[at..]).nth(2)?;
    (token == "{").then(|| bracketed(code, at + offset))
}

/// The modules written inside this file.
pub(crate) fn modules(code: &str) -> Vec<Range<usize>> {
    let keywords = words(code).filter(|(_, word)| *word == "mod");
    let bodies = keywords.filter_map(|(at, _)| module_after(code, at));
    bodies.collect()
}

/// What a `cfg(…)` asks, each with whether it is asked to be false; empty for other attributes.
pub(crate) fn conditions(attribute: &str) -> Vec<(String, bool)> {
    let inside = attribute.trim().strip_prefix("cfg").map(str::trim);
    match inside.filter(|inside| inside.starts_with('(')) {
        Some(inside) => conditions_of(inside, false),
        None => Vec::new(),
    }
}

fn conditions_of(predicate: &str, negated: bool) -> Vec<(String, bool)> {
    let Some(open) = predicate.find('(') else {
        let name: String = predicate.split_whitespace().collect();
        return vec![(name, negated)];
    };
    let negated = negated ^ (predicate[..open].trim() == "not");
    let inside = bracketed(predicate, open);
    let inside = &predicate[inside.start + 1..inside.end - 1];
    let mut depth = 0;
    let parts = inside.split(move |letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    });
    let parts = parts.filter(|part| !part.trim().is_empty());
    let nested = parts.flat_map(|part| conditions_of(part, negated));
    nested.collect()
}

/// A path of two or more segments, and where the last of them is.
pub(crate) struct Path<'a> {
    pub(crate) at: usize,
    pub(crate) segments: Vec<&'a str>,
}

/// All paths, those of a `use` group one by one: `use a::{b, c::D};` is `a::b` and `a::c::D`.
pub(crate) fn paths(code: &str) -> Vec<Path<'_>> {
    let tokens: Vec<_> = tokens(code).collect();
    let token = |index: usize| tokens.get(index).map_or("", |&(_, token)| token);
    let mut found = Vec::new();
    let (mut index, mut before) = (0, "");
    while index < tokens.len() {
        // `$crate` is another crate's root wherever a macro is used.
        let begins = is_word(token(index)) && before != "::" && before != "$";
        before = token(index);
        if begins && token(index + 1) == "::" {
            index = unfold(&tokens, index, Vec::new(), &mut found);
        } else {
            index += 1;
        }
    }
    found.retain(|path| path.segments.len() > 1);
    found
}

/// Follows the path that goes on at `index`; returns where it is over.
fn unfold<'a>(
    tokens: &[(usize, &'a str)],
    mut index: usize,
    mut segments: Vec<&'a str>,
    found: &mut Vec<Path<'a>>,
) -> usize {
    while let Some(&(at, token)) = tokens.get(index) {
        index += 1;
        match token {
            "{" => {
                while tokens.get(index).is_some_and(|(_, token)| *token != "}") {
                    index = unfold(tokens, index, segments.clone(), found);
                }
                return index + 1;
            }
            "::" => continue,
            // The alias is no part of the path.
            "as" => return index + 1,
            _ if token == "*" || is_word(token) => segments.push(token),
            // A turbofish: what follows it is no module.
            "<" => {
                found.push(Path { at, segments });
                return index;
            }
            // Between two of a group.
            _ => return index,
        }
        if tokens.get(index).is_none_or(|(_, next)| *next != "::") {
            found.push(Path { at, segments });
            return index;
        }
    }
    index
}

fn unfolded(code: &str) -> Vec<String> {
    let paths = paths(code);
    paths.iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn groups_of_a_use_are_unfolded() {
    let code = "use std::{fmt as f, io::{self, Read}};\nuse crate::room::*;\nuse a::b as c;";
    let unfolded = unfolded(code).join(" ");
    let expected = "std::fmt std::io::self std::io::Read crate::room::* a::b";
    assert_eq!(unfolded, expected);
}

#[test]
fn paths_are_found_outside_of_a_use_too() {
    let code = "fn f(x: crate::room::Room) { super::A::<a::B, u8>::new(); $crate::b() }";
    assert_eq!(unfolded(code), ["crate::room::Room", "super::A", "a::B"]);
}

#[test]
fn functions_are_found_with_their_whole_body() {
    let long = "fn a(x: [u8; { 3 }]) -> fn(u8) { if x { b() } }";
    let code = format!("{long}\ntrait T {{ fn c(); }}\nfn d() {{}}");
    let found = functions(&code);
    let bodies = found.iter().map(|(_, range)| &code[range.clone()]);
    let bodies: Vec<_> = bodies.collect();
    assert_eq!(bodies, [long, "fn d() {}"]);
}

#[test]
fn a_condition_is_known_with_its_negation() {
    let attribute = r#"cfg(all(unix, not(any(test, target_os = "linux"))))"#;
    let linux = r#"target_os="linux""#;
    let expected = [("unix", false), ("test", true), (linux, true)];
    let expected = expected.map(|(name, negated)| (name.to_owned(), negated));
    assert_eq!(conditions(attribute), expected);
    assert!(conditions("derive(Debug)").is_empty());
}

#[test]
fn modules_inside_a_file_are_found() {
    let code = "mod a;\npub(crate) mod b { fn c() {} }\n";
    let found = modules(code);
    assert_eq!(found.len(), 1);
    assert_eq!(&code[found[0].clone()], "{ fn c() {} }");
}
