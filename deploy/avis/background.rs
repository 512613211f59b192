//! Work that nobody at a till waits for: threads of its own at a low priority.
//!
//! On the threads that answer terminals, landing and statements would hold them up for as long as they
//! compute between two awaits, tens of milliseconds; here the machine lets whoever answers go first.

use std::num::NonZero;

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
    task::JoinSet,
};

use crate::failure::Failure;

/// How much lower than the rest these threads stand.
const NICE: i32 = 10;

/// The stack of each thread: whoever works on a statement descends its tree, which may be as deep
/// as [`nesting`](warehouse::nesting) allows. What is not used takes no memory.
const STACK: usize = 16 << 20;

/// A runtime in the background.
pub struct Background {
    handle: Handle,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts so many threads of this name, one at least.
    ///
    /// # Errors
    /// Where no threads are to be had.
    pub fn start(name: &str, threads: usize) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(name)
            .thread_stack_size(STACK)
            .on_thread_start(|| {
                // Of the calling thread alone, as Linux has it; where that is refused all are equal.
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where work is given to it.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Whoever drops it may not wait, and need not: what is not done is done at the next start.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Does work on other threads, for as long as somebody waits for it.
///
/// # Errors
/// Where those threads are gone, or the work panics.
pub async fn on<T: Send + 'static>(
    threads: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    // Whoever drops it ends what is in it.
    let mut working = JoinSet::new();
    working.spawn_on(work, threads);
    match working.join_next().await {
        Some(done) => Ok(done?),
        None => Err(Failure::Server("nobody works on it".into())),
    }
}

/// Does what reads whole streams on a thread of its own at that priority, and answers what came of it.
/// A node that stops does not wait for it.
///
/// # Errors
/// Where no thread is to be had, or the work fails.
pub async fn aside<T, F>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + 'static,
{
    let (tell, told) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let begun = thread.spawn(move || {
        let _ = rustix::process::setpriority_process(None, NICE);
        // Whoever asked may have gone.
        drop(tell.send(runtime.block_on(work())));
    });
    begun.map_err(|error| Failure::Server(format!("no thread for {name}: {error}")))?;
    told.await.map_err(|_| Failure::Server(format!("{name} was cut off")))?
}

/// The machine's cores.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, NonZero::get)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_ends_with_whoever_waits() {
        let threads = Background::start("avis-other", 1).expect("threads");
        let name = on(threads.handle(), async { std::thread::current().name().map(str::to_owned) });
        assert_eq!(name.await.expect("done").as_deref(), Some("avis-other"));
        let (held, ended) = oneshot::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let work = async move {
            let _held = held;
            let _ = begin.send(());
            std::future::pending::<()>().await;
        };
        let waiting = tokio::spawn({
            let handle = threads.handle().clone();
            async move { on(&handle, work).await }
        });
        begun.await.expect("begun");
        waiting.abort();
        let gone = tokio::time::timeout(Duration::from_secs(60), ended).await;
        assert!(gone.expect("it ends").is_err(), "and tells nothing");
    }
}
