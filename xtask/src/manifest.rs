//! Reads the little of `Cargo.toml` that this project asks about: keys, plain values, lists of
//! strings. It is no TOML parser: inline tables stay text, and dates or multi-line strings are
//! not known. `tests/tidy` reads manifests with this very file.

/// A manifest as a flat list: the full dotted path of each key, and its value as written.
pub(crate) struct Manifest {
    entries: Vec<(String, String)>,
}

impl Manifest {
    pub(crate) fn parse(text: &str) -> Self {
        let mut entries = Vec::new();
        let mut table = String::new();
        let mut lines = text.lines().map(without_comment);
        while let Some(line) = lines.next() {
            if let Some(header) = line.strip_prefix('[') {
                table = path(header.trim_matches(['[', ']']));
            } else if let Some((key, value)) = line.split_once('=') {
                let mut value = value.trim().to_owned();
                // An array may go on over many lines; it ends where its brackets balance.
                while opens_more_than_it_closes(&value) {
                    let Some(line) = lines.next() else { break };
                    value.push(' ');
                    value.push_str(line);
                }
                let parent = if table.is_empty() { String::new() } else { format!("{table}.") };
                entries.push((parent + &path(key), value));
            }
        }
        Self { entries }
    }

    /// The names directly under a table, in the order of the file.
    pub(crate) fn keys(&self, table: &str) -> Vec<&str> {
        self.entries
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(table)?.strip_prefix('.'))
            .filter(|key| !key.contains('.'))
            .collect()
    }

    /// The value at a dotted path such as `package.name`, without its quotes.
    pub(crate) fn value(&self, path: &str) -> Option<&str> {
        let (_, value) = self.entries.iter().find(|(key, _)| key == path)?;
        Some(value.trim_matches('"'))
    }

    /// The strings of the array at a dotted path; empty when there is none.
    pub(crate) fn list(&self, path: &str) -> Vec<&str> {
        let value = self.value(path).unwrap_or_default();
        value.split('"').skip(1).step_by(2).collect()
    }
}

fn path(key: &str) -> String {
    let parts: Vec<_> = key.split('.').map(|part| part.trim().trim_matches('"')).collect();
    parts.join(".")
}

fn without_comment(line: &str) -> &str {
    let comment = outside_strings(line).find(|&(_, letter)| letter == '#');
    line[..comment.map_or(line.len(), |(at, _)| at)].trim()
}

fn opens_more_than_it_closes(value: &str) -> bool {
    let count = |bracket| outside_strings(value).filter(|&(_, letter)| letter == bracket).count();
    count('[') > count(']')
}

fn outside_strings(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quoted = false;
    text.char_indices().filter(move |&(_, letter)| {
        quoted ^= letter == '"';
        !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::Manifest;

    const MANIFEST: &str = r#"
        lints.workspace = true
        [package] # the facade
        name = "emitwire"
        version.workspace = true
        [features]
        default = ["tcp"]
        # A wire.
        tcp = [
            "emitwire-transports/tcp", # with a comment, and [a bracket
        ]
        "full" = ["tcp"]
        [workspace.lints.rust]
        unsafe_code = "forbid"
        [[test]]
        name = "tidy"
    "#;

    #[test]
    fn the_keys_of_a_table_come_in_the_order_of_the_file() {
        let manifest = Manifest::parse(MANIFEST);
        assert_eq!(manifest.keys("features"), ["default", "tcp", "full"]);
        assert_eq!(manifest.keys("package"), ["name"], "a dotted key is a table of its own");
        assert!(manifest.keys("feature").is_empty());
    }

    #[test]
    fn a_value_is_found_by_its_dotted_path_however_it_is_written() {
        let manifest = Manifest::parse(MANIFEST);
        assert_eq!(manifest.value("package.name"), Some("emitwire"));
        assert_eq!(manifest.value("package.version.workspace"), Some("true"));
        assert_eq!(manifest.value("lints.workspace"), Some("true"));
        assert_eq!(manifest.value("workspace.lints.rust.unsafe_code"), Some("forbid"));
        assert_eq!(manifest.value("package.license"), None);
    }

    #[test]
    fn a_list_may_span_lines_and_hold_comments() {
        let manifest = Manifest::parse(MANIFEST);
        assert_eq!(manifest.list("features.tcp"), ["emitwire-transports/tcp"]);
        assert_eq!(manifest.list("features.full"), ["tcp"]);
        assert!(manifest.list("features.quic").is_empty());
    }
}
