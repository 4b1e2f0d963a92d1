//! The tour: a few guests on different wires share one kitchen, and nothing is missed.
//!
//! ```text
//! cargo run --release --all-features --example quickstart
//! ```
//!
//! Whatever a guest should hear is written into a ledger before it is said, and again when it
//! arrives. One event too few, too many or out of order, and the program fails.
//!
//! | file | holds |
//! | --- | --- |
//! | `main.rs` | the order of the story, and its end |
//! | `story.rs` | its steps, one function each: begin here |
//! | `kitchen.rs` | the server's side: handlers and hooks |
//! | `guest.rs` | the client's side: connecting and listening |
//! | `house.rs` | what the steps share |
//! | `relay.rs`, `ledger.rs`, `transcript.rs` | tools: a link to cut, the books, the print |

mod guest;
mod house;
mod kitchen;
mod ledger;
mod relay;
mod story;
mod transcript;

use emitwire::BoxError;
use house::House;
use std::process::ExitCode;
use std::time::Duration;
use transcript::Transcript;

/// Longer than all of it ever takes.
const EVENING: Duration = Duration::from_secs(9);

#[tokio::main]
async fn main() -> ExitCode {
    let out = Transcript::new();
    let told = match tokio::time::timeout(EVENING, tell(&out)).await {
        Ok(told) => told,
        Err(_) => Err(format!("the story did not end within {EVENING:?}").into()),
    };
    match told {
        Ok(()) => {
            out.verdict(Ok(()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            out.verdict(Err(&in_full(&*error)));
            ExitCode::FAILURE
        }
    }
}

/// The story from beginning to end.
async fn tell(out: &Transcript) -> Result<(), BoxError> {
    out.plain("One kitchen, any wire, and a ledger of who should hear what.");
    out.plain("");
    let mut house = House::open(out).await?;
    out.plain("");
    story::everybody_joins(&mut house).await?;
    out.plain("");
    story::ada_speaks_to_the_room(&house).await?;
    story::bo_asks_and_is_answered(&house).await?;
    story::dee_asks_for_too_much(&house).await?;
    story::nobody_knows_how_to_juggle(&house).await?;
    story::a_stranger_is_refused(&house).await?;
    out.plain("");
    story::a_recipe_waits_for_its_listener(&house).await?;
    story::a_thousand_plates_arrive_in_order(&house).await?;
    story::steam_may_be_missed(&house).await?;
    out.plain("");
    story::dee_leaves_the_room(&house).await?;
    story::cy_is_cut_off_and_misses_nothing(&house).await?;
    out.plain("");
    let round_trips = story::each_wire_is_timed(&house).await?;
    let rows = house.rows(&round_trips);
    story::lights_out(house).await?;
    out.plain("");
    out.table(&rows);
    Ok(())
}

/// An error with its causes: each says its own level only.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
