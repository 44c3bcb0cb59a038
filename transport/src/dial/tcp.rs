//! TCP and TLS towards a client plane, for WebSocket and for REST.

use std::{io, net::SocketAddr};

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::DialError;
use crate::ClientTls;

/// Connects and proves who answers: the certificate has to name the address.
pub(crate) async fn connect(
    tls: &ClientTls,
    address: SocketAddr,
) -> Result<TlsStream<TcpStream>, DialError> {
    let unreachable =
        |error: io::Error| DialError::Unreachable { address, detail: error.to_string() };
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let connector = TlsConnector::from(std::sync::Arc::clone(&tls.inner.tcp));
    let name = ServerName::from(address.ip());
    connector.connect(name, stream).await.map_err(|error| not_trusted(address, &error))
}

fn not_trusted(address: SocketAddr, error: &io::Error) -> DialError {
    let detail = error.to_string();
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => DialError::Untrusted { address, detail },
        _ => DialError::Unreachable { address, detail },
    }
}
