//! Who sends a request, as far as the connection tells that it came over.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use keybound_protocol::peer_certificate::PresentedCertificate;

use crate::cached_token::LastToken;

/// The sender of one request.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Its certificate, as the TLS layer or a configured proxy proved it.
    pub presented: &'a PresentedCertificate,
    /// The other end of its connection. Questions to an issuer are shared out by it, so that nobody takes them all; of nobody
    /// without an address that is known.
    pub remote_address: Option<SocketAddr>,
    /// What came over its connection before, which spares a known token its hash.
    pub last: Option<&'a LastToken>,
}

impl<'a> Caller<'a> {
    /// A caller of which only the certificate is known.
    pub fn new(presented: &'a PresentedCertificate) -> Caller<'a> {
        Caller {
            presented,
            remote_address: None,
            last: None,
        }
    }

    pub(crate) fn asker(&self) -> Asker {
        Asker {
            prefix: self.remote_address.map(|address| prefix_of(address.ip())),
            connection: self.remote_address,
        }
    }
}

/// For whom an issuer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) prefix: Option<IpAddr>,
    pub(crate) connection: Option<SocketAddr>,
}

impl Asker {
    /// Ourselves, for what runs; or somebody whose address nobody told us.
    pub(crate) const UNKNOWN: Asker = Asker {
        prefix: None,
        connection: None,
    };
}

/// The neighbourhood of an address: itself for IPv4, its /64 for IPv6, of which one subscriber has all addresses.
fn prefix_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
