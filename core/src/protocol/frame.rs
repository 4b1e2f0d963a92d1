//! A frame: one whole unit on a wire, with its class.

use bytes::Bytes;
use std::sync::Arc;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded(Arc<[Frame]>);

impl Encoded {
    /// The frames, in the order in which they travel.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.0
    }

    /// Bytes of all bodies together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|frame| frame.body.len()).sum()
    }

    /// What all clones of it have in common, and no other as long as one of them lives.
    #[must_use]
    pub fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Whether no frame has a byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Frame> for Encoded {
    fn from(frame: Frame) -> Self {
        [frame].into()
    }
}

impl<const N: usize> From<[Frame; N]> for Encoded {
    fn from(frames: [Frame; N]) -> Self {
        Self(Arc::new(frames))
    }
}

impl From<Vec<Frame>> for Encoded {
    fn from(frames: Vec<Frame>) -> Self {
        Self(frames.into())
    }
}
