//! The task of a connection ends with what it serves.

use crate::support::{
    DIRECTIONS, Duo, SEED, assert_same, bytes, duo, fresh, memory, ms, numbered, numbers, settle,
    tasks,
};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{Chaos, Direction, Faults, Memory};
use std::io;
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;

type Trouble = fn(&Chaos<Memory>);

#[tokio::test(start_paused = true)]
async fn no_task_survives_the_wrapped_end() {
    let troubles: [(&str, Trouble); 8] = [
        ("none", |_| {}),
        ("delay", |it| it.set(Direction::Both, Faults::new().delay(ms(1_000_000)))),
        ("rate", |it| it.set(Direction::Both, Faults::new().bytes_per_second(1))),
        ("cut", |it| it.cut(Direction::Both)),
        ("cut of what is late", |it| {
            it.set(Direction::Both, Faults::new().delay(ms(1_000_000)));
            it.cut(Direction::Both);
        }),
        ("cut out", |it| it.cut(Direction::Out)),
        ("stall", |it| it.stall()),
        ("late", |it| it.set(Direction::Both, Faults::new().reordering(1.0))),
    ];
    for (what, trouble) in troubles {
        for closes in [false, true] {
            for reads in [false, true] {
                let name = format!("tasks {what} {closes} {reads}");
                let chaos = Chaos::new(memory(&name).capacity_bytes(500), SEED);
                let chaos = chaos.capacity_bytes(1000);
                let Duo { mut near, mut far } = duo(&chaos).await;
                trouble(&chaos);
                // More than the other end has room for, who may read nothing.
                let _ = near.try_write(&mut (0..100).map(|_| bytes(100)).collect());
                let _ = far.try_write(&mut (0..100).map(|_| bytes(100)).collect());
                settle().await;
                let _ = near.try_read();
                if closes {
                    near.close().await;
                }
                assert_eq!(tasks(), 1, "{what}");
                drop(near);
                // As long as all of it travels, and ten seconds more.
                let long = ms(1_011_000);
                let reading = async {
                    if reads {
                        let _ = timeout(long, far.read_to_end()).await;
                    }
                };
                tokio::join!(reading, tokio::time::sleep(long));
                settle().await;
                assert_eq!(tasks(), 0, "{what}, closes: {closes}, reads: {reads}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_its_task_at_once() {
    for closes in [false, true] {
        let (_chaos, duo) = fresh("idle", Direction::Both).await;
        let Duo { mut near, far } = duo;
        if closes {
            near.close().await;
        }
        drop(near);
        settle().await;
        assert_eq!(tasks(), 0);
        drop(far);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_outlives_the_handle_and_its_listener() {
    let (chaos, mut duo) = fresh("outlives", Direction::Both).await;
    chaos.set(Direction::Both, Faults::new().delay(ms(100)));
    drop(chaos);
    for direction in DIRECTIONS {
        let (writer, reader) = duo.way(direction);
        writer.write(numbered(3)).await.unwrap();
        assert_same(numbers(&reader.read_frames(3).await), vec![0, 1, 2], direction);
    }
}

#[test]
fn a_writer_whose_runtime_is_gone_hears_that_nobody_writes_for_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (_chaos, mut duo) = runtime.block_on(fresh("runtime", Direction::Both));
    drop(runtime);
    let mut batch = numbered(1).collect();
    let Poll::Ready(Err(error)) = duo.near.try_write(&mut batch) else { panic!("it was taken") };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_from_another_thread_lose_nothing() {
    let chaos = Chaos::new(memory("threads").capacity_bytes(2000), SEED).capacity_bytes(2000);
    let Duo { mut near, mut far } = duo(&chaos).await;
    let changing = tokio::task::spawn_blocking(move || {
        for round in 0..2000 {
            let direction = DIRECTIONS[round % 2];
            chaos.cut(direction);
            chaos.set(direction, Faults::new().jitter(Duration::from_micros(100)));
            chaos.stall();
            chaos.heal(direction);
            chaos.resume();
        }
    });
    let there = tokio::spawn(async move {
        for number in 0..3000_u32 {
            near.write([Frame::ordered(number.to_be_bytes().to_vec())]).await.unwrap();
        }
        let (read, end) = near.read_to_end().await;
        assert!(end.is_ok());
        (near, read)
    });
    let back = async {
        let read = far.read_frames(3000).await;
        assert_eq!(numbers(&read), (0..3000).collect::<Vec<_>>());
        far.write(read).await.unwrap();
        far.close().await;
        let (_near, read) = there.await.unwrap();
        assert_eq!(numbers(&read), (0..3000).collect::<Vec<_>>());
        changing.await.unwrap();
    };
    // This clock is the real one.
    timeout(ms(60_000), back).await.expect("in time");
}
