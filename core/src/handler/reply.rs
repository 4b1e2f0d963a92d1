//! What a handler may return.

use super::Data;
use crate::protocol::{Args, Payload, ToPayload};
use crate::room::Fanout;
use crate::socket::{Refusal, Reply};
use bytes::Bytes;
use serde::Serialize;

/// What a handler may return: nothing, a plain value, [`Data`] for own types, [`Args`] for
/// several values, or a `Result` of these.
///
/// The ack of an event is the first reply that is not `()`, else an empty one when all listeners
/// have finished.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "return `()`, a number, text, bytes, a `Vec`, `Option` or tuple of serde values, or \
            `Data(value)` for a type of your own",
    note = "or a `Result` of these, whose error is any `std::error::Error` or a `Refusal`; of a \
            boxed error `Refusal::failed` makes one"
)]
pub trait IntoReply {
    /// The reply.
    ///
    /// # Errors
    /// The handler's own refusal, or a value that cannot be encoded.
    fn into_reply(self) -> Reply;
}

impl IntoReply for () {
    fn into_reply(self) -> Reply {
        Ok(None)
    }
}

/// How many heard a broadcast is nobody's answer: a handler may end with one.
impl IntoReply for Fanout {
    fn into_reply(self) -> Reply {
        Ok(None)
    }
}

impl IntoReply for Payload {
    fn into_reply(self) -> Reply {
        Ok(Some(self))
    }
}

impl<T: Serialize> IntoReply for Data<T> {
    fn into_reply(self) -> Reply {
        value(&self.0)
    }
}

impl<T: Serialize> IntoReply for Args<T> {
    fn into_reply(self) -> Reply {
        value(&self)
    }
}

impl<T: IntoReply, E: Into<Refusal>> IntoReply for Result<T, E> {
    fn into_reply(self) -> Reply {
        self.map_err(Into::into)?.into_reply()
    }
}

impl<T: Serialize> IntoReply for Vec<T> {
    fn into_reply(self) -> Reply {
        value(&self)
    }
}

impl<T: Serialize> IntoReply for Option<T> {
    fn into_reply(self) -> Reply {
        value(&self)
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl IntoReply for $type {
            fn into_reply(self) -> Reply {
                value(&self)
            }
        }
    )*};
}

plain!(bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64, char, String, Bytes);
plain!(&'static str);

macro_rules! tuples {
    ($(($($type:ident),+)),*) => {$(
        impl<$($type: Serialize),+> IntoReply for ($($type,)+) {
            fn into_reply(self) -> Reply {
                value(&self)
            }
        }
    )*};
}

tuples!((A), (A, B), (A, B, C), (A, B, C, D));

fn value<T: ToPayload + ?Sized>(value: &T) -> Reply {
    Ok(Some(value.to_payload()?))
}
