//! Events and rooms over any wire, and nothing missed.
//!
//! The facade of emitwire: everything an application needs, under one roof. The engine is
//! `emitwire-core`, the wires are `emitwire-transports`, delivery policy is
//! `emitwire-middleware`.
//!
//! ```
//! use emitwire::{Client, Data, Endpoint, Namespace, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let say = |Data(text): Data<String>| async move { text.len() };
//! let chat = Namespace::new("/chat").on("say", say);
//! let server = Server::new().mount(chat)?;
//! let listening = server.listen(Endpoint::new("tcp://127.0.0.1:0")?).await?;
//!
//! let client = Client::new(Endpoint::new(listening.endpoint())?).mount(Namespace::new("/chat"));
//! let session = client.connect().await?;
//! let length: usize = session.of("/chat")?.emit("say", "hello").ack().await?;
//! assert_eq!(length, 5);
//! # Ok(())
//! # }
//! ```

mod endpoint;

pub use async_trait::async_trait; // transports are written with it
pub use emitwire_core::handler::{
    Auth, ConnectRequest, Data, FromEvent, Handler, IntoReply, MountError, Namespace, Path, State,
    Unhandled,
};
pub use emitwire_core::protocol::{
    Args, DisconnectReason, Event, EventId, EventName, LossReason, Nak, Outcome, Payload,
    PayloadError, SessionId, SocketId, ToPayload,
};
pub use emitwire_core::room::{
    Adapter, Fanout, Fate, LocalAdapter, RoomError, RoomEvent, RoomName, Rooms, SlowPolicy, Stats,
};
pub use emitwire_core::run::{
    Client, Config, Connect, Connector, ConnectorService, Fallback, Listening, NamespaceError,
    Race, Reconnect, ReconnectFuture, ReconnectService, ResumeToken, ResumeTokenError, Server,
    Session, testing,
};
pub use emitwire_core::socket::{
    Ack, AckError, Answers, BoxError, Broadcast, Emit, EmitBroadcast, EmitBroadcastWithAck,
    EmitError, EmitReceived, EmitVolatile, EmitWithAck, Emitter, Envelope, EventService, Layers,
    Level, ListenError, ListenerId, Lost, Missed, Needs, Once, Pair, ReceiptError, Refusal, Remedy,
    Reply, Socket, SocketStats, Stack, WaitError, boxed,
};
#[cfg(feature = "conformance")]
pub use emitwire_core::transport::conformance;
pub use emitwire_core::transport::{
    BindError, Capabilities, CertificateFault, Chaos, ChaosStats, ConnectError, Direction, Faults,
    HandshakeError, Memory, Peer, Process, Transport,
};
pub use emitwire_core::{protocol, room, transport};
pub use emitwire_middleware as middleware;
#[cfg(feature = "quic")]
pub use emitwire_transports::Quic;
#[cfg(feature = "tcp")]
pub use emitwire_transports::Tcp;
#[cfg(feature = "ws")]
pub use emitwire_transports::Ws;
#[cfg(any(feature = "tcp", feature = "quic", feature = "unix"))]
pub use emitwire_transports::framed;
#[cfg(feature = "__encrypted")]
pub use emitwire_transports::{Tls, TlsError};
#[cfg(feature = "unix")]
pub use emitwire_transports::{Unix, UnixFault};
pub use endpoint::{Endpoint, EndpointError, disabled_schemes, schemes};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/FROM_SOCKETIO.md")]
struct FromSocketIo;

#[cfg(all(doctest, feature = "tls"))]
#[doc = include_str!("../docs/TRANSPORTS.md")]
struct Transports;

#[cfg(doctest)]
#[doc = include_str!("../docs/MIDDLEWARE.md")]
struct Middleware;
