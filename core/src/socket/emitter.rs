//! The emitter: which listeners an event has.

use super::outgoing::{OnOutgoing, Outgoing};
use super::states::Needs;
use super::{Envelope, ListenError, Refusal};
use crate::protocol::{EVENT_NAME_BYTES_MAX, EventName, Payload, is_reserved};
use crate::room::shielded;
use std::any::TypeId;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// Nothing, or the payload of the ack, or a refusal.
pub type Reply = Result<Option<Payload>, Refusal>;

/// The future of a handler, of whatever type.
pub(crate) type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A handler of whatever type.
pub(crate) type Erased = Arc<dyn Fn(Envelope) -> ReplyFuture + Send + Sync>;

/// Somebody who is told the name of a listener that came or went.
pub(crate) type OnChange = Arc<dyn Fn(&str) + Send + Sync>;

/// A listener, to take it out again: see [`Emitter::off`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u64);

impl ListenerId {
    pub(super) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The table of listeners: event name → listeners, in order of registration.
///
/// Each [`Namespace`](crate::handler::Namespace) has one, for all its sockets, and a
/// [`Socket`](super::Socket) gets one of its own with its first listener. An event is heard by the
/// namespace's listeners and then by the socket's. A handle: clones share everything.
///
/// ```
/// # use emitwire_core::handler::{Data, Namespace};
///
/// let chat = Namespace::new("/chat");
/// let shout = |Data(text): Data<String>| async move { text.to_uppercase() };
/// let listener = chat.emitter().on("shout", shout)?;
/// assert_eq!(chat.emitter().listener_count("shout"), 1);
/// assert!(chat.emitter().off(listener));
/// assert!(chat.emitter().event_names().is_empty());
/// # Ok::<(), emitwire_core::socket::ListenError>(())
/// ```
#[derive(Clone, Default)]
pub struct Emitter(Arc<Inner>);

struct Inner {
    table: RwLock<Table>,
    outgoing: Arc<Outgoing>,
    /// Told whenever a listener is added: parked events look again.
    changed: watch::Sender<()>,
}

struct Table {
    named: HashMap<EventName, Arc<Vec<Listener>>>,
    any: Arc<Vec<Listener>>,
    fallback: Option<Erased>,
    on_added: Option<OnChange>,
    on_removed: Option<OnChange>,
    /// Named ones and those that hear everything.
    count: usize,
    count_max: usize,
    /// What its handlers ask for, until it is known what there is.
    needs: Needs,
    /// The types of state that there are.
    provided: Option<Arc<[TypeId]>>,
    is_closed: bool,
}

#[derive(Clone)]
struct Listener {
    id: ListenerId,
    handler: Erased,
    once: bool,
}

/// What a listener listens to.
pub(crate) enum Topic<'a> {
    Named { name: &'a str, once: bool },
    Any,
}

impl Default for Inner {
    fn default() -> Self {
        let table = RwLock::default();
        Self { table, outgoing: Arc::default(), changed: watch::Sender::new(()) }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            named: HashMap::new(),
            any: Arc::default(),
            fallback: None,
            on_added: None,
            on_removed: None,
            count: 0,
            count_max: usize::MAX,
            needs: Needs::default(),
            provided: None,
            is_closed: false,
        }
    }
}

impl Emitter {
    /// Takes no more than `count_max` listeners from now on, and none that asks for state of
    /// another type; an error if it has such listeners already.
    pub(crate) fn bind(
        &self,
        count_max: usize,
        provided: Arc<[TypeId]>,
    ) -> Result<(), ListenError> {
        let mut table = self.write();
        table.needs.check(&provided)?;
        table.count_max = count_max;
        table.provided = Some(provided);
        if table.count > count_max {
            return Err(ListenError::TooMany { max: count_max });
        }
        Ok(())
    }

    /// A handler asks for these.
    pub(crate) fn need(&self, needs: Needs) -> Result<(), ListenError> {
        needs.check_place()?;
        let mut table = self.write();
        match &table.provided {
            Some(provided) => needs.check(provided)?,
            None => table.needs.extend(needs),
        }
        Ok(())
    }

    /// Takes a listener out. Events that it has begun to handle go on; says whether it was there.
    pub fn off(&self, id: ListenerId) -> bool {
        if self.0.outgoing.remove(id) {
            return true;
        }
        let (named, any) = {
            let mut table = self.write();
            let named = table.take_named(|listener| listener.id == id);
            let any = table.take_any(|listener| listener.id == id);
            (named, any)
        };
        self.tell_removed(&named);
        !named.is_empty() || !any.is_empty()
    }

    /// Takes all listeners of an event out; says how many there were.
    pub fn off_all(&self, name: &str) -> usize {
        let removed = self.write().take_name(name, |_| true);
        self.tell_removed(&removed);
        removed.len()
    }

    /// Takes out all that hear everything; says how many there were.
    pub fn off_any(&self) -> usize {
        let removed = self.write().take_any(|_| true);
        removed.len()
    }

    /// The names that have listeners, sorted.
    #[must_use]
    pub fn event_names(&self) -> Vec<EventName> {
        let mut names: Vec<_> = self.read().named.keys().cloned().collect();
        names.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        names
    }

    /// How many listeners an event has, those that hear everything not among them.
    #[must_use]
    pub fn listener_count(&self, name: &str) -> usize {
        self.read().named.get(name).map_or(0, |named| named.len())
    }

    /// Sets who is told the event's name when a listener was added.
    pub fn on_listener_added(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        let mut table = self.write();
        if !table.is_closed {
            let before = table.on_added.replace(Arc::new(tell));
            drop(table);
            drop(before);
        }
    }

    /// Sets who is told the event's name when a listener was removed, also one that listened once.
    pub fn on_listener_removed(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        let mut table = self.write();
        if !table.is_closed {
            let before = table.on_removed.replace(Arc::new(tell));
            drop(table);
            drop(before);
        }
    }

    /// Adds a listener behind those that there are.
    pub(crate) fn listen(
        &self,
        topic: &Topic<'_>,
        handler: Erased,
    ) -> Result<ListenerId, ListenError> {
        let id = ListenerId::next();
        let on_added = {
            let mut table = self.write();
            table.check_room()?;
            match topic {
                Topic::Named { name, once } => {
                    check_name(name)?;
                    let listeners = table.named.entry(EventName::from(*name)).or_default();
                    let listener = Listener { id, handler, once: *once };
                    Arc::make_mut(listeners).push(listener);
                }
                Topic::Any => {
                    let listener = Listener { id, handler, once: false };
                    Arc::make_mut(&mut table.any).push(listener);
                }
            }
            table.count += 1;
            table.on_added.clone()
        };
        self.0.changed.send_replace(());
        if let (Some(tell), Topic::Named { name, .. }) = (on_added, topic) {
            shielded("listener added", || tell(name));
        }
        Ok(id)
    }

    /// Adds somebody who is told of each event that goes out.
    pub(crate) fn listen_outgoing(&self, tell: OnOutgoing) -> Result<ListenerId, ListenError> {
        let table = self.read();
        table.check_room()?;
        self.0.outgoing.add(tell, table.count_max)
    }

    /// Sets who answers what has no other listener.
    pub(crate) fn fall_back_on(&self, handler: Erased) -> Result<(), ListenError> {
        let mut table = self.write();
        if table.is_closed {
            return Err(ListenError::Closed);
        }
        let before = table.fallback.replace(handler);
        drop(table);
        drop(before);
        self.0.changed.send_replace(());
        Ok(())
    }

    /// Who is told what goes out. What holds this holds no listener.
    pub(crate) fn outgoing(&self) -> &Arc<Outgoing> {
        &self.0.outgoing
    }

    /// The listeners of `name`. Those that listen once are theirs who found them.
    pub(crate) fn find(&self, name: &str) -> Vec<Erased> {
        let named = self.read().named.get(name).cloned();
        match named {
            None => Vec::new(),
            Some(named) if named.iter().any(|listener| listener.once) => self.take(name),
            Some(named) => named.iter().map(|listener| Arc::clone(&listener.handler)).collect(),
        }
    }

    /// Who answers what has no other listener.
    pub(crate) fn fallback(&self) -> Option<Erased> {
        self.read().fallback.clone()
    }

    /// The listener of `name`, if it is the only one and listens always, and nobody hears
    /// everything: such an event costs nothing but its handler.
    pub(crate) fn find_only(&self, name: &str) -> Option<Erased> {
        let table = self.read();
        if !table.any.is_empty() {
            return None;
        }
        match table.named.get(name).map(|named| &***named) {
            Some([only]) if !only.once => Some(Arc::clone(&only.handler)),
            Some(_) => None,
            None => table.fallback.clone(),
        }
    }

    /// Whether nobody here has anything to do with events of this name.
    pub(crate) fn is_deaf_to(&self, name: &str) -> bool {
        let table = self.read();
        table.any.is_empty() && table.fallback.is_none() && !table.named.contains_key(name)
    }

    /// Whether `name` has a listener now.
    pub(crate) fn hears(&self, name: &str) -> bool {
        let table = self.read();
        table.fallback.is_some() || table.named.contains_key(name)
    }

    /// Who hears every event, if anybody does.
    pub(crate) fn any(&self) -> Vec<Erased> {
        self.read().any.iter().map(|listener| Arc::clone(&listener.handler)).collect()
    }

    /// Told whenever a listener is added.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Has parked events look again, as if a listener had been added.
    pub(crate) fn tell_changed(&self) {
        self.0.changed.send_replace(());
    }

    /// Lets go of every listener for good: they may hold what holds this.
    pub(crate) fn close(&self) {
        let is_closed = true;
        let closed = std::mem::replace(&mut *self.write(), Table { is_closed, ..Table::default() });
        // Whatever listeners hold is not dropped under the lock.
        drop(closed);
        drop(self.0.outgoing.take());
    }

    /// As `find`, under the write lock, removing those that listen once.
    fn take(&self, name: &str) -> Vec<Erased> {
        let (found, removed) = {
            let mut table = self.write();
            let named = table.named.get(name).cloned().unwrap_or_default();
            (named, table.take_name(name, |listener| listener.once))
        };
        self.tell_removed(&removed);
        found.iter().map(|listener| Arc::clone(&listener.handler)).collect()
    }

    fn tell_removed(&self, removed: &[Removed]) {
        if removed.is_empty() {
            return;
        }
        let tell = self.read().on_removed.clone();
        if let Some(tell) = tell {
            for (name, _) in removed {
                shielded("listener removed", || tell(name));
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emitter").field("event_names", &self.event_names()).finish_non_exhaustive()
    }
}

/// A name that events may have.
pub(crate) fn check_name(name: &str) -> Result<(), ListenError> {
    if is_reserved(name) {
        return Err(ListenError::Reserved { name: name.into() });
    }
    match (name.len(), EVENT_NAME_BYTES_MAX) {
        (bytes, max) if bytes > max => Err(ListenError::NameTooLong { bytes, max }),
        _ => Ok(()),
    }
}

impl Table {
    fn check_room(&self) -> Result<(), ListenError> {
        match self.count_max {
            _ if self.is_closed => Err(ListenError::Closed),
            max if self.count >= max => Err(ListenError::TooMany { max }),
            _ => Ok(()),
        }
    }

    /// Takes out those of all names that are meant.
    fn take_named(&mut self, is_meant: impl Fn(&Listener) -> bool) -> Vec<Removed> {
        let with_one = |(_, named): &(&EventName, &Arc<Vec<Listener>>)| named.iter().any(&is_meant);
        let names: Vec<_> =
            self.named.iter().filter(with_one).map(|(name, _)| name.clone()).collect();
        names.iter().flat_map(|name| self.take_name(name, &is_meant)).collect()
    }

    /// Takes out those of one name that are meant.
    fn take_name(&mut self, name: &str, is_meant: impl Fn(&Listener) -> bool) -> Vec<Removed> {
        let Some((name, named)) = self.named.remove_entry(name) else { return Vec::new() };
        let (removed, kept): (Vec<_>, Vec<_>) = named.iter().cloned().partition(is_meant);
        if !kept.is_empty() {
            self.named.insert(name.clone(), Arc::new(kept));
        }
        self.count -= removed.len();
        removed.into_iter().map(|listener| (name.clone(), listener)).collect()
    }

    /// Takes out those that hear everything and are meant.
    fn take_any(&mut self, is_meant: impl Fn(&Listener) -> bool) -> Vec<Listener> {
        let (removed, kept): (Vec<_>, Vec<_>) = self.any.iter().cloned().partition(is_meant);
        self.any = Arc::new(kept);
        self.count -= removed.len();
        removed
    }
}

/// A listener that was taken out, with its event's name. What it keeps is the application's, and
/// not let go of under the lock.
type Removed = (EventName, Listener);
