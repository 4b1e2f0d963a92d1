//! **Who answers.** Handlers, their arguments and replies, and the namespace that holds them.
//!
//! A handler is an async function whose arguments are extracted from the event and whose return
//! value is the ack.

mod blueprint;
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

pub use blueprint::Unhandled;
pub(crate) use blueprint::{Blueprint, Hook};
pub use error::MountError;
pub use extract::{Auth, Data, FromEvent, State};
pub(crate) use layers::Dispatch;
pub(crate) use listeners::{Listeners, hears, hears_any, only_listener, to_ack};
pub use namespace::Namespace;
pub use path::Path;
pub(crate) use pattern::Pattern;
pub use reply::IntoReply;
pub use request::ConnectRequest;

use crate::socket::{Erased, Needs};
use std::future::Future;
use std::sync::Arc;

/// An async function of up to six arguments, each of which a [`FromEvent`], that returns something
/// an [`IntoReply`] knows how to answer with.
///
/// ```
/// # use emitwire_core::handler::{Data, Namespace};
/// # use emitwire_core::socket::{EmitError, Socket};
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
    /// What the function returns when it has finished.
    type Output;

    /// Runs the function.
    fn call(&self, arguments: T) -> impl Future<Output = Self::Output> + Send + 'static;
}

/// The handler as all of them are kept: its arguments come out of the event, and what it returns
/// becomes the reply.
pub(crate) fn erase<T, H>(handler: H) -> Erased
where
    T: FromEvent,
    H: Handler<T, Output: IntoReply>,
{
    Arc::new(move |envelope| {
        let called = T::from_event(&envelope).map(|arguments| handler.call(arguments));
        Box::pin(async move {
            match called {
                Ok(future) => future.await.into_reply(),
                Err(refusal) => Err(refusal),
            }
        })
    })
}

/// What the arguments of a handler ask of their namespace.
pub(crate) fn needs_of<T: FromEvent>() -> Needs {
    let mut needs = Needs::default();
    T::needs(&mut needs);
    needs
}

macro_rules! handlers {
    ($(($($argument:ident),*)),*) => {$(
        impl<F, Fut, $($argument),*> Handler<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
        {
            type Output = Fut::Output;

            #[allow(non_snake_case)] // one macro for any number of arguments
            fn call(
                &self,
                ($($argument,)*): ($($argument,)*),
            ) -> impl Future<Output = Fut::Output> + Send + 'static {
                self($($argument),*)
            }
        }
    )*};
}

handlers!((), (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, G));
