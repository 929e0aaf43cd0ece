//! Whether a connection may be asked for an authority (RFC 9110 §7.4, RFC 9113 §9.1.1).

use std::{net::IpAddr, sync::Arc};

use http::{
    Request, Version,
    header::{CONTENT_LENGTH, HOST},
};

use crate::{
    Connection, FramingViolation, LayerRefusal,
    listener::HostTable,
    request_framing::{is_valid_authority, is_valid_target, split_port},
};

/// The hosts a connection was made for.
#[derive(Debug)]
pub(crate) struct ServedHosts {
    table: Arc<HostTable>,
    policy: usize,
    /// Whether the server name of the handshake is one of them: nearly every request asks for just that.
    server_name_is_served: bool,
}

impl ServedHosts {
    pub(crate) fn new(table: &Arc<HostTable>, policy: usize, server_name: Option<&str>) -> ServedHosts {
        ServedHosts {
            table: Arc::clone(table),
            policy,
            server_name_is_served: server_name.is_some_and(|name| table.serves(policy, name)),
        }
    }
}

/// Refuses a request whose authority is missing, ambiguous, or not served on its connection. On a plain listener any will do.
pub(crate) fn check<B>(connection: &Connection, request: &Request<B>) -> Result<(), LayerRefusal> {
    let authority = match request.version() {
        Version::HTTP_2 => Some(http2_authority(request, connection.limits().head_fields_max)?),
        _ => http1_authority(request),
    };
    let Some(served) = &connection.facts.served_hosts else {
        return Ok(());
    };
    // A target in absolute form names its scheme; in the other forms it is the connection's.
    let scheme_is_served = request.uri().scheme_str().is_none_or(|scheme| scheme == "https");
    let is_served = match authority {
        Some(authority) => scheme_is_served && is_served(served, connection.server_name(), authority),
        // HTTP/1.0 without Host: the screen let no other pass.
        None => served.table.has_one_policy(),
    };
    if is_served {
        return Ok(());
    }
    let host = split_port(authority.unwrap_or_default()).0;
    Err(LayerRefusal::Misdirected {
        authority: String::from_utf8_lossy(host).to_ascii_lowercase(),
        server_name: connection.server_name().map(str::to_owned),
    })
}

/// Whether a request is meant for the machine that answers it: it names an address, `localhost` or one of `names`, or nothing,
/// which no browser does. For listeners that serve whoever can connect, such as those of operations.
///
/// A web page in a browser of this machine can connect, too: under its own host name, which its own name server points here
/// (DNS rebinding), it could read every answer. It cannot have these names.
pub fn names_this_machine<B>(request: &Request<B>, names: impl IntoIterator<Item = impl AsRef<str>>) -> bool {
    let Some(authority) = http1_authority(request) else {
        return true;
    };
    let Ok(host) = std::str::from_utf8(split_port(authority).0) else {
        return false;
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_own = |name: &str| name.eq_ignore_ascii_case(host);
    is_address(host) || is_own("localhost") || names.into_iter().any(|name| is_own(name.as_ref()))
}

/// The screen saw to it that Host, if there is one, is the only one, well-formed and that of the target.
fn http1_authority<B>(request: &Request<B>) -> Option<&[u8]> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => request.headers().get(HOST).map(|host| host.as_bytes()),
    }
}

/// HTTP/2 has no screen: the library checks most, and what it leaves is checked here.
fn http2_authority<B>(request: &Request<B>, fields_max: usize) -> Result<&[u8], LayerRefusal> {
    let headers = request.headers();
    if headers.len() > fields_max {
        return Err(LayerRefusal::HeadTooLong);
    }
    if request.method() == http::Method::CONNECT {
        return Err(FramingViolation::Method.into());
    }
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    // A fragment would be refused too, but `http` has cut it off without a trace. What remains is what everybody after us sees.
    let is_asterisk = target == "*" && request.method() == http::Method::OPTIONS;
    if !is_asterisk && !is_valid_target(target.as_bytes()) {
        return Err(FramingViolation::Target.into());
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(FramingViolation::ContentLength.into());
    }
    if headers.contains_key("content_length") || headers.contains_key("transfer_encoding") {
        return Err(FramingViolation::FieldNameLookalike.into());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let host = host.map(|host| host.as_bytes());
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let authority = match (authority, host, second) {
        (_, _, Some(_)) | (None, None, _) => return Err(FramingViolation::Authority.into()),
        (Some(authority), Some(host), None) if !authority.eq_ignore_ascii_case(host) => {
            return Err(FramingViolation::HostMismatch.into());
        }
        (Some(authority), _, None) | (None, Some(authority), None) => authority,
    };
    if !is_valid_authority(authority) {
        return Err(FramingViolation::HostValue.into());
    }
    Ok(authority)
}

fn is_served(served: &ServedHosts, server_name: Option<&str>, authority: &[u8]) -> bool {
    let (host, _) = split_port(authority);
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let lower_case;
    // Nearly every client writes it in lower case, and then nothing is copied.
    let host = match host.bytes().any(|octet| octet.is_ascii_uppercase()) {
        true => {
            lower_case = host.to_ascii_lowercase();
            lower_case.as_str()
        }
        false => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if server_name == Some(host) {
        return served.server_name_is_served;
    }
    if served.table.serves(served.policy, host) {
        return true;
    }
    // Without a server name only an address says nothing against this certificate: that is how one is reached by address.
    server_name.is_none() && is_address(host)
}

fn is_address(host: &str) -> bool {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .is_ok()
}
