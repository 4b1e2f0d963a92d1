//! The steps of the story, in order. Each says something, waits for what comes of it, and prints
//! what really came.

use crate::guest::{Guest, Invitation, PATIENCE, config};
use crate::house::{House, in_time};
use crate::kitchen::{Card, KITCHEN, Order, Promise, TABLE};
use crate::transcript::{quoted, said, thousands};
use emitwire::{AckError, BoxError, Client, ConnectError, Nak, Namespace, Socket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What guests listen to from the beginning; Bo has not thought of the last one.
const EVENTS: [&str; 4] = ["came", "say", "plate", "recipe"];

/// What each guest hands round.
const PLATES: usize = 250;
const PUFFS: usize = 900;
const ROUND_TRIPS: u32 = 300;

/// Connecting is joining: the server's `on_connect` puts each socket into the room.
pub(crate) async fn everybody_joins(house: &mut House<'_>) -> Result<(), BoxError> {
    for invitation in house.invitations() {
        let Invitation { name, hello, wire, .. } = invitation;
        let events: &[_] = if name == "Bo" { &EVENTS[..3] } else { &EVENTS };
        house.books.hooks.expect(name, "on_connect", "", "");
        let guest = Guest::arrive(invitation, events, &house.books).await?;
        let hello = guest.line(hello);
        house.guests.push(guest);
        house.expect(&house.all_but(&[]), "came", &hello);
        let heard = house.heard("came", &hello).await?;
        let detail = format!("by {wire}: {}, heard by {heard}", quoted(&hello.text));
        house.out.line(name, "join", detail);
    }
    Ok(())
}

/// `emit` is done when the event is accepted; a handler of the server passes it on to the room.
pub(crate) async fn ada_speaks_to_the_room(house: &House<'_>) -> Result<(), BoxError> {
    let ada = house.guest("Ada");
    let line = ada.line("Soup's on! Mind the lid.");
    house.expect(&house.all_but(&["Ada"]), "say", &line);
    ada.socket()?.emit("say", &line).await?;
    house.out.line("Ada", "emit", said("say", &line.text));
    let heard = house.heard("say", &line).await?;
    house.out.line("server", "broadcast", format!("to the room but Ada; heard by {heard}"));
    Ok(())
}

/// With `.ack()` one waits for the handler's answer, a value of any serde type.
pub(crate) async fn bo_asks_and_is_answered(house: &House<'_>) -> Result<(), BoxError> {
    house.out.line("Bo", "emit + ack", said("order", "Three bowls, if it is no trouble."));
    let order = Order { bowls: 3 };
    let promise: Promise = house.guest("Bo").socket()?.emit("order", &order).ack().await?;
    house.out.line("server", "ack", format!("ready in {} minutes", promise.minutes));
    Ok(())
}

/// A handler may refuse, with data for the sender.
pub(crate) async fn dee_asks_for_too_much(house: &House<'_>) -> Result<(), BoxError> {
    house.out.line("Dee", "emit + ack", said("order", "I dreamt of four hundred bowls. May I?"));
    let order = Order { bowls: 400 };
    let answer = house.guest("Dee").socket()?.emit("order", &order).ack::<Promise>().await;
    let Err(AckError::Refused(Nak::Rejected(data))) = answer else {
        return Err("nobody refused four hundred bowls".into());
    };
    house.out.line("server", "nak", format!("rejected: {}", quoted(&data.decode::<String>()?)));
    Ok(())
}

/// What no listener takes does not vanish: the sender is told.
pub(crate) async fn nobody_knows_how_to_juggle(house: &House<'_>) -> Result<(), BoxError> {
    house.out.line("Cy", "emit + ack", said("juggle", "Five lemons. Bet you can't."));
    let answer = house.guest("Cy").socket()?.emit("juggle", &5).ack::<()>().await;
    let Err(AckError::Refused(nak @ Nak::NoHandler)) = answer else {
        return Err("somebody can juggle, without a handler for it".into());
    };
    house.out.line("server", "nak", nak);
    Ok(())
}

/// `authorize` decides who gets in, and tells the others why not.
pub(crate) async fn a_stranger_is_refused(house: &House<'_>) -> Result<(), BoxError> {
    house.out.line("Mo", "connect", quoted("Let me in. Now."));
    let client = Client::new(house.doors[0].1.clone())
        .config(config())
        .auth(&Card::new("Mo", "now", "At last."))
        .mount(Namespace::new(KITCHEN));
    let Err(ConnectError::Refused { payload, .. }) = client.connect().await else {
        return Err("a stranger was not refused".into());
    };
    house.out.line("server", "refused", quoted(&payload.decode::<String>()?));
    Ok(())
}

/// An event that comes before its listener is parked, and delivered when there is one.
pub(crate) async fn a_recipe_waits_for_its_listener(house: &House<'_>) -> Result<(), BoxError> {
    let (ada, bo) = (house.guest("Ada"), house.guest("Bo"));
    let recipe = ada.line("Onions first, then patience.");
    house.expect(&house.all_but(&["Ada", "Bo"]), "recipe", &recipe);
    ada.socket()?.emit("recipe", &recipe).await?;
    house.out.line("Ada", "emit", said("recipe", &recipe.text));
    let heard = house.heard("recipe", &recipe).await?;
    house.out.line("server", "broadcast", format!("heard by {heard}"));
    until("Bo's parked event", bo, || bo.session.stats().parked == 1).await?;
    house.out.line("Bo", "parked", "1 recipe: Bo has no listener for it yet");
    house.expect(&["Bo"], "recipe", &recipe);
    bo.listen("recipe");
    house.heard("recipe", &recipe).await?;
    house.out.line("Bo", "on", "adds the listener, and there is the recipe");
    Ok(())
}

/// A burst from everyone at once: each hears all the others, each of them in order.
pub(crate) async fn a_thousand_plates_arrive_in_order(house: &House<'_>) -> Result<(), BoxError> {
    let mut hands = JoinSet::new();
    for guest in &house.guests {
        let lines: Vec<_> = (1..=PLATES).map(|number| guest.line(number)).collect();
        for line in &lines {
            house.expect(&house.all_but(&[guest.name]), "plate", line);
        }
        let socket = guest.socket()?;
        hands.spawn(async move {
            for line in &lines {
                socket.emit("plate", line).await?;
            }
            Ok::<_, BoxError>(())
        });
    }
    for handed in in_time("all plates", hands.join_all()).await? {
        handed?;
    }
    house.books.events.settled(PATIENCE).await?;
    house.books.events.verdict()?;
    let guests = house.guests.len();
    let plates = thousands(guests * PLATES);
    let heard = thousands(guests * (guests - 1) * PLATES);
    house.out.line("all", "emit", format!("plate: {plates} of them, from everyone at once"));
    house.out.line("all", "heard", format!("{heard} plates: each of them once, and in order"));
    Ok(())
}

/// A volatile event never waits: whoever is not ready misses it, and the miss is counted.
pub(crate) async fn steam_may_be_missed(house: &House<'_>) -> Result<(), BoxError> {
    let (awake, dozing) = (watch::Sender::new(true), watch::Sender::new(false));
    let mut seen = Vec::new();
    for guest in &house.guests {
        let eyes = if guest.name == "Dee" { &dozing } else { &awake };
        seen.push((guest.name, guest.count("steam", eyes.subscribe())));
    }
    for puff in 0..PUFFS {
        house.server.of(KITCHEN).to(TABLE).emit("steam", &puff).volatile().await?;
    }
    let sent = PUFFS * house.guests.len();
    let on_the_way_out = || house.server.stats().volatile_dropped as usize;
    let arrived = || house.sum(|stats| stats.volatile_in);
    let dropped = || house.sum(|stats| stats.volatile_missed) + on_the_way_out();
    let heard = || seen.iter().map(|(_, count)| count.load(Ordering::Relaxed)).sum::<usize>();
    let dee = house.guest("Dee");
    let settled = until("the steam", dee, || arrived() + on_the_way_out() == sent).await;
    // A datagram may be lost, and then nobody knows; on other wires it is a fault.
    let by_datagrams = house.doors.iter().any(|(wire, _)| *wire == "quic");
    let lost = if by_datagrams { sent - arrived() - on_the_way_out() } else { 0 };
    if lost == 0 {
        settled?;
    }
    dozing.send_replace(true);
    until("the steam that Dee saw", dee, || heard() + dropped() + lost == sent).await?;
    let count = |(name, count): &(&str, Arc<AtomicUsize>)| {
        format!("{name} {}", thousands(count.load(Ordering::Relaxed)))
    };
    let counts = seen.iter().map(count).collect::<Vec<_>>().join(", ");
    let puffs = thousands(PUFFS);
    house.out.line("server", "volatile", format!("steam: {puffs} puffs, which may be missed"));
    house.out.line("all", "heard", counts);
    let lost = if lost > 0 { format!("; {lost} lost on their way") } else { String::new() };
    let dropped = thousands(dropped());
    house.out.line("all", "dropped", format!("{dropped}, each of them counted{lost}"));
    Ok(())
}

/// Who has left a room hears nothing of it any more.
pub(crate) async fn dee_leaves_the_room(house: &House<'_>) -> Result<(), BoxError> {
    let (ada, dee) = (house.guest("Ada"), house.guest("Dee"));
    dee.socket()?.emit("leave", &()).ack::<()>().await?;
    house.out.line("Dee", "leave", quoted("The moon is out. I'll be on the porch."));
    let line = ada.line("Who took the ladle?");
    house.expect(&house.all_but(&["Ada", "Dee"]), "say", &line);
    ada.socket()?.emit("say", &line).await?;
    house.out.line("Ada", "emit", said("say", &line.text));
    let heard = house.heard("say", &line).await?;
    ping(&dee.socket()?, 0).await?; // had anything been on its way to Dee, it would be here by now
    house.books.events.verdict()?;
    house.out.line("server", "broadcast", format!("heard by {heard}; Dee hears crickets"));
    Ok(())
}

/// A session outlives its link: what both sides say meanwhile waits, and nothing is missed.
pub(crate) async fn cy_is_cut_off_and_misses_nothing(house: &House<'_>) -> Result<(), BoxError> {
    let (bo, cy) = (house.guest("Bo"), house.guest("Cy"));
    let (socket, why) = (cy.socket()?, "the link was lost");
    house.books.hooks.expect("Cy", "on_detach", "", why);
    house.relay.cut();
    house.books.hooks.settled(PATIENCE).await?;
    house.out.line("Cy", "on_detach", format!("{why}: somebody cut the cable"));
    let asked = bo.line("Cy? We kept you a bowl.");
    house.expect(&house.all_but(&["Bo", "Dee"]), "say", &asked);
    let hearers: usize = bo.socket()?.emit("say", &asked).ack().await?;
    house.out.line("Bo", "emit", format!("{}, for {hearers}", said("say", &asked.text)));
    let answer = cy.line("It's dark in here. Save me some bread.");
    house.expect(&house.all_but(&["Cy", "Dee"]), "say", &answer);
    socket.emit("say", &answer).await?;
    house.out.line("Cy", "emit", format!("{}, which waits", said("say", &answer.text)));

    house.books.hooks.expect("Cy", "on_attach", "", "Resumed");
    house.relay.mend();
    house.books.hooks.settled(PATIENCE).await?;
    house.out.line("Cy", "on_attach", "resumed, by itself: the same socket in the same room");
    let heard = house.heard("say", &asked).await?;
    house.out.line("server", "broadcast", format!("what Bo said, heard by {heard}"));
    let heard = house.heard("say", &answer).await?;
    house.out.line("server", "broadcast", format!("what Cy said, heard by {heard}"));
    if cy.socket()?.id() != socket.id() || !socket.recovered() {
        return Err("Cy came back as somebody else".into());
    }
    Ok(())
}

/// Round trips on all wires, in turn, so that they meet the same conditions.
pub(crate) async fn each_wire_is_timed(house: &House<'_>) -> Result<Vec<Vec<Duration>>, BoxError> {
    let mut sockets = Vec::new();
    for (wire, _) in &house.doors {
        // Never Cy, whose relay would be timed too.
        let first = house.guests.iter().find(|guest| guest.wire == *wire);
        sockets.push(first.ok_or("there is a wire without a guest")?.socket()?);
    }
    let timing = tokio::spawn(async move {
        let mut all = vec![Vec::new(); sockets.len()];
        for number in 0..ROUND_TRIPS {
            for (socket, round_trips) in sockets.iter().zip(&mut all) {
                let asked = Instant::now();
                ping(socket, number).await?;
                round_trips.push(asked.elapsed());
            }
        }
        Ok(all)
    });
    in_time("all round trips", timing).await??
}

/// `run_until` ends in order: nothing new is taken, handlers finish, everybody is told.
pub(crate) async fn lights_out(house: House<'_>) -> Result<(), BoxError> {
    let why = "the server is draining";
    for guest in &house.guests {
        house.books.hooks.expect(guest.name, "on_disconnect", "", why);
    }
    house.out.line("Ada", "emit + ack", said("good night", "Sleep well, all of you."));
    house.guest("Ada").socket()?.emit("good night", &()).ack::<()>().await?;
    in_time("the server to drain", house.serving).await??;
    house.books.hooks.settled(PATIENCE).await?;
    house.out.line("all", "on_disconnect", why);
    for guest in house.guests {
        in_time("a guest to go home", guest.session.close()).await?; // or it would come back
    }
    let stats = house.server.stats();
    let (left, handled) = (stats.sessions, thousands(stats.handled as usize));
    let detail = format!("{left} sessions left, {handled} events handled, {} lost", stats.lost);
    house.out.line("server", "run_until", detail);
    house.books.events.verdict()?;
    house.books.hooks.verdict()?;
    Ok(())
}

/// One round trip. The answer to a number is that number.
async fn ping(socket: &Socket, number: u32) -> Result<(), BoxError> {
    let answer: u32 = socket.emit("ping", &number).ack().await?;
    if answer == number { Ok(()) } else { Err(format!("{number} came back as {answer}").into()) }
}

/// Waits until counters say so: looks again after each round trip.
async fn until(what: &str, guest: &Guest, done: impl Fn() -> bool) -> Result<(), BoxError> {
    let looking = async {
        while !done() {
            ping(&guest.socket()?, 0).await?;
        }
        Ok(())
    };
    in_time(what, looking).await?
}
