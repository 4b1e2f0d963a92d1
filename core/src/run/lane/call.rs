//! The listeners of one event, called.

use super::{Job, Lane};
use crate::handler::{Listeners, hears_any, only_listener, to_ack};
use crate::protocol::{Event, EventName, Nak};
use crate::room::{shielded, turn};
use crate::run::answer::Owed;
use crate::run::guard::catch_panic;
use crate::socket::{Ack, Refusal, Reply};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tower::ServiceExt;
use tower_service::Service;

impl Lane {
    /// The usual event, which has one listener and no layers, without the states that the others
    /// need: answered here if its handler is ready at its first poll. Gives back what is left to
    /// do.
    pub(super) fn handle_in_place(&self, job: Job) -> Option<Job> {
        let Job::Event { event, mut owed, parked_until, is_served } = job else {
            return Some(job);
        };
        let only = match &self.mounted.layers.inbound {
            None if !self.is_over() => {
                only_listener(&self.mounted.blueprint.emitter, &self.socket, &event.name)
            }
            _ => None,
        };
        let Some(handler) = only else {
            return Some(Job::Event { event, owed, parked_until, is_served });
        };
        owed.begin();
        let name = event.name.clone();
        let envelope = self.envelope(event);
        // All that is the application's is done in there: a refusal may hold something of it.
        let poll = || {
            let mut call = handler(envelope);
            match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(reply) => {
                    drop(call);
                    Ok(self.judge_reply(&name, Some(reply)))
                }
                Poll::Pending => Err(call),
            }
        };
        let polled = turn(|| catch_unwind(AssertUnwindSafe(poll)));
        let answer = match polled {
            Ok(Err(call)) => return Some(Job::Begun { name, call, owed }),
            Ok(Ok(answer)) => answer,
            Err(_) => self.judge_reply(&name, None),
        };
        owed.answer(answer);
        None
    }

    pub(super) fn answer(&self, name: &EventName, called: Option<Reply>, owed: Owed) {
        owed.answer(self.judge_reply(name, called));
    }

    fn judge_reply(&self, name: &EventName, called: Option<Reply>) -> Result<Ack, Nak> {
        self.judge(name, called).map(to_ack).map_err(Refusal::into_nak)
    }

    /// Tells those who hear everything; what they reply does not matter.
    pub(super) async fn hear_any(&self, event: &Event) {
        let any = hears_any(&self.mounted.blueprint.emitter, &self.socket);
        if any.is_empty() {
            return;
        }
        // Boxed, so that only who has such listeners pays for them.
        Box::pin(async {
            for handler in any {
                let envelope = self.envelope(event.clone());
                let heard = self.limited(Box::pin(async move { handler(envelope).await })).await;
                // What went wrong is logged and counted; the event itself goes on.
                let _ = self.judge(&event.name, heard);
            }
        })
        .await;
    }

    /// Calls the listeners, through the namespace's layers if it has any. The event comes back
    /// when nobody hears it.
    pub(super) async fn call(&self, event: Event) -> Result<Result<Ack, Refusal>, Event> {
        let (emitter, name) = (&self.mounted.blueprint.emitter, event.name.clone());
        let called = if let Some(layers) = &self.mounted.layers.inbound {
            if !self.hears(&name) {
                return Err(event);
            }
            let envelope = self.envelope(event);
            let layers = layers.clone();
            // Boxed, so that an event without layers does not pay for their states.
            let call = Box::pin(async move {
                let mut layers = layers;
                let ready = layers.ready().await.map_err(Refusal::of)?;
                ready.call(envelope).await.map_err(Refusal::of)
            });
            self.limited(call).await
        } else {
            let listeners = Listeners::find(emitter, &self.socket, &name);
            let Some(listeners) = listeners else { return Err(event) };
            let envelope = self.envelope(event);
            self.limited(Box::pin(listeners.call(envelope))).await
        };
        Ok(self.judge(&name, called))
    }

    /// Calls a handler, for as long as one may take; `None` when it panics.
    pub(super) async fn limited<T>(
        &self,
        mut call: Pin<Box<impl Future<Output = Result<T, Refusal>> + ?Sized>>,
    ) -> Option<Result<T, Refusal>> {
        let limit = self.config.handler_timeout;
        let called = tokio::time::timeout(limit, catch_panic(call.as_mut())).await;
        // What a handler keeps is the application's too.
        shielded("handler", move || drop(call));
        called.unwrap_or_else(|_| Some(Err(Refusal::nak_only(Nak::Timeout))))
    }

    /// Turns a panic into a refusal; logs and counts what went wrong.
    pub(super) fn judge<T>(
        &self,
        event: &str,
        called: Option<Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        match called {
            Some(result) => {
                result.inspect_err(|refusal| shielded("refusal", || refusal.log(event)))
            }
            None => {
                self.socket.counters().count(1, |counters| &counters.panics);
                tracing::error!(event, "handler panicked");
                Err(Refusal::from(Nak::Failed))
            }
        }
    }
}
