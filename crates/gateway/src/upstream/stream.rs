//! The socket to an upstream.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP stream on which a failed write does not hide an answer that has already arrived.
///
/// An upstream that refuses a long request answers early and closes; the next write then fails, while its answer waits in
/// our receive buffer. hyper would report the failed write and drop the answer. So writes to a closed connection are
/// swallowed: the reading side tells what happened, the answer or the end of the connection.
pub(crate) struct UpstreamStream {
    tcp: TcpStream,
    peer_is_gone: bool,
}

impl UpstreamStream {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            peer_is_gone: false,
        }
    }

    fn swallow_if_gone(&mut self, written: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error))
                if matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
                ) =>
            {
                self.peer_is_gone = true;
                Poll::Ready(Ok(offered))
            }
            written => written,
        }
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.peer_is_gone {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.swallow_if_gone(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = slices.iter().map(|slice| slice.len()).sum();
        if self.peer_is_gone {
            return Poll::Ready(Ok(offered));
        }
        let written = Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        self.swallow_if_gone(written, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
