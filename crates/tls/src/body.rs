//! The bodies that pass through a listener: what comes in, limited, and what goes out.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use crate::{Connection, LayerRefusal, lingering_body::LingeringBody};

/// Any error of a streamed body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that we send: of a response, or of a request of [`HttpClient`](crate::HttpClient).
#[derive(Default)]
pub enum OutgoingBody {
    /// No body.
    #[default]
    Empty,
    /// A body known as a whole; its length is sent.
    Full(Bytes),
    /// A body produced while it is sent. An error cuts the message off visibly (no final chunk, or a stream reset).
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

/// The body of a response, an [`OutgoingBody`].
pub type ResponseBody = OutgoingBody;

impl OutgoingBody {
    /// A streamed body of any kind.
    pub fn stream<B>(body: B) -> OutgoingBody
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt as _;
        OutgoingBody::Stream(body.map_err(Into::into).boxed_unsync())
    }
}

impl std::fmt::Debug for OutgoingBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OutgoingBody::Empty => formatter.write_str("Empty"),
            OutgoingBody::Full(bytes) => write!(formatter, "Full({} bytes)", bytes.len()),
            OutgoingBody::Stream(_) => formatter.write_str("Stream"),
        }
    }
}

impl From<Bytes> for OutgoingBody {
    fn from(bytes: Bytes) -> Self {
        OutgoingBody::Full(bytes)
    }
}

impl From<String> for OutgoingBody {
    fn from(text: String) -> Self {
        OutgoingBody::Full(Bytes::from(text))
    }
}

impl From<&'static str> for OutgoingBody {
    fn from(text: &'static str) -> Self {
        OutgoingBody::Full(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Vec<u8>> for OutgoingBody {
    fn from(bytes: Vec<u8>) -> Self {
        OutgoingBody::Full(Bytes::from(bytes))
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            OutgoingBody::Empty => Poll::Ready(None),
            OutgoingBody::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = OutgoingBody::Empty;
                Poll::Ready(if bytes.is_empty() {
                    None
                } else {
                    Some(Ok(Frame::data(bytes)))
                })
            }
            OutgoingBody::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            OutgoingBody::Empty => true,
            OutgoingBody::Full(bytes) => bytes.is_empty(),
            OutgoingBody::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutgoingBody::Empty => SizeHint::with_exact(0),
            OutgoingBody::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            OutgoingBody::Stream(body) => body.size_hint(),
        }
    }
}

/// Why a request body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The listener refused the rest; hand it to [`Service::refuse`](crate::Service::refuse) for the answer.
    #[error(transparent)]
    Refused(LayerRefusal),
    /// The peer went away or broke the protocol below HTTP: nobody is left to answer.
    #[error("the request body broke off")]
    Broken(#[source] hyper::Error),
}

/// The body of a request, within the listener's limits.
///
/// Its length is limited by [`Limits::body_bytes_max`](crate::Limits::body_bytes_max). A body announced longer never
/// reaches the service (413); one that turns out longer ends with [`BodyError::Refused`].
pub struct RequestBody {
    source: Source,
    /// Bytes that may still come, and the limit they started from.
    allowance: Option<(u64, u64)>,
    connection: Option<Arc<Connection>>,
    /// HTTP/2 alone: its streams share a connection, so the connection's deadline cannot speak for one of them. Made only
    /// when the body has to be waited for.
    timeout: Option<Pin<Box<tokio::time::Sleep>>>,
}

enum Source {
    Incoming(LingeringBody),
    Whole(Bytes),
}

impl RequestBody {
    /// Wraps what hyper hands over.
    pub(crate) fn incoming(incoming: Incoming, bytes_max: Option<u64>, connection: &Arc<Connection>) -> RequestBody {
        RequestBody {
            source: Source::Incoming(LingeringBody::new(incoming, connection)),
            allowance: bytes_max.map(|bytes_max| (bytes_max, bytes_max)),
            connection: Some(Arc::clone(connection)),
            timeout: None,
        }
    }

    /// Reads the whole body, at most the listener's limit.
    ///
    /// On a listener without a limit, use [`collect_at_most`](Self::collect_at_most).
    ///
    /// # Errors
    /// As the body itself.
    pub async fn collect(self) -> Result<Bytes, BodyError> {
        self.collect_at_most(u64::MAX).await
    }

    /// Reads the whole body, at most `bytes_max` bytes or the listener's limit, whichever is less. Trailers are dropped.
    ///
    /// # Errors
    /// As the body itself; [`LayerRefusal::BodyTooLong`] when `bytes_max` is exceeded.
    pub async fn collect_at_most(mut self, bytes_max: u64) -> Result<Bytes, BodyError> {
        if self.allowance.is_none_or(|(remaining, _)| remaining > bytes_max) {
            self.allowance = Some((bytes_max, bytes_max));
        }
        // Nearly every body arrives as one frame, which is then the answer without a copy.
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await {
            let Ok(chunk) = frame?.into_data() else { continue };
            if first.is_empty() {
                first = chunk;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&chunk);
            }
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }

    fn poll_incoming(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.source {
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Source::Incoming(incoming) => Pin::new(incoming).poll_frame(context),
        };
        let Some(connection) = &self.connection else {
            return Poll::Ready(None);
        };
        match frame {
            Poll::Pending => {
                ready!(poll_timeout(
                    &mut self.timeout,
                    self.allowance.is_some(),
                    connection,
                    context
                ));
                Poll::Ready(Some(Err(BodyError::Refused(LayerRefusal::BodyTimeout))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(match connection.refusal() {
                Some(refusal) => BodyError::Refused(refusal.clone()),
                None => BodyError::Broken(error),
            }))),
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken))),
        }
    }
}

/// Ready when the body of an HTTP/2 stream took too long. In HTTP/1 the connection's own deadline ends the body.
fn poll_timeout(
    timeout: &mut Option<Pin<Box<tokio::time::Sleep>>>,
    limited: bool,
    connection: &Connection,
    context: &mut Context<'_>,
) -> Poll<()> {
    if !limited || !connection.is_http2() {
        return Poll::Pending;
    }
    timeout
        .get_or_insert_with(|| Box::pin(tokio::time::sleep(connection.limits().body_timeout)))
        .as_mut()
        .poll(context)
}

/// A body that is already here: for services called without a socket.
impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        RequestBody {
            source: Source::Whole(bytes),
            allowance: None,
            connection: None,
            timeout: None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = ready!(self.poll_incoming(context));
        if let (Some(Ok(chunk)), Some((remaining, bytes_max))) = (&frame, self.allowance)
            && let Some(chunk) = chunk.data_ref()
        {
            match remaining.checked_sub(chunk.len() as u64) {
                Some(remaining) => self.allowance = Some((remaining, bytes_max)),
                None => frame = Some(Err(BodyError::Refused(LayerRefusal::BodyTooLong { bytes_max }))),
            }
        }
        if let (Some(Err(BodyError::Refused(refusal))), Some(connection)) = (&frame, &self.connection) {
            connection.note_refused(refusal);
            connection.deadline.refuse_body();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Incoming(incoming) => incoming.is_end_stream(),
            Source::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Incoming(incoming) => incoming.size_hint(),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RequestBody")
    }
}
