//! A server that gives every frame back, to all who come.

use super::bodies::frame;
use super::breach::{Breach, said};
use super::carry::carry_back;
use super::end::End;
use super::stage::{SMALL_BYTES, Stage};
use crate::transport::{Incoming, Listener};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::{JoinError, JoinSet};

/// The server. It and all its connections end when it is dropped.
pub(super) struct Echo {
    pub(super) endpoint: String,
    state: Arc<State>,
    accepting: JoinSet<()>,
}

#[derive(Default)]
struct State {
    active: AtomicUsize,
    breach: Mutex<Option<Breach>>,
}

impl Echo {
    pub(super) fn new(stage: &Stage, listener: Box<dyn Listener>) -> Self {
        let state = Arc::new(State::default());
        let endpoint = listener.endpoint();
        let mut accepting = JoinSet::new();
        accepting.spawn(serve(stage.clone(), listener, Arc::clone(&state)));
        Self { endpoint, state, accepting }
    }

    /// Ends it, and says what went wrong first, with accepting or with a peer.
    pub(super) async fn stop(mut self) -> Result<(), Breach> {
        self.accepting.shutdown().await;
        self.breach()
    }

    /// How many peers it has.
    pub(super) fn active(&self) -> usize {
        self.state.active.load(Ordering::Acquire)
    }

    /// What went wrong first.
    pub(super) fn breach(&self) -> Result<(), Breach> {
        let breach = self.state.breach.lock().unwrap_or_else(PoisonError::into_inner).take();
        breach.map_or(Ok(()), Err)
    }
}

impl State {
    fn fail(&self, breach: Breach) {
        let mut first = self.breach.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(breach);
    }
}

/// The accepting is never given up here: what that does has a check of its own.
async fn serve(stage: Stage, listener: Box<dyn Listener>, state: Arc<State>) {
    let mut peers = JoinSet::new();
    let mut accepting = Box::pin(accept(listener));
    loop {
        tokio::select! {
            (listener, arrived) = &mut accepting => {
                match arrived {
                    Ok(incoming) => {
                        state.active.fetch_add(1, Ordering::AcqRel);
                        peers.spawn(answer(stage.clone(), incoming));
                    }
                    Err(source) => {
                        state.fail(Breach::Accept { doing: stage.log.doing(), source });
                        return;
                    }
                }
                accepting = Box::pin(accept(listener));
            }
            Some(ended) = peers.join_next() => {
                if let Err(breach) = flattened(ended, &stage) {
                    state.fail(breach);
                }
                state.active.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

type Accepted = (Box<dyn Listener>, io::Result<Box<dyn Incoming>>);

async fn accept(mut listener: Box<dyn Listener>) -> Accepted {
    let arrived = listener.accept().await;
    (listener, arrived)
}

async fn answer(stage: Stage, incoming: Box<dyn Incoming>) -> Result<(), Breach> {
    let mut end = stage.welcome(incoming).await?;
    let is_reliable = end.capabilities.reliable;
    let given_back = give_back(&mut end).await;
    // Where an end may be lost, who leaves does not wait for ours, and we may meet nobody.
    if is_reliable { given_back } else { Ok(()) }
}

async fn give_back(end: &mut End) -> Result<(), Breach> {
    let mut frames = Vec::new();
    while end.read_some(&mut frames).await? {
        end.write(frames.drain(..)).await?;
    }
    match end.close().await {
        // The other direction closed first, and took this one along.
        Err(_) if !end.capabilities.half_close => Ok(()),
        closed => closed,
    }
}

/// A panic in a task is a breach.
pub(super) fn flattened<T>(
    ended: Result<Result<T, Breach>, JoinError>,
    stage: &Stage,
) -> Result<T, Breach> {
    ended.unwrap_or_else(|error| {
        let panic = error.try_into_panic();
        let panic = panic.map_or_else(|error| error.to_string(), |panic| said(&*panic));
        Err(Breach::Panicked { panic, doing: stage.log.doing() })
    })
}

/// A client that gets a frame back from such a server.
pub(super) async fn ask(stage: &Stage, end: &mut End, number: usize) -> Result<(), Breach> {
    let size = SMALL_BYTES.min(end.capabilities.frame_bytes_max);
    carry_back(end, &frame(number, size), stage.again()).await
}
