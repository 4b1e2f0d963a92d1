//! Patterns of paths: `/org-{id}` stands for `/org-7` and its like.

use super::MountError;

/// A path with names in braces, each of which stands for one or more characters other than `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// What stands before the first name.
    start: Box<str>,
    /// Each name, with what stands behind it.
    names: Vec<(Box<str>, Box<str>)>,
}

/// What the names of a pattern stand for in one path.
pub(crate) type Captures = Box<[(Box<str>, Box<str>)]>;

impl Pattern {
    /// The pattern of a path; `None` when the path stands for itself.
    pub(crate) fn parse(path: &str) -> Result<Option<Self>, MountError> {
        if !path.contains(['{', '}']) {
            return Ok(None);
        }
        match Self::read(path) {
            Some(pattern) => Ok(Some(pattern)),
            None => Err(MountError::Pattern { path: path.into() }),
        }
    }

    fn read(path: &str) -> Option<Self> {
        let (start, mut rest) = path.split_once('{')?;
        let mut names: Vec<(Box<str>, Box<str>)> = Vec::new();
        loop {
            let (name, behind) = rest.split_once('}')?;
            let (behind, more) = match behind.split_once('{') {
                Some((behind, more)) => (behind, Some(more)),
                None => (behind, None),
            };
            let is_known = names.iter().any(|(known, _)| **known == *name);
            let is_apart = more.is_none() || !behind.is_empty();
            if name.is_empty() || is_known || !is_apart || (name.to_owned() + behind).contains('}')
            {
                return None;
            }
            names.push((name.into(), behind.into()));
            match more {
                Some(more) => rest = more,
                None => break,
            }
        }
        let has_stray = start.contains('}') || names.iter().any(|(name, _)| name.contains('{'));
        (!has_stray).then(|| Self { start: start.into(), names })
    }

    /// Whether two patterns stand for the same paths, whatever their names are.
    pub(crate) fn catches_the_same_as(&self, other: &Self) -> bool {
        let behind = |pattern: &Self| {
            pattern.names.iter().map(|(_, behind)| behind.clone()).collect::<Vec<_>>()
        };
        self.start == other.start && behind(self) == behind(other)
    }

    /// What the names stand for, if this path is one of the pattern's. A name ends where what
    /// stands behind it is found first; the last one ends where the path does.
    pub(crate) fn captures(&self, path: &str) -> Option<Captures> {
        let mut rest = path.strip_prefix(&*self.start)?;
        let mut captures = Vec::with_capacity(self.names.len());
        for (place, (name, behind)) in self.names.iter().enumerate() {
            let is_last = place + 1 == self.names.len();
            let (caught, after) = match is_last {
                true => (rest.strip_suffix(&**behind)?, ""),
                false => rest.split_once(&**behind)?,
            };
            if caught.is_empty() || caught.contains('/') {
                return None;
            }
            captures.push((name.clone(), caught.into()));
            rest = after;
        }
        Some(captures.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        let pattern = Pattern::parse(pattern).unwrap().unwrap();
        let captures = pattern.captures(path)?;
        Some(captures.iter().map(|(name, is)| (name.to_string(), is.to_string())).collect())
    }

    #[test]
    fn names_stand_for_what_is_between() {
        let one = |name: &str, is: &str| vec![(name.to_owned(), is.to_owned())];
        assert_eq!(captures("/org-{id}", "/org-7"), Some(one("id", "7")));
        assert_eq!(captures("/{id}", "/ünï"), Some(one("id", "ünï")));
        assert_eq!(captures("/{id}-x", "/a-x-x"), Some(one("id", "a-x")));
        let two = captures("/{a}-{b}/end", "/1-2-3/end").unwrap();
        assert_eq!(two, [("a".into(), "1".into()), ("b".into(), "2-3".into())]);
    }

    #[test]
    fn another_path_is_not_of_the_pattern() {
        for path in ["/org-", "/org-7/x", "/org", "org-7", "/org-/"] {
            assert_eq!(captures("/org-{id}", path), None, "{path}");
        }
        assert_eq!(captures("/{a}/{b}", "/1"), None);
        assert_eq!(captures("/{a}/{b}", "//1"), None);
    }

    #[test]
    fn a_path_without_braces_stands_for_itself() {
        assert_eq!(Pattern::parse("/org-7"), Ok(None));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for path in ["/{", "/}", "/{}", "/{a}{b}", "/{a}-{a}", "/{a", "/a}", "/{a{b}}", "/{a}}"] {
            let error = MountError::Pattern { path: path.into() };
            assert_eq!(Pattern::parse(path), Err(error), "{path}");
        }
    }
}
