//! Who waits until the peer has an event.

use super::entry::Entry;
use crate::protocol::Encoded;
use crate::room::Fate;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Those who wait, by the addresses of what they wait for: each of them keeps that alive.
#[derive(Default)]
pub(super) struct Receipts(BTreeMap<usize, Receipt>);

/// Tells one of them.
pub(super) type Receipt = oneshot::Sender<Fate>;

impl Receipts {
    pub(super) fn expect(&mut self, encoded: &Encoded) -> oneshot::Receiver<Fate> {
        let (receipt, received) = oneshot::channel();
        self.0.insert(encoded.address(), receipt);
        received
    }

    pub(super) fn forget(&mut self, encoded: &Encoded) {
        self.take(encoded);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the receipt of an event out, if there is one.
    pub(super) fn take(&mut self, encoded: &Encoded) -> Option<Receipt> {
        self.0.remove(&encoded.address())
    }

    /// The fate of an event is known.
    pub(super) fn tell(&mut self, entry: &Entry, fate: Fate) {
        if let Some(receipt) = self.take(&entry.encoded) {
            // Whoever waited may have lost interest.
            let _ = receipt.send(fate);
        }
    }
}
