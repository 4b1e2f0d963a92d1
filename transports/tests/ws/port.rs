//! The port as WebSocket keeps it: framing, limits, blocked writes, ends and errors.

use super::end::{address, bind, ends, meet};
use super::raw::{BINARY, BOTH, FINAL, Ours, TEXT, frame, raw_and_end};
use super::support::{mixed, numbered, numbers};
use super::within;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{BindError, Capabilities, ConnectError, ReadError, Transport};
use emitwire_transports::Ws;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

#[tokio::test]
async fn frames_travel_both_ways() {
    let (mut client, mut server) = ends().await;
    client.write([Frame::ordered("there")]).await.unwrap();
    let heard = server.read_frames(1).await;
    server.write(heard).await.unwrap();
    assert_eq!(client.read_frames(1).await, [Frame::ordered("there")]);
}

#[tokio::test]
async fn each_frame_is_one_binary_frame_and_a_text_frame_is_text() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        end.write([Frame::ordered("abc"), Frame::ordered(""), Frame::volatile("d")]).await.unwrap();
        end.write([Frame::text("é")]).await.unwrap();
        for (first, body) in [(BINARY, "abc"), (BINARY, ""), (BINARY, "d"), (TEXT, "é")] {
            assert_eq!(raw.next().await, Some((FINAL | first, body.into())), "{ours:?}");
        }
        raw.send([ours.binary("x"), ours.frame(FINAL | TEXT, "ü".as_bytes())].concat()).await;
        assert_eq!(end.read_frames(2).await, [Frame::ordered("x"), Frame::text("ü")]);
    }
}

#[tokio::test]
async fn a_server_writes_the_shortest_lengths_and_no_mask() {
    let (raw, mut end) = raw_and_end(Ours::Server).await;
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536];
    let frames = sizes.map(|size| Frame::ordered(vec![7; size]));
    let writing = tokio::spawn(async move {
        end.write(frames).await.unwrap();
        end.close().await;
        end
    });
    let mut expected: Vec<u8> =
        sizes.iter().flat_map(|size| frame(FINAL | BINARY, &vec![7; *size], None)).collect();
    expected.extend(frame(0x88, &1000_u16.to_be_bytes(), None));
    assert!(raw.rest().await == expected);
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_client_masks_each_frame_with_a_key_of_its_own() {
    let (raw, mut end) = raw_and_end(Ours::Client).await;
    end.write((0..20).map(|_| Frame::ordered("the same body"))).await.unwrap();
    drop(end);
    let bytes = raw.rest().await;
    let mut frames: Vec<_> = bytes.chunks(2 + 4 + 13).map(<[u8]>::to_vec).collect();
    assert_eq!(frames.len(), 20);
    frames.sort();
    frames.dedup();
    // Two keys of twenty are the same once in 20 million times.
    assert_eq!(frames.len(), 20);
}

#[tokio::test]
async fn a_client_masks_its_pongs_with_keys_of_their_own_too() {
    let (mut raw, mut end) = raw_and_end(Ours::Client).await;
    let mut pongs = Vec::new();
    for _ in 0..20 {
        raw.send(Ours::Client.frame(0x89, b"?")).await;
        end.read(&mut Vec::new()).await.unwrap();
        let mut pong = [0; 2 + 4 + 1];
        within(raw.stream.read_exact(&mut pong)).await.unwrap();
        pongs.push(pong);
    }
    pongs.sort();
    pongs.dedup();
    assert_eq!(pongs.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_every_form_of_length_arrive_whole_and_the_largest_too() {
    let max = 1024 * 1024 + 77;
    let mut listener = Ws::new("127.0.0.1:0").frame_bytes_max(max).bind().await.unwrap();
    let client = Ws::new(address(&*listener)).frame_bytes_max(max);
    let (mut client, mut server) = meet(&client, &mut *listener).await;
    for size in [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, max - 77, max] {
        let body: Vec<u8> = (0..size).map(|at| (at * 7 + size) as u8).collect();
        let frame = Frame::ordered(body);
        for _ in 0..2 {
            let (written, read) =
                tokio::join!(client.write([frame.clone()]), server.read_frames(1));
            written.unwrap();
            assert!(read == [frame.clone()], "{size}");
            std::mem::swap(&mut client, &mut server);
        }
    }
}

#[tokio::test]
async fn frames_arrive_in_the_order_of_writing_whatever_the_batches() {
    let (mut client, mut server) = ends().await;
    for _ in 0..2 {
        let mut frames = numbered(1000);
        for size in (1..).take_while(|size| size * (size - 1) < 2000) {
            client.write(frames.by_ref().take(size)).await.unwrap();
        }
        assert_eq!(numbers(&server.read_frames(1000).await), (0..1000).collect::<Vec<_>>());
        std::mem::swap(&mut client, &mut server);
    }
}

#[tokio::test]
async fn many_frames_arrive_in_one_read() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        let bytes = numbered(100).flat_map(|frame| ours.binary(frame.body)).collect::<Vec<_>>();
        raw.send(&bytes).await;
        let mut frames = Vec::new();
        assert_eq!(end.read(&mut frames).await.unwrap(), bytes.len());
        assert_eq!(numbers(&frames), (0..100).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_and_large_frames_arrive_as_they_were_written() {
    for swaps in [false, true] {
        let (mut writer, mut reader) = ends().await;
        if swaps {
            std::mem::swap(&mut writer, &mut reader);
        }
        let writing = tokio::spawn(async move {
            let mut number = 0;
            for size in (1..100).cycle() {
                writer.write((number..number + size).map(mixed)).await.unwrap();
                number += size;
                if number > 1000 {
                    break;
                }
            }
            writer.close().await;
            (number, writer)
        });
        let (read, end) = reader.read_to_end().await;
        assert_eq!(read.len(), writing.await.unwrap().0);
        assert!(end.is_ok());
        for (number, frame) in read.iter().enumerate() {
            assert!(*frame == mixed(number), "frame {number}");
        }
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_of_the_session_is_refused() {
    let (mut client, mut server) = ends().await;
    for _ in 0..2 {
        server.reader.set_frame_bytes_max(100);
        client.write([Frame::ordered(vec![1; 100]), Frame::ordered(vec![1; 101])]).await.unwrap();
        let (frames, result) = server.read_to_end().await;
        assert_eq!(frames, [Frame::ordered(vec![1; 100])]);
        assert!(matches!(result, Err(ReadError::FrameTooLarge { bytes: 101, max: 100 })));
        (server, client) = ends().await;
    }
}

#[tokio::test]
async fn a_session_lowers_the_limit_of_its_wire_and_never_raises_it() {
    let mut listener = Ws::new("127.0.0.1:0").frame_bytes_max(1000).bind().await.unwrap();
    let (mut client, mut server) = meet(&Ws::new(address(&*listener)), &mut *listener).await;
    server.reader.set_frame_bytes_max(usize::MAX);
    client.write([Frame::ordered(vec![1; 1000]), Frame::ordered(vec![1; 1001])]).await.unwrap();
    let (frames, result) = server.read_to_end().await;
    assert_eq!(frames.len(), 1);
    assert!(matches!(result, Err(ReadError::FrameTooLarge { bytes: 1001, max: 1000 })));
}

#[tokio::test]
async fn what_a_slow_peer_did_not_take_is_written_later_frame_for_frame() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        let body: Vec<u8> = (0..100_003_u32).map(|at| at as u8).collect();
        let (count, mut batch) = end.fill(&Frame::ordered(body.clone())).await;
        batch.push_back(Frame::ordered("and one more"));
        let writing = tokio::spawn(async move {
            within(poll_fn(|cx| end.writer.poll_write(cx, &mut batch))).await.unwrap();
            end.close().await;
            end
        });
        for _ in 0..count {
            assert!(raw.next().await == Some((FINAL | BINARY, body.clone())), "{ours:?}");
        }
        assert_eq!(raw.next().await, Some((FINAL | BINARY, b"and one more".into())));
        assert_eq!(raw.goodbye_code().await, 1000);
        drop(writing.await.unwrap());
    }
}

#[tokio::test]
async fn a_blocked_write_does_not_stall_a_read() {
    let (mut client, mut server) = ends().await;
    for _ in 0..2 {
        client.fill(&Frame::ordered(vec![1; 50_000])).await;
        server.write([Frame::ordered("still here")]).await.unwrap();
        assert_eq!(client.read_frames(1).await, [Frame::ordered("still here")]);
        (server, client) = ends().await;
    }
}

#[tokio::test]
async fn a_writer_that_waits_is_woken_when_the_peer_reads() {
    let (mut client, mut server) = ends().await;
    for _ in 0..2 {
        let (count, mut batch) = client.fill(&Frame::ordered(vec![1; 50_000])).await;
        let writing = tokio::spawn(async move {
            within(poll_fn(|cx| client.writer.poll_write(cx, &mut batch))).await
        });
        assert_eq!(server.read_frames(count).await.len(), count);
        writing.await.unwrap().unwrap();
        (server, client) = ends().await;
    }
}

#[tokio::test]
async fn after_a_close_the_peer_reads_everything_and_then_the_end() {
    let (mut client, mut server) = ends().await;
    for _ in 0..2 {
        client.write(numbered(3)).await.unwrap();
        client.close().await;
        let (read, end) = server.read_to_end().await;
        assert_eq!(numbers(&read), [0, 1, 2]);
        assert!(end.is_ok());
        server.write([Frame::ordered("the other direction is open")]).await.unwrap();
        server.close().await;
        let (read, end) = client.read_to_end().await;
        assert_eq!(read.len(), 1);
        assert!(end.is_ok());
        (server, client) = ends().await;
    }
}

#[tokio::test]
async fn nothing_is_written_behind_our_own_close() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        end.close().await;
        let error = end.write([Frame::ordered("too late")]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(raw.goodbye_code().await, 1000);
    }
}

#[tokio::test]
async fn a_peer_that_dies_inside_a_frame_truncates_it() {
    for ours in BOTH {
        let broken = ours.binary(b"broken");
        let begun = ours.frame(BINARY, b"begun");
        let header = broken.len() - 6;
        for cut in [&broken[..1], &broken[..header], &broken[..header + 3], &begun] {
            let (mut raw, mut end) = raw_and_end(ours).await;
            raw.send([&ours.binary(b"whole"), cut].concat()).await;
            drop(raw);
            let (frames, result) = end.read_to_end().await;
            assert_eq!(frames, [Frame::ordered("whole")]);
            assert!(matches!(result, Err(ReadError::Truncated)), "{result:?}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_ends_without_a_close_is_lost() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        raw.send(ours.binary(b"whole")).await;
        drop(raw);
        let (frames, result) = end.read_to_end().await;
        assert_eq!(frames, [Frame::ordered("whole")]);
        assert!(matches!(result, Err(ReadError::Io { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn a_reset_is_an_error_for_the_reader_and_for_the_writer() {
    for ours in BOTH {
        let (raw, mut end) = raw_and_end(ours).await;
        raw.stream.set_zero_linger().unwrap();
        drop(raw);
        let (_, result) = end.read_to_end().await;
        assert!(matches!(result, Err(ReadError::Io { .. })), "{result:?}");
        assert!(end.write([Frame::ordered("to nobody")]).await.is_err());
    }
}

#[tokio::test]
async fn a_writer_that_is_dropped_ends_its_direction() {
    for ours in BOTH {
        let (raw, end) = raw_and_end(ours).await;
        drop(end.writer);
        assert_eq!(raw.rest().await, [], "{ours:?}");
    }
}

#[tokio::test]
async fn a_bound_port_is_in_use() {
    let listener = bind().await;
    let error = Ws::new(address(&*listener)).bind().await.err().unwrap();
    assert!(
        matches!(&error, BindError::InUse { endpoint } if *endpoint == listener.endpoint()),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_port_is_free_when_its_listener_is_gone() {
    let mut listener = bind().await;
    let bound = Ws::new(address(&*listener));
    let _both = meet(&bound, &mut *listener).await;
    drop(listener);
    bound.bind().await.unwrap();
}

#[tokio::test]
async fn an_address_of_another_machine_is_not_available() {
    // 192.0.2.0/24 belongs to nobody (RFC 5737).
    for address in ["192.0.2.1:0", "no port/chat:7", "127.0.0.1:99999", "", "/path only", "::1"] {
        let error = Ws::new(address).bind().await.err().unwrap();
        assert!(matches!(error, BindError::NotAvailable { .. }), "{address}: {error:?}");
    }
}

#[tokio::test]
async fn connecting_to_a_closed_port_is_unreachable() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let closed = socket.local_addr().unwrap();
    let error = Ws::new(format!("{closed}/chat")).connect().await.err().unwrap();
    let ConnectError::Unreachable { endpoint, source } = error else { panic!("{error:?}") };
    assert_eq!(endpoint, format!("ws://{closed}/chat"));
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    let error = Ws::new("no port").connect().await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_silent_peer_does_not_delay_the_next() {
    let mut listener = bind().await;
    let _silent = TcpStream::connect(address(&*listener)).await.unwrap();
    let _not_yet = listener.accept().await.unwrap();
    let (mut client, mut server) = meet(&Ws::new(address(&*listener)), &mut *listener).await;
    client.write([Frame::ordered("hello")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("hello")]);
}

#[tokio::test]
async fn each_end_names_the_other() {
    let mut listener = Ws::new("127.0.0.1:0/chat").bind().await.unwrap();
    let bound = address(&*listener);
    assert!(bound.ends_with("/chat"), "{bound}");
    let (client, server) = meet(&Ws::new(bound), &mut *listener).await;
    assert_eq!(client.peer.endpoint(), listener.endpoint());
    assert_eq!(server.peer.scheme(), "ws");
    assert!(server.peer.endpoint().starts_with("ws://127.0.0.1:"));
    assert_ne!(server.peer.endpoint(), client.peer.endpoint());
    assert_eq!((client.peer.path(), client.peer.headers().count()), ("", 0));
}

#[tokio::test]
async fn the_server_knows_what_its_peer_asked_for() {
    let mut listener = bind().await;
    let bound = address(&*listener);
    let client = Ws::new(format!("{bound}/a%20b/c?room=7&x=%3f?"))
        .header("Cookie", "tasty; session=1")
        .header("X-Again", "one")
        .header("x-again", "two");
    let (_client, server) = meet(&client, &mut *listener).await;
    assert_eq!((server.peer.path(), server.peer.query()), ("/a%20b/c", "room=7&x=%3f?"));
    assert_eq!(server.peer.header("cookie"), Some("tasty; session=1"));
    assert_eq!(server.peer.header("Host"), Some(&*bound));
    let again = server.peer.headers().filter(|(name, _)| *name == "x-again");
    assert_eq!(again.map(|(_, value)| value).collect::<Vec<_>>(), ["one", "two"]);
    for (target, path, query) in [("", "/", ""), ("/", "/", ""), ("?a=b", "/", "a=b")] {
        let client = Ws::new(format!("{bound}{target}"));
        let (_client, server) = meet(&client, &mut *listener).await;
        assert_eq!((server.peer.path(), server.peer.query()), (path, query));
    }
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let mut listener = Ws::new("localhost:0").bind().await.unwrap();
    let port = listener.endpoint().rsplit_once(':').unwrap().1.to_owned();
    let client = Ws::new(format!("localhost:{port}"));
    let (mut client, mut server) = meet(&client, &mut *listener).await;
    client.write([Frame::ordered("by name")]).await.unwrap();
    assert_eq!(server.read_frames(1).await.len(), 1);
    assert_eq!(server.peer.header("host"), Some(&*format!("localhost:{port}")));
}

#[tokio::test]
async fn an_ipv6_address_stands_in_brackets() {
    if let Err(error) = TcpListener::bind("[::1]:0").await {
        eprintln!("skipped, this machine has no IPv6: {error}");
        return;
    }
    let mut listener = Ws::new("[::1]:0/six").bind().await.unwrap();
    assert!(listener.endpoint().starts_with("ws://[::1]:"), "{}", listener.endpoint());
    let bound = address(&*listener);
    let (mut client, mut server) = meet(&Ws::new(&*bound), &mut *listener).await;
    client.write([Frame::ordered("six")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("six")]);
    assert!(server.peer.endpoint().starts_with("ws://[::1]:"));
    assert_eq!(server.peer.header("host"), bound.strip_suffix("/six"));
}

#[tokio::test]
async fn an_address_needs_no_port_and_no_path() {
    for address in ["192.0.2.1", "192.0.2.1/chat", "192.0.2.1?room=7", "[2001:db8::1]"] {
        let error = Ws::new(address).bind().await.err().unwrap();
        let BindError::NotAvailable { source, .. } = error else { panic!("{error:?}") };
        // An address that makes no sense is invalid input.
        assert_ne!(source.kind(), io::ErrorKind::InvalidInput, "{address}: {source}");
    }
    for (address, endpoint) in [("h/chat", "ws://h/chat"), ("[::1]", "ws://[::1]")] {
        assert_eq!(Ws::new(address).endpoint(), endpoint);
    }
}

#[tokio::test]
async fn a_fragment_means_nothing() {
    let mut listener = Ws::new("127.0.0.1:0/chat#top").bind().await.unwrap();
    let bound = address(&*listener);
    assert!(bound.ends_with("/chat"), "{bound}");
    let (_client, server) = meet(&Ws::new(format!("{bound}?a=b#top")), &mut *listener).await;
    assert_eq!((server.peer.path(), server.peer.query()), ("/chat", "a=b"));
}

#[tokio::test]
async fn the_wire_promises_what_it_keeps() {
    let (client, server) = ends().await;
    let mut promised = Capabilities::stream(16 * 1024 * 1024);
    promised.half_close = false;
    assert_eq!(client.capabilities, promised);
    assert_eq!(client.capabilities, server.capabilities);
    let mut listener = Ws::new("127.0.0.1:0").frame_bytes_max(1000).bind().await.unwrap();
    let client = Ws::new(address(&*listener)).frame_bytes_max(usize::MAX);
    let (client, server) = meet(&client, &mut *listener).await;
    assert_eq!(server.capabilities.frame_bytes_max, 1000);
    assert_eq!(client.capabilities.frame_bytes_max, u32::MAX as usize);
}

#[tokio::test]
async fn reading_is_pending_while_nothing_is_there() {
    let (mut client, mut server) = ends().await;
    client.write([Frame::ordered("one")]).await.unwrap();
    server.read_frames(1).await;
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(server.reader.poll_read(&mut cx, &mut Vec::new()), Poll::Pending));
}

#[tokio::test]
async fn a_peer_that_is_gone_before_its_handshake_fails_there_and_not_in_accept() {
    let mut listener = bind().await;
    let gone = TcpStream::connect(address(&*listener)).await.unwrap();
    gone.set_zero_linger().unwrap();
    drop(gone);
    let incoming = within(listener.accept()).await.unwrap();
    assert!(within(incoming.handshake()).await.is_err());
    let (mut client, server) = meet(&Ws::new(address(&*listener)), &mut *listener).await;
    drop(server);
    let (_, result) = client.read_to_end().await;
    assert!(result.is_err());
}
