//! How connections end: in order, with a code, by being dropped, and by the peer.

use super::end::{End, numbered, numbers, within};
use super::raw::{end_and_raw, framed};
use super::{ends_with, server};
use emitwire_core::protocol::{CloseCode, Frame};
use emitwire_core::transport::ReadError;
use quinn::{ConnectionError, TransportConfig, VarInt, WriteError};
use std::io;
use std::time::Duration;

fn code(error: &ConnectionError) -> u64 {
    let ConnectionError::ApplicationClosed(close) = error else { panic!("{error:?}") };
    close.error_code.into_inner()
}

#[tokio::test]
async fn the_code_of_a_goodbye_is_that_of_the_connection() {
    let codes = [(None, 0), (Some(CloseCode::Normal), 1), (Some(CloseCode::Moved), 9)];
    for (say, expected) in codes {
        let (mut end, mut raw) = end_and_raw(TransportConfig::default()).await;
        if let Some(say) = say {
            end.writer.goodbye(say);
        }
        end.write([Frame::ordered("last")]).await.unwrap();
        end.close().await;
        drop(end);
        // Everything has arrived by then, and is read first.
        assert_eq!(code(&within(raw.connection.closed()).await), expected);
        let bytes = within(raw.receive.read_to_end(100)).await.unwrap();
        assert_eq!(bytes, framed(b"last"));
    }
}

#[tokio::test]
async fn a_close_is_done_when_the_peer_has_acknowledged_everything() {
    let (mut end, mut raw) = end_and_raw(TransportConfig::default()).await;
    let frames: Vec<_> = numbered(20_000).collect();
    let expected: Vec<u8> = frames.iter().flat_map(|frame| framed(&frame.body)).collect();
    end.write(frames).await.unwrap();
    end.close().await;
    drop(end);
    assert_eq!(code(&within(raw.connection.closed()).await), 0);
    let bytes = within(raw.receive.read_to_end(expected.len())).await.unwrap();
    assert!(bytes == expected);
}

#[tokio::test]
async fn a_writer_that_is_dropped_in_a_frame_resets_the_stream_and_reading_goes_on() {
    let (mut end, mut raw) = end_and_raw(TransportConfig::default()).await;
    let (_, batch) = end.fill(&Frame::ordered(vec![1; 300_000])).await;
    assert_eq!(batch.len(), 1);
    let End { mut reader, writer, .. } = end;
    drop(writer);
    let error = within(raw.receive.read_to_end(usize::MAX)).await.unwrap_err();
    let reset = quinn::ReadError::Reset(VarInt::from_u32(0));
    assert_eq!(error, quinn::ReadToEndError::Read(reset));
    raw.send.write_all(&framed(b"still here")).await.unwrap();
    let mut frames = Vec::new();
    within(std::future::poll_fn(|cx| reader.poll_read(cx, &mut frames))).await.unwrap();
    assert_eq!(frames, [Frame::ordered("still here")]);
}

#[tokio::test]
async fn a_reader_that_is_dropped_stops_its_peer_and_writing_goes_on() {
    let (end, mut raw) = end_and_raw(TransportConfig::default()).await;
    let End { reader, mut writer, .. } = end;
    drop(reader);
    assert_eq!(within(raw.send.stopped()).await.unwrap(), Some(0_u32.into()));
    assert!(matches!(raw.send.write(b"x").await, Err(WriteError::Stopped(_))));
    let mut batch = [Frame::ordered("still here")].into();
    within(std::future::poll_fn(|cx| writer.poll_write(cx, &mut batch))).await.unwrap();
    let mut bytes = [0; 14];
    within(raw.receive.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes[..], framed(b"still here"));
}

#[tokio::test]
async fn what_came_before_a_peer_closed_is_read_first_and_then_the_error() {
    let (mut end, mut raw) = end_and_raw(TransportConfig::default()).await;
    let bytes: Vec<u8> = numbered(1000).flat_map(|frame| framed(&frame.body)).collect();
    raw.send.write_all(&bytes).await.unwrap();
    raw.connection.send_datagram("and a datagram".into()).unwrap();
    // Acknowledged to the last byte, and so there.
    raw.send.finish().unwrap();
    within(raw.send.stopped()).await.unwrap();
    raw.connection.close(5_u32.into(), b"");
    let (mut read, result) = end.read_to_end().await;
    let at = read.iter().position(|frame| *frame == Frame::volatile("and a datagram")).unwrap();
    read.remove(at);
    assert_eq!(numbers(&read), (0..1000).collect::<Vec<_>>());
    assert!(result.is_ok(), "its stream had ended: {result:?}");
    // The news may still be on its way.
    let error = loop {
        match end.write([Frame::ordered("to nobody")]).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn a_peer_that_goes_without_a_word_is_an_error() {
    for written in [&b""[..], &[0, 0], &[0, 0, 0, 9, 1]] {
        let (mut end, mut raw) = end_and_raw(TransportConfig::default()).await;
        raw.send.write_all(&[&framed(b"whole"), written].concat()).await.unwrap();
        assert_eq!(end.read_frames(1).await, [Frame::ordered("whole")]);
        raw.connection.close(0_u32.into(), b"");
        let (_, result) = end.read_to_end().await;
        assert!(matches!(result, Err(ReadError::Io { .. })), "{result:?}");
        assert!(end.write([Frame::ordered("to nobody")]).await.is_err());
    }
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_lost_after_the_idle_timeout() {
    const IDLE: Duration = Duration::from_millis(300);
    let silent = server().keep_alive(Duration::ZERO).idle_timeout(IDLE);
    let (mut client, _server) = ends_with(silent, |client| client.keep_alive(Duration::ZERO)).await;
    let before = std::time::Instant::now();
    let (_, result) = client.read_to_end().await;
    let Err(ReadError::Io { source }) = result else { panic!("{result:?}") };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    assert!(before.elapsed() >= IDLE / 2);
}

#[tokio::test]
async fn keeping_alive_keeps_a_silent_connection() {
    const IDLE: Duration = Duration::from_millis(300);
    let quic = server().keep_alive(IDLE / 10).idle_timeout(IDLE);
    let (mut client, mut server) =
        ends_with(quic, |client| client.keep_alive(Duration::ZERO)).await;
    // The time itself is what is tested.
    tokio::time::sleep(IDLE * 3).await;
    client.write([Frame::ordered("still here")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("still here")]);
}
