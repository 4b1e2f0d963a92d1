//! State that the handlers of a namespace share, by its type.

use super::ListenError;
use std::any::{Any, TypeId, type_name};
use std::sync::Arc;

/// A value of each type.
#[derive(Clone, Default)]
pub(crate) struct States(Vec<(TypeId, Arc<dyn Any + Send + Sync>)>);

impl States {
    /// Keeps a value; one of the same type makes way for it.
    pub(crate) fn insert<S: Send + Sync + 'static>(&mut self, state: S) {
        let (id, state) = (TypeId::of::<S>(), Arc::new(state));
        self.0.retain(|(known, _)| *known != id);
        self.0.push((id, state));
    }

    pub(crate) fn get<S: 'static>(&self) -> Option<&S> {
        let (_, state) = self.0.iter().find(|(id, _)| *id == TypeId::of::<S>())?;
        state.downcast_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn types(&self) -> Arc<[TypeId]> {
        self.0.iter().map(|(id, _)| *id).collect()
    }
}

/// What the arguments of a handler ask of its namespace: see
/// [`FromEvent::needs`](crate::handler::FromEvent::needs).
#[derive(Debug, Default)]
pub struct Needs(Vec<(TypeId, &'static str)>);

impl Needs {
    /// A state of type `S`. Mounting a namespace that has none is an error.
    pub fn state<S: 'static>(&mut self) {
        self.0.push((TypeId::of::<S>(), type_name::<S>()));
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
        self.0.sort_unstable();
        self.0.dedup();
    }

    pub(super) fn check(&self, provided: &[TypeId]) -> Result<(), ListenError> {
        match self.0.iter().find(|(id, _)| !provided.contains(id)) {
            Some((_, name)) => Err(ListenError::NoState { state: name }),
            None => Ok(()),
        }
    }
}
