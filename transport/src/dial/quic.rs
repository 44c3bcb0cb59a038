//! Dialling the native protocol over QUIC.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use quinn::{
    ClientConfig, ConnectError, ConnectionError, Endpoint, EndpointConfig, TokioRuntime,
    crypto::rustls::QuicClientConfig,
};
use tokio::time::timeout;

use super::{DIAL_DEADLINE, DialError};
use crate::{
    ClientTls, Encoding, Link, LinkKind, LinkReader, LinkWriter,
    client_plane::{quic_socket, quic_transport},
    link::{ReaderKind, SILENCE_MAX, WRITE_DEADLINE, WriterKind, quic, stop::Stop},
};

/// One UDP socket per address family for all links of one [`ClientTls`].
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
}

/// Dials the native protocol over QUIC. The node learns of the link with its first frame.
///
/// # Errors
/// See [`DialError`].
pub async fn quic(tls: &ClientTls, address: SocketAddr) -> Result<Link, DialError> {
    let crypto = QuicClientConfig::try_from(Arc::clone(&tls.inner.quic))
        .map_err(|error| DialError::Protocol(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(quic_transport(SILENCE_MAX)));
    let connecting = tls.inner.endpoints.connect(config, address)?;
    let stand = async {
        let connection = connecting.await?;
        let stream = connection.open_bi().await?;
        Ok::<_, ConnectionError>((connection, stream))
    };
    let (connection, stream) = timeout(DIAL_DEADLINE, stand)
        .await
        .map_err(|_| DialError::TimedOut { address })?
        .map_err(|error| failed(address, &error))?;
    let (reader, writer) = quic::halves(connection, stream, WRITE_DEADLINE, Stop::never());
    Ok(Link {
        reader: LinkReader::new(ReaderKind::Quic(reader)),
        writer: LinkWriter::new(WriterKind::Quic(writer)),
        encoding: Encoding::Binary,
        kind: LinkKind::Quic,
        peer: Some(address),
        bearer: None,
        resume: None,
    })
}

impl Endpoints {
    fn connect(
        &self,
        config: ClientConfig,
        address: SocketAddr,
    ) -> Result<quinn::Connecting, DialError> {
        let name = address.ip().to_string();
        let unreachable = |detail: String| DialError::Unreachable { address, detail };
        let mut kept = if address.is_ipv4() { self.v4.lock() } else { self.v6.lock() };
        if let Some(endpoint) = kept.as_ref() {
            match endpoint.connect_with(config.clone(), address, &name) {
                // The runtime that drove this endpoint is gone.
                Err(ConnectError::EndpointStopping) => {}
                result => return result.map_err(|error| unreachable(error.to_string())),
            }
        }
        let local: SocketAddr = if address.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let endpoint = quic_socket(local)
            .and_then(|socket| {
                let runtime = Arc::new(TokioRuntime);
                Endpoint::new(EndpointConfig::default(), None, socket, runtime)
            })
            .map_err(|error| unreachable(error.to_string()))?;
        let endpoint = kept.insert(endpoint);
        endpoint
            .connect_with(config, address, &name)
            .map_err(|error| unreachable(error.to_string()))
    }
}

/// QUIC carries TLS alerts as codes 0x100 + alert; these are the ones about certificates.
const CERTIFICATE_ALERTS: std::ops::RangeInclusive<u64> = 0x12a..=0x130;

fn failed(address: SocketAddr, error: &ConnectionError) -> DialError {
    let detail = error.to_string();
    match error {
        ConnectionError::TimedOut => DialError::TimedOut { address },
        ConnectionError::TransportError(error)
            if CERTIFICATE_ALERTS.contains(&u64::from(error.code)) =>
        {
            DialError::Untrusted { address, detail }
        }
        _ => DialError::Unreachable { address, detail },
    }
}
