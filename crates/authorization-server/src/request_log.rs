//! One log record per request, written by a thread of its own.
//!
//! A request only puts a small value into a bounded buffer; what is formatted, and for whom, is the thread's affair. Tokens,
//! secrets, bodies and keys never get here: there is no field for them.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http::StatusCode;
use keybound_protocol::refusal::RefusalId;

use crate::clients::PreparedClient;
use crate::router::Route;

/// Records that wait in one buffer, of which there is one per runtime; further ones are counted.
const RECORDS_MAX: usize = 4_096;
/// Buffers. Runtimes beyond this number share.
const BUFFERS: usize = 16;
/// How long a record waits at most.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);
/// The same after a turn with many records: where the thread shares its core with answers, short turns delay fewer of them.
const BUSY_WRITE_INTERVAL: Duration = Duration::from_millis(10);
/// So many are many.
const BUSY_RECORDS: usize = 64;

/// What is logged of one request.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    pub(crate) route: Option<Route>,
    pub(crate) status: StatusCode,
    pub(crate) client: Option<Arc<PreparedClient>>,
    /// The client that a refused request named, authenticated or not.
    pub(crate) claimed_client_id: Option<String>,
    pub(crate) refusal: Option<RefusalId>,
    pub(crate) took: Duration,
}

/// Takes records and has them written.
pub(crate) struct RequestLog {
    buffers: Arc<Buffers>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Buffers {
    waiting: [Mutex<Vec<RequestRecord>>; BUFFERS],
    dropped: AtomicU64,
}

impl RequestLog {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<RequestLog> {
        let buffers = Arc::new(Buffers {
            waiting: Default::default(),
            dropped: AtomicU64::new(0),
        });
        let (stop, stopped) = channel();
        let writer = Arc::clone(&buffers);
        let thread = std::thread::Builder::new()
            .name("request-log".to_owned())
            .spawn(move || write(&writer, &stopped))?;
        Ok(RequestLog {
            buffers,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Takes one record; drops and counts it if nobody keeps up.
    pub(crate) fn record(&self, record: RequestRecord) {
        // Whoever does not look at these records does not pay for them.
        if !tracing::enabled!(target: "keybound::requests", tracing::Level::INFO) {
            return;
        }
        let mut waiting = self.buffers.own();
        if waiting.len() < RECORDS_MAX {
            waiting.push(record);
        } else {
            self.buffers.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Buffers {
    /// The buffer of this thread.
    fn own(&self) -> MutexGuard<'_, Vec<RequestRecord>> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static BUFFER: Cell<usize> = Cell::new(THREADS.fetch_add(1, Relaxed) % BUFFERS);
        }
        let index = BUFFER.with(Cell::get);
        let [first, ..] = &self.waiting;
        self.waiting
            .get(index)
            .unwrap_or(first)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(buffers: &Buffers, stopped: &Receiver<()>) {
    let mut interval = WRITE_INTERVAL;
    loop {
        let stop = !matches!(stopped.recv_timeout(interval), Err(RecvTimeoutError::Timeout));
        let mut written = 0;
        for buffer in &buffers.waiting {
            let records = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
            for record in records {
                write_one(&record);
                written += 1;
            }
        }
        interval = if written < BUSY_RECORDS {
            WRITE_INTERVAL
        } else {
            BUSY_WRITE_INTERVAL
        };
        let dropped = buffers.dropped.swap(0, Relaxed);
        if dropped > 0 {
            tracing::warn!(target: "keybound::requests", dropped, "more requests than the log takes");
        }
        if stop {
            return;
        }
    }
}

fn write_one(record: &RequestRecord) {
    tracing::info!(
        target: "keybound::requests",
        endpoint = record.route.map_or("none", Route::name),
        status = record.status.as_u16(),
        client_id = record.client.as_ref().map(|client| client.client.client_id().as_str()),
        claimed_client_id = record.claimed_client_id.as_deref(),
        refusal = record.refusal.as_ref().map(RefusalId::as_str),
        micros = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
}
