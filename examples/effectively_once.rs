//! Orders over a wire that breaks, in sessions that end: each of them has exactly one effect.
//!
//! ```text
//! $ cargo run --example effectively_once
//! 150 orders, 162 arrivals, 4 sessions, 3 resumed links: 150 effects, one for each
//! ```
//!
//! How many arrive twice is a matter of chance.

use emitwire::middleware::{Delivery, Next, from_fn};
use emitwire::transport::Direction;
use emitwire::{
    BoxError, Chaos, Client, Config, Data, Envelope, Memory, Namespace, Reconnect, Server, State,
};
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

const ORDERS: usize = 150;
const MOMENT: Duration = Duration::from_millis(20);

/// How long an attempt may take.
const DEADLINE: Duration = Duration::from_secs(2);

type Effects = Arc<Mutex<Vec<usize>>>;

/// It is not told whether an order has been here before, and need not ask.
async fn order(Data(number): Data<usize>, State(effects): State<Effects>) -> usize {
    effects.lock().unwrap_or_else(PoisonError::into_inner).push(number);
    number
}

/// Breaks links, for shorter and for longer than a session waits for the next one.
async fn break_things(wire: Chaos<Memory>) {
    for round in 0..6 {
        sleep(3 * MOMENT).await;
        wire.cut(Direction::In); // orders go, answers do not come:
        sleep(2 * MOMENT).await; // so nobody knows what became of these
        wire.sever();
        wire.cut(Direction::Both);
        sleep(if round % 2 == 0 { MOMENT } else { 15 * MOMENT }).await;
        wire.heal(Direction::Both);
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let [arrivals, sessions, resumed] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let (arrived, began, came_back) = (arrivals.clone(), sessions.clone(), resumed.clone());
    let effects = Effects::default();
    let mut config = Config::default();
    config.resume_window = 8 * MOMENT;
    let shop = Namespace::new("/shop")
        .state(effects.clone())
        .on_connect(move || ready(began.fetch_add(1, Relaxed)))
        .on_attach(move || ready(came_back.fetch_add(1, Relaxed)))
        .on("order", order);
    let count = from_fn(move |envelope: Envelope, next: Next| {
        arrived.fetch_add(1, Relaxed);
        next.run(envelope)
    });
    let server = Server::with_config(config)
        .inbound(count) // outside of what deduplicates, so it sees each that comes
        .layers(Delivery::effectively_once(DEADLINE))
        .mount(shop)?;
    server.listen(Memory::new("once")).await?;

    let wire = Chaos::new(Memory::new("once"), 7);
    let session = Client::new(wire.clone())
        .reconnect_with(Reconnect::new().first_delay(MOMENT).early_delay_max(MOMENT, DEADLINE))
        .layers(Delivery::effectively_once(DEADLINE)) // the same at both ends
        .mount(Namespace::new("/shop"))
        .connect()
        .await?;
    let shop = session.of("/shop")?; // also when its session has ended: the layers know the next
    let breaking = tokio::spawn(break_things(wire));
    let mut orders = JoinSet::new();
    for number in 0..ORDERS {
        let shop = shop.clone();
        orders.spawn(async move { shop.emit("order", &number).ack::<usize>().await });
        sleep(MOMENT / 2).await;
    }
    let mut answered = orders.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    breaking.await?;

    let mut effects = effects.lock().unwrap_or_else(PoisonError::into_inner).clone();
    effects.sort_unstable();
    answered.sort_unstable();
    let [arrivals, sessions, resumed] = [arrivals, sessions, resumed].map(|it| it.load(Relaxed));
    print!("{ORDERS} orders, {arrivals} arrivals, {sessions} sessions, {resumed} resumed links: ");
    println!("{} effects, one for each", effects.len());
    assert!(arrivals > ORDERS && sessions > 1 && resumed > 0, "it was too quiet to show anything");
    let each_once: Vec<_> = (0..ORDERS).collect();
    assert_eq!((effects, answered), (each_once.clone(), each_once));
    Ok(())
}
