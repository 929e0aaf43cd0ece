//! nginx as a plain proxy with mutual TLS: no token is looked at.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::pki::Pki;
use super::server::{SERVER_CORE, Server, free_port, pinned};

/// Starts one worker with a configuration written here: certificates demanded and verified, no resumption as with us, no
/// access log, connections to the API kept.
pub(super) fn start(directory: &Path, pki: &Pki, upstream_port: u16) -> anyhow::Result<Server> {
    fs::create_dir_all(directory)?;
    let port = free_port()?;
    let configuration = configuration(directory, pki, port, upstream_port);
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration).context("nginx.conf")?;
    let mut command = pinned(SERVER_CORE, "/usr/sbin/nginx");
    command.arg("-p").arg(directory).arg("-c").arg(&file);
    Server::start("nginx", port, command)
}

fn configuration(directory: &Path, pki: &Pki, port: u16, upstream_port: u16) -> String {
    let (directory, pki) = (directory.display(), pki.path());
    format!(
        "daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/client-body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream api {{
        server 127.0.0.1:{upstream_port};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        server_name localhost;
        ssl_certificate {pki}/server.pem;
        ssl_certificate_key {pki}/server.key;
        ssl_client_certificate {pki}/ca.pem;
        ssl_verify_client on;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve X25519;
        ssl_session_cache off;
        ssl_session_tickets off;
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://api;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}
