//! Emitting, and taking down how that went.

use super::chance::Chance;
use super::history::{Answer, Kind, Number, Receipt, Recorder, Side, What};
use emitwire::{AckError, Broadcast, EmitError, ReceiptError, Socket};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ROOMS: u8 = 4;

/// The largest event, with its packet.
pub(crate) const BYTES_MAX: usize = 3_200;

pub(crate) fn room(number: u8) -> String {
    format!("room {number}")
}

/// The payload of all events.
#[derive(Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) number: Number,
    pub(crate) room: u8,
    pub(crate) to_many: bool,
    pub(crate) is_to_be_passed_on: bool,
    pub(crate) filler: String,
}

/// How something is said to one socket.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) kind: Kind,
    /// By when an ack has to be there, if one is wanted.
    pub(crate) ack_by: Option<Duration>,
    /// By when its peer has to have it, if that is waited for.
    receipt_by: Option<Duration>,
    /// After how long the emitter loses interest, if the event was not accepted by then.
    pub(crate) patience: Option<Duration>,
    room: u8,
    is_to_be_passed_on: bool,
    bytes: usize,
}

impl Manner {
    /// Something that nothing holds up.
    pub(crate) fn plain(
        ack_by: Option<Duration>,
        receipt_by: Option<Duration>,
        bytes: usize,
    ) -> Self {
        let (kind, patience) = (Kind::Say, None);
        let (room, is_to_be_passed_on) = (0, false);
        Self { kind, ack_by, receipt_by, patience, room, is_to_be_passed_on, bytes }
    }

    /// Of a client or, when it goes `down`, of the server.
    pub(crate) fn new(chance: &mut Chance, down: bool) -> Self {
        let rooms = if down { 0 } else { 8 };
        let kind = chance.weighted(&[
            (40, Kind::Say),
            (10, Kind::Slow),
            (6, Kind::Fail),
            (6, Kind::Late),
            (2, Kind::Never),
            (12, Kind::Spot),
            (8, Kind::Blink),
            (rooms * 2, Kind::Join),
            (rooms, Kind::Leave),
        ]);
        let wants_ack = kind.is_reliable() && chance.percent(35);
        let ack_by = wants_ack.then(|| chance.millis(300, 6_000));
        let receipt = (!wants_ack && kind.is_reliable() && chance.percent(15)).then_some(());
        let receipt_by = receipt.map(|()| chance.millis(100, 8_000));
        let patience = chance.percent(15).then(|| chance.millis(0, 300));
        let bytes = chance.weighted(&[(70, 20), (20, 300), (10, 3_000)]);
        Self {
            kind,
            ack_by,
            receipt_by,
            patience: patience.filter(|_| !wants_ack && receipt_by.is_none()),
            room: chance.below(ROOMS.into()) as u8,
            is_to_be_passed_on: !down && kind == Kind::Say && chance.percent(15),
            bytes: chance.below(bytes),
        }
    }
}

/// Says something to one socket.
pub(crate) async fn say(recorder: &Arc<Recorder>, from: Side, socket: &Socket, manner: Manner) {
    let Manner { kind, ack_by, receipt_by, patience, room, is_to_be_passed_on, bytes } = manner;
    let (event, label) = (recorder.number(), recorder.label(socket.id()));
    let (wants_ack, wants_receipt) = (ack_by.is_some(), receipt_by.is_some());
    recorder.note(What::Offered { event, from, socket: label, kind, wants_ack, wants_receipt });
    let filler = "x".repeat(bytes);
    let words = Words { number: event, room, to_many: false, is_to_be_passed_on, filler };
    let mut emit = socket.emit(kind.name(), &words);
    if kind == Kind::Spot {
        emit = emit.latest("spot");
    }
    let declined = match (kind, ack_by, patience) {
        (Kind::Blink, ..) => emit.volatile().await.err().map(|error| error.to_string()),
        (_, Some(by), _) => {
            let answer = judge(emit.ack().timeout(by).await);
            recorder.note(What::Answered { event, socket: label, answer });
            None
        }
        (_, None, None) if let Some(by) = receipt_by => {
            let receipt = judge_receipt(&emit.received().timeout(by).await);
            recorder.note(What::Confirmed { event, socket: label, receipt });
            None
        }
        (_, None, Some(patience)) => match tokio::time::timeout(patience, emit).await {
            Ok(emitted) => emitted.err().map(|error| error.to_string()),
            Err(_) => Some("nobody waits for it any more".to_owned()),
        },
        (_, None, None) => emit.await.err().map(|error| error.to_string()),
    };
    if let Some(why) = declined {
        recorder.note(What::Declined { event, why });
    }
}

/// Says something to whoever is selected now.
pub(crate) async fn say_to_many(
    recorder: &Arc<Recorder>,
    to: &Broadcast,
    kind: Kind,
    ack_by: Option<Duration>,
    bytes: usize,
) {
    let event = recorder.number();
    let filler = "x".repeat(bytes);
    let (room, is_to_be_passed_on) = (0, false);
    let words = Words { number: event, room, to_many: true, is_to_be_passed_on, filler };
    // In one poll, so that those who are looked up are those who are spoken to.
    let said = tokio::task::unconstrained(async {
        let members = to.sockets().await.unwrap();
        let members = members.into_iter().map(|socket| recorder.label(socket)).collect();
        let (fanout, answers) = match ack_by {
            None if kind == Kind::Blink => {
                (to.emit(kind.name(), &words).volatile().await.unwrap(), None)
            }
            None => (to.emit(kind.name(), &words).await.unwrap(), None),
            Some(by) => {
                let answers = to.emit(kind.name(), &words).ack().timeout(by).await.unwrap();
                (answers.fanout(), Some(answers))
            }
        };
        let (accepted, wants_ack) = (fanout.accepted, ack_by.is_some());
        recorder.note(What::Fanout { event, kind, members, accepted, wants_ack });
        answers
    });
    let Some(mut answers) = said.await else { return };
    while let Some((socket, answer)) = answers.next().await {
        let (socket, answer) = (recorder.label(socket), judge(answer));
        recorder.note(What::Answered { event, socket, answer });
    }
}

fn judge_receipt(receipt: &Result<(), ReceiptError>) -> Receipt {
    match receipt {
        Ok(()) => Receipt::Received,
        Err(ReceiptError::Timeout { .. }) => Receipt::Timeout,
        Err(ReceiptError::Lost { .. }) => Receipt::Lost,
        Err(ReceiptError::Emit(_)) => Receipt::NotAccepted,
        Err(_) => Receipt::InDoubt,
    }
}

fn judge(answer: Result<u64, AckError>) -> Answer {
    match answer {
        Ok(reply) => Answer::Reply(reply),
        Err(AckError::Refused(nak)) => Answer::Refused(nak.to_string()),
        Err(AckError::Timeout { .. }) => Answer::Timeout,
        Err(AckError::Lost { .. }) => Answer::Lost,
        Err(AckError::Emit(
            EmitError::Full { .. } | EmitError::Closed { .. } | EmitError::Draining,
        )) => Answer::NotAccepted,
        Err(AckError::Closed) => Answer::Closed,
        Err(_) => Answer::Unreadable,
    }
}
