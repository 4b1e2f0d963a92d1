//! What goes wrong with a client's wire, and with the client.

use super::chance::Chance;
use super::world::World;
use super::{actors, engine};
use emitwire::{Direction, Faults};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Kinds of trouble, with how often each comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Sever,
    ShortCut,
    LongCut,
    TakeOver,
    Away,
    Weather,
    Slow,
    Stall,
    Close,
    Dismiss,
    Hop,
    Restart,
}

const TROUBLES: [(u64, Trouble); 12] = [
    (20, Trouble::Sever),
    (15, Trouble::ShortCut),
    (7, Trouble::LongCut),
    (15, Trouble::TakeOver),
    (10, Trouble::Away),
    (8, Trouble::Weather),
    (6, Trouble::Slow),
    (5, Trouble::Stall),
    (6, Trouble::Close),
    (3, Trouble::Dismiss),
    (12, Trouble::Hop),
    (8, Trouble::Restart),
];

/// With one of these a client begins, so that each world has as many cuts as clients.
const CUTS: [(u64, Trouble); 3] =
    [(2, Trouble::Sever), (1, Trouble::ShortCut), (2, Trouble::TakeOver)];

/// What every session outlives, unless it is one of a slow member.
const MILD: [(u64, Trouble); 5] = [
    (4, Trouble::ShortCut),
    (2, Trouble::Weather),
    (2, Trouble::Slow),
    (2, Trouble::Stall),
    (2, Trouble::Hop),
];

impl Trouble {
    /// Whether the session of whom it comes to ends by it.
    fn ends_sessions(self) -> bool {
        matches!(self, Self::Close | Self::Dismiss | Self::Restart)
    }
}

/// One client has trouble, again and again.
pub(crate) async fn maker(world: Arc<World>, number: usize) {
    let mut chance = world.chance(300 + number as u64);
    for round in 0..world.plan.troubles_each {
        tokio::time::sleep(chance.millis(500, 4_000)).await;
        let is_mild = world.plan.is_mild;
        let mut trouble = match (round, is_mild) {
            (0, true) => Trouble::ShortCut,
            (0, false) => chance.weighted(&CUTS),
            (_, true) => chance.weighted(&MILD),
            (_, false) => chance.weighted(&TROUBLES),
        };
        if world.plan.is_steady && trouble.ends_sessions() {
            trouble = Trouble::Away;
        }
        let lasts = chance.millis(100, if is_mild { 1_200 } else { 2_500 });
        match trouble {
            Trouble::Close => {
                world.trouble(number, "closes, and comes anew");
                world.cover("close");
                world.guests[number].depart().await;
                tokio::time::sleep(lasts).await;
                world.guests[number].arrive(&world).await;
            }
            Trouble::Dismiss => dismiss(&world, number, lasts).await,
            Trouble::Hop => hop(&world, number).await,
            Trouble::Restart => {
                let is_noticed = chance.percent(50);
                // Now and then what the one before has asked for is still being answered.
                let after = if chance.percent(50) { Duration::from_millis(5) } else { lasts / 2 };
                world.guests[number].restart(&world, after, is_noticed).await;
            }
            Trouble::Weather => {
                let delay = chance.millis(2, 120);
                let weather = Faults::new().delay(delay).jitter(chance.millis(0, 80));
                world.trouble(number, &format!("{delay:?} of delay"));
                world.cover("delay");
                world.guests[number].cables().set_weather(weather);
            }
            on_the_wire => {
                let direction = [Direction::Both, Direction::In, Direction::Out][chance.below(3)];
                let bytes = chance.between(500, 20_000);
                let path = world.guests[number].paths[0];
                let mut others = JoinSet::new();
                let is_silent = matches!(on_the_wire, Trouble::LongCut | Trouble::TakeOver);
                if world.plan.is_tiny && is_silent && chance.percent(30) {
                    // More than is kept for somebody who reads none of it.
                    let (world, mut chance) = (Arc::clone(&world), Chance::new(chance.draw(), 0));
                    others.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        let mut others = JoinSet::new();
                        actors::flood(&world, path, &mut chance, 40, &mut others).await;
                        while others.join_next().await.is_some() {}
                    });
                }
                wire(&world, number, on_the_wire, lasts, (direction, bytes)).await;
                while others.join_next().await.is_some() {}
            }
        }
    }
}

/// Trouble of the present cable.
async fn wire(
    world: &World,
    number: usize,
    trouble: Trouble,
    lasts: Duration,
    (direction, bytes): (Direction, u64),
) {
    let cables = world.guests[number].cables();
    let Some(cable) = cables.last() else { return };
    match trouble {
        Trouble::Sever => {
            world.trouble(number, "its cable breaks");
            world.cover("sever");
            cable.sever();
        }
        Trouble::Away => {
            let lasts = 3 * lasts;
            world.trouble(number, &format!("its cable breaks, no other for {lasts:?}"));
            world.cover("away");
            cables.set_unreachable(true);
            cable.sever();
            tokio::time::sleep(lasts).await;
            cables.set_unreachable(false);
        }
        Trouble::ShortCut => {
            world.trouble(number, &format!("silence {direction:?} for {lasts:?}"));
            world.cover("silent cut");
            cable.cut(direction);
            tokio::time::sleep(lasts).await;
            world.trouble(number, "the silence is over");
            cable.heal();
        }
        Trouble::LongCut => {
            world.trouble(number, "silence until somebody notices");
            world.cover("silence noticed");
            cable.cut(direction);
            tokio::time::sleep(Duration::from_secs(6) + lasts).await;
            world.trouble(number, "the old silence is over");
            cable.heal();
        }
        Trouble::TakeOver => {
            world.trouble(number, "its plug breaks, the server does not notice");
            world.cover("unnoticed break");
            cable.sever_unnoticed();
            tokio::time::sleep(2 * lasts).await;
            world.trouble(number, "what was on the broken cable arrives");
            cable.heal();
        }
        _ => {
            let pace = (trouble == Trouble::Slow).then_some(bytes);
            world.trouble(number, &format!("reads {pace:?} bytes a second for {lasts:?}"));
            world.cover(if pace.is_some() { "slow reader" } else { "stalled reader" });
            cable.slow(pace);
            tokio::time::sleep(lasts).await;
            cable.mend();
        }
    }
}

/// The server ends one socket of several; after a while its client comes anew.
async fn dismiss(world: &World, number: usize, lasts: Duration) {
    let guest = &world.guests[number];
    let (Some(socket), true) = (guest.socket(guest.paths[0]), guest.paths.len() > 1) else {
        return;
    };
    if let Some(socket) = world.server.socket(guest.paths[0], socket.id()) {
        world.trouble(number, "the server dismisses one of its sockets");
        world.cover("dismissal");
        socket.disconnect("enough");
        tokio::time::sleep(lasts).await;
        guest.depart().await;
        guest.arrive(world).await;
    }
}

async fn hop(world: &World, number: usize) {
    let guest = &world.guests[number];
    let Some(session) = guest.session.lock().unwrap().clone() else { return };
    let (words, has_hopped) = engine::hop(&session, guest.cables()).await;
    world.trouble(number, &format!("hops to another wire: {words}"));
    if has_hopped {
        world.cover("hop");
    }
}
