//! The threads that serve.

use std::{future::Future, io, thread::JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// One current-thread tokio runtime per core. A connection stays on the runtime that accepted it, so
/// nothing it touches moves between caches; tasks are `Send` all the same.
///
/// Dropping it stops all runtimes and waits for their threads.
pub struct Runtimes {
    handles: Vec<Handle>,
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Runtimes {
    /// Starts `count` runtimes, each on a thread of its own; 0 means one per available core.
    ///
    /// # Errors
    /// If a thread or its event queue cannot be made.
    pub fn start(count: usize) -> io::Result<Runtimes> {
        let count = match count {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let mut runtimes = Runtimes {
            handles: Vec::with_capacity(count),
            threads: Vec::with_capacity(count),
        };
        for index in 0..count {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .thread_keep_alive(IDLE_THREAD)
                .build()?;
            runtimes.handles.push(runtime.handle().clone());
            let (stop, stopped) = oneshot::channel::<()>();
            let thread = std::thread::Builder::new()
                .name(format!("keybound-{index}"))
                .spawn(move || {
                    // An error means that the sender is gone, which is the same request to stop.
                    let _ = runtime.block_on(stopped);
                })?;
            runtimes.threads.push((stop, thread));
        }
        Ok(runtimes)
    }

    /// The runtime this is called in, alone: for tests, and for programs that bring their own.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn current() -> Runtimes {
        Runtimes {
            handles: vec![Handle::current()],
            threads: Vec::new(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// The runtimes, in order.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Runs `future` to its end on the first runtime, blocking the calling thread, which must not be one of them.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self.handles.first() {
            Some(handle) => handle.block_on(future),
            None => unreachable!("every constructor makes at least one runtime"),
        }
    }
}

/// Name resolution and the like use blocking threads; idle ones go away soon, they cost memory.
const IDLE_THREAD: std::time::Duration = std::time::Duration::from_secs(5);

impl Drop for Runtimes {
    fn drop(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self.threads.drain(..).unzip();
        drop(stops);
        for thread in threads {
            // A panic in a runtime thread was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Runtimes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Runtimes({})", self.handles.len())
    }
}
