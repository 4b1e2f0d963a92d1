//! **Who answers.** Handlers, their arguments and replies, and the namespace that holds them.
//!
//! A handler is an async function whose arguments are extracted from the event and whose return
//! value is the ack.

mod emitter;
mod extract;
mod layers;
mod namespace;
mod refusal;
mod reply;
mod request;

pub(crate) use emitter::to_ack;
pub use extract::{Data, FromEvent};
pub use layers::BoxError;
pub(crate) use layers::{Inbound, nak_of};
pub(crate) use namespace::Blueprint;
pub use namespace::{MountError, Namespace, Unhandled};
pub use refusal::Refusal;
pub use reply::{IntoReply, Reply};
pub use request::ConnectRequest;

use crate::socket::Envelope;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The future of a handler, of whatever type.
pub(crate) type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A handler of whatever type.
pub(crate) type Erased = Arc<dyn Fn(Envelope) -> ReplyFuture + Send + Sync>;

/// An async function of up to six arguments, each of which a [`FromEvent`], that returns something
/// an [`IntoReply`] knows how to answer with.
///
/// ```
/// use emitwire_core::handler::{Data, Namespace};
/// use emitwire_core::socket::{EmitError, Socket};
///
/// async fn say(socket: Socket, Data(text): Data<String>) -> Result<usize, EmitError> {
///     socket.to("lobby").emit("said", &text).await?;
///     Ok(text.len())
/// }
///
/// let _ = Namespace::new("/chat").on("say", say).on("ping", || async { "pong" });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler",
    label = "not an async function of extractors that returns a reply",
    note = "a handler is `async fn(A, B, …) -> R` or `|a: A, …| async move {{ … }}`",
    note = "its arguments implement `FromEvent`, its result `IntoReply`, and its future is `Send`"
)]
pub trait Handler<T>: Send + Sync + 'static {
    /// Extracts the arguments and runs the function.
    fn call(&self, envelope: Envelope) -> impl Future<Output = Reply> + Send + 'static;
}

pub(crate) fn erase<T>(handler: impl Handler<T>) -> Erased {
    Arc::new(move |envelope| Box::pin(handler.call(envelope)))
}

macro_rules! handlers {
    ($(($($argument:ident),*)),*) => {$(
        impl<F, Fut, R, $($argument),*> Handler<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoReply,
            $($argument: FromEvent,)*
        {
            fn call(&self, envelope: Envelope) -> impl Future<Output = Reply> + Send + 'static {
                let arguments = <($($argument,)*)>::from_event(&envelope);
                #[allow(non_snake_case)] // one macro for any number of arguments
                let called = arguments.map(|($($argument,)*)| self($($argument),*));
                async move {
                    match called {
                        Ok(future) => future.await.into_reply(),
                        Err(refusal) => Err(refusal),
                    }
                }
            }
        }
    )*};
}

handlers!((), (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, G));
