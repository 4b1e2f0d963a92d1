//! One cell of the table: a wire, and a stack of layers.

use crate::books::{Effects, Told};
use crate::house::House;
use crate::support::{Dice, becomes, endpoint, within};
use emitwire::middleware::{Buffer, Dedup, RequireAck, Retry, Undelivered};
use emitwire::{
    Chaos, Client, Config, Direction, Endpoint, Event, Layers, Lost, Namespace, Session, Socket,
};
use std::ops::Range;
use std::time::Duration;

/// The columns: each has what the one before has, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stack {
    Bare,
    RequireAck,
    Retry,
    Dedup,
    Buffer,
}

/// How many orders are made in each trouble.
const ORDERS: u64 = 60;

/// How long apart.
const PACE: Duration = Duration::from_millis(4);

/// How long an attempt may take: longer than any cut lasts, or less than a slow handler does.
const PATIENT: Duration = Duration::from_secs(8);
const HASTY: Duration = Duration::from_millis(150);

impl Stack {
    fn near(self, told: &Told, attempt: Duration) -> Layers {
        let told = told.clone();
        let undelivered = move |undelivered: &Undelivered| {
            told.undelivered(number(&undelivered.event), undelivered.error.to_string())
        };
        let mut layers = Layers::new();
        if self >= Self::Buffer {
            layers = layers.and(Buffer::new().on_undelivered(undelivered));
        }
        if self >= Self::Retry {
            // Everything fails here at times: how much is repeated is not what is looked at.
            layers = layers.and(Retry::new().budget(10.0));
        }
        if self >= Self::RequireAck {
            layers = layers.and(RequireAck::handled(attempt));
        }
        layers
    }

    fn far(self) -> Layers {
        if self >= Self::Dedup { Dedup::new().into() } else { Layers::new() }
    }
}

fn number(event: &Event) -> u64 {
    event.payload.decode().unwrap()
}

/// Both ends, and the wire between them.
pub(crate) struct Cell {
    stack: Stack,
    house: Option<House>,
    config: Config,
    effects: Effects,
    told: Told,
    wire: Chaos<Endpoint>,
    session: Session,
    socket: Socket,
}

impl Cell {
    async fn new(url: &str, stack: Stack, resume_window: Duration) -> Self {
        Self::with(url, stack, resume_window, PATIENT).await
    }

    async fn with(url: &str, stack: Stack, resume_window: Duration, attempt: Duration) -> Self {
        let mut config = Config::default();
        config.heartbeat_interval = Duration::from_millis(200);
        config.liveness_timeout = Duration::from_secs(1);
        config.resume_window = resume_window;
        // An attempt to come back that finds nobody is not to outlive the window for long.
        config.connect_timeout = Duration::from_millis(500);
        let (effects, told) = (Effects::default(), Told::default());
        let house = House::open(url, config.clone(), stack.far(), &effects).await;
        let wire = Chaos::new(endpoint(&house.url), 7);
        let [outgoing, lost] = [(); 2].map(|()| told.clone());
        let namespace = Namespace::new("/")
            .on_any_outgoing(move |event| outgoing.outgoing(event.id, number(event)))
            .on_lost(move |event: &Lost| lost.lost(event.id, event.fate));
        let client =
            Client::new(wire.clone()).config(config.clone()).layers(stack.near(&told, attempt));
        let session = within(client.mount(namespace).connect()).await.unwrap();
        let socket = session.of("/").unwrap();
        let house = Some(house);
        Self { stack, house, config, effects, told, wire, session, socket }
    }

    fn house(&self) -> &House {
        self.house.as_ref().unwrap()
    }

    /// Makes orders, one after another, whatever becomes of those before.
    async fn order(&self, name: &'static str, numbers: Range<u64>) {
        for number in numbers {
            let (socket, told) = (self.socket.clone(), self.told.clone());
            tokio::spawn(async move {
                let result = socket.emit(name, &number).await;
                told.result(number, result.map_err(|error| error.to_string()));
            });
            tokio::time::sleep(PACE).await;
        }
    }

    /// Waits until everybody has been told everything.
    async fn settle(&self) {
        becomes(|| self.told.ended(), ORDERS as usize).await;
        let open = || {
            let number = (0..ORDERS).find(|number| {
                self.effects.of(*number) == 0 && self.told.bad_news(*number).is_empty()
            });
            number.map(|number| (number, self.told.is_ok(number)))
        };
        // Nothing is silent: what has no effect is told.
        becomes(open, None).await;
    }

    /// How often the effects are there, the least and the most.
    fn effects(&self) -> (u32, u32) {
        let counts = || (0..ORDERS).map(|number| self.effects.of(number));
        (counts().min().unwrap(), counts().max().unwrap())
    }

    /// An emit that waits for an answer ends well only if there is the effect. With a buffer it
    /// ends well when the event is kept, and the effect comes.
    async fn check_answers(&self) {
        let is_lie = |number: &u64| self.told.is_ok(*number) && self.effects.of(*number) == 0;
        let lie = || (0..ORDERS).find(is_lie);
        match self.stack {
            Stack::Bare => {}
            Stack::Buffer => becomes(lie, None).await,
            _ => assert_eq!(lie(), None, "answered, and not done"),
        }
    }

    fn told_of(&self, count: usize) {
        let told = (0..ORDERS).filter(|number| !self.told.bad_news(*number).is_empty());
        assert!(told.count() >= count, "{:?}", self.stack);
    }
}

/// The link is cut again and again: on any stack nothing is lost, and nothing doubled.
pub(crate) async fn cuts(url: &str, stack: Stack) {
    let cell = Cell::new(url, stack, Duration::from_secs(30)).await;
    let mut dice = Dice(11);
    let cutting = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(20 + dice.roll() % 40)).await;
            cell.wire.sever();
        }
    };
    tokio::join!(cell.order("order", 0..ORDERS), cutting);
    cell.settle().await;
    becomes(|| cell.effects(), (1, 1)).await;
    assert!((0..ORDERS).all(|number| cell.told.bad_news(number).is_empty()));
    within(cell.session.close()).await;
}

/// The session ends in the middle, and the client has another.
pub(crate) async fn end_of_session(url: &str, stack: Stack) {
    let cell = Cell::new(url, stack, Duration::from_millis(150)).await;
    cell.order("order", 0..ORDERS / 3).await;
    cell.wire.sever();
    cell.wire.cut(Direction::Both);
    cell.order("order", ORDERS / 3..ORDERS / 2).await;
    becomes(|| (cell.house().server.stats().sessions, cell.session.is_connected()), (0, false))
        .await;
    cell.wire.heal(Direction::Both);
    cell.order("order", ORDERS / 2..ORDERS).await;
    cell.settle().await;
    cell.check_answers().await;
    if stack == Stack::Buffer {
        // Those that were in doubt have come again, and were known.
        becomes(|| cell.effects(), (1, 1)).await;
        assert!((0..ORDERS).all(|number| cell.told.is_ok(number)));
    } else {
        assert_eq!(cell.effects(), (0, 1));
        cell.told_of(ORDERS as usize / 2);
    }
    within(cell.session.close()).await;
}

/// Handlers fail before they have done anything, once each.
pub(crate) async fn failing_handlers(url: &str, stack: Stack) {
    let cell = Cell::new(url, stack, Duration::from_secs(30)).await;
    cell.order("flaky", 0..ORDERS).await;
    cell.settle().await;
    cell.check_answers().await;
    if stack >= Stack::Retry {
        assert_eq!(cell.effects(), (1, 1));
        assert!((0..ORDERS).all(|number| cell.told.is_ok(number)));
    } else {
        assert_eq!(cell.effects(), (0, 0));
        cell.told_of(ORDERS as usize);
    }
    within(cell.session.close()).await;
}

/// The server is killed in the middle of handlers, and another takes its place.
pub(crate) async fn killed_server(url: &str, stack: Stack) {
    let mut cell = Cell::new(url, stack, Duration::from_secs(30)).await;
    cell.order("order", 0..ORDERS / 2).await;
    let url = cell.house.take().unwrap().kill();
    let opening = House::open(&url, cell.config.clone(), stack.far(), &cell.effects);
    let (house, ()) = tokio::join!(opening, cell.order("order", ORDERS / 2..ORDERS));
    cell.house = Some(house);
    cell.settle().await;
    cell.check_answers().await;
    let (least, most) = cell.effects();
    if stack == Stack::Buffer {
        // What was in a handler has come again, and the new process did not know it.
        assert!(least == 1 && most <= 2, "{least} to {most}");
        assert!((0..ORDERS).all(|number| cell.told.is_ok(number)));
    } else {
        assert_eq!(most, 1, "nobody repeats what may have been done");
        cell.told_of(1);
    }
    within(cell.session.close()).await;
}

/// Answers come later than an attempt may take: nothing is done twice for that.
pub(crate) async fn slow_handlers(url: &str, stack: Stack) {
    let cell = Cell::with(url, stack, Duration::from_secs(30), HASTY).await;
    cell.order("slow", 0..8).await;
    becomes(|| cell.told.ended(), 8).await;
    becomes(|| (0..8).all(|number| cell.effects.of(number) == 1), true).await;
    let is_ok = (0..8).all(|number| cell.told.is_ok(number));
    assert_eq!(is_ok, stack != Stack::RequireAck, "{:?}", cell.told.bad_news(0));
    within(cell.session.close()).await;
}

/// Handlers that fail behind their effect: that no layer can know.
pub(crate) async fn half_done_handlers(url: &str, stack: Stack) {
    let cell = Cell::new(url, stack, Duration::from_secs(30)).await;
    cell.order("twice", 0..ORDERS).await;
    becomes(|| cell.told.ended(), ORDERS as usize).await;
    let times = if stack >= Stack::Retry { 2 } else { 1 };
    becomes(|| cell.effects(), (times, times)).await;
    within(cell.session.close()).await;
}

/// All of it.
pub(crate) async fn all(url: &str, stack: Stack) {
    cuts(url, stack).await;
    end_of_session(url, stack).await;
    failing_handlers(url, stack).await;
    killed_server(url, stack).await;
    slow_handlers(url, stack).await;
    half_done_handlers(url, stack).await;
}
