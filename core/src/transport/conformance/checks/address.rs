//! What a wire says of itself: its capabilities, its addresses, and whether they are taken.

use super::super::breach::Breach;
use super::super::check::{Done, Verdict};
use super::super::stage::Stage;
use crate::transport::{BindError, Capabilities, Peer};

pub(super) async fn declares_enough(stage: Stage) -> Verdict {
    let Some(least) = stage.options.at_least else {
        return Done::not_asked("the suite was given no least: `at_least`");
    };
    let (pair, _listener) = stage.pair().await?;
    let wire = pair.capabilities();
    for (name, least, declared) in [
        ("reliable", least.reliable, wire.reliable),
        ("ordered", least.ordered, wire.ordered),
        ("encrypted", least.encrypted, wire.encrypted),
        ("half_close", least.half_close, wire.half_close),
    ] {
        if least && !declared {
            return Err(Breach::broken(name, format!("not {name}")));
        }
    }
    if wire.frame_bytes_max < least.frame_bytes_max {
        let expected = format!("frames of {} bytes at least", least.frame_bytes_max);
        return Err(Breach::broken(expected, format!("{}", wire.frame_bytes_max)));
    }
    // Which road volatile frames take is the wire's choice, unless it has one that is too narrow.
    match (least.datagram_bytes_max, wire.datagram_bytes_max) {
        (Some(least), Some(bytes)) if bytes < least => {
            let expected = format!("volatile frames of {least} bytes at least");
            Err(Breach::broken(expected, format!("{bytes}")))
        }
        _ => Ok(Done::Kept),
    }
}

pub(super) async fn declares_the_same(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    let mut first: Option<Capabilities> = None;
    for _ in 0..REPEATS {
        let pair = stage.meet(&mut listener).await?;
        for end in [&pair.client, &pair.server] {
            let declared = end.capabilities;
            let first = *first.get_or_insert(declared);
            if declared != first {
                return Err(Breach::broken(format!("{first:?}"), format!("{declared:?}")));
            }
        }
    }
    Ok(Done::Kept)
}

pub(super) async fn endpoint_is_reached(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    let endpoint = listener.endpoint();
    stage.doing(format!("connecting to {endpoint}, as the listener names it"));
    let mut pair = stage.meet(&mut listener).await?;
    pair.greet(1).await?;
    let scheme = Peer::new(endpoint.as_str()).scheme().to_owned();
    if scheme.is_empty() {
        return Err(Breach::broken("an endpoint with a scheme, `scheme://…`", endpoint));
    }
    for end in [&pair.client, &pair.server] {
        if end.peer.scheme() != scheme {
            let expected = format!("a peer with an endpoint of scheme {scheme}");
            return Err(Breach::broken(expected, format!("`{}`", end.peer.endpoint())));
        }
    }
    let said = (stage.connect)(&endpoint).endpoint();
    if Peer::new(said.as_str()).scheme() != scheme {
        return Err(Breach::broken(format!("a transport of scheme {scheme}"), said));
    }
    Ok(Done::Kept)
}

pub(super) async fn in_use(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    let endpoint = listener.endpoint();
    stage.doing(format!("binding {endpoint} twice"));
    match (stage.bind_at)(&endpoint).bind().await {
        Err(BindError::InUse { .. }) => {}
        Err(error) => return Err(Breach::broken("BindError::InUse", format!("{error:?}"))),
        Ok(_) => return Err(Breach::broken("BindError::InUse", "a second listener")),
    }
    stage.doing("connecting to the first listener");
    stage.meet(&mut listener).await?.greet(1).await?;
    Ok(Done::Kept)
}

/// A connection lives on meanwhile: it must not keep the address, and while it does live the
/// system gives its port to nobody else.
pub(super) async fn is_freed(stage: Stage) -> Verdict {
    let (mut pair, mut listener) = stage.pair().await?;
    for _ in 0..REPEATS {
        let endpoint = listener.endpoint();
        drop(listener);
        stage.doing(format!("binding {endpoint} again"));
        listener = stage.listen_at(&endpoint).await?;
        stage.doing("connecting to the new listener");
        let mut next = stage.meet(&mut listener).await?;
        next.greet(1).await?;
        // The old connection goes on, or ends; it is no longer asked.
        pair = next;
    }
    drop(pair);
    Ok(Done::Kept)
}

pub(super) async fn nobody(stage: Stage) -> Verdict {
    let mut answered = String::new();
    // Somebody else on this machine may have got the address meanwhile, but not every time.
    for _ in 0..REPEATS {
        let listener = stage.listen().await?;
        let endpoint = listener.endpoint();
        drop(listener);
        stage.doing(format!("waiting for an error from {endpoint}, where nobody listens"));
        match (stage.connect)(&endpoint).connect().await {
            Err(_) => return Ok(Done::Kept),
            Ok(connection) => answered = connection.peer().endpoint().to_owned(),
        }
    }
    Err(Breach::broken("a ConnectError", format!("a connection to {answered}")))
}

/// How often something is done of which once may be luck.
const REPEATS: usize = 3;
