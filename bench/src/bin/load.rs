//! Makes requests over mutual TLS and counts right answers. Prints one JSON object.
//!
//! ```text
//! load --port P --path /token --pki DIRECTORY --connections 16 --expect TEXT
//!      (--seconds S [--warm-up S] | --requests N)   for so long, or exactly so many
//!      [--new-connections]                          a full handshake for every request
//!      [--key-exchange x25519|hybrid]
//!      [--body FORM]                                POST; without it GET
//!      [--header FIELD]...                          more header fields
//!      [--status N]                                 of a right answer, if not 200
//!      [--issuer NAME --audience URI --tokens N]    N distinct bound tokens, in turn
//!      [--fresh]                                    … each token once; ends when they are spent
//!      [--codes DATABASE --count N]                 each `{secret}` of FORM is a code of this server, used once
//!      [--refresh-token DATABASE]                   each `{secret}` of FORM is one refresh token of this server
//! ```
//!
//! It connects to 127.0.0.1 and nowhere else. When measuring begins and ends it says `measuring` and `done` on standard
//! error, so that whoever started it can read processor times at those moments.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use keybound_bench::arguments::Arguments;
use keybound_bench::bound_token::{Issuer, thumbprint};
use keybound_bench::http1::{find, read_answer};
use keybound_bench::rows::{Consents, SECRET_CHARS};
use keybound_bench::tls::{self, Identity, KeyExchange};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Stands in a form where each request has a secret.
const SECRET: &str = "{secret}";

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::of_process();
    let plan = Plan::from_arguments(&mut arguments)?;
    let pki: String = arguments.required("--pki")?;
    let key_exchange = arguments.optional("--key-exchange")?.unwrap_or(KeyExchange::X25519);
    let identity = Identity::load(&pki, "client-1")?;
    let tokens = Tokens::from_arguments(&mut arguments, &pki, identity.certificate())?;
    let secrets = Secrets::from_arguments(&mut arguments)?;
    arguments.finish()?;
    let connector = TlsConnector::from(tls::client(identity, key_exchange)?);
    let load = Rc::new(Load {
        plan,
        tokens,
        secrets,
        connector,
        tally: Tally::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let elapsed = tokio::task::LocalSet::new().block_on(&runtime, load.clone().run());
    println!("{}", load.tally.report(elapsed));
    Ok(())
}

/// What to do, and how a right answer looks.
struct Plan {
    port: u16,
    connections: usize,
    new_connections: bool,
    duration: Option<(Duration, Duration)>,
    requests: usize,
    expect: String,
    status: u16,
    /// The request around its token: before and after.
    request: (Vec<u8>, Vec<u8>),
    /// Where in the latter a secret stands.
    secret_place: Option<usize>,
}

impl Plan {
    fn from_arguments(arguments: &mut Arguments) -> anyhow::Result<Self> {
        let port: u16 = arguments.required("--port")?;
        let path: String = arguments.required("--path")?;
        let body: Option<String> = arguments.optional("--body")?;
        let new_connections = arguments.flag("--new-connections");
        let seconds: Option<f64> = arguments.optional("--seconds")?;
        let warm_up: f64 = arguments.optional("--warm-up")?.unwrap_or(0.5);
        let duration = seconds.map(|seconds| (Duration::from_secs_f64(warm_up), Duration::from_secs_f64(seconds)));
        let requests = match duration {
            Some(_) => usize::MAX,
            None => arguments
                .required("--requests")
                .context("either --seconds or --requests")?,
        };
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut before = format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: */*\r\n");
        while let Some(field) = arguments.optional::<String>("--header")? {
            before += &format!("{field}\r\n");
        }
        let mut after = String::new();
        if new_connections {
            after += "Connection: close\r\n";
        }
        let mut secret_place = None;
        if let Some(body) = body {
            let body = body.replacen(SECRET, &"0".repeat(SECRET_CHARS), 1);
            after += "Content-Type: application/x-www-form-urlencoded\r\n";
            after += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
            secret_place = after.find(&"0".repeat(SECRET_CHARS));
        } else {
            after += "\r\n";
        }
        Ok(Self {
            port,
            connections: arguments.required("--connections")?,
            new_connections,
            duration,
            requests,
            expect: arguments.required("--expect")?,
            status: arguments.optional("--status")?.unwrap_or(200),
            request: (before.into_bytes(), after.into_bytes()),
            secret_place,
        })
    }
}

/// Bound tokens, made beforehand: their signatures are not what is measured.
struct Tokens {
    fields: Vec<String>,
    next: Cell<usize>,
    once: bool,
}

impl Tokens {
    fn from_arguments(arguments: &mut Arguments, pki: &str, certificate: &[u8]) -> anyhow::Result<Self> {
        let once = arguments.flag("--fresh");
        let Some(count) = arguments.optional::<usize>("--tokens")? else {
            return Ok(Self {
                fields: vec![String::new()],
                next: Cell::new(0),
                once: false,
            });
        };
        let name: String = arguments.required("--issuer")?;
        let audience: String = arguments.required("--audience")?;
        let issuer = Issuer::load(&format!("{pki}/token.key"), &name, &audience)?;
        let thumbprint = thumbprint(certificate);
        let field = |_| format!("Authorization: Bearer {}\r\n", issuer.token(&thumbprint));
        Ok(Self {
            fields: (0..count).map(field).collect(),
            next: Cell::new(0),
            once,
        })
    }

    /// The next header field; `None` when each was to be used once and all are.
    fn next(&self) -> Option<&str> {
        let place = self.next.replace(self.next.get() + 1);
        if self.once && place >= self.fields.len() {
            return None;
        }
        self.fields.get(place % self.fields.len()).map(String::as_str)
    }
}

/// Codes, each used once, or one refresh token: put into the server's database beforehand.
struct Secrets {
    consents: Option<Consents>,
    next: Cell<usize>,
    /// How many there are to be used once; `None` for one that is used again and again.
    count: Option<usize>,
}

impl Secrets {
    fn from_arguments(arguments: &mut Arguments) -> anyhow::Result<Self> {
        let codes: Option<PathBuf> = arguments.optional("--codes")?;
        let refresh_token: Option<PathBuf> = arguments.optional("--refresh-token")?;
        let consents = Consents::of_this_run()?;
        let mut secrets = Self {
            consents: None,
            next: Cell::new(0),
            count: None,
        };
        if let Some(database) = codes {
            let count = arguments.required("--count")?;
            consents.add_codes(&database, count)?;
            (secrets.consents, secrets.count) = (Some(consents), Some(count));
        } else if let Some(database) = refresh_token {
            consents.add_refresh_token(&database)?;
            secrets.consents = Some(consents);
        }
        Ok(secrets)
    }

    /// The next one, if there are any in use; `None` when each was to be used once and all are.
    fn next(&self) -> Option<Option<String>> {
        let Some(consents) = &self.consents else {
            return Some(None);
        };
        let Some(count) = self.count else {
            return Some(Some(consents.secret(0)));
        };
        let number = self.next.replace(self.next.get() + 1);
        (number < count).then(|| Some(consents.secret(number)))
    }
}

#[derive(Default)]
struct Tally {
    measuring: Cell<bool>,
    stopped: Cell<bool>,
    started_requests: Cell<usize>,
    /// Tenths of microseconds.
    times: RefCell<Vec<u32>>,
    wrong: Cell<usize>,
    failed: Cell<usize>,
    first_problem: RefCell<Option<String>>,
}

impl Tally {
    fn count(&self, began: Instant, right: bool) {
        if self.measuring.get() && !self.stopped.get() {
            if right {
                let tenths = began.elapsed().as_nanos() / 100;
                self.times.borrow_mut().push(u32::try_from(tenths).unwrap_or(u32::MAX));
            } else {
                self.wrong.set(self.wrong.get() + 1);
            }
        }
    }

    fn problem(&self, text: impl FnOnce() -> String) {
        self.first_problem.borrow_mut().get_or_insert_with(text);
    }

    fn report(&self, elapsed: Duration) -> serde_json::Value {
        let mut times = self.times.borrow_mut();
        times.sort_unstable();
        let microseconds = |share: f64| {
            let place = (times.len() as f64 * share) as usize;
            times
                .get(place.min(times.len().saturating_sub(1)))
                .map_or(0.0, |tenths| f64::from(*tenths) / 10.0)
        };
        json!({
            "right": times.len(),
            "wrong": self.wrong.get(),
            "failed": self.failed.get(),
            "seconds": elapsed.as_secs_f64(),
            "per_second": times.len() as f64 / elapsed.as_secs_f64(),
            "p50_us": microseconds(0.5),
            "p99_us": microseconds(0.99),
            "first_problem": *self.first_problem.borrow(),
        })
    }
}

struct Load {
    plan: Plan,
    tokens: Tokens,
    secrets: Secrets,
    connector: TlsConnector,
    tally: Tally,
}

impl Load {
    /// Runs to the end of the plan; how long it measured.
    async fn run(self: Rc<Self>) -> Duration {
        let workers: Vec<_> = (0..self.plan.connections)
            .map(|_| tokio::task::spawn_local(self.clone().work()))
            .collect();
        let all_done = async {
            for worker in workers {
                let _ = worker.await;
            }
        };
        tokio::pin!(all_done);
        let (warm_up, duration) = self.plan.duration.unwrap_or((Duration::ZERO, Duration::MAX));
        if !warm_up.is_zero() {
            tokio::time::sleep(warm_up).await;
        }
        self.tally.measuring.set(true);
        eprintln!("measuring");
        let began = Instant::now();
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = &mut all_done => {}
        }
        let elapsed = began.elapsed();
        self.tally.stopped.set(true);
        eprintln!("done");
        elapsed
    }

    /// One connection, or one new connection after the other.
    async fn work(self: Rc<Self>) {
        let mut connection: Option<Box<TlsStream<TcpStream>>> = None;
        let (mut request, mut answer) = (Vec::new(), Vec::with_capacity(16 * 1024));
        while !self.tally.stopped.get() && self.tally.started_requests.get() < self.plan.requests {
            let Some(token) = self.tokens.next() else { return };
            self.tally.started_requests.set(self.tally.started_requests.get() + 1);
            request.clear();
            for part in [&self.plan.request.0, token.as_bytes(), &self.plan.request.1] {
                request.extend_from_slice(part);
            }
            let Some(secret) = self.secrets.next() else { return };
            if let (Some(secret), Some(place)) = (secret, self.plan.secret_place) {
                let from = request.len() - self.plan.request.1.len() + place;
                if let Some(slot) = request.get_mut(from..from + SECRET_CHARS) {
                    slot.copy_from_slice(secret.as_bytes());
                }
            }
            if let Err(error) = self.exchange(&mut connection, &request, &mut answer).await {
                connection = None;
                self.tally.problem(|| error.to_string());
                if self.tally.measuring.get() && !self.tally.stopped.get() {
                    self.tally.failed.set(self.tally.failed.get() + 1);
                }
                // A server that is down must not be hammered.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    async fn exchange(
        &self,
        connection: &mut Option<Box<TlsStream<TcpStream>>>,
        request: &[u8],
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let began = Instant::now();
        let stream = match connection {
            Some(stream) => stream,
            None => connection.insert(Box::new(self.connect().await?)),
        };
        stream.write_all(request).await?;
        stream.flush().await?;
        let answer = read_answer(stream, buffer).await?;
        let body = buffer.get(answer.body).unwrap_or_default();
        let right = answer.status == self.plan.status && find(body, self.plan.expect.as_bytes()).is_some();
        if !right {
            let body: String = String::from_utf8_lossy(body).chars().take(200).collect();
            self.tally.problem(|| format!("status {}: {body}", answer.status));
        }
        self.tally.count(began, right);
        if (answer.closes || self.plan.new_connections)
            && let Some(mut stream) = connection.take()
        {
            let _ = stream.shutdown().await;
        }
        Ok(())
    }

    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.plan.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        self.connector.connect(name, stream).await
    }
}
