//! What services learn about a connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use http::{Request, Response};
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_tls::{Connection, RequestBody, ResponseBody, Service, TlsVersion, Transport};
use tokio::io::AsyncWriteExt as _;

use crate::{
    pki::{Client, KeyKind},
    support::{RawClient, Version, mutual_policy, quick, read_until, serve, settings},
};

/// Two kinds of state of one connection.
#[derive(Default)]
struct Requests(AtomicUsize);
#[derive(Default)]
struct Others(AtomicUsize);

struct Facts;

impl Service for Facts {
    async fn call(&self, connection: &Arc<Connection>, _: Request<RequestBody>) -> Response<ResponseBody> {
        let first = connection.state::<Requests>().0.fetch_add(1, SeqCst);
        let second = connection.state::<Others>().0.fetch_add(10, SeqCst);
        let certificate = match connection.presented() {
            PresentedCertificate::Peer(peer) => peer.thumbprint().to_string(),
            other => format!("{other:?}"),
        };
        let facts = format!(
            "{first} {second} {} {} {:?} {} {certificate};",
            connection.listener(),
            connection.remote_addr(),
            connection.tls_version(),
            connection.is_http2(),
        );
        Response::new(facts.into())
    }
}

// covers TRAP-8
#[tokio::test]
async fn state_belongs_to_a_connection_and_its_type() {
    let handle = serve(settings(Transport::Tls(mutual_policy()), quick()), Facts);
    let certificate = Client::self_signed(KeyKind::P256);
    for (version, expected) in [(Version::Tls12, TlsVersion::Tls12), (Version::Tls13, TlsVersion::Tls13)] {
        let client = RawClient::new(&[version], Some(&certificate));
        let mut stream = client.connect_to(handle.local_addr(), "localhost").await.unwrap();
        let own = stream.get_ref().0.local_addr().unwrap();
        let thumbprint = keybound_protocol::confirmation::CertificateThumbprint::of_certificate(certificate.leaf());
        for request in 0..3 {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await
                .unwrap();
            let answer = read_until(&mut stream, ";").await;
            let second = 10 * request;
            let facts = format!("{request} {second} test {own} {:?} false {thumbprint};", Some(expected));
            assert!(answer.ends_with(&facts), "{answer} {facts}");
        }
    }
}

#[test]
fn a_service_can_be_called_without_a_socket() {
    let connection = Arc::new(Connection::unconnected(PresentedCertificate::None));
    let request = Request::post("/")
        .body(RequestBody::from(bytes::Bytes::from_static(b"hello")))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (parts, body) = request.into_parts();
    assert!(matches!(
        connection.presented_for(&parts.extensions),
        PresentedCertificate::None
    ));
    assert_eq!(runtime.block_on(body.collect_at_most(5)).unwrap(), "hello");
    let body = RequestBody::from(bytes::Bytes::from_static(b"hello"));
    assert!(runtime.block_on(body.collect_at_most(4)).is_err());
}
