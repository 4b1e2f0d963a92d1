//! The client: what it shows, and what it does when the server goes away and returns.

use crate::me::Me;
use crate::typed::typed;
use crate::{CHAT, show};
use emitwire::{
    AckError, Args, BoxError, Client, Data, DisconnectReason, Endpoint, Nak, Namespace, Outcome,
    Socket,
};
use std::future::ready;
use tokio::sync::mpsc;

pub(crate) async fn join(url: &str, name: &str) -> Result<(), BoxError> {
    let (begins, mut begun) = mpsc::unbounded_channel();
    let chat = Namespace::new(CHAT)
        .on("said", |Args((name, text)): Args<(String, String)>| async move {
            show(&format!("{name}: {text}"));
        })
        .on("told", |Args((name, text)): Args<(String, String)>| async move {
            show(&format!("{name}, to you alone: {text}"));
        })
        .on("notice", |Data(news): Data<String>| async move { show(&format!("* {news}")) })
        .on_connect(move |socket: Socket| ready(begins.send(socket).is_ok()))
        .on_detach(|reason: DisconnectReason| async move {
            show(&format!("* the server cannot be reached ({reason}), trying again"));
        })
        .on_attach(back)
        .on_disconnect(gone);
    let session = Client::new(Endpoint::new(url)?).mount(chat).connect().await?;
    let mut me = Me::new(name, session.of(CHAT)?);
    let (mut lines, hurry) = typed();
    let talk = async {
        loop {
            tokio::select! {
                biased; // whoever has just connected says who it is before anything else
                Some(socket) = begun.recv() => me.begin(socket).await?,
                line = lines.recv() => match line {
                    Some(line) => me.type_in(&line).await,
                    None => return Ok::<(), BoxError>(()),
                },
            }
        }
    };
    tokio::select! {
        done = talk => done?,
        reason = session.ended() => return Err(format!("it is over: {reason}").into()),
        () = hurry => show("! gone before everything was answered"),
    }
    session.close().await; // whatever was accepted is written before
    Ok(())
}

/// The same socket on another link: what was said meanwhile comes now, in its order.
async fn back(outcome: Outcome) {
    match outcome {
        Outcome::ResumedWithGap { from, to, reason } => {
            show(&format!("* back, but {} things were missed: {reason}", to - from + 1));
        }
        _ => show("* back, and nothing was missed"),
    }
}

/// The server knows nothing of us any more. The client begins again by itself, and `on_connect`
/// gets another socket.
async fn gone(reason: DisconnectReason) {
    if reason != DisconnectReason::Closed {
        show(&format!("* the server is gone ({reason}), trying again"));
    }
}

/// What is known of an event without an answer.
pub(crate) fn fate(error: AckError) -> String {
    match error {
        AckError::Refused(Nak::Rejected(why)) => why.decode().unwrap_or_default(),
        AckError::Emit(error) => format!("not sent, {error}"),
        AckError::Lost { reason } => format!("not heard, {reason}"),
        error => format!("perhaps not heard, {error}"),
    }
}
