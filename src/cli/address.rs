//! Which server the commands talk to.

use std::{net::SocketAddr, path::Path};

use serde::Deserialize;

use super::failure::Failure;

const DEFAULT: &str = "http://127.0.0.1:50051";

/// A server's address, always as `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerAddress {
    uri: http::Uri,
}

/// What a running server writes into its data folder, as far as the commands need it.
#[derive(Deserialize)]
struct ServerFile {
    listen: SocketAddr,
}

impl ServerAddress {
    /// The given address, else that of the server of this data folder, else the default one.
    pub(super) fn find(given: Option<&str>, data_dir: &Path) -> Result<Self, Failure> {
        if let Some(text) = given.filter(|text| !text.is_empty()) {
            return Self::parse(text).map_err(Failure::Usage);
        }
        let path = data_dir.join("server.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Self::parse(DEFAULT).map_err(Failure::Local);
            }
            Err(error) => return Err(Failure::Local(format!("{} cannot be read: {error}", path.display()))),
        };
        let file: ServerFile = serde_json::from_slice(&text)
            .map_err(|error| Failure::Local(format!("{} is not as a server writes it: {error}", path.display())))?;
        Self::parse(&reachable(file.listen).to_string()).map_err(Failure::Local)
    }

    /// `host:port` or `http://host:port`.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("--server {text:?} {why}; write for example http://127.0.0.1:50051");
        if text.starts_with("https://") {
            return Err(wrong("needs TLS, which this version does not speak"));
        }
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri = full.parse().map_err(|_| wrong("is not an address"))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err(wrong("is not an address"));
        }
        if uri.port_u16().is_none() {
            return Err(wrong("has no port"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("has more than a host and a port"));
        }
        Ok(Self { uri })
    }

    /// For connecting.
    pub(super) fn uri(&self) -> &http::Uri {
        &self.uri
    }

    /// The name under which credentials are kept.
    pub(super) fn name(&self) -> String {
        self.uri.to_string().trim_end_matches('/').to_ascii_lowercase()
    }

    /// Whether it is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// A server that listens everywhere is reached on loopback.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        let loopback =
            if listen.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        listen.set_ip(loopback);
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::ServerAddress;

    #[test]
    fn the_flag_wins_over_the_file_and_the_file_over_the_default() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = |given| ServerAddress::find(given, folder.path()).map(|address| address.name()).expect("an address");
        assert_eq!(name(None), "http://127.0.0.1:50051");
        std::fs::write(folder.path().join("server.json"), r#"{"listen":"0.0.0.0:7001","pid":1}"#).expect("written");
        assert_eq!(name(None), "http://127.0.0.1:7001");
        assert_eq!(name(Some("Shop.example:7002")), "http://shop.example:7002");
    }

    #[test]
    fn addresses_that_cannot_work_are_refused() {
        for bad in ["https://a:1", "a", "http://a", "http://a:1/x", "ftp://a:1", "http://:1"] {
            assert!(ServerAddress::parse(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (address, loopback) in [
            ("localhost:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("10.0.0.1:1", false),
            ("localhost.evil:1", false),
        ] {
            let parsed = ServerAddress::parse(address).expect("valid");
            assert_eq!(parsed.is_loopback(), loopback, "{address}");
        }
    }
}
