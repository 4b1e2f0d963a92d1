//! Ends a child together with its descendants. Cargo dies alone when it is killed and would leave
//! a hanging test behind; a process group would catch that one, but hide it from Ctrl-C.

use std::fs;
use std::io;
use std::process::{Child, Command};

/// A process and its parent.
type Kinship = (u32, u32);

pub(crate) fn end(child: &mut Child) -> io::Result<()> {
    let root = child.id();
    let mut command = if cfg!(windows) {
        let mut command = Command::new("taskkill");
        command.args(["/F", "/T", "/PID", &root.to_string()]);
        command
    } else {
        // All in one go, so that none learns of another's end and starts something new.
        let family = family_of(root, &processes()?);
        let mut command = Command::new("sh");
        command.args(["-c", "kill -s KILL \"$@\"", "sh"]);
        command.args(family.iter().map(u32::to_string));
        command
    };
    // Fails when one of them ended by itself meanwhile; the child's own end is what counts.
    command.output()?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The root first, then all who descend from it.
fn family_of(root: u32, processes: &[Kinship]) -> Vec<u32> {
    let mut family = vec![root];
    let mut asked = 0;
    while let Some(&parent) = family.get(asked) {
        for &(id, of) in processes {
            if of == parent && !family.contains(&id) {
                family.push(id);
            }
        }
        asked += 1;
    }
    family
}

/// From `/proc` where there is one, since small images come without `ps`.
fn processes() -> io::Result<Vec<Kinship>> {
    let Ok(entries) = fs::read_dir("/proc") else {
        let mut command = Command::new("ps");
        let table = command.args(["-A", "-o", "pid=,ppid="]).output()?.stdout;
        let table = String::from_utf8_lossy(&table);
        return Ok(table.lines().filter_map(of_ps).collect());
    };
    let stats = entries.flatten().map(|entry| entry.path().join("stat"));
    // A process may end while it is looked at.
    let known = stats.filter_map(|path| of_stat(&fs::read_to_string(path).ok()?));
    Ok(known.collect())
}

fn of_ps(line: &str) -> Option<Kinship> {
    let mut fields = line.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// `id (name) state parent …`; the name may hold anything, even `)`.
fn of_stat(stat: &str) -> Option<Kinship> {
    let (id, _) = stat.split_once(' ')?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some((id.parse().ok()?, fields.split(' ').nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{family_of, of_ps, of_stat};

    #[test]
    fn a_family_is_all_descendants_and_nobody_else() {
        let mut processes = vec![(1, 0), (10, 1), (11, 10), (12, 11)];
        processes.extend([(13, 10), (20, 1), (21, 20)]);
        let mut family = family_of(10, &processes);
        family.sort_unstable();
        assert_eq!(family, [10, 11, 12, 13]);
    }

    #[test]
    fn a_process_without_children_is_a_family() {
        assert_eq!(family_of(7, &[(1, 0)]), [7]);
    }

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(of_stat("42 (a) b) S 7 42 42 0"), Some((42, 7)));
        assert_eq!(of_stat("nothing of the kind"), None);
        assert_eq!(of_ps("   42     7"), Some((42, 7)));
    }
}
