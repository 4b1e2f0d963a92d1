//! Servers in processes of their own, each side on a core of its own where that can be had.
//!
//! Linux only, for the figures are read from `/proc`: elsewhere a bench says so and is done.

use crate::wire::Wire;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::{env, fs, process, thread};

/// Set: a few seconds at most, to see that the bench still works.
const SMOKE: &str = "EMITWIRE_BENCH_SMOKE";

/// A command to run emitwire's server under, such as `valgrind --tool=callgrind`.
const WRAP: &str = "EMITWIRE_BENCH_WRAP";

/// The argument that makes this program emitwire's server.
pub(crate) const EMITWIRE: &str = "serve-emitwire";

/// The argument that makes this program the server to compare with.
pub(crate) const RAW: &str = "serve-raw";

/// Descriptors that a process needs beside its connections.
const OTHER_DESCRIPTORS: usize = 50;

/// Whether small figures will do.
pub(crate) fn is_smoke() -> bool {
    env::var_os(SMOKE).is_some()
}

/// Runs the part that the arguments name, or else `measure`, and says what went wrong.
pub(crate) fn main(
    bench: &str,
    serve: impl FnOnce(&str, Wire, usize) -> io::Result<()>,
    measure: impl FnOnce() -> io::Result<()>,
) -> ExitCode {
    let mut arguments = env::args().skip(1);
    // Cargo gives a bench arguments of its own.
    let role = arguments.next().filter(|role| [EMITWIRE, RAW].contains(&role.as_str()));
    let wire = arguments.next().and_then(|scheme| Wire::of(&scheme)).unwrap_or(Wire::Tcp);
    let members = arguments.next().and_then(|members| members.parse().ok()).unwrap_or(0);
    let done = match role {
        Some(role) => serve(&role, wire, members),
        None if Path::new("/proc/self/schedstat").exists() => measure(),
        None => {
            println!("{bench}: skipped, it reads its figures from Linux' /proc");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{bench}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where each side runs.
pub(crate) struct Cores(Option<(u32, u32)>);

impl Cores {
    /// Binds this process, the load, to the last core that it may use and servers to the first,
    /// if there are two and `taskset` is here.
    pub(crate) fn split() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        // The ends of ranges such as `0-3,8` are cores that may be used.
        let allowed = field(&status, "Cpus_allowed_list:").unwrap_or_default();
        let mut cores = allowed.split([',', '-']).filter_map(|core| core.parse::<u32>().ok());
        let (server, load) = match (cores.next(), cores.next_back()) {
            (Some(first), Some(last)) => (first, last),
            _ => return Ok(Self(None)),
        };
        let (load_core, this) = (load.to_string(), process::id().to_string());
        let bound = quiet("taskset").args(["-cp", &load_core, &this]).status();
        let is_bound = bound.is_ok_and(|status| status.success());
        Ok(Self(is_bound.then_some((server, load))))
    }

    /// What the figures depend on, in one line.
    pub(crate) fn facts(&self) -> String {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let cores = match self.0 {
            Some((server, load)) => format!("server on core {server}, load on core {load}"),
            None => format!("{cores} cores, nothing pinned"),
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
        format!("Linux {}, {cores}, {build}", kernel.trim())
    }
}

/// A server in a process of its own. It ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    pid: u32,
    address: SocketAddr,
}

impl Process {
    /// Starts this program once more, as a server for so many members.
    pub(crate) fn start(role: &str, wire: Wire, members: usize, cores: &Cores) -> io::Result<Self> {
        let mut words = Vec::new();
        if let Some((server, _)) = cores.0 {
            words.extend(["taskset".to_owned(), "-c".to_owned(), server.to_string()]);
        }
        if role == EMITWIRE {
            let wrap = env::var(WRAP).unwrap_or_default();
            words.extend(wrap.split_whitespace().map(str::to_owned));
        }
        let program = env::current_exe()?;
        words.extend([program.to_string_lossy().into_owned(), role.to_owned()]);
        words.extend([wire.scheme().to_owned(), members.to_string()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let (pid, address) = said.trim().split_once(' ').unwrap_or_default();
        match (pid.parse(), address.parse()) {
            (Ok(pid), Ok(address)) => Ok(Self { child, pid, address }),
            _ => Err(io::Error::other(format!("`{}` did not start", words.join(" ")))),
        }
    }

    /// The server itself, whatever it runs under.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input ends the server, as it would if this process were killed.
        drop(self.child.stdin.take());
        // Nothing is left to be done about a server that cannot be waited for.
        let _ = self.child.wait();
    }
}

/// The server's part: says where it listens, and sees to it that it ends with its parent.
pub(crate) fn announce(address: &str) {
    println!("{} {address}", process::id());
    thread::spawn(|| {
        // Nobody writes: reading ends when the parent does.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        process::exit(0);
    });
}

/// How many of the connections that are wanted this process may have open, after it has asked for
/// a higher limit; servers inherit it.
pub(crate) fn connections(wanted: usize) -> io::Result<usize> {
    let needed = wanted + OTHER_DESCRIPTORS;
    let (soft, hard) = open_files()?;
    if soft < needed {
        let files = format!("--nofile={}:", needed.min(hard));
        // Where the tool is missing there will be fewer.
        let _ = quiet("prlimit").args([&files, "--pid", &process::id().to_string()]).status();
    }
    let (soft, _) = open_files()?;
    Ok(wanted.min(soft.saturating_sub(OTHER_DESCRIPTORS)))
}

/// The soft and the hard limit of open files.
fn open_files() -> io::Result<(usize, usize)> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let files = field(&limits, "Max open files").unwrap_or_default();
    // What is no number is unlimited.
    let mut limits = files.split_whitespace().map(|limit| limit.parse().unwrap_or(usize::MAX));
    Ok((limits.next().unwrap_or(0), limits.next().unwrap_or(0)))
}

/// A tool whose words nobody wants to hear.
fn quiet(tool: &str) -> Command {
    let mut command = Command::new(tool);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The value behind `name` at the beginning of a line.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
