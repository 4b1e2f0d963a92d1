//! Writing to tokio's sockets, all of which have the same methods and no trait for them.

/// Makes the owned writing half of a socket a [`WriteStream`](super::WriteStream): it costs no
/// budget.
#[allow(unused_macros, reason = "the wires without sockets of this system have none to write to")]
macro_rules! socket_writes {
    ($half:ty) => {
        impl $crate::framing::WriteStream for $half {
            fn poll_write(
                &mut self,
                cx: &mut ::std::task::Context<'_>,
                slices: &[::std::io::IoSlice<'_>],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                loop {
                    let written = match slices {
                        [one] => self.try_write(one),
                        many => self.try_write_vectored(many),
                    };
                    match written {
                        Err(error) if error.kind() == ::std::io::ErrorKind::WouldBlock => {
                            // Ready means that there is room again since: another try, no waiting.
                            ::std::task::ready!(self.as_ref().poll_write_ready(cx))?;
                        }
                        written => return ::std::task::Poll::Ready(written),
                    }
                }
            }

            fn poll_close(
                &mut self,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                ::tokio::io::AsyncWrite::poll_shutdown(::std::pin::Pin::new(self), cx)
            }
        }
    };
}

#[allow(
    unused_imports,
    reason = "the wires without sockets of this system have none to write to"
)]
pub(crate) use socket_writes;
