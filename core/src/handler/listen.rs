//! Listening: handlers into the tables of emitters.

use super::{FromEvent, Handler, IntoReply, erase, needs_of};
use crate::protocol::Event;
use crate::socket::{Emitter, ListenError, ListenerId, Once, Socket, Topic};
use std::sync::Arc;

impl Emitter {
    /// Adds a listener for `name`, behind those that it has.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn on<T: FromEvent>(
        &self,
        name: &str,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Result<ListenerId, ListenError> {
        self.add(&Topic::Named { name, once: false }, handler)
    }

    /// Adds a listener for the next event of that name.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn once<T: FromEvent>(
        &self,
        name: &str,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Result<ListenerId, ListenError> {
        self.add(&Topic::Named { name, once: true }, handler)
    }

    /// Adds a listener that hears every event, before the others; its reply does not matter.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn on_any<T: FromEvent>(
        &self,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Result<ListenerId, ListenError> {
        self.add(&Topic::Any, handler)
    }

    /// Adds somebody who is told of each event that is accepted on its way out, answers not among
    /// them: of a socket, what is emitted to it by [`Socket::emit`]; of a namespace, that of all
    /// its sockets, and each broadcast once. It is called in place, so it must not wait.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn on_any_outgoing(
        &self,
        tell: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerId, ListenError> {
        self.listen_outgoing(Arc::new(tell))
    }

    /// Sets who answers whatever no `on` matches.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn set_fallback<T: FromEvent>(
        &self,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Result<(), ListenError> {
        self.need(needs_of::<T>())?;
        self.fall_back_on(erase(handler))
    }

    fn add<T: FromEvent>(
        &self,
        topic: &Topic<'_>,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Result<ListenerId, ListenError> {
        self.need(needs_of::<T>())?;
        self.listen(topic, erase(handler))
    }
}

impl Socket {
    /// Adds a listener of its own, behind those of its namespace: it hears the events of this
    /// socket only, and ends with it.
    ///
    /// ```no_run
    /// # use emitwire_core::handler::Data;
    /// # use emitwire_core::socket::{ListenError, Socket};
    /// # fn example(socket: &Socket) -> Result<(), ListenError> {
    /// let listener = socket.on("say", |Data(text): Data<String>| async move { text.len() })?;
    /// assert!(socket.off(listener));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn on<T: FromEvent>(
        &self,
        name: &str,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Result<ListenerId, ListenError> {
        self.emitter().on(name, handler)
    }

    /// Adds a listener of its own that hears every event of this socket, before the others.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn on_any<T: FromEvent>(
        &self,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Result<ListenerId, ListenError> {
        self.emitter().on_any(handler)
    }

    /// Adds somebody who is told of each event that is emitted to this socket alone: see
    /// [`Emitter::on_any_outgoing`].
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn on_any_outgoing(
        &self,
        tell: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerId, ListenError> {
        self.emitter().on_any_outgoing(tell)
    }
}

impl Once<'_> {
    /// Instead of awaiting it, has a listener called for the next event of this name.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn then<T: FromEvent>(
        self,
        handler: impl Handler<T, Output: IntoReply>,
    ) -> Result<ListenerId, ListenError> {
        let (socket, name) = self.into_parts();
        socket.emitter().once(name, handler)
    }
}
