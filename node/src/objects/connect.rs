//! The way to a store: connections of `transport`, so that there is one TLS stack, one provider of cryptography.

use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind,
    HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use transport::outgoing::{self, Pool};

use super::Error;
use crate::config;

/// Makes clients for a store, and for whoever gives out the rights to it: a machine's own role is told over plain HTTP.
#[derive(Debug)]
pub(super) struct Connector {
    tls: Pool<HttpRequestBody>,
    plain: Pool<HttpRequestBody>,
}

/// One client.
#[derive(Debug)]
struct Service(Pool<HttpRequestBody>);

impl Connector {
    pub(super) fn new(settings: &config::ObjectStore) -> Result<Self, Error> {
        let authorities = settings.authorities.as_ref().map(|path| {
            std::fs::read(path).map_err(|error| {
                Error::Settings(format!("object_store.authorities: {}: {error}", path.display()))
            })
        });
        let authorities = authorities.transpose()?;
        let pool = |allow_plain| {
            let pool = Pool::new(authorities.as_deref(), allow_plain);
            pool.map_err(|error| Error::Settings(format!("object_store.authorities: {error}")))
        };
        Ok(Self { tls: pool(false)?, plain: pool(true)? })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allowed = options.get_config_value(&ClientConfigKey::AllowHttp);
        let is_allowed = allowed.is_some_and(|allowed| allowed == "true");
        let pool = if is_allowed { &self.plain } else { &self.tls };
        Ok(HttpClient::new(Service(pool.clone())))
    }
}

impl HttpService for Service {
    fn call<'one, 'future>(
        &'one self,
        request: HttpRequest,
    ) -> BoxFuture<'future, Result<HttpResponse, HttpError>>
    where
        'one: 'future,
        Self: 'future,
    {
        Box::pin(async move {
            let sent = self.0.send(request).await;
            let answer = sent.map_err(|error| HttpError::new(kind(&error), error))?;
            let broken = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            Ok(answer.map(|body| HttpResponseBody::new(body.map_err(broken))))
        })
    }
}

/// Whether it may be asked again: what nobody can have got, always.
fn kind(error: &outgoing::Error) -> HttpErrorKind {
    match error {
        outgoing::Error::Unreachable(_) => HttpErrorKind::Connect,
        outgoing::Error::Interrupted(_) => HttpErrorKind::Interrupted,
        outgoing::Error::Url(_) | outgoing::Error::Private => HttpErrorKind::Unknown,
    }
}
