//! The channel to the server, and requests that carry the credential.

use std::{path::PathBuf, time::Duration};

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};
use tonic::{
    Code, Request,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};

use super::{
    address::ServerAddress,
    args::ClientOptions,
    credentials::{Given, embedded_key},
    failure::{Failure, reason},
    session::{LockedSessions, Session, SessionFile},
};
use crate::proto::v1::{self, auth_service_client::AuthServiceClient};

/// Bytes that a server may send on one call of [another channel](Connection::another_channel) before they are read:
/// two of its largest frames …
const STREAM_WINDOW: u32 = 8 << 20;
/// … and on the whole connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes that the server may put into one HTTP/2 frame on such a channel. 16 KiB, which is usual, would have it write
/// each of its own frames with many system calls.
const HTTP2_FRAME: u32 = 256 << 10;

/// A channel to one server. It connects when it is first used, and again whenever it has to.
pub(super) struct Connection {
    endpoint: Endpoint,
    channel: Channel,
    address: ServerAddress,
    given: Given,
    data_dir: PathBuf,
    timeout: Duration,
}

impl Connection {
    /// Prepares a channel; nothing is sent yet.
    pub(super) fn open(options: &ClientOptions, given: Given) -> Result<Self, Failure> {
        let address = ServerAddress::find(options.server.as_deref(), &options.data_dir)?;
        let endpoint = Endpoint::from(address.uri().clone())
            .user_agent(concat!("eventflow/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| Failure::Local(error.to_string()))?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .keep_alive_while_idle(true);
        let (data_dir, timeout) = (options.data_dir.clone(), options.timeout);
        Ok(Self { channel: endpoint.connect_lazy(), endpoint, address, given, data_dir, timeout })
    }

    /// For the generated clients.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A connection of its own, that shares nothing with the others, for much at once.
    pub(super) fn another_channel(&self) -> Channel {
        let wide = self.endpoint.clone().initial_stream_window_size(STREAM_WINDOW).max_frame_size(HTTP2_FRAME);
        wide.initial_connection_window_size(CONNECTION_WINDOW).connect_lazy()
    }

    /// The server.
    pub(super) fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// How long a call may take, its retries included.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether the command line or the environment gives the credential.
    pub(super) fn has_given_credential(&self) -> bool {
        matches!(self.given, Given::Credential(_))
    }

    /// A request of one answer, with the credential and a deadline.
    pub(super) async fn request<T>(&self, message: T) -> Result<Request<T>, Failure> {
        let mut request = self.stream_request(message).await?;
        request.set_timeout(self.timeout);
        Ok(request)
    }

    /// A request of a stream, with the credential and without a deadline.
    pub(super) async fn stream_request<T>(&self, message: T) -> Result<Request<T>, Failure> {
        let mut request = Request::new(message);
        if let Some(credential) = self.credential().await? {
            let value = format!("Bearer {}", credential.expose_secret());
            let mut value: AsciiMetadataValue = value.parse().map_err(|_| {
                Failure::Credential("the API key or token holds characters that none has; copy it again".to_owned())
            })?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }

    /// A request without the credential, with a deadline.
    pub(super) fn open_request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// The credential to call with now; `None` if there is none.
    async fn credential(&self) -> Result<Option<SecretString>, Failure> {
        if let Given::Credential(credential) = &self.given {
            return Ok(Some(credential.clone()));
        }
        if let Some(file) = SessionFile::of_user()
            && let Some(session) = file.load(&self.address.name())?
        {
            if !session.is_stale(Utc::now()) {
                return Ok(Some(session.access_token.into()));
            }
            return self.renewed(file).await.map(Some);
        }
        if self.address.is_loopback() { embedded_key(&self.data_dir) } else { Ok(None) }
    }

    /// The access token after a renewal by this process, or by another one that had the lock before.
    async fn renewed(&self, file: SessionFile) -> Result<SecretString, Failure> {
        let locked = file.lock().await?;
        let server = self.address.name();
        let session =
            locked.load(&server)?.ok_or_else(|| Failure::Credential("the login has ended; log in again".to_owned()))?;
        if !session.is_stale(Utc::now()) {
            return Ok(session.access_token.into());
        }
        self.renew(&locked, session).await
    }

    async fn renew(&self, locked: &LockedSessions, session: Session) -> Result<SecretString, Failure> {
        let Session { username, refresh_token, .. } = session;
        let request = self.open_request(v1::RefreshTokenRequest { refresh_token });
        let answer = AuthServiceClient::new(self.channel()).refresh_token(request).await;
        let tokens = match answer {
            Ok(answer) => answer.into_inner().tokens,
            Err(status) if status.code() == Code::Unauthenticated => {
                let why = reason(&status).unwrap_or_else(|| "CREDENTIAL_EXPIRED".to_owned());
                return Err(Failure::Credential(format!(
                    "{why}: the login of {username} at {} has ended; log in again with: eventflow login {username}",
                    self.address.name()
                )));
            }
            Err(status) => return Err(status.into()),
        };
        let session = Session::new(username, tokens.unwrap_or_default())?;
        locked.save(&self.address.name(), &session)?;
        Ok(session.access_token.into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::{ClientOptions, Connection, Given};
    use crate::cli::args::Arguments;

    fn options(server: &str, data_dir: &std::path::Path) -> ClientOptions {
        use clap::Parser;
        let data_dir = data_dir.to_str().expect("text");
        let line = ["eventflow", "--server", server, "--data-dir", data_dir, "whoami"];
        Arguments::try_parse_from(line).expect("valid").client
    }

    #[tokio::test]
    async fn the_embedded_key_is_for_loopback_alone_and_comes_last() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("embedded-key"), "efk_a_b\n").expect("written");
        let credential = async |server: &str, given: Given| {
            let connection = Connection::open(&options(server, folder.path()), given).expect("valid");
            let credential = connection.credential().await.expect("readable");
            credential.map(|secret| secret.expose_secret().to_owned())
        };
        assert_eq!(credential("127.0.0.1:1", Given::Nothing).await.as_deref(), Some("efk_a_b"));
        assert_eq!(credential("127.0.0.1:1", Given::Credential("x".to_owned().into())).await.as_deref(), Some("x"));
        assert_eq!(credential("10.0.0.1:1", Given::Nothing).await, None);
    }
}
