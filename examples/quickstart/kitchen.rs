//! The server's side: one namespace, one room, and what is answered there.

use emitwire::{ConnectRequest, Data, EmitError, Event, Namespace, Refusal, Socket, Unhandled};
use serde::{Deserialize, Serialize};
use std::future::ready;
use std::sync::Arc;
use tokio::sync::Notify;

/// Where everybody is.
pub(crate) const KITCHEN: &str = "/kitchen";

/// The room of those who share the table.
pub(crate) const TABLE: &str = "table";

const BOWLS: u32 = 12;

/// What a guest shows at the door.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) word: String,
    pub(crate) greeting: String,
}

impl Card {
    pub(crate) fn new(name: &str, word: &str, greeting: &str) -> Self {
        let [name, word, greeting] = [name, word, greeting].map(str::to_owned);
        Self { name, word, greeting }
    }
}

/// Something said, shared or handed over.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) from: String,
    pub(crate) text: String,
}

/// How many bowls somebody would like.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) bowls: u32,
}

/// When they will be there.
#[derive(Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) minutes: u32,
}

/// All handlers and hooks. `lights_out` is told when somebody says good night.
pub(crate) fn kitchen(lights_out: Arc<Notify>) -> Namespace {
    Namespace::new(KITCHEN)
        .authorize(check_card)
        .on_connect(welcome)
        .on("say", pass_on)
        .on("recipe", pass_on)
        .on("plate", pass_on)
        .on("order", take_order)
        .on("leave", |socket: Socket| async move { socket.leave(TABLE).await })
        .on("ping", |Data(number): Data<u32>| async move { number })
        .on("good night", move || {
            lights_out.notify_one();
            ready(())
        })
        .unhandled(Unhandled::Nak)
}

/// Whoever is refused is told why, with data.
async fn check_card(request: ConnectRequest) -> Result<(), Refusal> {
    let card: Card = request.auth()?;
    match &*card.word {
        "please" => Ok(()),
        _ => Err(Refusal::with("What is the magic word, dear?")),
    }
}

/// Runs once, before any event of the socket. A guest who comes back within the resume window is
/// still in the room: it is the same socket.
async fn welcome(socket: Socket, Data(card): Data<Card>) -> Result<(), EmitError> {
    socket.join(TABLE).await?;
    let line = Line { from: card.name, text: card.greeting };
    socket.within(TABLE).emit("came", &line).await?; // all in the room, the newcomer too
    Ok(())
}

/// Whatever it is, everybody else at the table gets it. The ack says how many that are.
async fn pass_on(socket: Socket, event: Event) -> Result<usize, EmitError> {
    let fanout = socket.to(TABLE).emit(&event.name, &event.payload).await?; // all but me
    Ok(fanout.accepted)
}

/// What a handler returns is the ack; what it refuses, the nak.
async fn take_order(Data(order): Data<Order>) -> Result<Data<Promise>, Refusal> {
    if order.bowls > BOWLS {
        return Err(Refusal::with(&format!("We own {BOWLS} bowls.")));
    }
    Ok(Data(Promise { minutes: 2 * order.bowls }))
}
