//! The least a token endpoint can do: TLS, HTTP, one ES256 signature, a JSON answer. No client lookup, no verdict beyond
//! rustls's own, no record.
//!
//! `ceiling --port P --pki DIRECTORY [--write DATABASE]`; `POST` anywhere answers with a token bound to the connection's certificate, `GET`
//! with the key set. With `--write` each `POST` first makes the rows durable that a code exchange leaves.

use std::convert::Infallible;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use keybound_bench::arguments::Arguments;
use keybound_bench::bound_token::{Issuer, thumbprint};
use keybound_bench::rows::BareWriter;
use keybound_bench::tls;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::of_process();
    let port: u16 = arguments.required("--port")?;
    let pki: String = arguments.required("--pki")?;
    let database: Option<PathBuf> = arguments.optional("--write")?;
    arguments.finish()?;
    let writer = database
        .map(|database| BareWriter::start(&database))
        .transpose()?
        .map(Rc::new);
    let name = format!("https://localhost:{port}");
    let issuer = Rc::new(Issuer::load(
        &format!("{pki}/token.key"),
        &name,
        "https://localhost/api",
    )?);
    let acceptor = TlsAcceptor::from(tls::server(&pki)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("listening");
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream, acceptor.clone(), issuer.clone(), writer.clone()));
        }
    })
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, issuer: Rc<Issuer>, writer: Option<Rc<BareWriter>>) {
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
    let service = service_fn(move |request| answer(request, issuer.clone(), thumbprint.clone(), writer.clone()));
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    issuer: Rc<Issuer>,
    thumbprint: Rc<str>,
    writer: Option<Rc<BareWriter>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_token_request = request.method() == Method::POST;
    let _ = request.into_body().collect().await;
    if is_token_request && let Some(writer) = writer {
        writer.exchange().await;
    }
    let body = if is_token_request {
        issuer.token_response(&thumbprint)
    } else {
        issuer.key_set()
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    Ok(response)
}
