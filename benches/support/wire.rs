//! The wires that are measured.

/// What carries the frames.
#[derive(Clone, Copy)]
pub(crate) enum Wire {
    Tcp,
    WebSocket,
}

impl Wire {
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::WebSocket];

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "ws",
        }
    }

    pub(crate) fn of(scheme: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wire| wire.scheme() == scheme)
    }
}
