//! `cargo xtask mutants`: is the simulation worth anything?
//!
//! Each patch in `tests/mutants/` breaks the engine in one way. It is put into a copy of the tree
//! under `target/`, which has a target folder of its own, so that only what the patch touches is
//! built again; there the simulation has to fail. One that does not apply or build is a failure
//! too: it has to be written anew. The copy has what is in the working tree, committed or not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::{self, Outcome};
use crate::simulate::{Batch, LINE};

const PATCHES: &str = "tests/mutants";
const COPY: &str = "target/mutants/tree";

const SEEDS: u64 = 100;

/// A mutant may make the engine spin.
const LIMIT: Duration = Duration::from_secs(300);
const LIMIT_TO_BUILD: Duration = Duration::from_secs(15 * 60);

pub(crate) fn parse(mut arguments: &[&str]) -> Option<crate::Command> {
    let (mut seeds, mut names) = (SEEDS, Vec::new());
    while let [first, rest @ ..] = arguments {
        arguments = match (*first, rest) {
            ("--seeds", [number, rest @ ..]) => {
                seeds = number.parse().ok()?;
                rest
            }
            (option, _) if option.starts_with('-') => return None,
            (name, rest) => {
                names.push(name.to_owned());
                rest
            }
        };
    }
    Some(crate::Command::Mutants { seeds, names })
}

/// Tries all of them, or those that are named; says whether each was found.
pub(crate) fn run(root: &Path, seeds: u64, names: &[String]) -> Result<bool, String> {
    let mutants = mutants(root, names)?;
    let copy = root.join(COPY);
    let width = mutants.iter().map(|(name, _)| name.len()).max().unwrap_or_default().max(9);
    println!("cargo xtask mutants: {} mutants, up to {seeds} seeds each\n", mutants.len());
    let mut all_found = true;
    // Without a patch it has to pass, or the rest says nothing.
    for (name, patch) in [("none", None)].into_iter().chain(named(&mutants)) {
        let began = Instant::now();
        refresh(root, &copy)?;
        let verdict = match patch.map(|patch| apply(root, patch)) {
            Some(Err(words)) => Verdict::Unfit(words),
            _ => test(&copy, seeds),
        };
        let (mark, words) = verdict.judged(patch.is_some());
        all_found &= mark == "ok";
        println!("{mark:>6}  {name:width$}  {:>4} s  {words}", began.elapsed().as_secs());
        if mark != "ok" && patch.is_none() {
            return Ok(false);
        }
    }
    Ok(all_found)
}

fn named(mutants: &[(String, PathBuf)]) -> impl Iterator<Item = (&str, Option<&Path>)> {
    mutants.iter().map(|(name, patch)| (name.as_str(), Some(patch.as_path())))
}

enum Verdict {
    /// The simulation failed: how.
    Found(String),
    Survived,
    /// It does not apply or build: why.
    Unfit(String),
}

impl Verdict {
    fn judged(self, is_mutant: bool) -> (&'static str, String) {
        match (self, is_mutant) {
            (Self::Found(words), true) => ("ok", words),
            (Self::Survived, false) => ("ok", "every law holds".to_owned()),
            (Self::Found(words), false) => ("FAILED", words),
            (Self::Survived, true) => ("FAILED", "it was not found".to_owned()),
            (Self::Unfit(words), _) => ("FAILED", words),
        }
    }
}

/// Their names and files, in the order of the alphabet.
fn mutants(root: &Path, names: &[String]) -> Result<Vec<(String, PathBuf)>, String> {
    let folder = root.join(PATCHES);
    let entries = fs::read_dir(&folder).map_err(|error| format!("{PATCHES}: {error}"))?;
    let mut mutants = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_patch = path.extension().is_some_and(|extension| extension == "patch");
        if let Some(name) = path.file_stem().filter(|_| is_patch) {
            mutants.push((name.to_string_lossy().into_owned(), path));
        }
    }
    mutants.sort();
    if let Some(unknown) = names.iter().find(|name| mutants.iter().all(|(it, _)| it != *name)) {
        return Err(format!("there is no {PATCHES}/{unknown}.patch"));
    }
    mutants.retain(|(name, _)| names.is_empty() || names.contains(name));
    Ok(mutants)
}

/// Makes the copy what the tree is. Files that are the same keep their age, for cargo's sake.
fn refresh(root: &Path, copy: &Path) -> Result<(), String> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = git(root, &arguments)?;
    let mut kept = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let (from, to) = (root.join(path), copy.join(path));
        // One that was deleted and is not committed yet is still listed.
        let Ok(bytes) = fs::read(&from) else { continue };
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            let folder = to.parent().unwrap_or(copy);
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&to, &bytes));
            written.map_err(|error| format!("{}: {error}", to.display()))?;
        }
        kept.push(to);
    }
    remove_others(copy, &kept);
    Ok(())
}

/// A file that is gone would still be a test, or an example.
fn remove_others(folder: &Path, kept: &[PathBuf]) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            remove_others(&path, kept);
        } else if path.extension().is_some_and(|it| it == "rs" || it == "toml")
            && !kept.contains(&path)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

fn apply(root: &Path, patch: &Path) -> Result<(), String> {
    let patch = patch.to_string_lossy();
    let directory = format!("--directory={COPY}");
    git(root, &["apply", &directory, &patch]).map(drop)
}

fn git(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").current_dir(root).args(arguments).output();
    let output = output.map_err(|error| format!("git: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.lines().next().unwrap_or_default().to_owned();
        Err(format!("git {}: {words}", arguments[0]))
    }
}

/// Builds the copy, and runs its simulation.
fn test(copy: &Path, seeds: u64) -> Verdict {
    let batch = Batch { seeds, from: 1, trace: false };
    let mut build = child::cargo(copy);
    build.args(LINE.split_whitespace().take_while(|word| *word != "--")).arg("--no-run");
    let target = copy.with_file_name("build");
    let built = child::run(in_folder(build, &target), LIMIT_TO_BUILD, false, |_| ());
    if built.failure.is_some() {
        return Verdict::Unfit(format!("it does not build: {}", error_of(&built)));
    }
    let run = in_folder(batch.command(copy), &target);
    let outcome = child::run(run, LIMIT, false, |_| ());
    match &outcome.failure {
        None => Verdict::Survived,
        Some(failure) => Verdict::Found(how(&outcome).unwrap_or_else(|| failure.clone())),
    }
}

fn in_folder(mut command: Command, target: &Path) -> Command {
    command.env("CARGO_TARGET_DIR", target);
    command
}

/// Which seed broke what first, or what never happened.
fn how(outcome: &Outcome) -> Option<String> {
    let output = String::from_utf8_lossy(&outcome.output);
    let mut lines = output.lines().map(str::trim).skip_while(|line| {
        !(line.starts_with("seed ") && line.contains(" breaks ") || line.contains("never happened"))
    });
    let first = lines.next()?;
    let seed = first.split(" breaks ").next()?;
    Some(match lines.next().filter(|_| first.contains(" breaks ")) {
        Some(law) => format!("{seed}: {law}"),
        None => first.to_owned(),
    })
}

fn error_of(outcome: &Outcome) -> String {
    let output = String::from_utf8_lossy(&outcome.output);
    let error = output.lines().find(|line| line.starts_with("error"));
    error.unwrap_or("see cargo's words").to_owned()
}

#[cfg(test)]
mod tests {
    use super::{how, mutants, parse};
    use crate::child::Outcome;
    use std::path::Path;

    #[test]
    fn names_and_seeds_are_read_from_the_arguments() {
        let names = vec!["one".to_owned(), "two".to_owned()];
        let expected = crate::Command::Mutants { seeds: 7, names };
        assert_eq!(parse(&["one", "--seeds", "7", "two"]), Some(expected));
        assert_eq!(parse(&["--seed", "7"]), None);
    }

    #[test]
    fn a_mutant_that_is_not_there_is_an_error() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        assert!(!mutants(root, &[]).expect("the folder is there").is_empty());
        assert!(mutants(root, &["no such mutant".to_owned()]).is_err());
    }

    #[test]
    fn the_first_breach_is_told_with_its_seed() {
        let output = b"seed 3 FAILED\n\nseed 3 breaks 2 laws:\n  one: a\n  two: b\n".to_vec();
        let outcome = Outcome { failure: Some("failed".to_owned()), output };
        assert_eq!(how(&outcome).as_deref(), Some("seed 3: one: a"));
    }
}
