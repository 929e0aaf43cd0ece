//! The body of a response, and the connection it keeps busy.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1::SendRequest};

use super::{
    RequestError,
    connection_pool::{ConnectionPool, Origin},
};
use crate::OutgoingBody;

/// The body of a response that came in. Read to its end, its connection becomes free for the next request; dropped before, the
/// connection is closed.
pub struct IncomingBody {
    body: Incoming,
    lease: Option<Lease>,
}

/// The connection, and where it goes when it is free.
struct Lease {
    sender: SendRequest<OutgoingBody>,
    home: Option<(Arc<ConnectionPool>, Origin)>,
}

impl IncomingBody {
    pub(super) fn pooled(
        body: Incoming,
        sender: SendRequest<OutgoingBody>,
        pool: &Arc<ConnectionPool>,
        origin: Origin,
    ) -> IncomingBody {
        let mut body = IncomingBody {
            body,
            lease: Some(Lease {
                sender,
                home: Some((Arc::clone(pool), origin)),
            }),
        };
        if body.body.is_end_stream() {
            body.release();
        }
        body
    }

    pub(super) fn unpooled(body: Incoming, sender: SendRequest<OutgoingBody>) -> IncomingBody {
        IncomingBody {
            body,
            lease: Some(Lease { sender, home: None }),
        }
    }

    fn release(&mut self) {
        if let Some(Lease {
            sender,
            home: Some((pool, origin)),
        }) = self.lease.take()
        {
            pool.put(origin, sender);
        }
    }

    /// Reads the whole body, at most `bytes_max` bytes. Trailers are dropped.
    ///
    /// # Errors
    /// [`RequestError::ResponseTooLong`], or that the connection broke.
    pub async fn collect_at_most(mut self, bytes_max: u64) -> Result<Bytes, RequestError> {
        if self.body.size_hint().lower() > bytes_max {
            return Err(RequestError::ResponseTooLong { bytes_max });
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await {
            let Ok(chunk) = frame?.into_data() else { continue };
            if (whole.len() + chunk.len()) as u64 > bytes_max {
                return Err(RequestError::ResponseTooLong { bytes_max });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.release();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| RequestError::from_hyper(error, "the server"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for IncomingBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("IncomingBody")
    }
}
