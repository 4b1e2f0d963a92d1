//! A server goes away and a new one comes: what was emitted meanwhile arrives there, in order.
//!
//! ```text
//! $ cargo run --example buffer
//! the first server hears 1, 2
//! nobody is there: 4 events are kept
//! given up: blink, it was not received within 100ms
//! the second server hears 3, 4, 5, under the ids that they were emitted with
//! received 5, undelivered 1, kept 0
//! ```

use emitwire::middleware::{Buffer, Next, from_fn};
use emitwire::{
    BoxError, Client, Config, Data, Endpoint, Envelope, Event, EventId, Namespace, Reconnect,
    Server,
};
use std::future::{Future, ready};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

const MOMENT: Duration = Duration::from_millis(100);

type Readings = UnboundedReceiver<(EventId, u32)>;

/// A server that knows nothing of the one before.
async fn serve() -> Result<(Server, Readings), BoxError> {
    let (hears, heard) = unbounded_channel();
    let note = move |event: Event, Data(number)| ready(hears.send((event.id, number)).is_ok());
    let mut config = Config::default();
    config.drain_spread = MOMENT; // its clients come back spread over this
    let server = Server::with_config(config).mount(Namespace::new("/").on("reading", note))?;
    server.listen(Endpoint::new("mem://buffer")?).await?;
    Ok((server, heard))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (first, mut heard) = serve().await?;
    let (tells, mut given_up) = unbounded_channel();
    let (emits, mut ids) = unbounded_channel();
    let buffer = Buffer::new()
        .ttl_of(|event| (event.name == "blink").then_some(MOMENT)) // worth nothing when it is old
        .on_undelivered(move |it| drop(tells.send(format!("{}, {}", it.event.name, it.error))));
    let session = Client::new(Endpoint::new("mem://buffer")?)
        .reconnect_with(Reconnect::new().first_delay(MOMENT).early_delay_max(MOMENT, 100 * MOMENT))
        .outbound(from_fn(move |envelope: Envelope, next: Next| {
            // Outside of the buffer each event is seen once, when it is emitted.
            let _ = emits.send(envelope.event().id);
            next.run(envelope)
        }))
        .layers(buffer.clone())
        .mount(Namespace::new("/"))
        .connect()
        .await?;
    let socket = session.of("/")?;
    socket.emit("reading", &1).ack::<bool>().await?;
    socket.emit("reading", &2).ack::<bool>().await?;
    println!("the first server hears {}", expect(&mut heard, &mut ids, [1, 2]).await?);

    first.run_until(ready(())).await; // it takes its leave, and its sessions with it
    socket.emit("reading", &3).await?; // ready when it is kept, although this socket has ended
    socket.emit("reading", &4).await?;
    socket.emit("reading", &5).await?;
    socket.emit("blink", &()).await?;
    println!("nobody is there: {} events are kept", buffer.stats().events);
    println!("given up: {}", in_time(given_up.recv()).await?);

    let (_second, mut heard) = serve().await?;
    let numbers = expect(&mut heard, &mut ids, [3, 4, 5]).await?;
    println!("the second server hears {numbers}, under the ids that they were emitted with");
    let receipts = async {
        while buffer.stats().events > 0 {
            sleep(MOMENT / 10).await;
        }
    };
    timeout(100 * MOMENT, receipts).await?;
    let stats = buffer.stats();
    println!(
        "received {}, undelivered {}, kept {}",
        stats.received, stats.undelivered, stats.events
    );
    assert_eq!((stats.received, stats.undelivered), (5, 1));
    Ok(())
}

/// Each of them once, in order, as the event that was emitted.
async fn expect<const N: usize>(
    heard: &mut Readings,
    ids: &mut UnboundedReceiver<EventId>,
    numbers: [u32; N],
) -> Result<String, BoxError> {
    for number in numbers {
        assert_eq!(in_time(heard.recv()).await?, (in_time(ids.recv()).await?, number));
    }
    Ok(numbers.map(|number| number.to_string()).join(", "))
}

async fn in_time<T>(future: impl Future<Output = Option<T>>) -> Result<T, BoxError> {
    let something = timeout(100 * MOMENT, future).await?;
    something.ok_or_else(|| "nobody says it any more".into())
}
