//! Upstreams: one that answers like an ordinary server and keeps what it was sent, and ones that do as a test says.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::caller::{field_values, read_chunked, read_head};

/// A request as the upstream read it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
}

impl Received {
    pub(crate) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        field_values(&self.head, name)
    }

    /// The only value of a field; `None` if it is absent.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let values = self.fields(name);
        assert!(values.len() < 2, "{name} is repeated: {}", self.head);
        values.into_iter().next()
    }

    /// The names of all fields, as they came.
    pub(crate) fn names(&self) -> Vec<String> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.to_owned())
            .collect()
    }
}

/// An upstream that serves until the test ends.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Answers every request with 200 and `ok`.
    pub(crate) async fn start() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
    }

    /// Answers every request with these bytes.
    pub(crate) async fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response: Arc<[u8]> = response.into().into();
        Self::serving(move |mut stream, upstream| {
            let response = Arc::clone(&response);
            async move {
                let mut read = Vec::new();
                while let Some(received) = receive(&mut stream, &mut read).await {
                    upstream.keep(received);
                    if stream.write_all(&response).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Does as it is told with every connection.
    pub(crate) async fn serving<F, S>(serve: S) -> Self
    where
        S: Fn(TcpStream, Upstream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self {
            address,
            received: Arc::default(),
            connections: Arc::default(),
        };
        let shared = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        upstream
    }

    pub(crate) fn keep(&self, received: Received) {
        self.received.lock().unwrap().push(received);
    }

    /// How many requests it has read, to their end.
    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The last request.
    pub(crate) fn last(&self) -> Received {
        self.received
            .lock()
            .unwrap()
            .last()
            .cloned()
            .expect("the upstream received a request")
    }
}

/// Reads one request; `None` at the end of the connection.
pub(crate) async fn receive(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Received> {
    let head = read_head(stream, read).await?;
    let (body, trailers) = receive_body(stream, read, &head).await?;
    Some(Received { head, body, trailers })
}

/// Reads the body that follows `head`.
pub(crate) async fn receive_body(stream: &mut TcpStream, read: &mut Vec<u8>, head: &str) -> Option<(Vec<u8>, String)> {
    use tokio::io::AsyncReadExt as _;
    let codings = field_values(head, "transfer-encoding");
    let lengths = field_values(head, "content-length");
    assert!(
        codings.len() + lengths.len() < 2,
        "ambiguous framing reached the upstream: {head}"
    );
    if !codings.is_empty() {
        return read_chunked(stream, read).await;
    }
    let length: usize = lengths.first().map_or(0, |length| length.parse().unwrap());
    while read.len() < length {
        let mut buffer = [0; 16 * 1024];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    Some((read.drain(..length).collect(), String::new()))
}
