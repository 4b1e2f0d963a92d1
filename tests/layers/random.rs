//! Emits over a stack of stock layers that are given up at any poll, while links are cut: whatever
//! was accepted arrives or is counted, and nothing else arrives.

use super::support::Dice;
use super::*;
use emitwire::Stats;
use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Gives up after so many polls, or never.
struct GivenUp<F> {
    emit: Pin<Box<F>>,
    polls: Option<u64>,
}

impl<F: Future> Future for GivenUp<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(polls) = &mut self.polls {
            if *polls == 0 {
                return Poll::Ready(None);
            }
            *polls -= 1;
            // Also what nobody would wake is given up in the end.
            cx.waker().wake_by_ref();
        }
        self.emit.as_mut().poll(cx).map(Some)
    }
}

/// What became of one emit, as far as its emitter knows.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Known {
    /// It was accepted, or more than that.
    Accepted,
    /// It was dropped on its way: only the counters know how far it had come.
    GivenUp,
    /// There was an error, before or after it was accepted.
    Failed,
}

async fn emit(near: Socket, number: u64, dice: u64) -> Known {
    // The lower bits say how, those above for how long.
    let polls = (dice & 8 != 0).then_some((dice >> 8) % 40);
    let ended = match dice % 4 {
        0 => {
            let emit = Box::pin(near.emit("n", &number).into_future());
            GivenUp { emit, polls }.await.map(|it| it.is_ok())
        }
        1 => {
            let emit = Box::pin(near.emit("n", &number).received().into_future());
            GivenUp { emit, polls }.await.map(|it| it.is_ok())
        }
        // What it does not take at once, it gives up.
        2 => near.try_emit("n", &number).is_ok().then_some(true),
        _ => {
            let emit = Box::pin(near.emit("n", &number).ack::<u64>().into_future());
            GivenUp { emit, polls }.await.map(|it| it.is_ok())
        }
    };
    match ended {
        Some(true) => Known::Accepted,
        Some(false) => Known::Failed,
        None => Known::GivenUp,
    }
}

fn stack() -> Layers {
    Layers::new()
        .outbound(TimeoutLayer::new(20 * SECOND))
        .outbound(attempts_of(2 * SECOND))
        .outbound(RetryLayer::new(Again::times(20, 10 * MS)))
        .per_session(|_| Pair::outbound(ConcurrencyLimitLayer::new(4)))
        .outbound(ConcurrencyLimitLayer::new(6))
}

/// Says how many were given up, and how many of these were withdrawn.
async fn world(seed: u64) -> [usize; 2] {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let heard = Arc::new(Mutex::new(HashSet::new()));
    let (hears, busy) = (Arc::clone(&heard), Arc::new(AtomicUsize::new(0)));
    let far = Namespace::new("/").concurrent(8).on("n", move |Data(number): Data<u64>| {
        let (hears, turn) = (Arc::clone(&hears), busy.fetch_add(1, Ordering::Relaxed));
        hears.lock().unwrap().insert(number);
        async move {
            if turn % 5 == 0 {
                return Err(Nak::Busy { retry_after: 20 * MS });
            }
            sleep(MS).await;
            Ok(number)
        }
    });
    let mut config = Config::default();
    config.unwritten_packets_max = 16;
    let duo = Duo::with(config, (Layers::new(), far), (stack(), Namespace::new("/"))).await;
    let mut tasks = Vec::new();
    for number in 0..300u64 {
        tasks.push(tokio::spawn(emit(duo.near(), number, dice.roll())));
        match dice.roll() % 64 {
            0..2 => duo.cut().await,
            2..6 => duo.heal().await,
            6..12 => sleep(MS).await,
            _ => tokio::task::yield_now().await,
        }
    }
    duo.heal().await;
    let mut known = Vec::new();
    for task in tasks {
        known.push(within(task).await.unwrap());
    }
    law(|| duo.session.stats()).await;
    let here = || duo.session.stats();
    becomes(|| here().waiting, 0).await;
    becomes(|| duo.server.stats().events_in, here().events_out).await;
    becomes(|| duo.server.stats().handled + duo.server.stats().refused, here().events_out).await;
    assert_eq!(here().lost + here().in_doubt + here().overflowed, 0);
    let heard = heard.lock().unwrap();
    check(seed, &known, &heard, &here())
}

fn check(seed: u64, known: &[Known], heard: &HashSet<u64>, here: &Stats) -> [usize; 2] {
    let of = |which: Known| (0..).zip(known).filter(move |(_, known)| **known == which);
    let missing: Vec<u64> =
        of(Known::Accepted).map(|(number, _)| number).filter(|it| !heard.contains(it)).collect();
    assert!(missing.is_empty(), "seed {seed}: accepted, and never heard: {missing:?}");
    let never = of(Known::GivenUp).filter(|(number, _)| !heard.contains(number)).count();
    assert_eq!(here.withdrawn as usize, never, "seed {seed}: given up, and never heard");
    let given_up = of(Known::GivenUp).count();
    println!("seed {seed}: {given_up} given up, {never} withdrawn, {} sent", here.events_out);
    [given_up, never]
}

#[tokio::test(start_paused = true)]
async fn whatever_is_given_up_at_any_poll_is_withdrawn_or_arrives_over_any_links() {
    let mut sums = [0; 2];
    for seed in 1..=8 {
        let more = world(seed).await;
        sums = std::array::from_fn(|place| sums[place] + more[place]);
    }
    let [given_up, withdrawn] = sums;
    assert!(withdrawn > 100 && given_up > withdrawn + 100, "{sums:?}");
}
