//! docs/PROTOCOL.md, read by a machine: its vectors and its tables say what the codec does.
//!
//! A block marked `vector` holds lines `hex | note`; a line `= packet` ends a vector that is this
//! packet in both directions, a line `! error` one that is none. An indented line goes on with the
//! one before it.

use emitwire_core::protocol::{
    CLOSE_DETAIL_BYTES_MAX, Codec, DecodeError, EVENT_NAME_BYTES_MAX, Frame, LEAVE_WORDS_BYTES_MAX,
    Native, PAYLOAD_DEPTH_MAX, PROTOCOL_VERSION, Packet, Payload, RESERVED_NAMES, Shape,
};
use std::collections::BTreeSet;
use std::path::Path;
use support::notation::{describe, hex, word};

mod support {
    pub(crate) mod notation;
}

/// One vector: where it begins on the page, its bytes, and the text behind `=` or `!`.
struct Vector {
    line: usize,
    bytes: Vec<u8>,
    sign: char,
    meaning: String,
}

#[test]
fn every_vector_is_its_packet_in_both_directions() {
    let vectors = vectors(&page());
    for vector in vectors.iter().filter(|vector| vector.sign == '=') {
        let line = vector.line;
        let packet = decode(&vector.bytes).unwrap_or_else(|error| panic!("line {line}: {error}"));
        assert_eq!(describe(&packet), vector.meaning, "line {line}");
        assert_eq!(hex(&encode(&packet)), hex(&vector.bytes), "line {line}");
    }
}

#[test]
fn the_messagepack_on_the_page_is_what_this_implementation_writes() {
    for vector in vectors(&page()) {
        let payload = match decode(&vector.bytes) {
            Ok(Packet::Event(event)) => event.payload,
            Ok(Packet::Ack(ack)) => ack.payload,
            _ => continue,
        };
        let is_messagepack = payload.shape() != Shape::Raw && !payload.is_empty();
        if let (true, Ok(json)) = (is_messagepack, payload.decode::<serde_json::Value>()) {
            let again = Payload::encode(&json).expect("JSON can be encoded");
            assert_eq!(hex(again.bytes()), hex(payload.bytes()), "line {}", vector.line);
        }
    }
}

#[test]
fn every_malformed_vector_is_its_error() {
    let vectors = vectors(&page());
    for vector in vectors.iter().filter(|vector| vector.sign == '!') {
        let error = decode(&vector.bytes).map_err(|error| format!("{error:?}"));
        assert_eq!(error, Err(vector.meaning.clone()), "line {}", vector.line);
    }
}

#[test]
fn every_packet_and_every_nak_has_a_vector_and_stands_in_its_table() {
    let page = page();
    let packets: Vec<_> =
        vectors(&page).iter().filter_map(|vector| decode(&vector.bytes).ok()).collect();

    let is_kind = |byte| !matches!(decode(&[byte]), Err(DecodeError::UnknownKind { .. }));
    let kinds: BTreeSet<u8> = (0..=u8::MAX).filter(|byte| is_kind(*byte)).collect();
    assert_eq!(packets.iter().map(Native::kind).collect::<BTreeSet<_>>(), kinds);
    let rows = packets.iter().map(|packet| {
        let counted = if packet.is_counted() { "yes" } else { "no" };
        vec![format!("{:02x}", Native::kind(packet)), word(packet), counted.to_owned()]
    });
    assert_eq!(table(&page, "## 3. Packets", 3), rows.collect());

    let naks = packets.iter().filter_map(|packet| match packet {
        Packet::Nak(packet) => Some(word(&packet.nak)),
        _ => None,
    });
    let codes = codes(&[0x82, 0, 1], |packet| match packet {
        Packet::Nak(packet) => word(&packet.nak),
        other => panic!("not a nak: {other:?}"),
    });
    assert_eq!(naks.collect::<BTreeSet<_>>(), codes.iter().map(|row| row[1].clone()).collect());
    assert_eq!(table(&page, "#### Nak codes", 2), codes);
}

#[test]
fn the_tables_of_codes_are_complete() {
    let page = page();
    let closes = codes(&[0x0a], |packet| match packet {
        Packet::Close(close) => word(&close.code),
        other => panic!("not a close: {other:?}"),
    });
    assert_eq!(table(&page, "#### Close codes", 2), closes);
    let losses = codes(&[0x87, 1], |packet| match packet {
        Packet::Gap(gap) => word(&gap.reason),
        other => panic!("not a gap: {other:?}"),
    });
    assert_eq!(table(&page, "#### Loss reasons", 2), losses);
    let shapes = (0..=3).filter_map(|bits| match decode(&[0x81, bits << 2, 1]) {
        Ok(Packet::Ack(ack)) => Some(vec![bits.to_string(), word(&ack.payload.shape())]),
        _ => None,
    });
    assert_eq!(table(&page, "### Payloads", 2), shapes.collect());
}

#[test]
fn the_limits_and_names_on_the_page_are_those_of_the_code() {
    let page = page();
    let limits = [
        ("event name or namespace path, bytes", EVENT_NAME_BYTES_MAX),
        ("close detail, bytes", CLOSE_DETAIL_BYTES_MAX),
        ("words of a leave, bytes", LEAVE_WORDS_BYTES_MAX),
        ("token, bytes", Native::TOKEN_BYTES_MAX),
        ("namespaces in one attach", Native::NAMESPACES_MAX),
        ("ranges in one position", Native::RANGES_MAX),
        ("levels of nesting in a payload", PAYLOAD_DEPTH_MAX),
    ];
    let rows = limits.map(|(name, value)| vec![name.to_owned(), value.to_string()]);
    assert_eq!(table(&page, "## 14. Limits", 2), BTreeSet::from(rows));
    assert!(page.contains(&format!("protocol version {PROTOCOL_VERSION}.")));
    for name in RESERVED_NAMES {
        assert!(page.contains(&format!("`{name}`")), "{name} is reserved");
    }
}

#[test]
fn a_frame_on_a_byte_stream_is_its_length_and_its_body() {
    let blocks = blocks(&page(), "tcp");
    assert!(!blocks.is_empty());
    for (line, text) in blocks.into_iter().flatten() {
        let bytes = bytes(line, &text);
        let (length, body) = bytes.split_at(4);
        assert_eq!(length, (body.len() as u32).to_be_bytes(), "line {line}");
        assert!(decode(body).is_ok(), "line {line}");
    }
}

#[test]
fn a_frame_on_a_websocket_is_a_binary_one_with_the_same_body() {
    let blocks = blocks(&page(), "websocket");
    assert!(!blocks.is_empty());
    for (line, text) in blocks.into_iter().flatten() {
        let bytes = bytes(line, &text);
        let (header, body) = bytes.split_at(2);
        assert_eq!(header, [0x82, body.len() as u8], "line {line}");
        assert!(decode(body).is_ok(), "line {line}");
    }
}

#[test]
fn links_within_the_page_lead_somewhere() {
    let page = page();
    let anchors: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title.replace(' ', "-").replace('.', "")
        })
        .collect();
    for link in page.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap_or_default();
        assert!(anchors.contains(anchor), "#{anchor} leads nowhere");
    }
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PROTOCOL.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn decode(bytes: &[u8]) -> Result<Packet, DecodeError> {
    let packet = Native.decoder().decode(Frame::ordered(bytes.to_vec()))?;
    Ok(packet.expect("a native frame is a whole packet"))
}

fn encode(packet: &Packet) -> Vec<u8> {
    Native.encode(packet).frames()[0].body.to_vec()
}

// Reading the page.

/// The numbered lines of each fenced block whose info string is `info`.
fn blocks(page: &str, info: &str) -> Vec<Vec<(usize, String)>> {
    let mut lines = (1..).zip(page.lines());
    let mut blocks = Vec::new();
    while let Some((_, line)) = lines.next() {
        let Some(found) = line.strip_prefix("```") else {
            continue;
        };
        let block = lines.by_ref().take_while(|(_, line)| *line != "```");
        let block = block.map(|(number, line)| (number, line.to_owned())).collect();
        if found == info {
            blocks.push(block);
        }
    }
    blocks
}

fn vectors(page: &str) -> Vec<Vector> {
    let mut vectors: Vec<Vector> = Vec::new();
    for block in blocks(page, "vector") {
        let mut pending = Vec::new();
        for (line, text) in block.into_iter().filter(|(_, text)| !text.is_empty()) {
            match text.chars().next() {
                Some(sign @ ('=' | '!')) => {
                    let meaning = text[1..].trim().to_owned();
                    let bytes = std::mem::take(&mut pending);
                    vectors.push(Vector { line, bytes, sign, meaning });
                }
                Some(' ') => {
                    let vector = vectors.last_mut().expect("a meaning to go on with");
                    vector.meaning = format!("{} {}", vector.meaning, text.trim());
                }
                _ => pending.extend(bytes(line, text.split('|').next().unwrap_or_default())),
            }
        }
        assert!(pending.is_empty(), "a vector without a meaning: {pending:x?}");
    }
    vectors
}

fn bytes(line: usize, text: &str) -> Vec<u8> {
    let byte =
        |pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("line {line}: {pair}"));
    text.split_whitespace().map(byte).collect()
}

/// The first cells of each row of the first table under `heading`, without backticks.
fn table(page: &str, heading: &str, cells: usize) -> BTreeSet<Vec<String>> {
    let under = page.lines().skip_while(|line| *line != heading);
    let rows =
        under.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells = line.split('|').skip(1).take(cells);
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    rows.skip(2).map(row).collect()
}

/// Every code that the decoder takes behind `prefix`, with the name that `name` gives it.
fn codes(prefix: &[u8], name: impl Fn(Packet) -> String) -> BTreeSet<Vec<String>> {
    let packet = |code| {
        let bare = [prefix, &[code]].concat();
        decode(&bare).or_else(|_| decode(&[&bare[..], &[0]].concat())).ok()
    };
    let row = |code: u8| Some(vec![code.to_string(), name(packet(code)?)]);
    (0..=u8::MAX).filter_map(row).collect()
}
