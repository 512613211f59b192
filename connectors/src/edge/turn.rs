//! Whose turn it is: that of whoever sends a request, or of whoever answers it.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, BodyDataStream, Bytes};
use futures::{Stream, StreamExt};
use tokio::{
    sync::watch,
    time::{Instant, error::Elapsed, timeout_at},
};

/// Whose turn it is, of one request.
#[derive(Debug)]
pub struct Turn {
    /// Since when it is the answerer's; none while it is the sender's, which `sender` bounds.
    since: watch::Sender<Option<Instant>>,
    /// Whether the sender's body did not come to its end.
    is_cut: AtomicBool,
}

impl Default for Turn {
    fn default() -> Self {
        let since = watch::Sender::new(Some(Instant::now()));
        Self { since, is_cut: AtomicBool::new(false) }
    }
}

impl Turn {
    fn since(&self) -> Instant {
        self.since.borrow().unwrap_or_else(Instant::now)
    }

    /// Whether the sender's body did not come to its end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// What the answerer tells, unless it says nothing for so long while it is its turn.
    ///
    /// # Errors
    /// Where it does not come in time.
    pub async fn in_time<F: Future>(
        &self,
        silent: Duration,
        told: F,
    ) -> Result<F::Output, Elapsed> {
        let begun = Instant::now();
        let mut told = pin!(told);
        loop {
            let until = self.since().max(begun) + silent;
            match timeout_at(until, told.as_mut()).await {
                Ok(told) => return Ok(told),
                Err(late) if self.since().max(begun) + silent <= until => return Err(late),
                // Meanwhile it was the sender's.
                Err(_) => {}
            }
        }
    }
}

/// A request's body on its way.
#[derive(Debug)]
pub struct Sending {
    pieces: BodyDataStream,
    turn: Arc<Turn>,
}

impl Sending {
    /// A body in whose waits it is the sender's turn.
    #[must_use]
    pub fn of(body: Body, turn: &Arc<Turn>) -> Self {
        Self { pieces: body.into_data_stream(), turn: Arc::clone(turn) }
    }
}

impl Stream for Sending {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = self.pieces.poll_next_unpin(context);
        if matches!(piece, Poll::Ready(Some(Err(_)))) {
            self.turn.is_cut.store(true, Ordering::Relaxed);
        }
        self.turn.since.send_replace(piece.is_ready().then(Instant::now));
        piece
    }
}

impl Drop for Sending {
    /// Nobody wants more of it.
    fn drop(&mut self) {
        self.turn.since.send_replace(Some(Instant::now()));
    }
}
