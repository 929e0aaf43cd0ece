//! From a connection the system accepted to its last request.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keybound_protocol::peer_certificate::{PeerCertificate, PresentedCertificate};
use rustls::ProtocolVersion;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{
    Shared, Stage, Tenure,
    admission::{Admission, Beginning, DisplacementReport},
    exchange::{RequestProgress, answer},
    handshakes::Phase,
    host_table::HostTable,
    lane::Lane,
};
use crate::{
    ClientCertificatePolicy, Connection, HandshakeFailure, LayerRefusal, Service, TlsVersion,
    authority::ServedHosts,
    client_certificate_verifier::ClientKeyError,
    connection::ConnectionFacts,
    deadline::{Deadline, Verdict},
    screened_stream::ScreenedStream,
};

/// hyper takes this many fields without being told.
const HYPER_FIELDS_MAX: usize = 100;

/// Accepts on one socket until the listener stops.
pub(super) async fn accept<S: Service>(socket: TcpListener, shared: &Arc<Shared>, lane: Arc<Lane>, service: Arc<S>) {
    let mut stage = shared.stage.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stage.wait_for(|stage| *stage > Stage::Serving) => break,
        };
        match accepted {
            Ok((stream, remote_addr)) => admit(stream, remote_addr, shared, &lane, &service),
            // Out of file descriptors, or the peer was quicker to leave: in both cases the next accept decides. The pause keeps
            // the first from spinning.
            Err(error) => {
                tracing::warn!(
                    listener = &*shared.name,
                    error = &error as &dyn std::error::Error,
                    "accept failed"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    // Whoever connected before the socket closes is served, or told to go away in HTTP; closing would reset them.
    while let Ok(Ok((stream, remote_addr))) = timeout(Duration::ZERO, socket.accept()).await {
        admit(stream, remote_addr, shared, &lane, &service);
    }
}

fn admit<S: Service>(
    stream: TcpStream,
    remote_addr: SocketAddr,
    shared: &Arc<Shared>,
    lane: &Arc<Lane>,
    service: &Arc<S>,
) {
    shared.counters.connections_accepted.fetch_add(1, Relaxed);
    let beginning = match shared.hosts {
        Some(_) => Beginning::Handshake,
        None => Beginning::Request,
    };
    match shared.admissions.admit(remote_addr.ip(), beginning, Instant::now()) {
        Ok((admission, report)) => {
            if let Some(report) = report {
                log_displacement(shared, &report);
            }
            let incoming = Incoming {
                shared: Arc::clone(shared),
                lane: Arc::clone(lane),
                service: Arc::clone(service),
                remote_addr,
                admission,
            };
            tokio::spawn(incoming.serve(stream));
        }
        Err(refusal) => {
            shared.refuse_connection(refusal, remote_addr);
            if shared.hosts.is_none() {
                tokio::spawn(answer_too_many(stream));
            }
        }
    }
}

fn log_displacement(shared: &Shared, report: &DisplacementReport) {
    tracing::info!(
        listener = &*shared.name,
        limit = report.limit.name(),
        count = report.count,
        prefix = %report.prefix,
        phase = ?report.phase,
        waited = ?report.waited,
        "handshakes gave way to newcomers"
    );
}

/// Where no handshake is needed first, a connection too many is told so.
async fn answer_too_many(mut stream: TcpStream) {
    let body = LayerRefusal::TooManyConnections.json();
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let write = async {
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await
    };
    // A peer that does not take it in a second does without.
    let _ = timeout(Duration::from_secs(1), write).await;
}

/// A connection that was admitted and has no handshake yet.
struct Incoming<S> {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    service: Arc<S>,
    remote_addr: SocketAddr,
    admission: Admission,
}

/// Why a handshake did not finish.
struct HandshakeError {
    failure: HandshakeFailure,
    cause: String,
}

impl<S: Service> Incoming<S> {
    async fn serve(self, stream: TcpStream) {
        // Answers are written whole: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        // Where nothing is said for long, in a tunnel or behind a slow service, the system finds out whether the peer still lives.
        let keep_alive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15));
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keep_alive);
        let Ok(local_addr) = stream.local_addr() else { return };
        let Some(table) = self.shared.host_table() else {
            let facts = ConnectionFacts {
                listener: Arc::clone(&self.shared.name),
                policy: Arc::clone(&self.shared.name),
                remote_addr: self.remote_addr,
                local_addr,
                server_name: None,
                tls_version: None,
                http2: false,
                presented: PresentedCertificate::NotRequested,
                limits: Arc::clone(&self.shared.limits),
                counters: Arc::clone(&self.shared.counters),
                runtime: self.lane.runtime,
                served_hosts: None,
                forwarding: self.shared.forwarding(),
            };
            return self.serve_http(stream, facts).await;
        };
        let limit = self.shared.limits.handshake_timeout;
        let mut stage = self.shared.stage.subscribe();
        let handshake = tokio::select! {
            handshake = timeout(limit, handshake(stream, &table, &self.lane, &self.admission)) => handshake,
            // Whoever took the place counted it.
            () = self.admission.displaced() => return,
            _ = stage.wait_for(|stage| *stage == Stage::Cutting) => return,
        };
        let Some(admission) = self.admission.handshake_ended() else {
            return;
        };
        let incoming = Incoming { admission, ..self };
        let handshake = handshake.unwrap_or_else(|_| {
            Err(HandshakeError {
                failure: HandshakeFailure::Timeout,
                cause: format!("not finished within {limit:?}"),
            })
        });
        match handshake {
            Ok((stream, policy)) => {
                incoming.shared.counters.handshakes_completed.fetch_add(1, Relaxed);
                let facts = incoming.facts(&stream, &table, policy, local_addr);
                incoming.serve_http(stream, facts).await;
            }
            Err(HandshakeError { failure, cause }) => {
                incoming.shared.counters.handshake_failed(failure);
                tracing::info!(
                    listener = &*incoming.shared.name,
                    remote = %incoming.remote_addr,
                    failure = failure.name(),
                    cause,
                    "handshake failed"
                );
            }
        }
    }

    fn facts(
        &self,
        stream: &TlsStream<TcpStream>,
        table: &Arc<HostTable>,
        policy: usize,
        local_addr: SocketAddr,
    ) -> ConnectionFacts {
        let (_, session) = stream.get_ref();
        let presented = match (session.peer_certificates(), table.client_certificate(policy)) {
            (Some([leaf, intermediates @ ..]), ClientCertificatePolicy::Optional) => {
                // The handshake finished, so the verifier saw a CertificateVerify of this very connection by this leaf's key:
                // there is no resumption that could have skipped it.
                PresentedCertificate::from_peer(PeerCertificate::assert_possession_proven(
                    leaf.to_vec(),
                    intermediates.iter().map(|certificate| certificate.to_vec()).collect(),
                ))
            }
            (_, ClientCertificatePolicy::Optional) => PresentedCertificate::None,
            (_, ClientCertificatePolicy::Never) => PresentedCertificate::NotRequested,
        };
        let server_name: Option<Box<str>> = session
            .server_name()
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase().into());
        ConnectionFacts {
            listener: Arc::clone(&self.shared.name),
            policy: table.policy_name(policy).unwrap_or(&self.shared.name).clone(),
            remote_addr: self.remote_addr,
            local_addr,
            served_hosts: Some(ServedHosts::new(table, policy, server_name.as_deref())),
            server_name,
            tls_version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => Some(TlsVersion::Tls13),
                _ => Some(TlsVersion::Tls12),
            },
            http2: session.alpn_protocol() == Some(b"h2"),
            presented,
            limits: Arc::clone(&self.shared.limits),
            counters: Arc::clone(&self.shared.counters),
            runtime: self.lane.runtime,
            forwarding: self.shared.forwarding(),
        }
    }

    async fn serve_http<IO>(self, stream: IO, facts: ConnectionFacts)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Incoming {
            shared,
            lane,
            service,
            admission,
            ..
        } = self;
        let deadline = Deadline::new(Arc::clone(&lane.tick));
        let connection = Arc::new(Connection::new(facts, deadline));
        let registration = lane.register(&connection);
        let tenure = Tenure {
            shared: Arc::clone(&shared),
            _admission: admission,
            _registration: registration,
        };
        let io = TokioIo::new(ScreenedStream::new(stream, &connection, tenure));
        let limits = &shared.limits;
        let service = service_fn({
            let connection = Arc::clone(&connection);
            move |request| {
                let (connection, service) = (Arc::clone(&connection), Arc::clone(&service));
                // Begun here and not in the future: whether a request is in progress must be known before hyper reads on.
                let progress = RequestProgress::begin(&connection);
                async move {
                    let response = answer(&*service, &connection, progress, request).await;
                    Ok::<_, std::convert::Infallible>(response)
                }
            }
        });
        let result = if connection.is_http2() {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // What a peer may send before anybody reads it.
            let stream_window = match limits.body_bytes_max {
                Some(_) => 64 * 1024,
                None => 512 * 1024,
            };
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits.http2_streams_max)
                .initial_stream_window_size(stream_window)
                .initial_connection_window_size(2 * stream_window)
                .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
                .keep_alive_interval(limits.http2_keep_alive)
                .keep_alive_timeout(limits.http2_keep_alive);
            let serving = pin!(builder.serve_connection(io, service));
            drive(serving, &connection, &shared, |serving| serving.graceful_shutdown()).await
        } else {
            let mut builder = hyper::server::conn::http1::Builder::new();
            // The screen refuses more fields than the limit. hyper's own limit costs an allocation per request once it is set.
            if limits.head_fields_max > HYPER_FIELDS_MAX {
                builder.max_headers(limits.head_fields_max);
            }
            let serving = builder.serve_connection(io, service).with_upgrades();
            drive(pin!(serving), &connection, &shared, |serving| {
                serving.graceful_shutdown()
            })
            .await
        };
        if let Err(error) = result {
            tracing::debug!(
                listener = &*shared.name,
                remote = %connection.remote_addr(),
                error = &error as &dyn std::error::Error,
                "connection ended"
            );
        }
    }
}

/// Drives a connection to its end, and tells it once when it should come to one.
async fn drive<C>(
    mut serving: Pin<&mut C>,
    connection: &Connection,
    shared: &Shared,
    shut_down: impl Fn(Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut told = false;
    poll_fn(|context| {
        connection.interims.belongs_to(context);
        if !told && (shared.is_draining() || connection.deadline.verdict() == Verdict::Idle) {
            told = true;
            shut_down(serving.as_mut());
        }
        serving.as_mut().poll(context)
    })
    .await
}

/// A handshake by the policy that the client's server name chooses.
async fn handshake(
    stream: TcpStream,
    table: &HostTable,
    lane: &Lane,
    admission: &Admission,
) -> Result<(TlsStream<TcpStream>, usize), HandshakeError> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream)
        .await
        .map_err(failure)?;
    admission.advance(Phase::Computing);
    let server_name = start
        .client_hello()
        .server_name()
        .map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    let Some(choice) = table.choose(server_name.as_deref()) else {
        return Err(HandshakeError {
            failure: HandshakeFailure::Other,
            cause: "no host".to_owned(),
        });
    };
    let mut accept = start.into_stream(choice.config);
    let mut answered = false;
    let accept = poll_fn(|context| {
        let step = Pin::new(&mut accept).poll(context);
        // The first step wrote our flight: from here on the client is who is waited for.
        if step.is_pending() && !std::mem::replace(&mut answered, true) {
            admission.advance(Phase::Answered);
        }
        step
    });
    let stream = lane.in_turn(accept).await.map_err(failure)?;
    Ok((stream, choice.policy))
}

fn failure(error: std::io::Error) -> HandshakeError {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let failure = tls.map_or(HandshakeFailure::Disconnected, tls_failure);
    HandshakeError {
        failure,
        cause: tls
            .and_then(client_key_error)
            .map_or_else(|| error.to_string(), |e| e.to_string()),
    }
}

fn tls_failure(error: &rustls::Error) -> HandshakeFailure {
    use rustls::{CertificateError, Error};
    if let Some(error) = client_key_error(error) {
        return error.failure();
    }
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => HandshakeFailure::PossessionNotProven,
        Error::InvalidCertificate(_) => HandshakeFailure::KeyUnsupported,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeFailure::NothingInCommon,
        Error::AlertReceived(_) => HandshakeFailure::PeerAlert,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => HandshakeFailure::Malformed,
        _ => HandshakeFailure::Other,
    }
}

fn client_key_error(error: &rustls::Error) -> Option<&ClientKeyError> {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}
