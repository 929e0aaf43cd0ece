//! Interim responses (1xx) of a service to HTTP/1.1 peers, which hyper's server cannot send.
//!
//! They are written below hyper, between two of its own writes. Where that is safe follows from three things hyper does:
//! it flushes the stream only while it holds nothing unwritten, it flushes whenever its service has nothing to say yet, and
//! it calls the service for a request only after the response before it was handed to the stream or waits to be. So
//!
//! * an interim response is *begun* in `poll_flush` alone: all of the response before it is out then;
//! * once begun, it is written to its end before anything else of hyper's, which may only be a `100 Continue`;
//! * the final response is kept back until all are written (`InterimQueue::written`), so none is lost or late;
//! * the next request has another number, so whoever still holds the sender of this one sends nothing any more.
//!
//! Not here: HTTP/2, where hyper owns the only thing that could send them; HTTP/1.0, which has none; `100 Continue`, which
//! hyper sends by itself when a body is read; 101, which is a final answer to us.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, Waker, ready},
};

use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use tokio::io::AsyncWrite;

use crate::{Connection, Limits};

/// Sends interim responses (RFC 9110 §15.2) for one request, until its service has answered it.
///
/// From [`Connection::interim_responses`].
#[derive(Clone, Debug)]
pub struct InterimResponses {
    connection: Arc<Connection>,
    request: u64,
}

/// Why an interim response was not sent. None of it is an error of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterimResponseError {
    /// Not 1xx; or 101, which ends the request.
    #[error("{0} is not the status of an interim response")]
    NotInterim(StatusCode),
    /// The request has been answered.
    #[error("the request has been answered")]
    Answered,
    /// As many as may already wait for the peer to take them.
    #[error("too many interim responses wait for the peer")]
    TooMany,
}

impl InterimResponses {
    pub(crate) fn of(connection: &Arc<Connection>) -> Option<InterimResponses> {
        let request = connection.interims.open()?;
        let connection = Arc::clone(connection);
        Some(InterimResponses { connection, request })
    }

    /// Queues an interim response; it is written before the final one, in the order of the calls.
    ///
    /// `headers` must say nothing about the connection. Fields about a body, which no 1xx has, are left out.
    ///
    /// # Errors
    /// It is not sent; whatever else the request is waiting for goes on.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimResponseError> {
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(InterimResponseError::NotInterim(status));
        }
        self.connection
            .interims
            .push(self.request, &to_octets(status, headers), self.connection.limits())
    }
}

/// RFC 9112 §4 and §5. Names and values of a [`HeaderMap`] hold no line breaks.
fn to_octets(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut octets = Vec::with_capacity(64 + 64 * headers.len());
    octets.extend_from_slice(b"HTTP/1.1 ");
    octets.extend_from_slice(status.as_str().as_bytes());
    octets.push(b' ');
    octets.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    octets.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        // RFC 9110 §8.6, RFC 9112 §6.1.
        if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            octets.extend_from_slice(name.as_str().as_bytes());
            octets.extend_from_slice(b": ");
            octets.extend_from_slice(value.as_bytes());
            octets.extend_from_slice(b"\r\n");
        }
    }
    octets.extend_from_slice(b"\r\n");
    octets
}

/// What waits to be written on one connection, for the one request that HTTP/1.1 has in progress.
#[derive(Debug, Default)]
pub(crate) struct InterimQueue {
    /// Whether the peer of the request in progress understands interim responses.
    permitted: AtomicBool,
    /// Whether anybody asked to send some; nearly no request gets further than this.
    asked: AtomicBool,
    /// Whether anything waits: what every write looks at first.
    waiting: AtomicBool,
    state: Mutex<State>,
    /// The connection's task, which writes. It is one and the same for the connection's whole life.
    task: OnceLock<Waker>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the request in progress.
    request: u64,
    open: bool,
    octets: Vec<u8>,
    written: usize,
    responses: usize,
}

impl InterimQueue {
    /// Remembers the connection's task, at its first poll.
    pub(crate) fn belongs_to(&self, context: &Context<'_>) {
        self.task.get_or_init(|| context.waker().clone());
    }

    /// A request is handed to its service.
    pub(crate) fn begin(&self, permitted: bool) {
        self.permitted.store(permitted, Relaxed);
        self.asked.store(false, Relaxed);
    }

    /// The number of the request in progress, if interim responses may be sent for it.
    fn open(&self) -> Option<u64> {
        if !self.permitted.load(Relaxed) {
            return None;
        }
        let mut state = self.lock();
        if !self.asked.swap(true, Relaxed) {
            state.request += 1;
            state.open = true;
        }
        Some(state.request)
    }

    fn push(&self, request: u64, octets: &[u8], limits: &Limits) -> Result<(), InterimResponseError> {
        let mut state = self.lock();
        if !state.open || state.request != request {
            return Err(InterimResponseError::Answered);
        }
        if state.responses >= limits.interim_responses_max
            || state.octets.len() + octets.len() > limits.interim_response_bytes_max
        {
            return Err(InterimResponseError::TooMany);
        }
        state.octets.extend_from_slice(octets);
        state.responses += 1;
        self.waiting.store(true, Release);
        drop(state);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
        Ok(())
    }

    /// The service has answered. Waits until what was sent before is written, and lets nothing more be sent.
    pub(crate) async fn written(&self) {
        if !self.asked.load(Relaxed) {
            self.permitted.store(false, Relaxed);
            return;
        }
        // hyper flushes whenever this is pending, and the connection's task is woken when the last octet is out.
        poll_fn(|_| {
            let mut state = self.lock();
            if !state.octets.is_empty() {
                return Poll::Pending;
            }
            state.open = false;
            self.permitted.store(false, Relaxed);
            Poll::Ready(())
        })
        .await;
    }

    /// Writes what was begun: before any octet of hyper's. `wrote` is told of every success.
    pub(crate) fn poll_finish<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        context: &mut Context<'_>,
        wrote: impl FnMut(),
    ) -> Poll<io::Result<()>> {
        if !self.waiting.load(Acquire) || self.lock().written == 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_write(stream, context, wrote)
    }

    /// Writes what waits. Only called while hyper holds nothing unwritten, that is when it flushes.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        context: &mut Context<'_>,
        mut wrote: impl FnMut(),
    ) -> Poll<io::Result<()>> {
        if !self.waiting.load(Acquire) {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.lock();
        while state.written < state.octets.len() {
            let rest = state.octets.get(state.written..).unwrap_or_default();
            let count = ready!(Pin::new(&mut *stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.written += count;
            wrote();
        }
        state.octets.clear();
        state.written = 0;
        state.responses = 0;
        self.waiting.store(false, Release);
        drop(state);
        // The service's answer may be waiting for this.
        context.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use keybound_protocol::peer_certificate::PresentedCertificate;
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    fn connection() -> Arc<Connection> {
        let connection = Arc::new(Connection::unconnected(PresentedCertificate::None));
        connection.interims.begin(true);
        connection
    }

    fn hint() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a>"));
        headers
    }

    #[test]
    fn only_interim_statuses_are_sent() {
        let connection = connection();
        let interims = InterimResponses::of(&connection).expect("an HTTP/1.1 request");
        for (status, expected) in [
            (100, Ok(())),
            (102, Ok(())),
            (103, Ok(())),
            (199, Ok(())),
            (101, Err(())),
            (200, Err(())),
            (404, Err(())),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let sent = interims.send(status, &HeaderMap::new());
            assert_eq!(
                sent,
                expected.map_err(|()| InterimResponseError::NotInterim(status)),
                "{status}"
            );
        }
    }

    #[test]
    fn without_a_request_that_permits_them_there_are_none() {
        let unasked = Arc::new(Connection::unconnected(PresentedCertificate::None));
        assert!(InterimResponses::of(&unasked).is_none());
        unasked.interims.begin(false);
        assert!(InterimResponses::of(&unasked).is_none());
    }

    #[test]
    fn a_head_has_no_fields_about_a_body() {
        let mut headers = hint();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        let octets = to_octets(StatusCode::EARLY_HINTS, &headers);
        assert_eq!(octets, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        let unknown = to_octets(StatusCode::from_u16(199).expect("a status"), &HeaderMap::new());
        assert_eq!(unknown, b"HTTP/1.1 199 \r\n\r\n");
    }

    #[test]
    fn what_waits_is_limited() {
        let limits = Limits::default();
        for (octets, expected) in [
            (1, limits.interim_responses_max),
            (4 * 1024, limits.interim_response_bytes_max / (4 * 1024)),
            (limits.interim_response_bytes_max + 1, 0),
        ] {
            let connection = connection();
            let request = connection.interims.open().expect("an HTTP/1.1 request");
            let octets = vec![b'a'; octets];
            let accepted = (0..100)
                .take_while(|_| connection.interims.push(request, &octets, &limits).is_ok())
                .count();
            assert_eq!(accepted, expected, "{} octets each", octets.len());
        }
    }

    #[tokio::test]
    async fn a_sender_ends_with_its_request() {
        let connection = connection();
        let first = InterimResponses::of(&connection).expect("an HTTP/1.1 request");
        connection.interims.written().await;
        assert!(InterimResponses::of(&connection).is_none(), "between requests");
        connection.interims.begin(true);
        let sent = first.send(StatusCode::EARLY_HINTS, &hint());
        assert_eq!(sent, Err(InterimResponseError::Answered), "nobody asked in the second");
        let second = InterimResponses::of(&connection).expect("a second request");
        let sent = first.send(StatusCode::EARLY_HINTS, &hint());
        assert_eq!(sent, Err(InterimResponseError::Answered));
        assert_eq!(second.send(StatusCode::EARLY_HINTS, &hint()), Ok(()));
    }

    /// A peer that takes three octets at a time sees one head after the other, whoever asks for what in between.
    #[tokio::test]
    async fn a_slow_peer_gets_whole_heads_in_order() {
        let connection = connection();
        let interims = InterimResponses::of(&connection).expect("an HTTP/1.1 request");
        let (mut ours, mut theirs) = duplex(3);
        let mut context = Context::from_waker(Waker::noop());
        let queue = &connection.interims;
        assert_eq!(interims.send(StatusCode::PROCESSING, &HeaderMap::new()), Ok(()));
        let finished = queue.poll_finish(&mut ours, &mut context, || {});
        assert!(
            matches!(finished, Poll::Ready(Ok(()))),
            "nothing is begun before hyper's own writes"
        );
        let mut read = Vec::new();
        let mut sent_second = false;
        let mut flushing = true;
        loop {
            let polled = match flushing {
                true => queue.poll_write(&mut ours, &mut context, || {}),
                false => queue.poll_finish(&mut ours, &mut context, || {}),
            };
            flushing = false;
            if let Poll::Ready(result) = polled {
                result.expect("written");
                break;
            }
            let mut written = std::pin::pin!(queue.written());
            assert!(written.as_mut().poll(&mut context).is_pending());
            if !sent_second {
                assert_eq!(interims.send(StatusCode::EARLY_HINTS, &hint()), Ok(()));
                sent_second = true;
            }
            let mut some = [0; 3];
            let count = theirs.read(&mut some).await.expect("some");
            read.extend_from_slice(&some[..count]);
        }
        queue.written().await;
        drop(ours);
        theirs.read_to_end(&mut read).await.expect("the rest");
        let expected = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&read), expected);
        assert_eq!(
            interims.send(StatusCode::PROCESSING, &HeaderMap::new()),
            Err(InterimResponseError::Answered)
        );
    }
}
