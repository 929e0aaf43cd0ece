//! Callers: TLS, and bytes written by hand. What a test sends is what arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::World;
use super::pki::{Leaf, Pki};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection to the gateway.
pub(crate) struct Caller {
    pub(crate) stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
}

impl Response {
    /// The only value of a field; `None` if it is absent.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values = field_values(&self.head, name);
        assert!(values.len() < 2, "{name} is repeated: {}", self.head);
        values.into_iter().next()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The values of a field in a head as it was read.
pub(crate) fn field_values(head: &str, name: &str) -> Vec<String> {
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

impl World {
    /// Connects with the certificate that tokens are usually bound to.
    pub(crate) async fn connect(&self) -> Caller {
        self.connect_as(Some(&self.pki.client)).await
    }

    pub(crate) async fn connect_as(&self, leaf: Option<&Leaf>) -> Caller {
        Caller::connect(self.address, &self.pki, leaf, &[]).await
    }

    /// One GET with a good token.
    pub(crate) async fn get(&self, path: &str) -> Response {
        let mut caller = self.connect().await;
        caller.request("GET", path, &self.token(), "", b"").await
    }

    /// One GET whose raw field lines are `fields`, each ended with CRLF, after a good token.
    pub(crate) async fn get_with(&self, path: &str, fields: &str) -> Response {
        let mut caller = self.connect().await;
        caller.request("GET", path, &self.token(), fields, b"").await
    }
}

/// A TLS client configuration that shows `leaf`.
pub(crate) fn tls_config(ca_der: &[u8], leaf: Option<(&[u8], &[u8])>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca_der.to_vec())).unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match leaf {
        Some((der, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
            builder
                .with_client_auth_cert(vec![CertificateDer::from(der.to_vec())], key)
                .unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr, pki: &Pki, leaf: Option<&Leaf>, protocols: &[&[u8]]) -> Self {
        let leaf = leaf.map(|leaf| (leaf.der.as_slice(), leaf.key_der.as_slice()));
        Self::connect_with(address, tls_config(&pki.ca_der, leaf, protocols)).await
    }

    pub(crate) async fn connect_with(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config).connect(name, tcp).await.unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gateway may have answered and closed already; then the answer is what counts.
        if self.stream.write_all(bytes.as_ref()).await.is_ok() {
            let _ = self.stream.flush().await;
        }
    }

    /// A request with a bearer token, and its answer.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        fields: &str,
        body: &[u8],
    ) -> Response {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{length}{fields}\r\n"
        );
        self.send([head.as_bytes(), body].concat()).await;
        self.response(method).await
    }

    /// Reads the next answer; interim answers are skipped.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        self.try_response(method).await.expect("an answer")
    }

    /// The next answer, or `None` if the connection ended before one.
    pub(crate) async fn try_response(&mut self, method: &str) -> Option<Response> {
        tokio::time::timeout(PATIENCE, read_response(&mut self.stream, &mut self.read, method))
            .await
            .expect("in time")
    }

    /// Reads one head, interim or final.
    pub(crate) async fn head(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, read_head(&mut self.stream, &mut self.read))
            .await
            .expect("in time")
    }

    /// The next `length` bytes.
    pub(crate) async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            let more = tokio::time::timeout(PATIENCE, more(&mut self.stream, &mut self.read));
            assert!(more.await.expect("in time"), "the body broke off");
        }
        self.read.drain(..length).collect()
    }

    /// Some bytes of what comes next; none at the end of the connection.
    pub(crate) async fn some(&mut self) -> Vec<u8> {
        if !self.read.is_empty() {
            return std::mem::take(&mut self.read);
        }
        let mut buffer = vec![0; 16 * 1024];
        let length = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer))
            .await
            .expect("in time")
            .unwrap_or(0);
        buffer.truncate(length);
        buffer
    }

    /// Whether the gateway closes the connection, or has, without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut buffer = [0; 1];
        let closing = tokio::time::timeout(Duration::from_secs(5), self.stream.read(&mut buffer));
        self.read.is_empty() && matches!(closing.await, Ok(Ok(0) | Err(_)))
    }
}

/// Reads until the end of a head, which is returned without its empty line.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            read.drain(..end + 4);
            return Some(head);
        }
        if !more(stream, read).await {
            return None;
        }
    }
}

async fn read_response(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>, method: &str) -> Option<Response> {
    let (head, status) = loop {
        let head = read_head(stream, read).await?;
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status >= 200 || status == 101 {
            break (head, status);
        }
    };
    let mut response = Response {
        status,
        head,
        body: Vec::new(),
        trailers: String::new(),
    };
    if method == "HEAD" || matches!(status, 101 | 204 | 304) {
        return Some(response);
    }
    if response.header("transfer-encoding").is_some() {
        (response.body, response.trailers) = read_chunked(stream, read).await?;
    } else if let Some(length) = response.header("content-length") {
        let length: usize = length.parse().unwrap();
        while read.len() < length {
            if !more(stream, read).await {
                return None;
            }
        }
        response.body = read.drain(..length).collect();
    } else {
        while more(stream, read).await {}
        response.body = std::mem::take(read);
    }
    Some(response)
}

/// A chunked body and its trailers; `None` if it broke off.
pub(crate) async fn read_chunked(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
) -> Option<(Vec<u8>, String)> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream, read).await?;
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            let mut trailers = String::new();
            loop {
                let line = read_line(stream, read).await?;
                if line.is_empty() {
                    return Some((body, trailers));
                }
                trailers.push_str(&line);
                trailers.push_str("\r\n");
            }
        }
        while read.len() < size + 2 {
            if !more(stream, read).await {
                return None;
            }
        }
        body.extend(read.drain(..size));
        read.drain(..2);
    }
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = read.windows(2).position(|window| window == b"\r\n") {
            let line = String::from_utf8_lossy(&read[..end]).into_owned();
            read.drain(..end + 2);
            return Some(line);
        }
        if !more(stream, read).await {
            return None;
        }
    }
}

/// Whether anything more came.
async fn more(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            read.extend_from_slice(&buffer[..length]);
            true
        }
    }
}
