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
pub struct Needs {
    states: Vec<(TypeId, &'static str)>,
    /// What only the first hook has, what only those of an end have, and what only `on_attach` has.
    of_begin: Option<&'static str>,
    of_end: Option<&'static str>,
    of_attach: Option<&'static str>,
}

impl Needs {
    /// A state of type `S`. Mounting a namespace that has none is an error.
    pub fn state<S: 'static>(&mut self) {
        self.states.push((TypeId::of::<S>(), type_name::<S>()));
    }

    /// Something that only `on_connect` has; asking for it elsewhere is an error.
    pub fn only_on_connect(&mut self, what: &'static str) {
        self.of_begin = Some(what);
    }

    /// Something that only `on_disconnecting`, `on_disconnect` and `on_detach` have; asking for it
    /// elsewhere is an error.
    pub fn only_on_disconnect(&mut self, what: &'static str) {
        self.of_end = Some(what);
    }

    /// Something that only `on_attach` has; asking for it elsewhere is an error.
    pub fn only_on_attach(&mut self, what: &'static str) {
        self.of_attach = Some(what);
    }

    /// They are those of a hook of beginnings, which has what it is there for.
    pub(crate) fn are_of_begin(&mut self) {
        self.of_begin = None;
    }

    /// They are those of a hook of ends.
    pub(crate) fn are_of_end(&mut self) {
        self.of_end = None;
    }

    /// They are those of `on_attach`.
    pub(crate) fn are_of_attach(&mut self) {
        self.of_attach = None;
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.states.extend(more.states);
        self.states.sort_unstable();
        self.states.dedup();
    }

    /// Whether a hook's needs are a handler's.
    pub(super) fn check_place(&self) -> Result<(), ListenError> {
        match self.of_begin.or(self.of_end).or(self.of_attach) {
            Some(what) => Err(ListenError::NotHere { what }),
            None => Ok(()),
        }
    }

    pub(super) fn check(&self, provided: &[TypeId]) -> Result<(), ListenError> {
        match self.states.iter().find(|(id, _)| !provided.contains(id)) {
            Some((_, name)) => Err(ListenError::NoState { state: name }),
            None => Ok(()),
        }
    }
}
