//! The files of the workspace, by their paths from its root.

use std::fs;
use std::path::Path;

use crate::source::Source;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

pub(crate) fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    walk("", &mut paths);
    paths.retain(|path| path.ends_with(".rs"));
    let source = |path: String| Some(Source::new(&path, &read(&path)?));
    paths.into_iter().filter_map(source).collect()
}

/// The prose: what stands at the root, in `docs/` and in `examples/`.
pub(crate) fn papers() -> Vec<(String, String)> {
    let mut paths = names("");
    paths.extend(["docs", "examples"].into_iter().flat_map(names));
    paths.retain(|path| path.ends_with(".md"));
    let paper = |path: String| read(&path).map(|text| (path, text));
    paths.into_iter().filter_map(paper).collect()
}

pub(crate) fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(ROOT).join(path)).ok()
}

pub(crate) fn exists(path: &str) -> bool {
    Path::new(ROOT).join(path).exists()
}

fn walk(folder: &str, files: &mut Vec<String>) {
    for path in names(folder) {
        // Cargo marks the folders it builds into, wherever they are.
        let built = exists(&format!("{path}/CACHEDIR.TAG"));
        if !Path::new(ROOT).join(&path).is_dir() {
            files.push(path);
        } else if !built {
            walk(&path, files);
        }
    }
}

/// What is in a folder, hidden things left out, in the order of the alphabet.
fn names(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(Path::new(ROOT).join(folder)) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let visible = names.filter(|name| !name.starts_with('.'));
    let mut paths: Vec<_> = match folder {
        "" => visible.collect(),
        folder => visible.map(|name| format!("{folder}/{name}")).collect(),
    };
    paths.sort();
    paths
}
