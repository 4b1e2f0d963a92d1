//! The first byte of a packet: which one it is and, in bit 7, whether it is counted.

use crate::protocol::Packet;

/// Set in the first byte of every counted packet.
pub(super) const COUNTED: u8 = 0x80;

pub(super) const EVENT: u8 = 0x80;
pub(super) const ACK: u8 = 0x81;
pub(super) const NAK: u8 = 0x82;
pub(super) const CONNECT: u8 = 0x83;
pub(super) const ACCEPT: u8 = 0x84;
pub(super) const REFUSE: u8 = 0x85;
pub(super) const LEAVE: u8 = 0x86;
pub(super) const GAP: u8 = 0x87;

pub(super) const HELLO: u8 = 0x01;
pub(super) const WELCOME: u8 = 0x02;
pub(super) const ATTACH: u8 = 0x03;
pub(super) const FROM: u8 = 0x04;
pub(super) const POSITION: u8 = 0x05;
pub(super) const HEARTBEAT: u8 = 0x06;
pub(super) const VOLATILE: u8 = 0x07;
pub(super) const SKIP: u8 = 0x08;
pub(super) const DRAIN: u8 = 0x09;
pub(super) const CLOSE: u8 = 0x0a;
pub(super) const FRAGMENT: u8 = 0x0b;
pub(super) const NUMBERED: u8 = 0x0c;

/// The first byte of `packet`.
pub(super) fn of(packet: &Packet) -> u8 {
    match packet {
        Packet::Event(_) => EVENT,
        Packet::Ack(_) => ACK,
        Packet::Nak(_) => NAK,
        Packet::Connect(_) => CONNECT,
        Packet::Accept(_) => ACCEPT,
        Packet::Refuse(_) => REFUSE,
        Packet::Leave(_) => LEAVE,
        Packet::Gap(_) => GAP,
        Packet::Hello(_) => HELLO,
        Packet::Welcome(_) => WELCOME,
        Packet::Attach(_) => ATTACH,
        Packet::From(_) => FROM,
        Packet::Position(_) => POSITION,
        Packet::Heartbeat { .. } => HEARTBEAT,
        Packet::Volatile(_) => VOLATILE,
        Packet::Skip(_) => SKIP,
        Packet::Drain(_) => DRAIN,
        Packet::Close(_) => CLOSE,
        Packet::Fragment(_) => FRAGMENT,
        Packet::Numbered { .. } => NUMBERED,
    }
}
