//! One event for many members: encoded once for each codec among them.

use super::{AckSet, Parcel};
use crate::protocol::{Codec, Encoded, EventPacket, NamespaceNumber, Packet, SocketId};
use std::sync::Arc;

/// A broadcast on its way to the mailboxes.
#[derive(Debug)]
pub struct Shared {
    packet: Packet,
    event_bytes: usize,
    namespace: NamespaceNumber,
    volatile: bool,
    wants_ack: bool,
    acks: Option<Arc<AckSet>>,
    /// Others have had it already.
    again: bool,
    /// By codec name; as good as always one.
    encoded: Vec<(&'static str, Encoded)>,
}

impl Shared {
    /// An event or volatile event; anything else counts as an event without bytes.
    #[must_use]
    pub fn new(packet: Packet) -> Self {
        let (event, volatile) = match &packet {
            Packet::Event(event) => (Some(event), false),
            Packet::Volatile(event) => (Some(event), true),
            _ => (None, false),
        };
        let event_bytes = event.map_or(0, EventPacket::bytes);
        let namespace = event.map_or(NamespaceNumber(0), |event| event.namespace);
        let wants_ack = !volatile && event.is_some_and(|event| event.wants_ack);
        let encoded = Vec::with_capacity(1);
        let (acks, again) = (None, false);
        Self { packet, event_bytes, namespace, volatile, wants_ack, acks, again, encoded }
    }

    /// Whoever takes it is to answer.
    #[must_use]
    pub fn answered_to(mut self, acks: Arc<AckSet>) -> Self {
        self.acks = Some(acks);
        self
    }

    /// Only members of this node that have given no final answer get it, whoever is selected.
    pub(crate) fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Whether a selected member gets it.
    pub(super) fn is_for(&self, member: SocketId) -> bool {
        !self.again || self.acks.as_ref().is_none_or(|acks| acks.is_missing(member))
    }

    /// Who waits for the answers, if anybody does.
    #[must_use]
    pub fn acks(&self) -> Option<&Arc<AckSet>> {
        self.acks.as_ref()
    }

    /// The packet itself. An adapter that carries it to other nodes carries its event: a node's
    /// numbers mean nothing elsewhere.
    #[must_use]
    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// Bytes that it counts against windows and bounds.
    #[must_use]
    pub fn event_bytes(&self) -> usize {
        self.event_bytes
    }

    /// Whether it may be missed.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// What a member's mailbox is given.
    pub(super) fn parcel(&mut self, codec: &dyn Codec) -> Parcel<'_> {
        let (event_bytes, namespace) = (self.event_bytes, self.namespace);
        let wants_ack = self.wants_ack;
        Parcel { encoded: self.encoded(codec), event_bytes, namespace, wants_ack, latest: None }
    }

    /// Its frames in this codec: written at the first call, shared afterwards.
    pub fn encoded(&mut self, codec: &dyn Codec) -> &Encoded {
        let name = codec.name();
        let place = self.encoded.iter().position(|(known, _)| *known == name);
        let place = place.unwrap_or_else(|| {
            self.encoded.push((name, codec.encode(&self.packet)));
            self.encoded.len() - 1
        });
        &self.encoded[place].1
    }
}
