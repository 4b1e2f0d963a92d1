//! What the steps are made from, read from the workspace itself so that nothing is listed twice.

use std::fs;
use std::path::Path;

use crate::manifest::Manifest;

#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// The root package first, then the members as they are listed.
    pub(crate) packages: Vec<Package>,
    pub(crate) examples: Vec<String>,
    pub(crate) benches: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
}

impl Workspace {
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let top = read_manifest(root)?;
        let mut packages = vec![Package::of(&top)?];
        for member in top.list("workspace.members") {
            packages.push(Package::of(&read_manifest(&root.join(member))?)?);
        }
        let examples = targets(&root.join("examples"))?;
        let benches = targets(&root.join("benches"))?;
        Ok(Self { packages, examples, benches })
    }
}

impl Package {
    fn of(manifest: &Manifest) -> Result<Self, String> {
        let name = manifest.value("package.name").ok_or("a Cargo.toml without package.name")?;
        let names = manifest.keys("features").into_iter();
        // Two underscores mark what features share among themselves.
        let features = names.filter(|name| !name.starts_with("__")).map(str::to_owned).collect();
        Ok(Self { name: name.to_owned(), features })
    }
}

fn read_manifest(folder: &Path) -> Result<Manifest, String> {
    let path = folder.join("Cargo.toml");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Manifest::parse(&text)),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The targets cargo finds by itself in a folder: `name.rs` and `name/main.rs`.
fn targets(folder: &Path) -> Result<Vec<String>, String> {
    // Cargo asks for no such folder, so neither does this.
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        let source = path.extension().is_some_and(|extension| extension == "rs");
        if source || path.join("main.rs").is_file() {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Package, Workspace, targets};
    use crate::manifest::Manifest;

    #[test]
    fn a_package_has_the_features_of_its_manifest() {
        let text = "[package]\nname = \"wire\"\n[features]\ndefault = [\"a\"]\na = []\n__b = []\n";
        let package = Package::of(&Manifest::parse(text)).unwrap();
        assert_eq!((package.name.as_str(), package.features.len()), ("wire", 2));
    }

    #[test]
    fn a_manifest_without_a_name_is_refused() {
        assert!(Package::of(&Manifest::parse("[workspace]\n")).is_err());
    }

    #[test]
    fn this_very_workspace_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let workspace = Workspace::read(&root).unwrap();
        assert_eq!(workspace.packages[0].name, "emitwire");
        assert!(workspace.packages.iter().any(|package| package.name == "xtask"));
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_targets() {
        assert!(targets(Path::new("no/such/folder")).unwrap().is_empty());
    }
}
