//! The way to the server: TLS, credential, keepalive, and the environment that sets them.

use std::{env, error::Error, fs, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// What the generated clients call through.
pub type Service = InterceptedService<Channel, Credential>;

/// One server, or several behind one address. It is reached when first used, and again whenever that has to be.
#[derive(Debug, Clone)]
pub struct Server {
    channel: Channel,
}

impl Server {
    /// From `EVENTFLOW_SERVER`, `EVENTFLOW_CA_FILE`, and `EVENTFLOW_CLIENT_CERT_FILE` with `EVENTFLOW_CLIENT_KEY_FILE`.
    pub fn from_env() -> Result<Self, Box<dyn Error>> {
        let url = env::var("EVENTFLOW_SERVER").unwrap_or_else(|_| "http://127.0.0.1:50051".to_owned());
        let mut endpoint = Endpoint::from_shared(url)?
            .connect_timeout(Duration::from_secs(5))
            // A connection that died in silence is noticed after 40 s, also while no call is open.
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(tls()?)?;
        }
        Ok(Self { channel: endpoint.connect_lazy() })
    }

    /// Calls with the key in `EVENTFLOW_API_KEY`, if there is one.
    pub fn service(&self) -> Result<Service, Box<dyn Error>> {
        self.service_with_key(env::var("EVENTFLOW_API_KEY").ok().as_deref())
    }

    /// Calls with this key.
    pub fn service_with_key(&self, key: Option<&str>) -> Result<Service, Box<dyn Error>> {
        let mut header = key.map(|key| format!("Bearer {key}").parse::<MetadataValue<Ascii>>()).transpose()?;
        if let Some(header) = &mut header {
            header.set_sensitive(true);
        }
        Ok(InterceptedService::new(self.channel.clone(), Credential { header }))
    }
}

/// Puts the API key on each call.
#[derive(Debug, Clone)]
pub struct Credential {
    header: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// The system's roots, or those of a file; and a certificate of the client's own, if it has one.
fn tls() -> Result<ClientTlsConfig, Box<dyn Error>> {
    let config = match env::var_os("EVENTFLOW_CA_FILE") {
        Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(file)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    let certificate = env::var_os("EVENTFLOW_CLIENT_CERT_FILE").zip(env::var_os("EVENTFLOW_CLIENT_KEY_FILE"));
    let Some((certificate, key)) = certificate else { return Ok(config) };
    Ok(config.identity(Identity::from_pem(fs::read(certificate)?, fs::read(key)?)))
}
