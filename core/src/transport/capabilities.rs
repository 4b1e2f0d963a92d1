//! What a wire can do by itself; what it lacks the session adds.

/// What a connection promises. Sessions rely on it, so a transport declares no more than it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Every ordered frame arrives, or the connection ends.
    pub reliable: bool,
    /// Ordered frames arrive in the order of writing.
    pub ordered: bool,
    /// Nobody between the two ends can read the frames. Wires inside one process or one machine
    /// count as encrypted.
    pub encrypted: bool,
    /// When one direction was closed in order, the other still carries frames.
    pub half_close: bool,
    /// The largest volatile frame that travels on its own; `None` when volatile frames take the
    /// same road as ordered ones. Unit: bytes.
    pub datagram_bytes_max: Option<usize>,
    /// The largest frame. Unit: bytes.
    pub frame_bytes_max: usize,
}

impl Capabilities {
    /// A reliable byte stream, in the clear.
    #[must_use]
    pub const fn stream(frame_bytes_max: usize) -> Self {
        Self {
            reliable: true,
            ordered: true,
            encrypted: false,
            half_close: true,
            datagram_bytes_max: None,
            frame_bytes_max,
        }
    }

    /// Datagrams that may be lost, doubled or reordered, in the clear.
    #[must_use]
    pub const fn datagrams(datagram_bytes_max: usize) -> Self {
        Self {
            reliable: false,
            ordered: false,
            encrypted: false,
            half_close: false,
            datagram_bytes_max: Some(datagram_bytes_max),
            frame_bytes_max: datagram_bytes_max,
        }
    }

    /// The same wire, encrypted or within one machine.
    #[must_use]
    pub const fn encrypted(mut self) -> Self {
        self.encrypted = true;
        self
    }

    /// Whether a session can run without repairing the wire.
    #[must_use]
    pub const fn keeps_everything(self) -> bool {
        self.reliable && self.ordered
    }
}
