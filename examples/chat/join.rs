//! The client: what it shows, and what it does when the server goes away and returns.

use crate::me::Me;
use crate::{CHAT, show};
use emitwire::{
    AckError, Args, BoxError, Client, Data, DisconnectReason, Endpoint, Nak, Namespace, Socket,
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
        .on_disconnect(gone);
    let session = Client::new(Endpoint::new(url)?).mount(chat).connect().await?;
    let mut me = Me::new(name, session.of(CHAT)?);
    let mut typed = typed();
    loop {
        tokio::select! {
            biased; // whoever has just connected says who it is before anything else
            Some(socket) = begun.recv() => me.begin(socket).await?,
            reason = session.ended() => return Err(format!("it is over: {reason}").into()),
            line = typed.recv() => match line.as_deref().map(str::trim) {
                None | Some("/quit") => break,
                Some(line) => me.type_in(line).await,
            },
        }
    }
    session.close().await; // whatever was accepted is written before
    Ok(())
}

/// The client comes back by itself; `on_connect` then gets another socket.
async fn gone(reason: DisconnectReason) {
    if reason != DisconnectReason::Closed {
        show(&format!("* the server is gone ({reason}), trying again"));
    }
}

/// The lines of standard input. A thread reads them, because tokio's own reader would keep the
/// program from ending until one more line is typed.
fn typed() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// What is known of an event without an answer.
pub(crate) fn fate(error: AckError) -> String {
    match error {
        AckError::Refused(Nak::Rejected(why)) => why.decode().unwrap_or_default(),
        AckError::Emit(error) => format!("not sent, {error}"),
        error => format!("perhaps not heard, {error}"),
    }
}
