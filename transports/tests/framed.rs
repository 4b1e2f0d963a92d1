//! Frames on any stream of bytes, also on one that gathers what is written.

#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use emitwire_core::protocol::Frame;
use emitwire_transports::framed;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::{AsyncReadExt, BufWriter, duplex, split};
use tokio::time::timeout;

const FRAME_BYTES_MAX: usize = 1000;

#[tokio::test(start_paused = true)]
async fn what_a_stream_gathers_is_sent_off_with_the_last_frame() {
    // Less than a frame fits into the pipe, so that flushing has to wait, too.
    for pipe_bytes in [10, 10_000] {
        let (near, mut far) = duplex(pipe_bytes);
        let (read, write) = split(near);
        let (_reader, mut writer) = framed(read, BufWriter::new(write), FRAME_BYTES_MAX);
        let mut batch = VecDeque::from([Frame::ordered("one"), Frame::ordered("two")]);
        let mut bytes = [0; 14];
        let both = async {
            tokio::join!(
                poll_fn(|cx| writer.poll_write(cx, &mut batch)),
                far.read_exact(&mut bytes),
            )
        };
        let (written, read) = timeout(Duration::from_secs(10), both).await.expect("in time");
        written.unwrap();
        read.unwrap();
        assert_eq!(&bytes, b"\0\0\0\x03one\0\0\0\x03two");
    }
}
