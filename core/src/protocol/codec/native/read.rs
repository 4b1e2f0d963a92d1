//! Bytes into packets. Whatever a peer sends ends in a packet or in an error.
//!
//! Nothing is allocated but the lists of `Attach` and `Position`, which grow with the bytes that
//! are really there. There is no recursion: what `Numbered` wraps is never itself a wrapper.

use super::code::{self, ASKS, LAST, PRODUCER, RESTARTED, RESUMABLE, RESUMES, SHAPE, WANTS_ACK};
use super::source::Source;
use super::{MAGIC, Native, PROTOCOL_VERSION, kind};
use crate::protocol::{
    Accept, AckPacket, Attach, CLOSE_DETAIL_BYTES_MAX, Close, Connect, DecodeError, Drain,
    EVENT_NAME_BYTES_MAX, EventPacket, Fragment, Gap, Hello, LEAVE_WORDS_BYTES_MAX, Leave, Limits,
    LossReason, Nak, NakPacket, NamespaceNumber, Outcome, Packet, Payload, Position, ProducerId,
    Refuse, SessionId, Shape, Skip, SocketId, Welcome,
};
use bytes::Bytes;

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads one packet, which is all of `body`.
pub(super) fn read(body: Bytes) -> Result<Packet> {
    if body.is_empty() {
        return Err(DecodeError::Empty);
    }
    let mut source = Source::new(body);
    let byte = source.byte()?;
    let packet = if byte & kind::COUNTED != 0 {
        read_counted(byte, &mut source)?
    } else {
        read_uncounted(byte, &mut source)?
    };
    source.finish()?;
    Ok(packet)
}

fn read_counted(byte: u8, source: &mut Source) -> Result<Packet> {
    Ok(match byte {
        kind::EVENT => Packet::Event(read_event(source)?),
        kind::ACK => Packet::Ack(read_ack(source)?),
        kind::NAK => Packet::Nak(read_nak(source)?),
        kind::CONNECT => Packet::Connect(read_connect(source)?),
        kind::ACCEPT => Packet::Accept(Accept {
            client: source.namespace()?,
            server: source.namespace()?,
            socket: SocketId(source.id()?),
        }),
        kind::REFUSE => Packet::Refuse(read_refuse(source)?),
        kind::LEAVE => Packet::Leave(Leave {
            client: source.namespace()?,
            words: source.text(LEAVE_WORDS_BYTES_MAX)?,
        }),
        kind::GAP => Packet::Gap(Gap { count: source.varint()?, reason: read_loss(source)? }),
        byte => return Err(DecodeError::UnknownKind { byte }),
    })
}

fn read_uncounted(byte: u8, source: &mut Source) -> Result<Packet> {
    Ok(match byte {
        kind::HELLO => Packet::Hello(read_hello(source)?),
        kind::WELCOME => Packet::Welcome(read_welcome(source)?),
        kind::ATTACH => Packet::Attach(read_attach(source)?),
        kind::FROM => Packet::From(source.varint()?),
        kind::POSITION => Packet::Position(read_position(source)?),
        kind::HEARTBEAT => Packet::Heartbeat { written: source.varint()? },
        kind::VOLATILE => Packet::Volatile(read_event(source)?),
        kind::SKIP => Packet::Skip(read_skip(source)?),
        kind::DRAIN => Packet::Drain(Drain { deadline: source.millis()?, delay: source.millis()? }),
        kind::CLOSE => Packet::Close(Close {
            code: code::close(source.byte()?)?,
            detail: source.text(CLOSE_DETAIL_BYTES_MAX)?,
        }),
        kind::FRAGMENT => Packet::Fragment(read_fragment(source)?),
        kind::NUMBERED => {
            let number = source.varint()?;
            let byte = source.byte()?;
            Packet::Numbered { number, packet: Box::new(read_counted(byte, source)?) }
        }
        byte => return Err(DecodeError::UnknownKind { byte }),
    })
}

fn read_event(source: &mut Source) -> Result<EventPacket> {
    let flags = source.flags(WANTS_ACK | PRODUCER | SHAPE)?;
    let shape = flags.shape()?;
    Ok(EventPacket {
        namespace: source.namespace()?,
        event: source.event_ref(flags)?,
        wants_ack: flags.has(WANTS_ACK),
        name: source.text(EVENT_NAME_BYTES_MAX)?,
        payload: Payload::new(source.rest(), shape),
    })
}

fn read_ack(source: &mut Source) -> Result<AckPacket> {
    let flags = source.flags(PRODUCER | SHAPE)?;
    let shape = flags.shape()?;
    Ok(AckPacket { event: source.event_ref(flags)?, payload: Payload::new(source.rest(), shape) })
}

fn read_nak(source: &mut Source) -> Result<NakPacket> {
    let flags = source.flags(PRODUCER | SHAPE)?;
    let shape = flags.shape()?;
    let event = source.event_ref(flags)?;
    let nak = match source.byte()? {
        code::NAK_NO_HANDLER => Nak::NoHandler,
        code::NAK_BUSY => Nak::Busy { retry_after: source.millis()? },
        code::NAK_REJECTED => Nak::Rejected(Payload::new(source.rest(), shape)),
        code::NAK_BAD_PAYLOAD => Nak::BadPayload,
        code::NAK_FAILED => Nak::Failed,
        code::NAK_TIMEOUT => Nak::Timeout,
        code::NAK_TOO_LARGE => Nak::TooLarge,
        code::NAK_CLOSED => Nak::Closed,
        _ => return Err(DecodeError::OutOfRange),
    };
    let has_payload = matches!(nak, Nak::Rejected(_));
    if !has_payload && shape != Shape::Value {
        return Err(DecodeError::OutOfRange);
    }
    Ok(NakPacket { event, nak })
}

fn read_connect(source: &mut Source) -> Result<Connect> {
    Ok(Connect {
        number: source.namespace()?,
        path: source.text(EVENT_NAME_BYTES_MAX)?,
        auth: read_shaped(source)?,
    })
}

fn read_refuse(source: &mut Source) -> Result<Refuse> {
    Ok(Refuse { client: source.namespace()?, payload: read_shaped(source)? })
}

/// A payload that ends its packet, behind flags of its own.
fn read_shaped(source: &mut Source) -> Result<Payload> {
    let shape = source.flags(SHAPE)?.shape()?;
    Ok(Payload::new(source.rest(), shape))
}

fn read_hello(source: &mut Source) -> Result<Hello> {
    source.expect(&MAGIC, DecodeError::NotEmitwire)?;
    read_version(source)?;
    let flags = source.flags(RESUMES | RESUMABLE | RESTARTED)?;
    Ok(Hello {
        resumes: flags.has(RESUMES),
        resumable: flags.has(RESUMABLE),
        restarted: flags.has(RESTARTED),
        nonce: source.id()?,
        producer: ProducerId(source.id()?),
        limits: read_limits(source)?,
    })
}

fn read_welcome(source: &mut Source) -> Result<Welcome> {
    read_version(source)?;
    Ok(Welcome {
        session: SessionId(source.id()?),
        token: source.sized(Native::TOKEN_BYTES_MAX)?,
        producer: ProducerId(source.id()?),
        limits: read_limits(source)?,
        resume_window: source.millis()?,
        outcome: read_outcome(source)?,
        position: source.varint()?,
        trimmed: source.varint()?,
    })
}

/// What is behind another version is not looked at: it may have any layout.
fn read_version(source: &mut Source) -> Result<()> {
    match source.byte()? {
        PROTOCOL_VERSION => Ok(()),
        version => Err(DecodeError::Version { version }),
    }
}

fn read_limits(source: &mut Source) -> Result<Limits> {
    Ok(Limits {
        event_bytes_max: source.number()?,
        window: source.credit()?,
        log_packets_max: source.number()?,
        log_bytes_max: source.number()?,
        heartbeat_interval: source.millis()?,
        dedup_horizon: source.millis()?,
    })
}

fn read_outcome(source: &mut Source) -> Result<Outcome> {
    match source.byte()? {
        code::OUTCOME_NEW => Ok(Outcome::New),
        code::OUTCOME_RESUMED => Ok(Outcome::Resumed),
        code::OUTCOME_RESUMED_WITH_GAP => {
            let (from, to) = source.range()?;
            Ok(Outcome::ResumedWithGap { from, to, reason: read_loss(source)? })
        }
        _ => Err(DecodeError::OutOfRange),
    }
}

fn read_attach(source: &mut Source) -> Result<Attach> {
    Ok(Attach {
        session: SessionId(source.id()?),
        token: source.sized(Native::TOKEN_BYTES_MAX)?,
        position: source.varint()?,
        trimmed: source.varint()?,
        namespaces: read_namespaces(source)?,
    })
}

fn read_namespaces(source: &mut Source) -> Result<Vec<(NamespaceNumber, Payload)>> {
    let mut namespaces = Vec::new();
    for _ in 0..source.count(Native::NAMESPACES_MAX)? {
        let number = source.namespace()?;
        let shape = source.flags(SHAPE)?.shape()?;
        namespaces.push((number, Payload::new(source.sized(usize::MAX)?, shape)));
    }
    Ok(namespaces)
}

fn read_position(source: &mut Source) -> Result<Position> {
    let asks = source.flags(ASKS)?.has(ASKS);
    let received = source.varint()?;
    let granted = source.credit()?;
    let ranges = read_ranges(received, source)?;
    Ok(Position { received, granted, ranges, asks })
}

/// Ranges travel as the lengths of runs: so many are missing, so many arrived, and again.
fn read_ranges(received: u64, source: &mut Source) -> Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    let mut arrived = received;
    for _ in 0..source.count(Native::RANGES_MAX)? {
        let missing = read_run(arrived, source)?;
        arrived = read_run(missing, source)?;
        ranges.push((missing + 1, arrived));
    }
    Ok(ranges)
}

/// The last number of a run that follows `end`. No run is empty: that would be a second encoding
/// of the same ranges.
fn read_run(end: u64, source: &mut Source) -> Result<u64> {
    match source.varint()? {
        0 => Err(DecodeError::OutOfRange),
        length => end.checked_add(length).ok_or(DecodeError::OutOfRange),
    }
}

fn read_skip(source: &mut Source) -> Result<Skip> {
    let (from, to) = source.range()?;
    Ok(Skip { from, to, events: source.credit()?, reason: read_loss(source)? })
}

fn read_loss(source: &mut Source) -> Result<LossReason> {
    code::loss(source.byte()?)
}

fn read_fragment(source: &mut Source) -> Result<Fragment> {
    let last = source.flags(LAST)?.has(LAST);
    let (packet, offset) = (source.varint()?, source.varint()?);
    Ok(Fragment { packet, offset, last, bytes: source.rest() })
}
