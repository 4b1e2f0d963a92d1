//! A connection that came of several wires, and what its client may say and ask.

use super::wires::Wires;
use crate::protocol::Codec;
use crate::transport::{
    Better, BindError, Capabilities, Choice, ConnectError, Connection, Listener, Peer, ReadHalf,
    Transport, WriteHalf,
};
use async_trait::async_trait;
use std::sync::Arc;

/// A connection, with which of the wires it is.
pub(super) struct Chosen {
    connection: Box<dyn Connection>,
    origin: Arc<Origin>,
}

struct Origin {
    wires: Wires,
    wire: usize,
    /// When that wire is one of several itself.
    inner: Option<Arc<dyn Choice>>,
}

impl Chosen {
    pub(super) fn new(connection: Box<dyn Connection>, wires: Wires, wire: usize) -> Self {
        let inner = connection.choice();
        Self { connection, origin: Arc::new(Origin { wires, wire, inner }) }
    }
}

impl Connection for Chosen {
    fn peer(&self) -> Peer {
        self.connection.peer()
    }

    fn capabilities(&self) -> Capabilities {
        self.connection.capabilities()
    }

    fn codec(&self) -> Arc<dyn Codec> {
        self.connection.codec()
    }

    fn choice(&self) -> Option<Arc<dyn Choice>> {
        Some(Arc::<Origin>::clone(&self.origin))
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        self.connection.split()
    }
}

impl Choice for Origin {
    fn proved(&self) {
        self.wires.memory().proved(self.wire);
        if let Some(inner) = &self.inner {
            inner.proved();
        }
    }

    fn failed(&self) {
        self.wires.memory().failed(self.wire);
        if let Some(inner) = &self.inner {
            inner.failed();
        }
    }

    fn better(&self) -> Option<Better> {
        let ours = self.wires.pace().filter(|_| self.wire > 0);
        let inner = self.inner.as_ref().and_then(|inner| inner.better());
        let mut transports = match ours {
            Some(_) => self.wires.better_than(self.wire),
            None => Vec::new(),
        };
        let paces = [ours, inner.as_ref().map(|inner| (inner.every, inner.every_max))];
        let (every, every_max) = paces.into_iter().flatten().min()?;
        // Better ways to be on this wire are still this wire to the list around it.
        let within = inner.map_or_else(Vec::new, |inner| inner.transports).into_iter();
        transports.extend(within.map(|one| self.wires.as_choice(self.wire, one)));
        Some(Better::new(transports, every, every_max))
    }
}

/// One of the wires alone, as who looks for a better one gets it. It is not remembered before a
/// session lives on it.
pub(super) struct Choosing {
    pub(super) wires: Wires,
    pub(super) wire: usize,
    pub(super) transport: Arc<dyn Transport>,
}

#[async_trait]
impl Transport for Choosing {
    fn endpoint(&self) -> String {
        self.transport.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.transport.bind().await
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        self.wires.choose(self.wire, self.transport.connect().await?)
    }
}
