//! Where a URL points, taken apart once.

use std::net::IpAddr;

use hyper::Uri;

use super::Error;

/// A server and a path on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tls: bool,
    /// A name, or an address; one of IPv6 in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// With the query.
    pub(super) path: String,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|_| Error::Url("is not valid"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::Url("must begin with https://")),
        };
        let authority = uri.authority().ok_or(Error::Url("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(Error::Url("holds a user or password"));
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(Error::Url("names no host"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { tls, host, port, path })
    }

    /// The host without brackets.
    pub(super) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The address, when the host is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.bare_host().parse().ok()
    }

    /// Whether the name by itself says that it is of this machine or network.
    pub(super) fn is_local_name(&self) -> bool {
        let name = self.host.trim_end_matches('.');
        let ends = [".localhost", ".local", ".internal"];
        name == "localhost" || ends.iter().any(|end| name.ends_with(end))
    }

    pub(super) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// What connections are kept by.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}:{}", if self.tls { "https" } else { "http" }, self.host, self.port)
    }
}
