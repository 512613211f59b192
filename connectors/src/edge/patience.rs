//! A peer that takes nothing, or has never said a word, is not waited for: its connection ends, and
//! with it what it held.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

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
        (Watched { io, patience, begun: false, waiting: None }, address)
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
    /// Until when the peer is waited for; none while it takes.
    waiting: Option<Pin<Box<Sleep>>>,
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

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.bounded(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, Bytes},
        routing::get,
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
