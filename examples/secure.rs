//! Two encrypted wires at once, and a certificate that nobody but these two know.
//!
//! ```text
//! $ cargo run --features full --example secure
//! the server shows a certificate with the fingerprint 6f1c…
//! over quic: hello, Ada
//! a stranger trusts nobody here: nobody who is trusted here signed the peer's certificate: …
//! who pins another one: the peer's certificate is not the pinned one, its fingerprint is 6f1c…
//! where no quic passes, over wss: hello, Bo
//! ```

use emitwire::{
    BoxError, Client, ConnectError, Data, Endpoint, HandshakeError, Namespace, Race, Server,
    Session, Tls, Transport,
};
use tokio::net::UdpSocket;

async fn join(transport: impl Transport) -> Result<Session, ConnectError> {
    Client::new(transport).mount(Namespace::new("/")).connect().await
}

/// What is wrong with the server's certificate.
fn fault(joined: Result<Session, ConnectError>) -> Result<String, BoxError> {
    match joined {
        Err(ConnectError::Handshake {
            source: HandshakeError::Certificate { fault, .. }, ..
        }) => Ok(fault.to_string()),
        Err(other) => Err(other.into()),
        Ok(_) => Err("the server is not who it is believed to be".into()),
    }
}

async fn greet(session: &Session, name: &str) -> Result<String, BoxError> {
    let socket = session.of("/")?;
    let hello: String = socket.emit("greet", name).ack().await?;
    Ok(format!("over {}: {hello}", socket.peer().scheme()))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let greets = |Data(name): Data<String>| async move { format!("hello, {name}") };
    let server = Server::new().mount(Namespace::new("/").on("greet", greets))?;
    let tls = Tls::self_signed()?; // or Tls::pem_files("cert.pem", "key.pem")?
    let quic = server.listen(Endpoint::new("quic://127.0.0.1:0")?.tls(tls.clone())?).await?;
    let wss = server.listen(Endpoint::new("wss://127.0.0.1:0")?.tls(tls.clone())?).await?;
    let fingerprint = tls.fingerprint().ok_or("a certificate has one")?;
    println!("the server shows a certificate with the fingerprint {fingerprint}");

    let pinned = Tls::new().pin(&fingerprint)?;
    let [by_quic, by_wss] = [quic.endpoint(), wss.endpoint()].map(Endpoint::new);
    let (by_quic, by_wss) = (by_quic?.tls(pinned.clone())?, by_wss?.tls(pinned)?);
    let ada = join(Race::of([by_quic.clone(), by_wss.clone()])).await?;
    println!("{}", greet(&ada, "Ada").await?);

    let stranger = join(Endpoint::new(quic.endpoint())?).await;
    println!("a stranger trusts nobody here: {}", fault(stranger)?);
    let other = Tls::new().pin("00".repeat(32))?;
    let mistaken = join(Endpoint::new(wss.endpoint())?.tls(other)?).await;
    println!("who pins another one: {}", fault(mistaken)?);

    // A port that swallows everything, as a firewall does.
    let hole = UdpSocket::bind("127.0.0.1:0").await?;
    let blocked = by_quic.at(&format!("quic://{}", hole.local_addr()?))?;
    let bo = join(Race::of([blocked, by_wss])).await?;
    let greeting = greet(&bo, "Bo").await?;
    println!("where no quic passes, {greeting}");
    assert_eq!((&*greeting, ada.is_attached()), ("over wss: hello, Bo", true));
    Ok(())
}
