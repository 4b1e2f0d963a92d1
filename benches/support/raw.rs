//! The least that a server of encrypted streams can do, on one thread.

use crate::dialer::{Acceptor, Duplex};
use crate::process::announce;
use crate::tick::{self, TICK_NAME};
use crate::wire::Wire;
use bytes::{Buf, BytesMut};
use futures_util::{SinkExt, StreamExt};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::task::coop::unconstrained;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// Says back what it hears; or, if there are members, tells them what the first one says.
pub(crate) fn serve(wire: Wire, members: usize) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(unconstrained(async {
        let acceptor = Acceptor::bind(wire).await?;
        announce(&acceptor.address()?.to_string());
        if members > 0 {
            return tell(wire, &acceptor, members).await;
        }
        loop {
            let stream = acceptor.accept().await?;
            // Whoever is gone hears nothing.
            tokio::spawn(async move {
                let _ = match wire.is_websocket() {
                    true => echo_websocket(stream).await,
                    false => echo(stream).await,
                };
            });
        }
    }))
}

async fn echo(mut stream: Box<dyn Duplex>) -> io::Result<()> {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count]).await?;
        stream.flush().await?;
    }
}

/// Tungstenite's.
async fn echo_websocket(stream: Box<dyn Duplex>) -> io::Result<()> {
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let accepted = accept_async_with_config(stream, Some(config)).await;
    let mut socket = accepted.map_err(io::Error::other)?;
    while let Some(unit) = socket.next().await {
        socket.send(unit.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
    }
    Ok(())
}

/// What came in one read from the driver, who is the first to connect, is joined and written once
/// to each member.
async fn tell(wire: Wire, acceptor: &Acceptor, members: usize) -> io::Result<()> {
    let mut driver = joined(wire, acceptor).await?;
    let mut listeners = Vec::new();
    for _ in 0..members {
        listeners.push(joined(wire, acceptor).await?);
    }
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    while driver.read_buf(&mut bytes).await? > 0 {
        let mut frames = Vec::new();
        let mut left = &bytes[..];
        while let Some((body, rest)) = wire.split(left) {
            let number = tick::tick_of(body).unwrap_or_default();
            frames.extend(tick::frame(wire, &tick::event(TICK_NAME, number)));
            left = rest;
        }
        let taken = bytes.len() - left.len();
        bytes.advance(taken);
        for listener in &mut listeners {
            listener.write_all(&frames).await?;
            listener.flush().await?;
        }
    }
    Ok(())
}

/// A stream for frames of its wire, whose handshakes are over.
async fn joined(wire: Wire, acceptor: &Acceptor) -> io::Result<Box<dyn Duplex>> {
    let stream = acceptor.accept().await?;
    if !wire.is_websocket() {
        return Ok(stream);
    }
    let accepted = accept_async_with_config(stream, None).await;
    accepted.map(|socket| socket.into_inner()).map_err(io::Error::other)
}
