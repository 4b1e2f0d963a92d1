//! The suite and its options.

use super::breach::Breach;
use super::check::Check;
use super::checks;
use super::report::{Checked, Failures, Outcome, Report};
use super::runner;
use super::stage::{Maker, MakerAt, Options, Stage};
use crate::transport::{Capabilities, Transport};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A suite that tries to break what a transport declares.
///
/// It needs to know how to make a transport that binds an address of its own, and how to make one
/// for an endpoint that is bound. Each check gets fresh ones, on a thread and a tokio runtime of
/// its own, with a deadline, so that neither a wire that hangs nor one that panics stops the suite.
///
/// ```
/// # use emitwire_core::transport::conformance::Conformance;
/// # use emitwire_core::transport::{Capabilities, Memory};
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// // In a file of tests this is a `#[test]`.
/// static NEXT: AtomicUsize = AtomicUsize::new(0);
/// let fresh = || Memory::new(format!("wire-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
/// let at = |endpoint: &str| Memory::new(&endpoint["mem://".len()..]);
///
/// let report = Conformance::new(fresh, at)
///     .at_least(Capabilities::stream(1024 * 1024))
///     .connections(100)
///     .short_connections(100)
///     .run()
///     .unwrap();
/// println!("{report}");
/// ```
///
/// It blocks its thread, so within a runtime it belongs into `spawn_blocking`.
///
/// It wants a test binary of its own: checks count the descriptors and the heap of the whole
/// process, in which therefore only one check runs at a time, and nothing else should.
#[derive(Clone)]
pub struct Conformance {
    bind: Maker,
    connect: MakerAt,
    bind_at: MakerAt,
    options: Options,
    progress: Option<Progress>,
}

impl Conformance {
    /// A suite for the transports that `bind` and `connect` make.
    ///
    /// `bind` makes one that listens on an address of its own: port 0, a name not used before.
    /// `connect` makes one for a client of the endpoint that a listener said.
    #[must_use]
    pub fn new<B: Transport, C: Transport>(
        bind: impl Fn() -> B + Send + Sync + 'static,
        connect: impl Fn(&str) -> C + Send + Sync + 'static,
    ) -> Self {
        let connect: MakerAt = Arc::new(move |endpoint| Box::new(connect(endpoint)));
        let options = Options {
            at_least: None,
            corrupting: false,
            deadline: DEADLINE,
            connections: CONNECTIONS,
            short_connections: SHORT_CONNECTIONS,
            buffered_bytes_max: BUFFERED_BYTES_MAX,
            live_bytes: None,
            peak_bytes: None,
        };
        Self {
            bind: Arc::new(move || Box::new(bind())),
            bind_at: Arc::clone(&connect),
            connect,
            options,
            progress: None,
        }
    }

    /// How a transport is made that *binds* an endpoint which a listener said. Default: as a
    /// client's is; but a listener may need more than a client, such as a certificate.
    #[must_use]
    pub fn bind_at<T: Transport>(
        mut self,
        bind_at: impl Fn(&str) -> T + Send + Sync + 'static,
    ) -> Self {
        self.bind_at = Arc::new(move |endpoint| Box::new(bind_at(endpoint)));
        self
    }

    /// The least that the wire has to declare, so that declaring little is no way out.
    #[must_use]
    pub fn at_least(mut self, capabilities: Capabilities) -> Self {
        self.options.at_least = Some(capabilities);
        self
    }

    /// Says that bytes may change on the way, as on a wire that was made to. Then only the lengths
    /// of frames are held against what is declared.
    #[must_use]
    pub fn corrupting(mut self) -> Self {
        self.options.corrupting = true;
        self
    }

    /// How long a check may take; those with many connections may take six times that. Default:
    /// 10 s. A hundredth of it without progress counts as waiting, and after a five-hundredth a
    /// frame that may be lost is written again.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// How many connections are to live at once. Default: 1000, or as many as the process may have
    /// descriptors for, with a note.
    #[must_use]
    pub fn connections(mut self, count: usize) -> Self {
        self.options.connections = count;
        self
    }

    /// How many connections are opened, used and closed before what is left of them is counted.
    /// Default: 10,000.
    #[must_use]
    pub fn short_connections(mut self, count: usize) -> Self {
        self.options.short_connections = count;
        self
    }

    /// How much a wire may take for a peer that never reads, both ends together. Default: 64 MiB.
    #[must_use]
    pub fn buffered_bytes_max(mut self, bytes: usize) -> Self {
        self.options.buffered_bytes_max = bytes;
        self
    }

    /// The bytes that the process has on its heap, as a counting allocator knows them: those that
    /// short connections leave behind are then counted.
    #[must_use]
    pub fn live_bytes(mut self, gauge: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.options.live_bytes = Some(Arc::new(gauge));
        self
    }

    /// The most bytes that the process had on its heap since this was last called: what a refused
    /// frame costs is then measured.
    #[must_use]
    pub fn peak_bytes(mut self, gauge: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.options.peak_bytes = Some(Arc::new(gauge));
        self
    }

    /// Called after each check, to show how far it is.
    #[must_use]
    pub fn progress(mut self, show: impl Fn(&Checked) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(show));
        self
    }

    /// The names of all checks, in the order in which they run.
    pub fn names() -> impl Iterator<Item = &'static str> {
        checks::ALL.iter().map(|check| check.name)
    }

    /// Runs every check.
    ///
    /// # Errors
    /// [`Failures`]: the same report, when a check in it failed.
    pub fn run(&self) -> Result<Report, Failures> {
        let checked = checks::ALL.iter().map(|check| self.run_one(check));
        Report::new(checked.collect()).into_result()
    }

    /// Runs the check of that name alone, one of [`names`](Self::names). One that does not exist
    /// is a failure too.
    #[must_use]
    pub fn check(&self, name: &str) -> Checked {
        match checks::ALL.iter().find(|check| check.name == name) {
            Some(check) => self.run_one(check),
            None => {
                let outcome = Outcome::Broken { breach: Breach::NoSuchCheck };
                Checked::new(name, Duration::ZERO, outcome)
            }
        }
    }

    fn run_one(&self, check: &'static Check) -> Checked {
        let stage = Stage {
            bind: Arc::clone(&self.bind),
            connect: Arc::clone(&self.connect),
            bind_at: Arc::clone(&self.bind_at),
            options: self.options.clone(),
            log: Arc::default(),
        };
        let checked = runner::run(check, stage, self.options.deadline * check.deadlines);
        if let Some(show) = &self.progress {
            show(&checked);
        }
        checked
    }
}

impl fmt::Debug for Conformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Shown what came out of a check.
type Progress = Arc<dyn Fn(&Checked) + Send + Sync>;

/// How long a check may take unless the suite says otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// How many connections live at once unless the suite says otherwise.
const CONNECTIONS: usize = 1000;

/// How many connections come and go unless the suite says otherwise.
const SHORT_CONNECTIONS: usize = 10_000;

/// How much a wire may take for a peer that never reads unless the suite says otherwise.
const BUFFERED_BYTES_MAX: usize = 64 * 1024 * 1024;
