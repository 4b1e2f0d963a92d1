//! The namespaces of a server: paths, patterns of paths, and what these have brought about.

use super::Config;
use super::mounted::{Built, Mounted};
use crate::handler::{Blueprint, MountError, Namespace, Pattern};
use crate::protocol::{NamespaceNumber, SocketId};
use crate::room::{AckTable, Adapter, Counters, LocalAdapter, RoomEvents};
use crate::socket::{Broadcast, Layers, Producer, Scope, Served, Socket};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// Makes the adapter of a namespace, by its path, around the one of this process.
type MakeAdapter = Arc<dyn Fn(&str, LocalAdapter) -> Arc<dyn Adapter> + Send + Sync>;

pub(crate) struct Mounts {
    config: Arc<Config>,
    counters: Arc<Counters>,
    producer: Arc<Producer>,
    acks: Arc<AckTable>,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    fixed: HashMap<Arc<str>, Arc<Mounted>>,
    patterns: Vec<Template>,
    /// What patterns have brought about, for as long as a socket is in it.
    born: HashMap<Arc<str>, Born>,
    make_adapter: Option<MakeAdapter>,
    /// Around each namespace that is mounted from now on.
    layers: Layers,
    /// The shortest of those of all namespaces.
    dedup_horizon: Option<Duration>,
    /// No number is used twice: an event of an older namespace may still be on its way.
    next_number: u32,
}

/// What a pattern makes namespaces of.
struct Template {
    pattern: Pattern,
    blueprint: Arc<Blueprint>,
    layers: Built,
}

struct Born {
    mounted: Arc<Mounted>,
    places: usize,
}

/// A socket's place in a namespace. A namespace of a pattern ends with the last of them.
pub(crate) struct Place {
    mounts: Arc<Mounts>,
    pub(crate) mounted: Arc<Mounted>,
}

/// Why there is no place.
pub(crate) enum NoPlace {
    /// Nothing of this path is mounted.
    Unknown,
    /// Patterns have brought about as many namespaces as there may be.
    Full,
}

impl Mounts {
    pub(crate) fn new(
        config: Arc<Config>,
        counters: Arc<Counters>,
        producer: Arc<Producer>,
    ) -> Self {
        let (acks, table) = (Arc::default(), RwLock::default());
        Self { config, counters, producer, acks, table }
    }

    /// Makes the adapters of what is mounted from now on.
    pub(crate) fn set_adapter(&self, make: MakeAdapter) {
        self.write().make_adapter = Some(make);
    }

    /// Puts layers around what is mounted from now on, inside those added before.
    pub(crate) fn add_layers(&self, layers: Layers) {
        let mut table = self.write();
        table.layers = std::mem::take(&mut table.layers).and(layers);
    }

    /// For how long an event that comes again is known, in the namespace that knows it for the
    /// shortest time of those that do.
    pub(crate) fn dedup_horizon(&self) -> Option<Duration> {
        self.read().dedup_horizon
    }

    pub(crate) fn mount(&self, namespace: &Namespace) -> Result<(), MountError> {
        let (blueprint, pattern) = namespace.blueprint(self.config.listeners_max)?;
        // What a layer does when it is built is not done under the lock.
        let outer = self.read().layers.clone();
        let (layers, horizon) =
            (Built::new(&blueprint, &outer), blueprint.layers(&outer).horizon());
        let mut table = self.write();
        let path = Arc::clone(blueprint.path());
        let is_known = |template: &Template| {
            pattern.as_ref().is_some_and(|pattern| template.pattern.catches_the_same_as(pattern))
        };
        if table.fixed.contains_key(&path) || table.patterns.iter().any(is_known) {
            return Err(MountError::Duplicate { path: (*path).into() });
        }
        let horizons = [table.dedup_horizon, horizon];
        table.dedup_horizon = horizons.into_iter().flatten().min();
        match pattern {
            Some(pattern) => table.patterns.push(Template { pattern, blueprint, layers }),
            None => {
                // A server that has brought about four billion namespaces before is none.
                let number = table.number().unwrap_or(NamespaceNumber(u32::MAX));
                let plan = Plan { path: Arc::clone(&path), captures: Box::default(), number };
                let mounted = self.build(&table, plan, blueprint, layers);
                table.fixed.insert(path, Arc::new(mounted));
            }
        }
        Ok(())
    }

    /// A place for a socket in the namespace of this path.
    pub(crate) fn enter(self: &Arc<Self>, path: &str) -> Result<Place, NoPlace> {
        // A pattern would catch itself, and whoever joined that would stand for all of it.
        if path.contains(['{', '}']) {
            return Err(NoPlace::Unknown);
        }
        if let Some(mounted) = self.read().fixed.get(path) {
            return Ok(self.place(mounted));
        }
        let mut table = self.write();
        if let Some(mounted) = table.fixed.get(path) {
            return Ok(self.place(mounted));
        }
        if let Some(born) = table.born.get_mut(path) {
            born.places += 1;
            return Ok(self.place(&born.mounted));
        }
        let found = table.patterns.iter().find_map(|template| {
            let captures = template.pattern.captures(path)?;
            Some((captures, Arc::clone(&template.blueprint), template.layers.clone()))
        });
        let (captures, blueprint, layers) = found.ok_or(NoPlace::Unknown)?;
        if table.born.len() >= self.config.namespaces_max {
            return Err(NoPlace::Full);
        }
        let number = table.number().ok_or(NoPlace::Full)?;
        let path: Arc<str> = path.into();
        let plan = Plan { path: Arc::clone(&path), captures, number };
        let mounted = Arc::new(self.build(&table, plan, blueprint, layers));
        let place = self.place(&mounted);
        table.born.insert(path, Born { mounted, places: 1 });
        Ok(place)
    }

    /// Everyone in a namespace; in all that a pattern has brought about, if this is one.
    pub(crate) fn reach(self: &Arc<Self>, path: &str) -> Broadcast {
        let table = self.read();
        if let Some(mounted) = table.fixed.get(path) {
            return Broadcast::everyone(Arc::clone(&mounted.scope));
        }
        let is_path = |template: &&Template| **template.blueprint.path() == *path;
        // Weak: a handler may keep what is found here.
        let (mounts, known) = (Arc::downgrade(self), Arc::<str>::from(path));
        if let Some(template) = table.patterns.iter().find(is_path) {
            let blueprint = Arc::clone(&template.blueprint);
            let find = move |mounts: Arc<Self>| mounts.born_of(&blueprint);
            return Broadcast::everyone_in(move || mounts.upgrade().map(&find).unwrap_or_default());
        }
        match table.patterns.iter().any(|template| template.pattern.captures(path).is_some()) {
            true => {
                let find = move |mounts: Arc<Self>| mounts.born_at(&known);
                Broadcast::everyone_in(move || mounts.upgrade().map(&find).unwrap_or_default())
            }
            false => Broadcast::not_mounted(path),
        }
    }

    /// What a pattern has brought about so far.
    fn born_of(&self, blueprint: &Arc<Blueprint>) -> Vec<Arc<Scope>> {
        let table = self.read();
        let born = table.born.values().map(|born| &born.mounted);
        let of_it = born.filter(|mounted| Arc::ptr_eq(&mounted.blueprint, blueprint));
        of_it.map(|mounted| Arc::clone(&mounted.scope)).collect()
    }

    /// What a pattern has brought about under this path, if a socket is in it.
    fn born_at(&self, path: &str) -> Vec<Arc<Scope>> {
        let born = self.read().born.get(path).map(|born| Arc::clone(&born.mounted.scope));
        born.into_iter().collect()
    }

    pub(crate) fn socket(&self, path: &str, id: SocketId) -> Option<Socket> {
        self.read().get(path)?.scope.served.as_ref()?.socket(id)
    }

    pub(crate) fn counters(&self, path: &str) -> Option<Arc<Counters>> {
        Some(Arc::clone(&self.read().get(path)?.scope.counters))
    }

    /// The paths of all namespaces that there are now, in their order.
    pub(crate) fn paths(&self) -> Vec<String> {
        let table = self.read();
        let paths = table.fixed.keys().chain(table.born.keys());
        let mut paths: Vec<_> = paths.map(ToString::to_string).collect();
        paths.sort_unstable();
        paths
    }

    fn place(self: &Arc<Self>, mounted: &Arc<Mounted>) -> Place {
        Place { mounts: Arc::clone(self), mounted: Arc::clone(mounted) }
    }

    fn build(
        &self,
        table: &Table,
        plan: Plan,
        blueprint: Arc<Blueprint>,
        layers: Built,
    ) -> Mounted {
        let config = &self.config;
        let counters = Arc::new(Counters::part_of(Arc::clone(&self.counters)));
        let mut local = LocalAdapter::new(config.rooms_per_socket_max, Arc::clone(&counters));
        local.room_name_bytes_max = config.room_name_bytes_max;
        local.slow_policy = blueprint.slow_policy().unwrap_or(config.slow_policy);
        local.number = plan.number;
        local.producer = self.producer.id;
        local.acks = Arc::clone(&self.acks);
        local.events =
            blueprint.on_room().map(|tell| RoomEvents::new(tell, config.room_events_max));
        let adapter: Arc<dyn Adapter> = match &table.make_adapter {
            Some(make) => make(&plan.path, local),
            None => Arc::new(local),
        };
        let served = Served {
            number: plan.number,
            adapter,
            producer: Arc::clone(&self.producer),
            acks: Arc::clone(&self.acks),
            event_bytes_max: config.event_bytes_max,
            ack_timeout: config.ack_timeout,
            sockets: RwLock::default(),
        };
        let scope = Scope {
            path: plan.path,
            captures: plan.captures,
            counters,
            outgoing: Arc::clone(blueprint.emitter.outgoing()),
            states: blueprint.state_types(),
            outbound: layers.outbound.clone(),
            served: Some(served),
        };
        Mounted::new(blueprint, layers, scope)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes a namespace of a blueprint.
struct Plan {
    path: Arc<str>,
    captures: Box<[(Box<str>, Box<str>)]>,
    number: NamespaceNumber,
}

impl Table {
    fn get(&self, path: &str) -> Option<&Arc<Mounted>> {
        self.fixed.get(path).or_else(|| Some(&self.born.get(path)?.mounted))
    }

    fn number(&mut self) -> Option<NamespaceNumber> {
        let number = NamespaceNumber(self.next_number);
        self.next_number = self.next_number.checked_add(1)?;
        Some(number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let path = &self.mounted.scope.path;
        // Most namespaces are no pattern's, and stay.
        if !self.mounts.read().born.contains_key(path) {
            return;
        }
        let mut table = self.mounts.write();
        let Some(born) = table.born.get_mut(path) else { return };
        // It may be mounted as it is, too, and this was a place there.
        if !Arc::ptr_eq(&born.mounted, &self.mounted) {
            return;
        }
        born.places -= 1;
        if born.places == 0 {
            let ended = table.born.remove(path);
            // What an adapter keeps is not dropped under the lock.
            drop(table);
            drop(ended);
        }
    }
}
