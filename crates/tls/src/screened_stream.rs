//! The stream that hyper reads: below it the socket or TLS, in it the screen and the connection's deadline.
//!
//! * HTTP/1 heads pass whole and unchanged, or not at all. In place of a refused head hyper reads
//!   [`REFUSED_HEAD`], so that the refusal is answered in HTTP, in order, by the service layer.
//! * After a refusal nothing more is read as HTTP. What the peer still sends is thrown away for a moment, because a socket closed
//!   with unread input resets the connection and takes the answer with it.
//! * What hyper cannot send, interim responses, is written between two of its writes (`interim_responses`).
//! * A peer that closes its side while its request is in progress is given a moment to get the answer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    Connection, LayerRefusal,
    counters::ConnectionRefusal,
    deadline::{Phase, UpgradeAnswer, Verdict},
    http2_frames::Http2Frames,
    listener::Tenure,
    request_framing::{REFUSED_HEAD, RequestFraming, Screened},
};

const CHUNK_BYTES: usize = 4096;
/// Chunks thrown away at one go, so that a fast peer does not keep the runtime to itself.
const CHUNKS_AT_ONCE: usize = 16;
/// What is thrown away after an answer, at most.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// A connection's octets, screened.
pub(crate) struct ScreenedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    screen: Screen,
    /// The peer closed its side.
    eof: bool,
    shut_down: bool,
    discarded: usize,
    /// What counts this connection; it ends with the stream, which outlives hyper where the connection was upgraded.
    tenure: Tenure,
}

enum Screen {
    Http1(Box<Http1Screen>),
    Http2(Box<Http2Frames>, u32),
}

struct Http1Screen {
    framing: RequestFraming,
    /// An unfinished head.
    held: Vec<u8>,
    /// What passed and was not read yet.
    passed: Vec<u8>,
    read: usize,
    /// The body broke off: an error is due.
    body_broken: bool,
    /// Nothing is read as HTTP any more.
    ended: bool,
}

impl<S> ScreenedStream<S> {
    pub(crate) fn new(stream: S, connection: &Arc<Connection>, tenure: Tenure) -> ScreenedStream<S> {
        let limits = connection.limits();
        let screen = match connection.is_http2() {
            true => Screen::Http2(Box::new(Http2Frames::new(limits)), 0),
            false => Screen::Http1(Box::new(Http1Screen {
                framing: RequestFraming::new(limits),
                held: Vec::new(),
                passed: Vec::new(),
                read: 0,
                body_broken: false,
                ended: false,
            })),
        };
        ScreenedStream {
            stream,
            connection: Arc::clone(connection),
            screen,
            eof: false,
            shut_down: false,
            discarded: 0,
            tenure,
        }
    }
}

impl Http1Screen {
    /// Screens what was just read into `buffer` after `before`, and leaves there what passes.
    fn screen_in_place(&mut self, buffer: &mut ReadBuf<'_>, before: usize, connection: &Connection) {
        let input = buffer.filled().get(before..).unwrap_or_default();
        let bytes = input.len();
        let phases = self.framing.phases();
        let screened = self.framing.screen(input);
        let release = self.accept(screened, connection);
        if !self.ended {
            self.held.extend_from_slice(input.get(release..).unwrap_or_default());
        }
        buffer.set_filled(before + release);
        self.note(bytes, phases, connection);
    }

    /// Screens what is held, after `bytes` more were read into it.
    fn screen_held(&mut self, bytes: usize, connection: &Connection) {
        // Only called when all that passed before was read.
        self.passed.clear();
        let phases = self.framing.phases();
        let screened = self.framing.screen(&self.held);
        let release = self.accept(screened, connection).min(self.held.len());
        let mut passed = std::mem::take(&mut self.held);
        self.held = passed.split_off(release);
        // What a refusal puts in the peer's stead comes after what passed before it.
        passed.append(&mut self.passed);
        self.passed = passed;
        self.read = 0;
        if self.ended {
            self.held = Vec::new();
        }
        self.note(bytes, phases, connection);
    }

    fn accept(&mut self, screened: Screened, connection: &Connection) -> usize {
        match screened {
            Screened::Pass { release } => release,
            Screened::Head { release, refusal } => {
                self.refuse_head(refusal, connection);
                release
            }
            Screened::Body { release, violation } => {
                self.break_body(violation.into(), connection);
                release
            }
        }
    }

    fn refuse_head(&mut self, refusal: LayerRefusal, connection: &Connection) {
        connection.record_refusal(refusal);
        self.framing.end();
        self.held = Vec::new();
        self.passed = REFUSED_HEAD.to_vec();
        self.read = 0;
        self.ended = true;
    }

    fn break_body(&mut self, refusal: LayerRefusal, connection: &Connection) {
        connection.record_refusal(refusal);
        self.framing.end();
        self.body_broken = true;
        self.ended = true;
    }

    fn note(&self, bytes: usize, phases: u64, connection: &Connection) {
        let entered = phases != self.framing.phases();
        connection
            .deadline
            .received(bytes, self.framing.phase(self.held.len()), entered);
        if self.framing.awaits_upgrade() {
            connection.deadline.ask_upgrade();
        }
    }

    fn take_passed(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let passed = self.passed.get(self.read..).unwrap_or_default();
        let here = passed.len().min(buffer.remaining());
        buffer.put_slice(passed.get(..here).unwrap_or_default());
        self.read += here;
        here > 0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ScreenedStream<S> {
    fn poll_read_http1(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let ScreenedStream {
                stream,
                connection,
                screen: Screen::Http1(screen),
                eof,
                ..
            } = self
            else {
                return Poll::Ready(Ok(()));
            };
            match connection.deadline.verdict() {
                Verdict::None => {}
                Verdict::Cut => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                Verdict::Idle => return Poll::Ready(Ok(())),
                Verdict::HeadTimeout => {
                    connection.deadline.clear_verdict();
                    screen.refuse_head(LayerRefusal::HeadTimeout, connection);
                    connection.deadline.enter(Phase::Linger);
                }
                Verdict::BodyTimeout => {
                    connection.deadline.clear_verdict();
                    screen.break_body(LayerRefusal::BodyTimeout, connection);
                    connection.deadline.enter(Phase::Linger);
                }
            }
            if screen.take_passed(buffer) {
                return Poll::Ready(Ok(()));
            }
            if screen.body_broken {
                screen.body_broken = false;
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if screen.ended {
                return self.poll_discard(context);
            }
            if screen.framing.awaits_upgrade() {
                match connection.deadline.upgrade_answer() {
                    UpgradeAnswer::Pending => {
                        connection.deadline.waits_for_answer(context);
                        return Poll::Pending;
                    }
                    answer => {
                        screen.framing.answer_upgrade(answer == UpgradeAnswer::Switched);
                        screen.screen_held(0, connection);
                        continue;
                    }
                }
            }
            if *eof {
                return self.poll_eof(context);
            }
            if screen.held.is_empty() {
                let before = buffer.filled().len();
                match Pin::new(stream).poll_read(context, buffer) {
                    Poll::Pending => {
                        connection.deadline.waits_to_read(context);
                        return Poll::Pending;
                    }
                    Poll::Ready(result) => result?,
                }
                if buffer.filled().len() == before {
                    *eof = true;
                    continue;
                }
                screen.screen_in_place(buffer, before, connection);
                if buffer.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let mut chunk = [0; CHUNK_BYTES];
                let mut chunk = ReadBuf::new(&mut chunk);
                match Pin::new(stream).poll_read(context, &mut chunk) {
                    Poll::Pending => {
                        connection.deadline.waits_to_read(context);
                        return Poll::Pending;
                    }
                    Poll::Ready(result) => result?,
                }
                if chunk.filled().is_empty() {
                    // In the middle of a head: hyper reads nothing of it, and that the peer is gone.
                    return Poll::Ready(Ok(()));
                }
                screen.held.extend_from_slice(chunk.filled());
                screen.screen_held(chunk.filled().len(), connection);
            }
        }
    }

    /// The peer closed its side. If its request is still in progress, it may only have said that it will send no other.
    fn poll_eof(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = &self.connection.deadline;
        let Screen::Http1(screen) = &self.screen else {
            return Poll::Ready(Ok(()));
        };
        if deadline.requests() == 0 || screen.framing.phase(0) != Phase::Between {
            return Poll::Ready(Ok(()));
        }
        deadline.enter_once(Phase::HalfClosed);
        deadline.waits_to_read(context);
        Poll::Pending
    }

    /// Reads and forgets. Never says that the peer is gone: the answer is still to be written.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.eof {
            match self.poll_discard_some(context) {
                Poll::Pending | Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        self.connection.deadline.waits_to_read(context);
        Poll::Pending
    }

    /// Reads and forgets until the peer is done, or too much was sent (`Ready`), or nothing more is here (`Pending`).
    fn poll_discard_some(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..CHUNKS_AT_ONCE {
            let mut chunk = [0; CHUNK_BYTES];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk))?;
            self.discarded += chunk.filled().len();
            if chunk.filled().is_empty() || self.discarded > LINGER_BYTES_MAX {
                self.eof = true;
                return Poll::Ready(Ok(()));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read_http2(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let ScreenedStream {
            stream,
            connection,
            screen: Screen::Http2(frames, swept_at),
            ..
        } = self
        else {
            return Poll::Ready(Ok(()));
        };
        let deadline = &connection.deadline;
        match deadline.verdict() {
            // An idle connection is told so by the connection's task, which can.
            Verdict::None | Verdict::Idle => {}
            Verdict::Cut | Verdict::HeadTimeout | Verdict::BodyTimeout => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        let before = buffer.filled().len();
        match Pin::new(stream).poll_read(context, buffer) {
            Poll::Pending => {
                deadline.waits_to_read(context);
                return Poll::Pending;
            }
            Poll::Ready(result) => result?,
        }
        let swept = deadline.tick() != *swept_at;
        *swept_at = deadline.tick();
        frames.forgive(deadline.take_answered(), swept);
        let blocks = frames.blocks();
        let input = buffer.filled().get(before..).unwrap_or_default();
        if frames.follow(input).is_err() {
            self.tenure.refused(ConnectionRefusal::Http2Flood);
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        deadline.received_frames(frames.phase(), blocks != frames.blocks());
        Poll::Ready(Ok(()))
    }

    /// Whether the peer may still be sending what nobody will read.
    fn owes_input(&self) -> bool {
        match &self.screen {
            Screen::Http1(screen) => {
                !self.eof
                    && (screen.ended || matches!(screen.framing.phase(screen.held.len()), Phase::Head | Phase::Body))
            }
            Screen::Http2(..) => false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ScreenedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.screen {
            Screen::Http1(_) => self.poll_read_http1(context, buffer),
            Screen::Http2(..) => self.poll_read_http2(context, buffer),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ScreenedStream<S> {
    /// Notes whether the peer takes what we send.
    fn written<T>(&self, context: &Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &result {
            Poll::Pending => self.connection.deadline.waits_to_write(context),
            Poll::Ready(_) => self.connection.deadline.wrote(),
        }
        result
    }

    /// Tells the screen how much the peer may make room for again.
    fn sent(&mut self, result: &Poll<io::Result<usize>>) {
        if let (Screen::Http2(frames, _), Poll::Ready(Ok(bytes))) = (&mut self.screen, result) {
            frames.sent(*bytes);
        }
    }

    /// An interim response that was begun comes first, whatever hyper writes.
    fn poll_finish_interims(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = &self.connection.deadline;
        let result = self
            .connection
            .interims
            .poll_finish(&mut self.stream, context, || deadline.wrote());
        if result.is_pending() {
            deadline.waits_to_write(context);
        }
        result
    }

    /// hyper flushes when it has nothing more to write: here an interim response disturbs nothing.
    fn poll_write_interims(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = &self.connection.deadline;
        let result = self
            .connection
            .interims
            .poll_write(&mut self.stream, context, || deadline.wrote());
        if result.is_pending() {
            deadline.waits_to_write(context);
        }
        result
    }

    fn check_cut(&self) -> io::Result<()> {
        match self.connection.deadline.verdict() {
            Verdict::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Ok(()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ScreenedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.check_cut()?;
        ready!(self.poll_finish_interims(context))?;
        let result = Pin::new(&mut self.stream).poll_write(context, octets);
        self.sent(&result);
        self.written(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut()?;
        ready!(self.poll_finish_interims(context))?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.sent(&result);
        self.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_cut()?;
        ready!(self.poll_write_interims(context))?;
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut_down {
            self.check_cut()?;
            let result = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.written(context, result))?;
            self.shut_down = true;
            self.connection.deadline.enter(Phase::Linger);
        }
        if !self.owes_input() || self.check_cut().is_err() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_discard_some(context) {
            // Whatever goes wrong now concerns nobody any more.
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => {
                self.connection.deadline.waits_to_read(context);
                Poll::Pending
            }
        }
    }
}
