//! **Who answers.** Handlers, their arguments and replies, and the namespace that holds them.
//!
//! A handler is an async function whose arguments are extracted from the event and whose return
//! value is the ack.

mod error;
mod extract;
mod layers;
mod listen;
mod listeners;
mod namespace;
mod path;
mod pattern;
mod reply;
mod request;

pub use error::MountError;
pub use extract::{Auth, Data, FromEvent, State};
pub use layers::BoxError;
pub(crate) use layers::{Inbound, nak_of};
pub(crate) use listeners::{Listeners, hears, hears_any, only_listener, to_ack};
pub(crate) use namespace::{Blueprint, Hook};
pub use namespace::{Namespace, Unhandled};
pub use path::Path;
pub(crate) use pattern::Pattern;
pub use reply::IntoReply;
pub use request::ConnectRequest;

use crate::socket::{Envelope, Erased, Needs, Reply};
use std::future::Future;
use std::sync::Arc;

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

    /// What its arguments ask of their namespace.
    fn needs() -> Needs;
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

            fn needs() -> Needs {
                let mut needs = Needs::default();
                <($($argument,)*)>::needs(&mut needs);
                needs
            }
        }
    )*};
}

handlers!((), (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, G));
