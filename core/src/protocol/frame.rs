//! A frame: one whole unit on a wire, with its class.

use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Whether a wire must keep a frame in order, or may drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Delivered in the order of writing, on wires that can.
    Ordered,
    /// May overtake, and may be dropped.
    Volatile,
}

/// What a wire that knows the difference (WebSocket) marks a frame as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Any bytes.
    Binary,
    /// UTF-8 text.
    Text,
}

/// One whole unit on a connection. Its body is shared, never copied by the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Binary or text.
    pub kind: FrameKind,
    /// Ordered or volatile.
    pub class: Class,
    /// The bytes, without the wire's own framing.
    pub body: Bytes,
}

impl Frame {
    /// A binary frame that keeps its order.
    #[must_use]
    pub fn ordered(body: impl Into<Bytes>) -> Self {
        Self { kind: FrameKind::Binary, class: Class::Ordered, body: body.into() }
    }

    /// A binary frame that may be dropped.
    #[must_use]
    pub fn volatile(body: impl Into<Bytes>) -> Self {
        Self { kind: FrameKind::Binary, class: Class::Volatile, body: body.into() }
    }

    /// A text frame that keeps its order.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self { kind: FrameKind::Text, class: Class::Ordered, body: Bytes::from(body.into()) }
    }
}

/// One packet as a codec wrote it: its frames, which any number of mailboxes may share. As good as
/// always it is one frame. Cloning counts a reference.
#[derive(Clone, Debug)]
pub struct Encoded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    frames: Frames,
    /// Who counts its bytes for as long as anybody keeps it.
    charge: OnceLock<Charge>,
}

#[derive(Debug)]
enum Frames {
    One([Frame; 1]),
    Many(Box<[Frame]>),
}

/// Bytes that are counted until nobody keeps them any more.
#[derive(Debug)]
struct Charge {
    gauge: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gauge.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Encoded {
    fn new(frames: Frames) -> Self {
        Self(Arc::new(Inner { frames, charge: OnceLock::new() }))
    }

    /// The frames, in the order in which they travel.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        match &self.0.frames {
            Frames::One(frame) => frame,
            Frames::Many(frames) => frames,
        }
    }

    /// Bytes of all bodies together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames().iter().map(|frame| frame.body.len()).sum()
    }

    /// What all clones of it have in common, and no other as long as one of them lives.
    #[must_use]
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Whether no frame has a byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has its bytes counted until nobody keeps it any more: once, however many keep it, and at the
    /// first gauge that it is charged to.
    pub fn charge_to(&self, gauge: &Arc<AtomicUsize>) {
        self.0.charge.get_or_init(|| {
            let (gauge, bytes) = (Arc::clone(gauge), self.len());
            gauge.fetch_add(bytes, Ordering::Relaxed);
            Charge { gauge, bytes }
        });
    }
}

impl PartialEq for Encoded {
    fn eq(&self, other: &Self) -> bool {
        self.frames() == other.frames()
    }
}

impl Eq for Encoded {}

impl From<Frame> for Encoded {
    fn from(frame: Frame) -> Self {
        Self::new(Frames::One([frame]))
    }
}

impl<const N: usize> From<[Frame; N]> for Encoded {
    fn from(frames: [Frame; N]) -> Self {
        Vec::from(frames).into()
    }
}

impl From<Vec<Frame>> for Encoded {
    fn from(frames: Vec<Frame>) -> Self {
        Self::new(Frames::Many(frames.into()))
    }
}
