//! A mailbox on a wire that takes only what it is told to.

use super::*;

pub(super) fn mailbox(
    codec: Arc<dyn Codec>,
    window: Credit,
    bounds: Bounds,
    counters: &Arc<Counters>,
) -> Mailbox {
    let detached = Arc::new(Detached::new(usize::MAX, usize::MAX));
    Mailbox::new(codec, Outbound::new(window), WINDOW, bounds, Arc::clone(counters), detached)
}

pub(super) fn packet_of_event(number: u64, payload: Payload) -> EventPacket {
    EventPacket {
        namespace: NamespaceNumber(0),
        event: EventRef { producer: None, number },
        wants_ack: false,
        name: EventName::from_static("e"),
        payload,
    }
}

/// An event of one byte.
pub(super) fn event(number: u64) -> Packet {
    Packet::Event(packet_of_event(number, Payload::empty()))
}

pub(super) fn volatile(number: u64) -> Packet {
    Packet::Volatile(packet_of_event(number, Payload::empty()))
}

pub(super) fn control(number: u32) -> Packet {
    let (path, auth) = (EventName::from_static("/"), Payload::empty());
    Packet::Connect(Connect { number: NamespaceNumber(number), path, auth })
}

pub(super) fn leave(number: u32) -> Packet {
    Packet::Leave(Leave { client: NamespaceNumber(number), words: "".into() })
}

pub(super) fn goodbye() -> Close {
    Close { code: CloseCode::Normal, detail: EventName::from_static("") }
}

/// A wire that takes as many bytes as it was told to, and then none until it is told again.
#[derive(Clone, Default)]
pub(super) struct Wire(pub(super) Arc<(Mutex<Taken>, Condvar)>);

#[derive(Default)]
pub(super) struct Taken {
    pub(super) frames: Vec<Frame>,
    /// A frame of which some bytes were taken, and how many.
    pub(super) begun: Option<(Frame, usize)>,
    pub(super) budget: usize,
    pub(super) is_broken: bool,
    pub(super) is_closed: bool,
    pub(super) writer: Option<Waker>,
}

pub(super) struct Half(pub(super) Wire);

impl Wire {
    pub(super) fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.0.lock().unwrap()
    }

    /// Takes so many bytes more, and says so to whoever waits.
    pub(super) fn take(&self, bytes: usize) {
        let writer = {
            let mut taken = self.lock();
            taken.budget = taken.budget.saturating_add(bytes);
            taken.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    pub(super) fn take_all(&self) {
        self.take(usize::MAX);
    }

    pub(super) fn events(&self) -> usize {
        self.packets().iter().filter(|packet| matches!(packet, Packet::Event(_))).count()
    }

    pub(super) fn packets(&self) -> Vec<Packet> {
        let decode = |frame: &Frame| Native.decoder().decode(frame.clone()).unwrap().unwrap();
        self.lock().frames.iter().map(decode).collect()
    }
}

impl WriteHalf for Half {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        let mut taken = self.0.lock();
        assert!(!taken.is_closed, "written after the end");
        if taken.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while let Some(frame) = batch.front() {
            let begun = taken.begun.take().map_or(0, |(begun, bytes)| {
                assert_eq!(&begun, frame, "a frame that was begun comes again");
                bytes
            });
            let left = frame.body.len() - begun;
            if taken.budget < left {
                taken.begun = Some((frame.clone(), begun + taken.budget));
                taken.budget = 0;
                taken.writer = Some(cx.waker().clone());
                self.0.0.1.notify_all();
                return Poll::Pending;
            }
            taken.budget -= left;
            taken.frames.extend(batch.pop_front());
        }
        self.0.0.1.notify_all();
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().is_closed = true;
        Poll::Ready(Ok(()))
    }
}

/// A waker that counts.
#[derive(Default)]
pub(super) struct Wakes(pub(super) AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A mailbox on a wire, with a driver that runs when it is told to.
pub(super) struct Rig {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) wire: Wire,
    pub(super) counters: Arc<Counters>,
    pub(super) driver: Arc<Wakes>,
    pub(super) window: Credit,
}

impl Rig {
    /// On a wire that takes nothing yet.
    pub(super) fn new(events: u64, bounds: Bounds) -> Self {
        let (wire, counters) = (Wire::default(), Arc::new(Counters::default()));
        let window = Credit { events, ..WINDOW };
        let mailbox = Arc::new(mailbox(Arc::new(Native), window, bounds, &counters));
        mailbox.attach(Outlet::new(Box::new(Half(wire.clone()))), 0).unwrap();
        Self { mailbox, wire, counters, driver: Arc::default(), window }
    }

    /// On a wire that takes everything.
    pub(super) fn open(events: u64, bounds: Bounds) -> Self {
        let rig = Self::new(events, bounds);
        rig.wire.take_all();
        rig
    }

    /// Appends an event, or says at once why not.
    pub(super) fn append(&self, number: u64) -> Result<(), NotAccepted> {
        let (mut cx, mut ticket) = (Context::from_waker(Waker::noop()), None);
        let encoded = Native.encode(&event(number));
        match self.mailbox.poll_offer(&mut cx, &mut ticket, &parcel(&encoded)) {
            Poll::Ready(offered) => offered.map(|_| ()),
            Poll::Pending => {
                self.mailbox.forget_ticket(&mut ticket);
                Err(NotAccepted::Full)
            }
        }
    }

    pub(super) fn offer(&self, number: u64) -> Result<(), NotAccepted> {
        self.append(number)?;
        self.mailbox.flush();
        Ok(())
    }

    pub(super) fn offer_volatile(&self, number: u64) -> Result<(), NotAccepted> {
        let _: Flush = self.mailbox.offer_volatile(&Native.encode(&volatile(number)), 1)?;
        self.mailbox.flush();
        Ok(())
    }

    pub(super) fn deliver(&self, number: u64) -> Result<(), NotAccepted> {
        let encoded = Native.encode(&event(number));
        let _ = self.mailbox.deliver(&parcel(&encoded), SlowPolicy::Detach)?;
        self.mailbox.flush();
        Ok(())
    }

    pub(super) fn poll_offer(
        &self,
        wakes: &Arc<Wakes>,
        ticket: &mut Option<Ticket>,
        number: u64,
    ) -> Poll<Result<(), NotAccepted>> {
        let waker = Waker::from(Arc::clone(wakes));
        let mut cx = Context::from_waker(&waker);
        let encoded = Native.encode(&event(number));
        let offered = self.mailbox.poll_offer(&mut cx, ticket, &parcel(&encoded));
        offered.map_ok(|_| self.mailbox.flush())
    }

    pub(super) fn push_control(&self, number: u32) {
        let _: Flush = self.mailbox.push_control(&control(number));
        self.mailbox.flush();
    }

    pub(super) fn close(&self, at_once: bool) {
        let _: Flush = self.mailbox.begin_close(DisconnectReason::Closed, goodbye(), at_once);
        self.mailbox.flush();
    }

    /// One look of the driver.
    pub(super) fn drive(&self) -> Poll<WireEnd> {
        let waker = Waker::from(Arc::clone(&self.driver));
        self.mailbox.poll_drive(&mut Context::from_waker(&waker))
    }

    /// The peer has so many counted packets and has finished so many events, of one byte each.
    pub(super) fn confirm(&self, received: u64, finished: u64) -> Result<(), ProtocolError> {
        let granted = self.window.plus(Credit { events: finished, bytes: finished });
        let position = Position { received, granted, ..Position::default() };
        let _: (Flush, u64) = self.mailbox.handle_position(&position)?;
        self.mailbox.flush();
        Ok(())
    }

    /// What was written, without what the mailbox says of itself.
    pub(super) fn written(&self) -> Vec<Packet> {
        let mut packets = self.wire.packets();
        packets.retain(|packet| !matches!(packet, Packet::From(_) | Packet::Position(_)));
        packets
    }

    pub(super) fn asks(&self) -> usize {
        let packets = self.wire.packets();
        let asks = |packet: &&Packet| matches!(packet, Packet::Position(it) if it.asks);
        packets.iter().filter(asks).count()
    }
}

pub(super) fn full<T: PartialEq + std::fmt::Debug>(offered: &Result<T, NotAccepted>) -> bool {
    matches!(offered, Err(NotAccepted::Full))
}
