//! What is left of an HTTP/2 request body that nobody reads.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;

use crate::Connection;

/// A request body whose rest is read and thrown away, for a while, when it is dropped before its end.
///
/// An answer may come before its request is whole (a 401, a 413). In HTTP/2 a stream whose request is dropped is reset, and
/// clients in wide use (curl before 8.0) then throw away the answer they already have. So the peer gets a chance to finish.
/// HTTP/1 lingers below hyper, in the stream itself.
pub(crate) struct LingeringBody {
    incoming: Option<Incoming>,
    linger: Option<Linger>,
}

/// How much of a rest is read.
#[derive(Clone, Copy)]
struct Linger {
    timeout: Duration,
    bytes_max: u64,
}

impl LingeringBody {
    pub(crate) fn new(incoming: Incoming, connection: &Connection) -> LingeringBody {
        let limits = connection.limits();
        LingeringBody {
            incoming: Some(incoming),
            linger: connection.is_http2().then_some(Linger {
                timeout: limits.linger_timeout,
                bytes_max: limits.linger_bytes_max,
            }),
        }
    }
}

impl Linger {
    async fn discard(self, mut incoming: Incoming) {
        let discard = async {
            let mut remaining = self.bytes_max;
            while let Some(Ok(frame)) = incoming.frame().await {
                let length = frame.data_ref().map_or(0, |chunk| chunk.len() as u64);
                match remaining.checked_sub(length) {
                    Some(rest) => remaining = rest,
                    None => break,
                }
            }
        };
        // Either way the peer had its chance.
        let _ = tokio::time::timeout(self.timeout, discard).await;
    }
}

impl Drop for LingeringBody {
    fn drop(&mut self) {
        if let (Some(incoming), Some(linger), Ok(runtime)) = (self.incoming.take(), self.linger, Handle::try_current())
            && !incoming.is_end_stream()
        {
            runtime.spawn(linger.discard(incoming));
        }
    }
}

impl Body for LingeringBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
