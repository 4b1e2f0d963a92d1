//! A link is lost, and another takes its place.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_said_during_a_cut_arrives_once_and_in_order_both_ways() {
    let stage = Stage::new().await;
    let (near, far) = (stage.near(), stage.far());
    for value in 0..5_u64 {
        near.emit("n", &value).await.unwrap();
        far.emit("n", &value).await.unwrap();
    }
    stage.wire.sever();
    settle().await;
    assert!(near.ended().is_none() && far.ended().is_none());
    for value in 5..10_u64 {
        near.emit("n", &value).await.unwrap();
        far.emit("n", &value).await.unwrap();
    }
    stage.attached().await;
    assert_eq!(stage.session.outcome(), Outcome::Resumed);
    assert!(near.recovered() && far.recovered());
    for diary in [&stage.here, &stage.there] {
        let notes = diary.take();
        let numbers: Vec<u64> = notes.iter().filter_map(|note| note.parse().ok()).collect();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "{notes:?}");
        let others: Vec<_> = notes.iter().filter(|note| note.parse::<u64>().is_err()).collect();
        assert_eq!(others, ["detached: the link was lost", "attached: Resumed"]);
    }
}
