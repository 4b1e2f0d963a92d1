//! Bytes that are no packets, and ends in the middle of one.

use super::support::chat::Chat;
use super::support::raw::{RawPeer, encode, event, framed, text};
use super::support::{Dice, becomes};
use super::{accused, said, target};
use emitwire::Config;
use emitwire::protocol::CloseCode;
use tokio::io::AsyncWriteExt;

const HTTP: &[u8] = b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n";

/// The largest frame of a session with the default limits, as the engine has it.
const FRAME_BYTES_MAX: usize = 1024 * 1024 + 512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_before_the_handshake_ends_without_a_word_and_is_counted() {
    let chat = Chat::start().await;
    let mut dice = Dice(1);
    let mut attacks = vec![
        HTTP.to_vec(),
        b"EHLO localhost\r\n".to_vec(),
        b"hello, is this emitwire?\n".to_vec(),
        // A client of TLS: handshake, version, a short length.
        [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], &[0; 512][..]].concat(),
        // A frame that is whole, with a hello of something else.
        framed(b"\x01EMITWOOF\x01"),
        framed(b"\x01SOMETHING ELSE THAT BEGINS WITH ONE"),
    ];
    for _ in 0..20 {
        let mut noise = dice.bytes(512);
        // Seen as a length it is beyond any handshake.
        noise[0] |= 0x80;
        attacks.push(noise);
    }
    for (failed, attack) in attacks.iter().enumerate() {
        let mut peer = RawPeer::connect(chat.address).await;
        peer.send_bytes(attack).await;
        let close = peer.close().await;
        assert_eq!(super::said(&close), (CloseCode::Protocol, "the peer does not speak emitwire"));
        drop(peer);
        becomes(|| chat.stats().handshakes_failed, failed as u64 + 1).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_noise_before_the_handshake_end_and_are_counted() {
    let chat = Chat::start().await;
    let mut dice = Dice(2);
    for failed in 0..64 {
        let mut peer = RawPeer::connect(chat.address).await;
        let length = dice.roll() as usize % 100 + 1;
        peer.send_frame(&dice.bytes(length)).await;
        if let Some(close) = peer.end().await {
            let versed = matches!(close.code, CloseCode::Protocol | CloseCode::Version);
            assert!(versed, "{close:?}");
        }
        drop(peer);
        becomes(|| chat.stats().handshakes_failed, failed + 1).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_behind_the_handshake_is_answered_with_what_is_wrong_with_it() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let length = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
    let too_long =
        |length: u32| format!("a field of {length} bytes, at most {FRAME_BYTES_MAX} are allowed");
    let mut noise = Dice(3).bytes(256);
    noise[0] |= 0x80;
    let event = encode(&event(1, "text", text("hello")));
    let attacks: [(Vec<u8>, String); 9] = [
        (HTTP.to_vec(), too_long(length(HTTP))),
        (noise.clone(), too_long(length(&noise))),
        (framed(b""), "empty frame".into()),
        (framed(&[0x7f]), "unknown packet byte 0x7f".into()),
        (framed(&[0x88, 1, 2, 3]), "unknown packet byte 0x88".into()),
        (framed(b"hello"), "unknown packet byte 0x68".into()),
        (framed(&event[..4]), "truncated packet".into()),
        (framed(&[0x06, 0x2c, 0, 0]), "2 bytes follow the packet".into()),
        (framed(&[0x80, 0x10, 0, 7, 1, 0x61]), "a number is out of range".into()),
    ];
    for (errors, (attack, words)) in attacks.iter().enumerate() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send_bytes(attack).await;
        accused(&chat, &mut peer, errors as u64, words).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_whole_in_front_of_garbage_is_still_handled() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let mut peer = RawPeer::joined(chat.address, "/target").await;
    let before = chat.stats().handled;
    let good = framed(&encode(&event(1, "text", text("hello"))));
    peer.send_bytes(&[good, framed(&[0x7f])].concat()).await;
    let mut answered = false;
    let close = loop {
        match peer.next().await.unwrap() {
            emitwire::protocol::Packet::Ack(ack) => {
                answered |= ack.payload.decode::<usize>().unwrap() == 5;
            }
            emitwire::protocol::Packet::Close(close) => break close,
            _ => {}
        }
    };
    assert_eq!(said(&close), (CloseCode::Protocol, "unknown packet byte 0x7f"));
    assert!(answered && chat.stats().handled > before);
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_of_four_gigabytes_is_refused_before_a_byte_of_it_came() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let rss_before = resident_bytes();
    for failed in 0..16 {
        // Nothing follows the length, so nobody can have waited for it.
        let mut peer = RawPeer::connect(chat.address).await;
        peer.send_bytes(&[0xff; 4]).await;
        peer.end().await;
        drop(peer);
        becomes(|| chat.stats().handshakes_failed, failed + 1).await;

        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send_bytes(&[0xff; 4]).await;
        let words = format!("a field of {} bytes, at most {FRAME_BYTES_MAX} are allowed", u32::MAX);
        accused(&chat, &mut peer, failed, &words).await;
    }
    let grown = resident_bytes().saturating_sub(rss_before);
    assert!(grown < 512 * 1024 * 1024, "{grown} bytes more are resident");
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_at_the_limit_costs_no_more_than_what_came_of_it() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let rss_before = resident_bytes();
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send_bytes(&(FRAME_BYTES_MAX as u32).to_be_bytes()).await;
        peer.send_bytes(&[0x80; 100]).await;
        peers.push(peer);
    }
    becomes(|| chat.stats().sessions, 210).await;
    // 200 MiB, had it been believed; other tests of this process run beside this one.
    let grown = resident_bytes().saturating_sub(rss_before);
    assert!(grown < 150 * 1024 * 1024, "{grown} bytes more are resident");
    drop(peers);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_the_middle_of_a_frame_is_the_end_of_that_session_only() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let frame = framed(&encode(&event(1, "text", text("hello, hello, hello"))));
    for cut in 1..frame.len() {
        let mut peer = RawPeer::joined(chat.address, "/target").await;
        peer.send_bytes(&frame[..cut]).await;
        peer.stream.shutdown().await.unwrap();
        assert_eq!(peer.end().await, None, "there is nobody left to say goodbye to");
    }
    let mut peer = RawPeer::connect(chat.address).await;
    peer.send_bytes(&[0, 0, 0, 99, 1]).await;
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.end().await, None);
    drop(peer);
    becomes(|| chat.stats().handshakes_failed, 1).await;
    let stats = chat.end().await;
    assert_eq!(stats.protocol_errors, 0, "a lost link is nobody's fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_killed_in_the_middle_of_a_frame_is_forgotten() {
    let chat = Chat::with(Config::default(), [target()]).await;
    let frame = framed(&encode(&event(1, "text", text("hello, hello, hello"))));
    for cut in [1, 4, 5, frame.len() - 1] {
        let mut joined = RawPeer::joined(chat.address, "/target").await;
        joined.send_bytes(&frame[..cut]).await;
        joined.kill();
        let mut stranger = RawPeer::connect(chat.address).await;
        stranger.send_bytes(&[0, 0, 0, 99, 1]).await;
        stranger.kill();
    }
    becomes(|| chat.stats().handshakes_failed, 4).await;
    let stats = chat.end().await;
    assert_eq!(stats.protocol_errors, 0);
}

/// What this process has in memory; zero where the system does not say.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
