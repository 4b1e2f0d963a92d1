//! A namespace that is mounted.

use crate::handler::{Blueprint, Inbound};
use crate::socket::{Scope, States};
use std::sync::Arc;

/// A mounted namespace: its blueprint, and its layers built around it once.
pub(crate) struct Mounted {
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) inbound: Option<Inbound>,
    pub(crate) scope: Arc<Scope>,
    /// What its handlers share.
    pub(crate) states: Option<Arc<States>>,
    /// How many handlers of one socket may run at once.
    pub(crate) concurrent: usize,
}

impl Mounted {
    pub(crate) fn new(blueprint: Arc<Blueprint>, inbound: Option<Inbound>, scope: Scope) -> Self {
        let (states, concurrent) = (blueprint.states(), blueprint.concurrent());
        Self { blueprint, inbound, scope: Arc::new(scope), states, concurrent }
    }
}
