//! The least a proxy for bound tokens can do: verify one signature, compare expiry and binding, forward. It caches nothing,
//! knows one issuer, and judges nothing else.
//!
//! `verifying-proxy --port P --pki DIRECTORY --upstream PORT`

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use keybound_bench::arguments::Arguments;
use keybound_bench::bound_token::{Issuer, Verifier, thumbprint};
use keybound_bench::tls;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

struct Proxy {
    verifier: Verifier,
    upstream_port: u16,
    idle: RefCell<Vec<SendRequest<Empty<Bytes>>>>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::of_process();
    let port: u16 = arguments.required("--port")?;
    let pki: String = arguments.required("--pki")?;
    let upstream_port = arguments.required("--upstream")?;
    arguments.finish()?;
    let verifier = Issuer::load(&format!("{pki}/token.key"), "", "")?.verifier()?;
    let proxy = Rc::new(Proxy {
        verifier,
        upstream_port,
        idle: RefCell::default(),
    });
    let acceptor = TlsAcceptor::from(tls::server(&pki)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("listening");
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream, acceptor.clone(), proxy.clone()));
        }
    })
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, proxy: Rc<Proxy>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let leaf = certificates
        .and_then(<[_]>::first)
        .map(|leaf| leaf.as_ref())
        .unwrap_or_default();
    let thumbprint: Rc<str> = thumbprint(leaf).into();
    let service = service_fn(move |request| answer(request, proxy.clone(), thumbprint.clone()));
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    proxy: Rc<Proxy>,
    thumbprint: Rc<str>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let authorization = request
        .headers()
        .get(AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    if !proxy.verifier.accepts(authorization, &thumbprint) {
        let mut refused = Response::new(Full::default());
        *refused.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(refused);
    }
    proxy.forward(&request).await
}

impl Proxy {
    async fn forward(&self, request: &Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
        let mut sender = self.connection().await?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let mut onward = Request::builder()
            .method(request.method())
            .uri(path)
            .body(Empty::new())?;
        *onward.headers_mut() = request.headers().clone();
        onward.headers_mut().insert(HOST, HeaderValue::from_static("upstream"));
        let (head, body) = sender.send_request(onward).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.idle.borrow_mut().push(sender);
        Ok(Response::from_parts(head, Full::new(body)))
    }

    async fn connection(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect(("127.0.0.1", self.upstream_port))
            .await
            .context("upstream")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Empty<Bytes>>> {
        self.idle.borrow_mut().pop()
    }
}
