//! An answer to a client: there is none but for a client that was identified in this request.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use keybound_protocol::client_authentication::IdentifiedClient;

use crate::clients::PreparedClient;
use crate::response::Response;

/// An answer, with the client that got it.
///
/// An endpoint that asked nobody who its client is has no [`IdentifiedClient`], and so no answer but a refusal.
pub(crate) struct Answer {
    response: Response,
    client: Arc<PreparedClient>,
    is_alike: bool,
}

impl Answer {
    /// The answer to the client that made this request. `client` is the same one, prepared.
    pub(crate) fn to(_recipient: &IdentifiedClient, client: Arc<PreparedClient>, response: Response) -> Answer {
        Answer {
            response,
            client,
            is_alike: false,
        }
    }

    /// Whether it must look like answers that were found in another way, and so be [sent at like times](crate::answer_time).
    pub(crate) fn alike(mut self, is_alike: bool) -> Answer {
        self.is_alike = is_alike;
        self
    }

    /// The same with one more header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Answer {
        self.response.headers_mut().insert(name, value);
        self
    }

    /// What is sent, to whom, and whether it must be sent at like times.
    pub(crate) fn into_parts(self) -> (Response, Arc<PreparedClient>, bool) {
        (self.response, self.client, self.is_alike)
    }
}
