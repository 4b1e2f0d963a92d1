//! Another attempt: the same event, under the same id, as often as it helps and the budget allows.
//!
//! ```text
//! $ cargo run --example retry
//! attempt 1 of the order: busy, try again in 20ms
//! attempt 2 of the order: the handler failed
//! attempt 3 of the order: the handler did not finish in time
//! attempt 4 of the order: done
//! ten orders of a shop that is shut: 17 attempts, not 80
//! the first of them: the peer refused: busy, try again in 1ms
//! ```

use emitwire::middleware::{RequireAck, Retry};
use emitwire::{
    AckError, BoxError, Client, Endpoint, Event, EventId, Layers, Nak, Namespace, Server, State,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(20);

/// The ids of all events that have come, once for each attempt.
type Attempts = Arc<Mutex<Vec<EventId>>>;

fn note(attempts: &Attempts, event: &Event) -> usize {
    let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
    attempts.push(event.id);
    attempts.len()
}

/// Fails in three ways before it does what it is to do.
async fn order(event: Event, State(attempts): State<Attempts>) -> Result<(), Nak> {
    let attempt = note(&attempts, &event);
    let said = match attempt {
        1 => Err(Nak::Busy { retry_after: MOMENT }),
        2 => Err(Nak::Failed),
        3 => Err(Nak::Timeout),
        _ => Ok(()),
    };
    let words = said.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
    println!("attempt {attempt} of the order: {words}");
    said
}

async fn shut(event: Event, State(attempts): State<Attempts>) -> Result<(), Nak> {
    note(&attempts, &event);
    Err(Nak::Busy { retry_after: MOMENT / 20 })
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let attempts = Attempts::default();
    let shop = Namespace::new("/shop").state(attempts.clone()).on("order", order).on("shut", shut);
    let server = Server::new().mount(shop)?;
    server.listen(Endpoint::new("mem://retry")?).await?; // a wire inside of this process

    // Outside stands who repeats, inside what is repeated: an attempt, and how long it may take.
    let retry = Retry::new().attempts(8).backoff(MOMENT / 20, MOMENT);
    let layers = Layers::new().and(retry.clone()).and(RequireAck::handled(50 * MOMENT));
    let client = Client::new(Endpoint::new("mem://retry")?);
    let session = client.mount(Namespace::new("/shop").layers(layers)).connect().await?;
    let shop = session.of("/shop")?;

    shop.emit("order", "a chair").await?; // it is handled when this is ready: `RequireAck`
    let ids = std::mem::take(&mut *attempts.lock().unwrap_or_else(PoisonError::into_inner));
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0]), "a second attempt is no second event");

    // Whoever is busy with everything is not helped by more: repeats are a part of all events.
    let mut errors = Vec::new();
    for _ in 0..10 {
        errors.extend(shop.emit("shut", &()).ack::<()>().await.err());
    }
    let (made, stats) = (count(&attempts), retry.stats());
    println!("ten orders of a shop that is shut: {made} attempts, not 80");
    println!("the first of them: {}", errors[0]);
    assert!(made < 25 && stats.broke > 0 && errors.len() == 10, "{made} {stats:?}");
    assert!(matches!(errors[0], AckError::Refused(Nak::Busy { .. })), "the last error is told");
    Ok(())
}

fn count(attempts: &Attempts) -> usize {
    attempts.lock().unwrap_or_else(PoisonError::into_inner).len()
}
