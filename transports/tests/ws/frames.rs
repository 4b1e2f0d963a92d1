//! What a frame may be, in fragments and between them, and what it may not (RFC 6455 §5).

use super::end::End;
use super::raw::{BINARY, BOTH, CONTINUE, FINAL, Ours, PING, PONG, Raw, TEXT, frame, raw_and_end};
use super::within;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::ReadError;
use std::error::Error;

/// The peer says something good, then this; our end refuses it, ends, and says why. Whatever the
/// peer still has to say does not reset that.
async fn refused(ours: Ours, attack: &[u8], code: u16) -> String {
    let (mut raw, mut end) = raw_and_end(ours).await;
    raw.send([&ours.binary("good"), attack].concat()).await;
    let (frames, result) = end.read_to_end().await;
    assert_eq!(frames, [Frame::ordered("good")], "{attack:02x?}");
    let words = words(&result.unwrap_err());
    farewell(ours, raw, end, code).await;
    words
}

async fn farewell(ours: Ours, mut raw: Raw, end: End, code: u16) {
    let ending = tokio::spawn(end.hang_up());
    raw.send(ours.binary(vec![1; 100_000])).await;
    raw.send(ours.close(&1000_u16.to_be_bytes())).await;
    assert_eq!(raw.goodbye_code().await, code);
    drop(raw);
    ending.await.unwrap();
}

fn words(error: &ReadError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

async fn broken(ours: Ours, attack: &[u8], rule: &str) {
    let words = refused(ours, attack, 1002).await;
    assert!(words.starts_with("the peer broke the rules of this wire: "), "{words}");
    assert!(words.to_lowercase().contains(rule), "{ours:?} {attack:02x?}: {words}");
}

async fn taken(ours: Ours, bytes: &[u8], frames: &[Frame]) -> Raw {
    let (mut raw, mut end) = raw_and_end(ours).await;
    raw.send([bytes, &ours.close(&[])].concat()).await;
    let (read, result) = end.read_to_end().await;
    assert!(result.is_ok(), "{bytes:02x?}: {result:?}");
    assert_eq!(read, frames, "{bytes:02x?}");
    end.close().await;
    raw
}

#[tokio::test]
async fn a_client_that_does_not_mask_and_a_server_that_does_are_refused() {
    let mask = Some([1, 2, 3, 4]);
    for first in [BINARY, TEXT, PING, PONG, 0x8].map(|opcode| FINAL | opcode) {
        broken(Ours::Server, &frame(first, b"", None), "unmasked").await;
        broken(Ours::Client, &frame(first, b"", mask), "masked").await;
        broken(Ours::Server, &frame(first, &[3, 232], None), "unmasked").await;
        broken(Ours::Client, &frame(first, &[3, 232], mask), "masked").await;
    }
}

#[tokio::test]
async fn a_frame_masked_with_zeros_is_masked() {
    let key = Some([0; 4]);
    let bytes = frame(FINAL | BINARY, b"plain to see", key);
    let (mut raw, mut end) = raw_and_end(Ours::Server).await;
    raw.send(bytes).await;
    assert_eq!(end.read_frames(1).await, [Frame::ordered("plain to see")]);
}

#[tokio::test]
async fn each_reserved_bit_is_refused() {
    for ours in BOTH {
        for bit in [0x40, 0x20, 0x10, 0x70] {
            for opcode in [BINARY, TEXT, PING, PONG, 0x8] {
                broken(ours, &ours.frame(FINAL | bit | opcode, b""), "reserved bits").await;
            }
        }
        let fragments = [ours.frame(BINARY, b"a"), ours.frame(FINAL | 0x40 | CONTINUE, b"b")];
        broken(ours, &fragments.concat(), "reserved bits").await;
    }
}

#[tokio::test]
async fn each_reserved_opcode_is_refused() {
    for ours in BOTH {
        for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            broken(ours, &ours.frame(FINAL | opcode, b""), "opcode").await;
            broken(ours, &ours.frame(opcode, b"body"), "opcode").await;
        }
    }
}

#[tokio::test]
async fn a_fragmented_control_frame_is_refused() {
    for ours in BOTH {
        for opcode in [PING, PONG, 0x8] {
            broken(ours, &ours.frame(opcode, b""), "fragmented control frame").await;
        }
    }
}

#[tokio::test]
async fn a_control_frame_over_125_bytes_is_refused_by_its_header_alone() {
    for ours in BOTH {
        for opcode in [PING, PONG, 0x8].map(|opcode| FINAL | opcode) {
            broken(ours, &ours.header(opcode, &[126, 0, 126]), "control frame").await;
            let long = [127, 0, 0, 0, 0, 0, 1, 0, 0];
            broken(ours, &ours.header(opcode, &long), "control frame").await;
        }
    }
}

#[tokio::test]
async fn a_fragment_without_a_beginning_is_refused() {
    for ours in BOTH {
        for first in [CONTINUE, FINAL | CONTINUE] {
            broken(ours, &ours.frame(first, b"the end of what?"), "continue").await;
        }
        let fragments =
            [ours.frame(BINARY, b""), ours.frame(FINAL, b""), ours.frame(FINAL, b"once more")];
        let (mut raw, mut end) = raw_and_end(ours).await;
        raw.send(fragments.concat()).await;
        let (frames, result) = end.read_to_end().await;
        assert_eq!(frames, [Frame::ordered("")]);
        assert!(words(&result.unwrap_err()).to_lowercase().contains("continue"));
    }
}

#[tokio::test]
async fn a_new_beginning_between_fragments_is_refused() {
    for ours in BOTH {
        for first in [BINARY, TEXT, FINAL | BINARY, FINAL | TEXT] {
            for body in [&b""[..], b"new"] {
                let bytes = [ours.frame(BINARY, b"old"), ours.frame(first, body)].concat();
                broken(ours, &bytes, "fragment").await;
            }
        }
    }
}

#[tokio::test]
async fn fragments_are_joined_however_many() {
    for ours in BOTH {
        let parts = |first: u8, parts: &[&[u8]]| -> Vec<u8> {
            let last = parts.len() - 1;
            let fragments = parts.iter().enumerate().map(|(number, part)| {
                let begin = if number == 0 { first } else { CONTINUE };
                ours.frame(begin | if number == last { FINAL } else { 0 }, part)
            });
            fragments.collect::<Vec<_>>().concat()
        };
        let ones: Vec<&[u8]> = vec![b"x"; 300];
        let bytes = [
            parts(BINARY, &[b"one", b" ", b"", b"body"]),
            parts(BINARY, &[b"", b"", b""]),
            parts(BINARY, &[b"", b"last only"]),
            parts(BINARY, &ones),
            parts(TEXT, &["é".as_bytes(), b"\xe2\x82", b"\xac"]),
            ours.binary("alone"),
        ];
        let frames = [
            Frame::ordered("one body"),
            Frame::ordered(""),
            Frame::ordered("last only"),
            Frame::ordered("x".repeat(300)),
            Frame::text("é€"),
            Frame::ordered("alone"),
        ];
        taken(ours, &bytes.concat(), &frames).await;
    }
}

#[tokio::test]
async fn a_ping_is_answered_with_its_body_also_between_fragments() {
    for ours in BOTH {
        for body in [vec![], b"are you there?".to_vec(), vec![0xff; 125]] {
            let bytes = [
                ours.frame(BINARY, b"be"),
                ours.frame(FINAL | PING, &body),
                ours.frame(CONTINUE, b"gu"),
                ours.frame(FINAL | PONG, b"nobody asked"),
                ours.frame(FINAL | CONTINUE, b"n"),
            ];
            let mut raw = taken(ours, &bytes.concat(), &[Frame::ordered("begun")]).await;
            assert_eq!(raw.next().await, Some((FINAL | PONG, body)));
            assert_eq!(raw.goodbye_code().await, 1000);
        }
    }
}

#[tokio::test]
async fn a_ping_is_answered_by_an_end_that_only_reads() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        for number in 0..10_u8 {
            raw.send(ours.frame(FINAL | PING, &[number])).await;
            // Bytes came, and no frame.
            let mut frames = Vec::new();
            assert_ne!(end.read(&mut frames).await.unwrap(), 0);
            assert_eq!(frames, []);
            assert_eq!(raw.next().await, Some((FINAL | PONG, vec![number])));
        }
        end.write([Frame::ordered("in order")]).await.unwrap();
        assert_eq!(raw.next().await, Some((FINAL | BINARY, b"in order".into())));
    }
}

#[tokio::test]
async fn a_pong_is_written_into_no_frame_whatever_waits() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        let body: Vec<u8> = (0..100_003_u32).map(|at| at as u8).collect();
        let (count, mut batch) = end.fill(&Frame::ordered(body.clone())).await;
        let pings = 50_u8;
        let mut frames = Vec::new();
        for number in 0..pings {
            raw.send(ours.frame(FINAL | PING, &[number; 125])).await;
            while end.read(&mut frames).await.unwrap() < 125 {}
        }
        batch.extend([Frame::ordered("behind")]);
        let writing = tokio::spawn(async move {
            let mut end = end;
            end.write(batch).await.unwrap();
            end.close().await;
            end
        });
        let mut pongs = Vec::new();
        let mut whole = 0;
        loop {
            match raw.next().await.unwrap() {
                (0x8a, body) => pongs.push(body[0]),
                (0x82, frame) if whole < count => {
                    assert!(frame == body, "frame {whole}");
                    whole += 1;
                }
                (0x82, frame) => assert_eq!(frame, b"behind"),
                (0x88, _) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(whole, count);
        assert!(pongs.is_sorted() && pongs.last() == Some(&(pings - 1)), "{pongs:?}");
        assert!(pongs.len() < usize::from(pings), "old pongs give way: {pongs:?}");
        drop(writing.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pong_that_waits_for_room_wakes_whoever_reads() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        let reading = tokio::spawn(async move { end.read_to_end().await.1 });
        let pings = 100_000;
        let flood = ours.frame(FINAL | PING, &[7; 125]).repeat(1000);
        for _ in 0..pings / 1000 {
            raw.send(&flood).await;
        }
        raw.send(ours.frame(FINAL | PING, b"the last")).await;
        let mut pongs = 0;
        while raw.next().await.unwrap().1 != b"the last" {
            pongs += 1;
        }
        assert!(pongs < pings, "there was room for all of them");
        raw.send(ours.close(&[])).await;
        within(reading).await.unwrap().unwrap();
        assert_eq!(raw.goodbye_code().await, 1000);
    }
}

#[tokio::test]
async fn text_that_is_no_utf8_is_refused_with_1007() {
    let bad: [&[u8]; 8] = [
        b"\xff",
        b"a\xc3",
        b"\xc3\x28",
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"good, good, and then \xe2\x82",
    ];
    for ours in BOTH {
        for bad in bad {
            for cut in 0..=bad.len() {
                let (head, tail) = bad.split_at(cut);
                let attack = [ours.frame(TEXT, head), ours.frame(FINAL | CONTINUE, tail)].concat();
                let words = refused(ours, &attack, 1007).await;
                assert!(words.to_lowercase().contains("utf-8"), "{words}");
            }
            refused(ours, &ours.frame(FINAL | TEXT, bad), 1007).await;
            // The same bytes are a fine binary body.
            taken(ours, &ours.binary(bad), &[Frame::ordered(bad.to_vec())]).await;
        }
    }
}

#[tokio::test]
async fn a_length_that_takes_more_bytes_than_it_needs_is_refused() {
    let lengths: [&[u8]; 7] = [
        &[126, 0, 0],
        &[126, 0, 125],
        &[127, 0, 0, 0, 0, 0, 0, 0, 0],
        &[127, 0, 0, 0, 0, 0, 0, 0, 125],
        &[127, 0, 0, 0, 0, 0, 0, 0, 126],
        &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[127, 0, 0, 0, 0, 0, 0, 0, 1],
    ];
    for ours in BOTH {
        for length in lengths {
            broken(ours, &ours.header(FINAL | BINARY, length), "more bytes than it needs").await;
        }
        let begun = [ours.frame(BINARY, b"a"), ours.header(FINAL | CONTINUE, &[126, 0, 1])];
        broken(ours, &begun.concat(), "more bytes than it needs").await;
    }
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_by_its_header_alone_with_1009() {
    let limit = 16 * 1024 * 1024_u64;
    for ours in BOTH {
        for length in [limit + 1, 1 << 32, u64::MAX >> 1, 1 << 63, u64::MAX] {
            let mut bytes = vec![127];
            bytes.extend_from_slice(&length.to_be_bytes());
            for opcode in [BINARY, TEXT, FINAL | BINARY, FINAL | TEXT] {
                let words = refused(ours, &ours.header(opcode, &bytes), 1009).await;
                assert_eq!(
                    words,
                    format!("a frame of {length} bytes, at most {limit} are allowed")
                );
            }
        }
    }
}

#[tokio::test]
async fn fragments_whose_sum_is_too_large_are_refused_by_the_header_that_makes_it_so() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        end.reader.set_frame_bytes_max(1000);
        let good = [ours.frame(BINARY, &[1; 600]), ours.frame(FINAL | CONTINUE, &[1; 400])];
        raw.send(good.concat()).await;
        assert_eq!(end.read_frames(1).await, [Frame::ordered([1; 1000].to_vec())]);
        raw.send(ours.frame(BINARY, &[1; 600])).await;
        raw.send(ours.frame(CONTINUE, b"")).await;
        // 401 bytes, of which none comes.
        raw.send(ours.header(CONTINUE, &[126, 1, 145])).await;
        let (frames, result) = end.read_to_end().await;
        assert_eq!(frames, []);
        assert!(
            matches!(result, Err(ReadError::FrameTooLarge { bytes: 1001, max: 1000 })),
            "{result:?}"
        );
        farewell(ours, raw, end, 1009).await;
    }
}

#[tokio::test]
async fn what_a_session_does_not_take_it_refuses_in_fragments_too() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        end.reader.set_frame_bytes_max(10);
        raw.send(ours.frame(BINARY, &[1; 11])).await;
        let (_, result) = end.read_to_end().await;
        assert!(matches!(result, Err(ReadError::FrameTooLarge { bytes: 11, max: 10 })));
        // Control frames have a limit of their own.
        let (mut raw, mut end) = raw_and_end(ours).await;
        end.reader.set_frame_bytes_max(10);
        raw.send(ours.frame(FINAL | PING, &[1; 125])).await;
        end.read(&mut Vec::new()).await.unwrap();
        assert_eq!(raw.next().await, Some((FINAL | PONG, vec![1; 125])));
    }
}

#[tokio::test]
async fn after_a_broken_rule_nothing_is_taken_any_more() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        raw.send(ours.frame(FINAL | 0x3, b"")).await;
        assert!(end.read_to_end().await.1.is_err());
        raw.send([ours.binary("good again"), ours.frame(FINAL | PING, b"?")].concat()).await;
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < 10 {
            bytes += end.read(&mut frames).await.unwrap();
        }
        assert_eq!(frames, []);
        farewell(ours, raw, end, 1002).await;
    }
}
