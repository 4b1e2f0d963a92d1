//! The clients: each has a cable of its own, hears the room, and says its own stream.

use crate::books::{Books, Tick};
use crate::cable::Cable;
use crate::options::Options;
use crate::stage::{DOWN, UP, config};
use emitwire::{BoxError, Client, Data, Endpoint, Namespace, Session};
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub(crate) struct Crowd {
    pub(crate) cables: Vec<Cable>,
    sessions: Vec<Arc<Session>>,
    /// Why the first event that was not even accepted was not.
    refusal: Arc<Mutex<Option<BoxError>>>,
}

impl Crowd {
    /// Connects all of them, many at a time.
    pub(crate) async fn gather(
        options: &Options,
        books: &Arc<Books>,
        doors: Vec<Endpoint>,
    ) -> Result<Self, BoxError> {
        let doors: Arc<[Endpoint]> = doors.into();
        let cable = |client| Cable::new(Arc::clone(&doors), client);
        let cables: Vec<_> = (0..options.clients).map(cable).collect();
        let mut hands = JoinSet::new();
        for hand in 0..HANDS {
            let (config, books) = (config(options), Arc::clone(books));
            let mine: Vec<_> = cables.iter().cloned().enumerate().skip(hand).collect();
            hands.spawn(async move {
                let mut sessions = Vec::new();
                for (client, cable) in mine.into_iter().step_by(HANDS) {
                    let namespace = listening(client, Arc::clone(&books));
                    let joining = Client::new(cable).config(config.clone()).mount(namespace);
                    sessions.push((client, Arc::new(joining.connect().await?)));
                }
                Ok::<_, BoxError>(sessions)
            });
        }
        let mut sessions = Vec::new();
        while let Some(joined) = hands.join_next().await {
            sessions.extend(joined??);
        }
        sessions.sort_by_key(|(client, _)| *client);
        let sessions = sessions.into_iter().map(|(_, session)| session).collect();
        Ok(Self { cables, sessions, refusal: Arc::default() })
    }

    /// Every client says its numbered events, at its times: one each period, all of them spread
    /// over it.
    pub(crate) async fn speak(&self, options: &Options, books: &Arc<Books>, start: Instant) {
        let (period, events) = (options.period(), options.events);
        let mut voices = JoinSet::new();
        for (client, session) in self.sessions.iter().enumerate() {
            let phase = period.mul_f64(client as f64 / self.sessions.len() as f64);
            let (session, books) = (Arc::clone(session), Arc::clone(books));
            let refusal = Arc::clone(&self.refusal);
            voices.spawn(async move {
                for number in 1..=events {
                    sleep_until(start + phase + period * (number - 1)).await;
                    books.up.emit(1);
                    if let Err(error) = say(&session, &books.tick(client, number)).await {
                        let mut first = refusal.lock().unwrap_or_else(PoisonError::into_inner);
                        first.get_or_insert(error);
                    }
                }
            });
        }
        voices.join_all().await;
    }

    /// Events of the server that it could not keep, as the clients were told.
    pub(crate) fn missed(&self) -> u64 {
        self.sessions.iter().map(|session| session.stats().missed).sum()
    }

    pub(crate) fn first_refusal(&self) -> Option<String> {
        let first = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().map(ToString::to_string)
    }
}

/// Never again if it fails: an event that is not accepted is missing.
async fn say(session: &Session, tick: &Tick) -> Result<(), BoxError> {
    Ok(session.of("/")?.emit(UP, tick).await?)
}

fn listening(client: usize, books: Arc<Books>) -> Namespace {
    Namespace::new("/").on(DOWN, move |Data(tick): Data<Tick>| {
        books.heard(client, tick);
        ready(())
    })
}

/// So many connect at the same time.
const HANDS: usize = 64;
