//! The checks: a table of names, each with a function that tries to break what it says.

mod address;
mod arrival;
mod crowd;
mod delivery;
mod ends;
mod limits;
mod pressure;

use super::check::Check;

/// All of them: first what a wire says of itself, then what it carries, then what it withstands.
pub(super) static ALL: &[Check] = &[
    Check::new("no less is declared than was asked for", |stage| {
        Box::pin(address::declares_enough(stage))
    }),
    Check::new("both ends declare the same, every time", |stage| {
        Box::pin(address::declares_the_same(stage))
    }),
    Check::new("a listener names an endpoint that clients reach", |stage| {
        Box::pin(address::endpoint_is_reached(stage))
    }),
    Check::new("an address that is bound is in use", |stage| Box::pin(address::in_use(stage))),
    Check::new("an address is free when its listener is gone", |stage| {
        Box::pin(address::is_freed(stage))
    }),
    Check::new("connecting to nobody fails in time", |stage| Box::pin(address::nobody(stage))),
    Check::new("frames travel both ways", |stage| Box::pin(delivery::both_ways(stage))),
    Check::new(
        "frames arrive as often and in the order as declared, whatever the batches",
        |stage| Box::pin(delivery::order(stage)),
    ),
    Check::new("an empty frame is a frame and not the end", |stage| {
        Box::pin(delivery::empty(stage))
    }),
    Check::new("bodies of every size arrive as they were written", |stage| {
        Box::pin(delivery::sizes(stage))
    }),
    Check::new("the largest frame that is declared arrives", |stage| {
        Box::pin(delivery::largest(stage))
    }),
    Check::new("both directions carry at once", |stage| Box::pin(delivery::at_once(stage)))
        .on_two_threads(),
    Check::new("between two threads nothing is lost", |stage| Box::pin(delivery::threads(stage)))
        .on_two_threads(),
    Check::new("an idle wire is pending and has not ended", |stage| {
        Box::pin(delivery::idle(stage))
    }),
    Check::new("a read that was given up loses nothing", |stage| {
        Box::pin(delivery::given_up(stage))
    }),
    Check::new("a frame over the limit is refused, and those before it are good", |stage| {
        Box::pin(limits::over_the_wires(stage))
    }),
    Check::new("a session lowers the limit of the frames it takes", |stage| {
        Box::pin(limits::over_the_sessions(stage))
    }),
    Check::new("a frame that is refused costs no memory", |stage| {
        Box::pin(limits::costs_nothing(stage))
    }),
    Check::new("a volatile frame travels whole or not at all", |stage| {
        Box::pin(limits::datagram(stage))
    }),
    Check::new("a peer that never reads makes its writer wait", |stage| {
        Box::pin(pressure::waits(stage))
    }),
    Check::new("a blocked write does not stall a read", |stage| {
        Box::pin(pressure::does_not_stall(stage))
    }),
    Check::new("what was blocked arrives whole and in order", |stage| {
        Box::pin(pressure::arrives_later(stage))
    }),
    Check::new("a try without a waker loses no wake-up", |stage| Box::pin(pressure::wakes(stage))),
    Check::new("what a wire took over arrives when its writer polls on", |stage| {
        Box::pin(pressure::polled_on(stage))
    }),
    Check::new("a close in order comes after everything before it", |stage| {
        Box::pin(ends::in_order(stage))
    }),
    Check::new("a closed direction leaves the other open", |stage| {
        Box::pin(ends::half_close(stage))
    }),
    Check::new("a connection that was dropped ends for its peer", |stage| {
        Box::pin(ends::dropped(stage))
    }),
    Check::new("an end in the middle of a frame is an error", |stage| Box::pin(ends::cut(stage))),
    Check::new("writing to a peer that is gone fails", |stage| Box::pin(ends::gone(stage))),
    Check::new("a silent peer does not delay the next", |stage| Box::pin(arrival::silent(stage))),
    Check::new("an accept that was given up loses no peer", |stage| {
        Box::pin(arrival::accept(stage))
    }),
    Check::new("a connect that was given up leaves nothing behind", |stage| {
        Box::pin(arrival::connect(stage))
    }),
    Check::new("a handshake that was given up closes its connection", |stage| {
        Box::pin(arrival::handshake(stage))
    }),
    Check::new("a bind that was given up leaves nothing bound", |stage| {
        Box::pin(arrival::bind(stage))
    }),
    Check::new("many connections live at once", |stage| Box::pin(crowd::at_once(stage)))
        .deadlines(6),
    Check::new("short connections leave nothing behind", |stage| Box::pin(crowd::short(stage)))
        .deadlines(6),
];
