//! Closes: their codes, their answers, and what follows them (RFC 6455 §5.5.1 and §7).

use super::end::End;
use super::raw::{BINARY, BOTH, CONTINUE, FINAL, Ours, PING, Raw, raw_and_end};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::ReadError;

/// Our end, after the peer said something good and then closed like this.
async fn closed(ours: Ours, body: &[u8]) -> (Raw, End, Result<(), ReadError>) {
    let (mut raw, mut end) = raw_and_end(ours).await;
    raw.send([ours.binary("good"), ours.close(body)].concat()).await;
    let (frames, result) = end.read_to_end().await;
    assert_eq!(frames, [Frame::ordered("good")]);
    (raw, end, result)
}

fn close_body(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_is_no_error() {
    let codes = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    for ours in BOTH {
        for code in codes {
            for reason in [&b""[..], "à bientôt".as_bytes(), &[b'x'; 123]] {
                let (mut raw, mut end, result) = closed(ours, &close_body(code, reason)).await;
                assert!(result.is_ok(), "{code}: {result:?}");
                end.close().await;
                assert_eq!(raw.goodbye_code().await, code, "{ours:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_close_without_a_code_is_answered_as_a_normal_one() {
    for ours in BOTH {
        let (mut raw, mut end, result) = closed(ours, b"").await;
        assert!(result.is_ok());
        end.close().await;
        assert_eq!(raw.goodbye_code().await, 1000);
    }
}

#[tokio::test]
async fn a_close_is_answered_by_a_writer_that_is_only_dropped() {
    for ours in BOTH {
        let (mut raw, end, result) = closed(ours, &close_body(4001, b"")).await;
        assert!(result.is_ok());
        drop(end);
        assert_eq!(raw.goodbye_code().await, 4001);
    }
}

#[tokio::test]
async fn what_waited_goes_out_before_a_close_is_answered() {
    for ours in BOTH {
        let (mut raw, mut end, _) = closed(ours, &close_body(1001, b"")).await;
        end.write([Frame::ordered("one more"), Frame::ordered("and another")]).await.unwrap();
        end.close().await;
        assert_eq!(raw.next().await, Some((FINAL | BINARY, b"one more".into())));
        assert_eq!(raw.next().await, Some((FINAL | BINARY, b"and another".into())));
        assert_eq!(raw.goodbye_code().await, 1001);
    }
}

#[tokio::test]
async fn a_code_that_nobody_may_send_is_refused_with_1002() {
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65_535];
    for ours in BOTH {
        for code in codes {
            let (mut raw, mut end, result) = closed(ours, &close_body(code, b"why")).await;
            assert!(matches!(result, Err(ReadError::Malformed { .. })), "{code}: {result:?}");
            end.close().await;
            assert_eq!(raw.goodbye_code().await, 1002);
        }
    }
}

#[tokio::test]
async fn half_a_code_is_refused_with_1002() {
    for ours in BOTH {
        let (mut raw, mut end, result) = closed(ours, &[3]).await;
        assert!(matches!(result, Err(ReadError::Malformed { .. })), "{result:?}");
        end.close().await;
        assert_eq!(raw.goodbye_code().await, 1002);
    }
}

#[tokio::test]
async fn a_reason_that_is_no_utf8_is_refused_with_1007() {
    for ours in BOTH {
        for reason in [&b"\xff"[..], b"good \xe2\x82", b"\xed\xa0\x80"] {
            let (mut raw, mut end, result) = closed(ours, &close_body(1000, reason)).await;
            assert!(matches!(result, Err(ReadError::Malformed { .. })), "{result:?}");
            end.close().await;
            assert_eq!(raw.goodbye_code().await, 1007);
        }
    }
}

#[tokio::test]
async fn what_stands_behind_a_close_is_not_looked_at() {
    for ours in BOTH {
        let garbage = vec![0xff; 1000];
        let behinds = [ours.binary("late"), ours.close(&close_body(4000, b"")), garbage];
        for behind in behinds {
            let (mut raw, mut end) = raw_and_end(ours).await;
            let close = ours.close(&close_body(1000, b""));
            raw.send([ours.binary("good"), close, behind.clone()].concat()).await;
            let (frames, result) = end.read_to_end().await;
            assert_eq!(frames, [Frame::ordered("good")]);
            assert!(result.is_ok());
            raw.send(&behind).await;
            for _ in 0..3 {
                assert_eq!(end.read(&mut Vec::new()).await.unwrap(), 0);
            }
            end.close().await;
            assert_eq!(raw.next().await, Some((0x88, vec![3, 232])));
        }
    }
}

#[tokio::test]
async fn a_close_between_fragments_is_a_close() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        let bytes = [
            ours.frame(BINARY, b"never"),
            ours.frame(CONTINUE, b"whole"),
            ours.close(&close_body(1001, b"")),
        ];
        raw.send(bytes.concat()).await;
        let (frames, result) = end.read_to_end().await;
        assert_eq!(frames, []);
        assert!(result.is_ok());
        end.close().await;
        assert_eq!(raw.goodbye_code().await, 1001);
    }
}

#[tokio::test]
async fn our_own_close_is_normal_and_the_peers_answer_ends_the_reading() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        end.close().await;
        assert_eq!(raw.goodbye_code().await, 1000);
        raw.send([ours.binary("on its way"), ours.close(&[3, 232])].concat()).await;
        let (frames, result) = end.read_to_end().await;
        assert_eq!(frames, [Frame::ordered("on its way")]);
        assert!(result.is_ok());
    }
}

#[tokio::test]
async fn two_closes_that_cross_end_both_sides() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        raw.send(ours.close(&close_body(1001, b""))).await;
        end.close().await;
        assert_eq!(raw.goodbye_code().await, 1000);
        assert!(end.read_to_end().await.1.is_ok());
    }
}

#[tokio::test]
async fn a_ping_behind_our_close_is_not_answered() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        end.close().await;
        raw.send([ours.frame(FINAL | PING, b"?"), ours.close(&[3, 232])].concat()).await;
        assert!(end.read_to_end().await.1.is_ok());
        assert_eq!(raw.goodbye_code().await, 1000);
    }
}
