//! The listeners of one event, called.

use super::{Job, Lane};
use crate::handler::{Refusal, Reply, nak_of, to_ack};
use crate::protocol::{Event, EventName, Nak};
use crate::room::turn;
use crate::run::answer::Owed;
use crate::run::guard::catch_panic;
use crate::socket::{Ack, Envelope};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use tower::ServiceExt;
use tower_service::Service;

impl Lane {
    /// The usual event, which has one listener and no layers, without the states that the others
    /// need: answered here if its handler is ready at its first poll. Gives back what is left to
    /// do.
    pub(super) fn handle_in_place(&self, job: Job) -> Option<Job> {
        let Job::Event { event, mut owed, parked_until } = job else { return Some(job) };
        let only = match &self.mounted.inbound {
            None if !self.is_over() => self.mounted.blueprint.emitter.find_only(&event.name),
            _ => None,
        };
        let Some(handler) = only else {
            return Some(Job::Event { event, owed, parked_until });
        };
        owed.begin();
        let name = event.name.clone();
        let envelope = Envelope::new(self.socket.clone(), event);
        let poll = || {
            let mut call = handler(envelope);
            match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(reply) => Ok(reply),
                Poll::Pending => Err(call),
            }
        };
        let polled = turn(|| catch_unwind(AssertUnwindSafe(poll)));
        let called = match polled {
            Ok(Err(call)) => return Some(Job::Begun { name, call, owed }),
            Ok(Ok(reply)) => Some(reply),
            Err(_) => None,
        };
        self.answer(&name, called, owed);
        None
    }

    pub(super) fn answer(&self, name: &EventName, called: Option<Reply>, owed: Owed) {
        let answer = self.judge(name, called).map(to_ack);
        owed.answer(answer.map_err(Refusal::into_nak));
    }

    /// Tells those who hear everything; what they reply does not matter.
    pub(super) async fn hear_any(&self, event: &Event) {
        let Some(any) = self.mounted.blueprint.emitter.any() else { return };
        // Boxed, so that only who has such listeners pays for them.
        Box::pin(async {
            for handler in any.iter() {
                let envelope = Envelope::new(self.socket.clone(), event.clone());
                let heard = catch_panic(async { handler(envelope).await }).await;
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
        let called = if let Some(layers) = &self.mounted.inbound {
            if !emitter.hears(&name) {
                return Err(event);
            }
            let envelope = Envelope::new(self.socket.clone(), event);
            let mut layers = layers.clone();
            // Boxed, so that an event without layers does not pay for their states.
            let call = Box::pin(async move {
                let ready = layers.ready().await.map_err(nak_of)?;
                ready.call(envelope).await.map_err(nak_of)
            });
            catch_panic(call).await
        } else {
            let Some(listeners) = emitter.find(&name) else { return Err(event) };
            let envelope = Envelope::new(self.socket.clone(), event);
            catch_panic(listeners.call(envelope)).await
        };
        Ok(self.judge(&name, called))
    }

    /// Turns a panic into a refusal; logs and counts what went wrong.
    pub(super) fn judge<T>(
        &self,
        event: &str,
        called: Option<Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        match called {
            Some(result) => result.inspect_err(|refusal| refusal.log(event)),
            None => {
                self.socket.session().counters.panics.add(1);
                tracing::error!(event, "handler panicked");
                Err(Refusal::from(Nak::Failed))
            }
        }
    }
}
