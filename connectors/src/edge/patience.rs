//! A peer that takes nothing, or has never said a word, is not waited for: its connection ends, and
//! with it what it held. One that goes on sending what nobody reads is let finish, so that it finds
//! its answer.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

/// How long a peer that has its answer may go on sending what was refused, a body of a gigabyte say;
/// how long it may pause meanwhile; and how long after the answer it may begin. A connection that is
/// closed with something unread is reset, and who sends all before it reads would find no answer.
const LINGERS: Duration = Duration::from_secs(30);
const PAUSES: Duration = Duration::from_secs(5);
const BEGINS: Duration = Duration::from_secs(1);
/// What is thrown away at once, in bytes.
const THROWN_AWAY: usize = 16 << 10;

/// A listener whose connections end when a peer takes nothing for so long, though there is
/// something for it, or has brought nothing yet.
#[derive(Debug)]
pub struct Patient<L> {
    listener: L,
    patience: Duration,
}

impl<L: Listener> Patient<L> {
    /// Over another listener.
    pub const fn new(listener: L, patience: Duration) -> Self {
        Self { listener, patience }
    }
}

impl<L: Listener> Listener for Patient<L> {
    type Io = Watched<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        let patience = self.patience;
        (Watched { io, patience, begun: false, waiting: None, written: None, over: None }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection of which it is known since when its peer takes nothing, or has brought nothing.
#[derive(Debug)]
pub struct Watched<I> {
    io: I,
    patience: Duration,
    /// Whether the peer has brought something.
    begun: bool,
    /// Until when the peer is waited for: to take, or to bring something. None while it does.
    waiting: Option<Pin<Box<Sleep>>>,
    /// When something was written last.
    written: Option<Instant>,
    /// Since when nothing more is written.
    over: Option<Instant>,
}

impl<I> Watched<I> {
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        waiting.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> Watched<I> {
    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if done.is_ready() {
            self.written = Some(Instant::now());
        }
        self.bounded(context, done)
    }

    /// Throws away what the peer goes on sending after its answer, until it hangs up or has had its
    /// time. Who was answered a while ago has nothing on its way.
    fn poll_linger(&mut self, context: &mut Context<'_>, over: Instant) -> Poll<()> {
        let Some(written) = self.written else { return Poll::Ready(()) };
        let begins = || Box::pin(sleep_until(written + BEGINS));
        let mut waiting = self.waiting.take().unwrap_or_else(begins);
        let mut thrown_away = [MaybeUninit::uninit(); THROWN_AWAY];
        while over.elapsed() < LINGERS {
            let mut buffer = ReadBuf::uninit(&mut thrown_away);
            match Pin::new(&mut self.io).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    waiting.as_mut().reset(Instant::now() + PAUSES);
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    let waited = waiting.as_mut().poll(context);
                    self.waiting = Some(waiting);
                    return waited;
                }
            }
        }
        Poll::Ready(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if self.begun {
            return read;
        }
        self.begun = read.is_ready();
        self.bounded(context, read)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let over = match self.over {
            Some(over) => over,
            None => {
                let shut = Pin::new(&mut self.io).poll_shutdown(context);
                ready!(self.bounded(context, shut))?;
                *self.over.insert(Instant::now())
            }
        };
        self.poll_linger(context, over).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, Bytes},
        http::StatusCode,
        routing::{get, post},
    };
    use futures::{StreamExt, stream};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::mpsc,
    };

    use super::*;

    /// A server whose one answer never ends, and a word for each that was given up.
    async fn endless(patience: Duration) -> (std::net::SocketAddr, mpsc::Receiver<()>) {
        let (held, mut given_up) = mpsc::channel::<()>(1);
        let (word, words) = mpsc::channel(8);
        let answer = move || {
            let held = held.clone();
            async move {
                let block = Bytes::from(vec![b'.'; 64 << 10]);
                let blocks = stream::repeat(block).map(move |block| {
                    let _ = &held;
                    Ok::<_, io::Error>(block)
                });
                Body::from_stream(blocks)
            }
        };
        tokio::spawn(async move {
            // Ends once nobody holds it any more.
            given_up.recv().await;
            let _ = word.send(()).await;
        });
        // The route itself holds it only as long as it is asked for once.
        let once = std::sync::Mutex::new(Some(answer));
        let once = std::sync::Arc::new(once);
        let routes = Router::new().route(
            "/",
            get(move || {
                let answer = once.lock().ok().and_then(|mut answer| answer.take());
                async move {
                    match answer {
                        Some(answer) => answer().await,
                        None => Body::empty(),
                    }
                }
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let listener = Patient::new(listener, patience);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (address, words)
    }

    async fn asked(to: std::net::SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(to).await.expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: avis\r\n\r\n").await.expect("sent");
        stream
    }

    #[tokio::test]
    async fn who_never_says_a_word_is_given_up() {
        let (address, _words) = endless(Duration::from_millis(300)).await;
        let mut silent = TcpStream::connect(address).await.expect("connected");
        let ends = silent.read_u8();
        let ends = tokio::time::timeout(Duration::from_secs(20), ends).await.expect("it ends");
        assert!(ends.is_err(), "with no byte");
    }

    #[tokio::test]
    async fn who_sends_all_before_it_reads_finds_the_answer() {
        let refuse = || async { (StatusCode::PAYLOAD_TOO_LARGE, "too large") };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let listener = Patient::new(listener, Duration::from_secs(20));
        let routes = Router::new().route("/", post(refuse));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let body = vec![b'.'; 64 << 20];
        let head =
            format!("POST / HTTP/1.1\r\nhost: avis\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("sent");
        // It has its answer before it goes on.
        sleep(Duration::from_millis(100)).await;
        stream.write_all(&body).await.expect("sent to its end");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("too large"), "{answer}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_takes_nothing_is_given_up_and_who_is_slow_is_not() {
        let patience = Duration::from_secs(2);
        let (address, mut words) = endless(patience).await;
        let mut slow = asked(address).await;
        let mut buffer = vec![0; 8 << 20];
        for _ in 0..25 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(slow.read(&mut buffer).await.expect("more") > 0);
        }
        assert!(words.try_recv().is_err(), "slow is not still");
        // From here on it takes nothing.
        let given_up = tokio::time::timeout(Duration::from_secs(20), words.recv()).await;
        assert_eq!(given_up, Ok(Some(())));
        drop(slow);
    }
}
