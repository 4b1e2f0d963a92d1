//! What manifests and prose say, held against what there is.

use std::collections::BTreeSet;

use crate::manifest::Manifest;
use crate::source::Finding;

pub(crate) fn unsafe_is_forbidden(path: &str, text: &str) -> Option<Finding> {
    let manifest = Manifest::parse(text);
    let level = manifest.value("workspace.lints.rust.unsafe_code");
    let what = "[workspace.lints.rust] does not say `unsafe_code = \"forbid\"`";
    (level != Some("forbid")).then(|| Finding::new(path, 1, what))
}

pub(crate) fn lints_are_inherited(path: &str, text: &str) -> Option<Finding> {
    let manifest = Manifest::parse(text);
    let inherited = manifest.value("lints.workspace") == Some("true");
    let what = "[lints] does not say `workspace = true`";
    (!inherited).then(|| Finding::new(path, 1, what))
}

/// `default` is a choice among the features, so a table need not list it.
pub(crate) fn features_are_listed(path: &str, text: &str, manifest: &Manifest) -> Vec<Finding> {
    let Some((line, listed)) = feature_table(text) else {
        return vec![Finding::new(path, 1, "there is no table headed `feature`")];
    };
    let names = manifest.keys("features").into_iter();
    // Two underscores mark what features share among themselves.
    let real: BTreeSet<_> = names.filter(|name| !name.starts_with("__")).collect();
    let missing = real.difference(&listed).map(|name| (name, "is not in the table"));
    let unknown = listed.difference(&real).map(|name| (name, "is no feature"));
    let mut findings = Vec::new();
    for (name, what) in missing.chain(unknown) {
        if *name != "default" {
            findings.push(Finding::new(path, line, format!("`{name}` {what}")));
        }
    }
    findings
}

/// Where the table is, and each name its first column has in code.
fn feature_table(text: &str) -> Option<(usize, BTreeSet<&str>)> {
    let mut lines = (1..).zip(text.lines());
    let (line, _) = lines.find(|(_, line)| {
        let header = first_cell(line).unwrap_or_default();
        header.eq_ignore_ascii_case("feature")
    })?;
    let cells = lines.map_while(|(_, line)| first_cell(line));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    Some((line, names.collect()))
}

fn first_cell(line: &str) -> Option<&str> {
    let row = line.trim().strip_prefix('|')?;
    row.split('|').next().map(str::trim)
}

/// `exists` is asked about paths from the root.
pub(crate) fn links_lead_somewhere(
    path: &str,
    text: &str,
    exists: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, target) in links(text) {
        // A colon is in every URL and in every link from a doc comment to an item.
        let file = target.split(['#', '?']).next().unwrap_or_default();
        if file.is_empty() || target.contains(':') {
            continue;
        }
        let found = resolve(path, file).is_some_and(|file| file.is_empty() || exists(&file));
        if !found {
            let what = format!("the link to `{target}` leads nowhere");
            findings.push(Finding::new(path, line, what));
        }
    }
    findings
}

/// The targets of `[text](target)` and `[name]: target`, with their lines; code is skipped.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        let start = line.trim_start();
        if start.starts_with("```") || start.starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        // Between two backticks is code, and what is even is outside.
        let prose = line.split('`').step_by(2);
        let inline = prose.flat_map(|prose| prose.split("](").skip(1));
        // Of a link whose text is code, the part behind the code begins with the bracket.
        found.extend(inline.map(|rest| (number, target(rest, ')'))));
        let definition = line.strip_prefix('[');
        if let Some((name, rest)) = definition.and_then(|line| line.split_once("]: ")) {
            if !name.starts_with('^') && !name.contains(']') {
                found.push((number, target(rest, ' ')));
            }
        }
    }
    found
}

/// Up to its end or to a title.
fn target(rest: &str, end: char) -> &str {
    let target = rest.split([end, ' ']).next().unwrap_or_default();
    target.trim_matches(['<', '>'])
}

/// A path from the root, for a link in the paper at `path`; `None` if it leads out of the root.
fn resolve(path: &str, link: &str) -> Option<String> {
    let mut parts: Vec<_> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn a_workspace_that_allows_unsafe_code_is_found() {
    for text in ["", "[workspace.lints.rust]\nunsafe_code = \"deny\"\n"] {
        assert!(unsafe_is_forbidden("Cargo.toml", text).is_some(), "{text}");
    }
    let forbids = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
    assert!(unsafe_is_forbidden("Cargo.toml", forbids).is_none());
}

#[test]
fn a_package_that_does_not_inherit_the_lints_is_found() {
    assert!(lints_are_inherited("a/Cargo.toml", "[package]\nname = \"a\"\n").is_some());
    assert!(lints_are_inherited("a/Cargo.toml", "[lints]\nworkspace = true\n").is_none());
}

fn features(readme: &str) -> Vec<String> {
    let features = "[features]\ndefault = [\"tcp\"]\ntcp = []\nquic = []\n__shared = []\n";
    let manifest = Manifest::parse(features);
    let findings = features_are_listed("README.md", readme, &manifest);
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_table_that_differs_from_the_features_is_found() {
    let table = "# It\n\n| Feature | what |\n| --- | --- |\n| `tcp`, `udp` | a wire |\n\n| `x` |\n";
    let expected = ["README.md:3: `quic` is not in the table", "README.md:3: `udp` is no feature"];
    assert_eq!(features(table), expected);
    assert!(features("| feature |\n| - |\n| `tcp` |\n| `quic` |\n").is_empty());
}

#[test]
fn a_readme_without_the_table_is_found() {
    let expected = "README.md:1: there is no table headed `feature`";
    assert_eq!(features("| wire |\n| - |\n"), [expected]);
}

fn dead_links(path: &str, text: &str) -> Vec<String> {
    let exists = |path: &str| ["README.md", "docs", "docs/PROTOCOL.md"].contains(&path);
    let findings = links_lead_somewhere(path, text, exists);
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "One\n[two](three.md) and [`four`](../README.md#five)\n\n[six]: ../../seven\n";
    let expected = [
        "docs/A.md:2: the link to `three.md` leads nowhere",
        "docs/A.md:4: the link to `../../seven` leads nowhere",
    ];
    assert_eq!(dead_links("docs/A.md", text), expected);
}

#[test]
fn links_that_lead_somewhere_or_outside_are_fine() {
    let text = "[a](docs/PROTOCOL.md#b) [c](docs/ \"title\") [d](#e) [f](https://example.com/g)\n\
                [h](crate::Room) `[i](j)`\n[^k]: l\n```\n[m](n.md)\n```\n[o](.)\n";
    let none: [&str; 0] = [];
    assert_eq!(dead_links("README.md", text), none);
}
