//! What answers requests.

use std::{future::Future, sync::Arc};

use http::{
    HeaderValue, Request, Response, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};

use crate::{Connection, LayerRefusal, RequestBody, ResponseBody};

/// Answers the requests of a [`Listener`](crate::Listener); one value serves all its connections.
///
/// ```
/// # use std::sync::Arc;
/// # use keybound_tls::{Connection, RequestBody, ResponseBody, Service};
/// struct Hello;
/// impl Service for Hello {
///     async fn call(&self, connection: &Arc<Connection>, request: http::Request<RequestBody>) -> http::Response<ResponseBody> {
///         let presented = connection.presented_for(request.extensions());
///         http::Response::new(format!("{} {presented:?}", request.uri()).into())
///     }
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// Answers one request. What arrives is well-formed HTTP with one authority that this connection serves, its head
    /// and announced body within the limits, without `Client-Cert` and `Client-Cert-Chain`.
    ///
    /// The client certificate is [`Connection::presented_for`]`(request.extensions())`.
    ///
    /// Dropping the body unread is fine. The future is dropped when the peer goes away, so a change that must not be
    /// left half done belongs in a task of its own.
    fn call(
        &self,
        connection: &Arc<Connection>,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;

    /// Answers a request that was refused before [`call`](Self::call), and, called by the service itself, one whose body
    /// ended with [`BodyError::Refused`](crate::BodyError::Refused). A daemon overrides it to record the refusal.
    ///
    /// The listener sees to closing the connection where it must.
    fn refuse(&self, connection: &Arc<Connection>, refusal: LayerRefusal) -> Response<ResponseBody> {
        let _ = connection;
        refusal_response(&refusal)
    }

    /// Answers a request that was read and is then refused before [`call`](Self::call): its head is well-formed HTTP, but it is
    /// for another host, announces too long a body, or expects what nobody knows. A daemon whose answers depend on the path
    /// overrides it.
    fn refuse_request(
        &self,
        connection: &Arc<Connection>,
        target: &Uri,
        refusal: LayerRefusal,
    ) -> Response<ResponseBody> {
        let _ = target;
        self.refuse(connection, refusal)
    }
}

impl<S: Service> Service for Arc<S> {
    fn call(
        &self,
        connection: &Arc<Connection>,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send {
        (**self).call(connection, request)
    }

    fn refuse(&self, connection: &Arc<Connection>, refusal: LayerRefusal) -> Response<ResponseBody> {
        (**self).refuse(connection, refusal)
    }

    fn refuse_request(
        &self,
        connection: &Arc<Connection>,
        target: &Uri,
        refusal: LayerRefusal,
    ) -> Response<ResponseBody> {
        (**self).refuse_request(connection, target, refusal)
    }
}

/// The default answer to a refusal: its status and `{"error":"invalid_request","error_description":…}`, not cacheable.
pub fn refusal_response(refusal: &LayerRefusal) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(refusal.json()));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if *refusal == LayerRefusal::TooManyConnections {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
