//! Listening, connecting, and what comes of it.

use super::address::Address;
use super::claim::Claim;
use super::{Only, Unix, UnixFault};
use crate::framing::{FrameReader, FrameWriter, Length, socket_writes};
use async_trait::async_trait;
use emitwire_core::transport::{
    self, BindError, Capabilities, ConnectError, HandshakeError, Incoming, Peer, Process, ReadHalf,
    Transport, WriteHalf,
};
use rustix::process::geteuid;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::sleep;

pub(super) async fn bind(unix: &Unix) -> Result<Box<dyn transport::Listener>, BindError> {
    let endpoint = unix.endpoint();
    let claim = async {
        match Address::parse(&unix.path)? {
            Address::File(path) => Claim::file(&path, unix.mode, unix.backlog).await,
            Address::Abstract(name) => Claim::name(&name, unix.backlog),
        }
    };
    match claim.await {
        Ok(claim) => Ok(Box::new(Listener { claim, terms: Terms::of(unix) })),
        Err(source) => Err(bind_error(endpoint, source)),
    }
}

fn bind_error(endpoint: String, source: io::Error) -> BindError {
    match source.kind() {
        ErrorKind::AddrInUse => BindError::InUse { endpoint },
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidInput
        | ErrorKind::Unsupported => BindError::NotAvailable { endpoint, source },
        _ => BindError::Io { endpoint, source },
    }
}

pub(super) async fn connect(unix: &Unix) -> Result<Box<dyn transport::Connection>, ConnectError> {
    match reach(&unix.path).await {
        Ok(stream) => match Terms::of(unix).admit(stream) {
            Ok(connection) => Ok(Box::new(connection)),
            Err(source) => Err(ConnectError::Handshake { endpoint: unix.endpoint(), source }),
        },
        Err(source) => Err(ConnectError::Unreachable { endpoint: unix.endpoint(), source }),
    }
}

async fn reach(path: &Path) -> io::Result<UnixStream> {
    let address = Address::parse(path)?;
    loop {
        let error = match UnixStream::connect(address.path()).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        match (error.kind(), &address) {
            // As many wait already as may; the system tells nobody when there is room again.
            (ErrorKind::WouldBlock, _) => sleep(PAUSE).await,
            // The system says no more than that if there is any other file.
            (ErrorKind::ConnectionRefused, Address::File(path)) if is_other_file(path) => {
                return Err(UnixFault::NoSocket.into());
            }
            _ => return Err(error),
        }
    }
}

fn is_other_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| !file.file_type().is_socket())
}

/// What holds for all connections of one listener, or of one transport.
#[derive(Clone)]
struct Terms {
    endpoint: Arc<str>,
    only: Option<Only>,
    frame_bytes_max: usize,
}

impl Terms {
    fn of(unix: &Unix) -> Self {
        let Unix { only, frame_bytes_max, .. } = *unix;
        Self { endpoint: unix.endpoint().into(), only, frame_bytes_max }
    }

    /// Asks the system who the peer is.
    fn admit(&self, stream: UnixStream) -> Result<Connection, HandshakeError> {
        let peer = stream.peer_cred().map_err(|source| HandshakeError::Io { source })?;
        let user = match self.only {
            None => peer.uid(),
            Some(Only::User(user)) => user,
            Some(Only::SameUser) => geteuid().as_raw(),
        };
        if peer.uid() != user {
            return Err(HandshakeError::NotAllowed { who: format!("user {}", peer.uid()) });
        }
        let process = Process::new(peer.uid(), peer.gid(), peer.pid());
        let peer = Peer::new(Arc::clone(&self.endpoint)).with_process(process);
        Ok(Connection { stream, peer, frame_bytes_max: self.frame_bytes_max })
    }
}

/// A bound socket.
struct Listener {
    claim: Claim,
    terms: Terms,
}

#[async_trait]
impl transport::Listener for Listener {
    fn endpoint(&self) -> String {
        self.terms.endpoint.to_string()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        let (stream, _) = self.claim.listener.accept().await?;
        Ok(Box::new(Arrival { stream, terms: self.terms.clone() }))
    }
}

/// A peer that arrived. Who it is, is looked at here and not in `accept`, which is not to fail for
/// the sake of one.
struct Arrival {
    stream: UnixStream,
    terms: Terms,
}

#[async_trait]
impl Incoming for Arrival {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn transport::Connection>, HandshakeError> {
        Ok(Box::new(self.terms.admit(self.stream)?))
    }
}

/// A connected stream.
struct Connection {
    stream: UnixStream,
    peer: Peer,
    frame_bytes_max: usize,
}

impl transport::Connection for Connection {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::stream(self.frame_bytes_max).encrypted()
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let (reader, writer) = self.stream.into_split();
        (
            Box::new(FrameReader::new(reader, self.frame_bytes_max)),
            Box::new(FrameWriter::<_, Length>::new(writer)),
        )
    }
}

socket_writes!(OwnedWriteHalf);

/// How long until a listener is tried again at which too many wait.
const PAUSE: Duration = Duration::from_millis(5);
