//! Settings of `eventflow serve`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};

/// How the URL of a Postgres begins.
const DATABASE_SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Settings of `eventflow serve`. Without any, it runs embedded: SQLite in `./eventflow-data`, on loopback.
#[derive(Debug, Clone, Args)]
pub struct ServeSettings {
    /// Address for gRPC; port 0 takes a free one.
    #[arg(long, env = "EVENTFLOW_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Address for /metrics, /healthz and /readyz over plain HTTP; port 0 takes a free one.
    #[arg(long, env = "EVENTFLOW_HTTP_LISTEN", default_value = "127.0.0.1:9464", value_name = "ADDRESS")]
    pub http_listen: SocketAddr,

    /// Folder for the embedded store, the admin password and server.json.
    #[arg(long, env = "EVENTFLOW_DATA_DIR", default_value = "./eventflow-data", value_name = "FOLDER")]
    pub data_dir: PathBuf,

    /// Listen on an address that is not loopback although nothing is encrypted.
    #[arg(long, env = "EVENTFLOW_INSECURE")]
    pub insecure: bool,

    /// Where events are kept and how servers wake each other.
    #[command(flatten)]
    pub store: StoreSettings,

    /// Password of the first admin, read from this file instead of being made up.
    #[arg(long, env = "EVENTFLOW_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,

    /// Serve reflection, so that grpcurl needs no proto files.
    #[arg(long, env = "EVENTFLOW_REFLECTION", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub reflection: bool,

    /// How long a stream may get before it is asked to begin anew, give or take a tenth.
    #[arg(long, env = "EVENTFLOW_STREAM_MAX_AGE", default_value = "60m", value_parser = duration, value_name = "TIME")]
    pub stream_max_age: Duration,

    /// Connections that are taken at once.
    #[arg(long, env = "EVENTFLOW_MAX_CONNECTIONS", default_value_t = 10_000, value_name = "COUNT")]
    pub max_connections: usize,

    /// Streams of events that are open at once.
    #[arg(long, env = "EVENTFLOW_MAX_STREAMS", default_value_t = 50_000, value_name = "COUNT")]
    pub max_streams: usize,

    /// Streams of events that one user, producer or consumer has open at once.
    #[arg(long, env = "EVENTFLOW_MAX_STREAMS_PER_PRINCIPAL", default_value_t = 20_000, value_name = "COUNT")]
    pub max_streams_per_principal: usize,

    /// How long a stop may take: streams are told at once, and calls under way finish.
    #[arg(long, env = "EVENTFLOW_DRAIN_TIMEOUT", default_value = "25s", value_parser = duration, value_name = "TIME")]
    pub drain_timeout: Duration,

    /// How often heads are looked up for readers. [default: 1s while wake-ups work, 100ms while they do not]
    #[arg(long, env = "EVENTFLOW_POLL_INTERVAL", value_parser = duration, value_name = "TIME")]
    pub poll_interval: Option<Duration>,

    /// How often events that are not kept any longer are looked for and removed.
    #[arg(long, env = "EVENTFLOW_RETENTION_INTERVAL", default_value = "1m", value_parser = duration, value_name = "TIME")]
    pub retention_interval: Duration,

    /// How old events are when small segments of them are packed into full ones; off: never.
    #[arg(long, env = "EVENTFLOW_PACK_AFTER", default_value = "10m", value_parser = duration_or_off, value_name = "TIME")]
    pub pack_after: Duration,

    /// Bytes of events that are packed in a second, at most.
    #[arg(long, env = "EVENTFLOW_PACK_RATE", default_value_t = 16 << 20, value_name = "BYTES")]
    pub pack_rate: usize,

    /// How long access tokens are valid.
    #[arg(long, env = "EVENTFLOW_TOKEN_TTL", default_value = "15m", value_parser = duration, value_name = "TIME")]
    pub token_ttl: Duration,

    /// Bytes of recent events kept in memory for each topic.
    #[arg(long, env = "EVENTFLOW_RING_BYTES", default_value_t = 16 << 20, value_name = "BYTES")]
    pub ring_bytes: usize,

    /// Bytes of recent events kept in memory for all topics.
    #[arg(long, env = "EVENTFLOW_RING_BYTES_TOTAL", default_value_t = 256 << 20, value_name = "BYTES")]
    pub ring_bytes_total: usize,

    /// Bytes of events that may wait to be appended to each topic.
    #[arg(long, env = "EVENTFLOW_QUEUE_BYTES", default_value_t = 16 << 20, value_name = "BYTES")]
    pub queue_bytes: usize,

    /// Bytes of events that may wait to be appended to all topics.
    #[arg(long, env = "EVENTFLOW_QUEUE_BYTES_TOTAL", default_value_t = 256 << 20, value_name = "BYTES")]
    pub queue_bytes_total: usize,

    /// How long a publish waits for room in a full queue.
    #[arg(long, env = "EVENTFLOW_QUEUE_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub queue_timeout: Duration,

    /// Requests of one publishing stream that may be unanswered; then it is not read until one is answered.
    #[arg(long, env = "EVENTFLOW_PUBLISH_STREAM_REQUESTS", default_value_t = 1024, value_name = "COUNT")]
    pub publish_stream_requests: usize,

    /// Bytes of such requests and of their answers; a larger request goes by itself.
    #[arg(long, env = "EVENTFLOW_PUBLISH_STREAM_BYTES", default_value_t = 4 << 20, value_name = "BYTES")]
    pub publish_stream_bytes: usize,

    /// What is logged, as for RUST_LOG: a level, or target=level pairs.
    #[arg(long, env = "EVENTFLOW_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How logs look. [default: text on a terminal, json otherwise]
    #[arg(long, env = "EVENTFLOW_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Settings of the store, shared by `serve` and `migrate`.
#[derive(Debug, Clone, Args)]
pub struct StoreSettings {
    /// Postgres to keep events in, instead of SQLite in the data folder.
    #[arg(long, env = "EVENTFLOW_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<SecretString>,

    /// Redis for waking readers on other servers; without it they look every 100 ms.
    #[arg(long, env = "EVENTFLOW_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<SecretString>,

    /// Bring the schema up to date at start.
    #[arg(long, env = "EVENTFLOW_MIGRATE", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub migrate: bool,

    /// The same database as a role that may change the schema.
    #[arg(long, env = "EVENTFLOW_MIGRATE_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub migrate_database_url: Option<SecretString>,

    /// Run on a Postgres with fsync or full_page_writes off, which loses acknowledged events in a crash.
    #[arg(long, env = "EVENTFLOW_UNSAFE_DATABASE")]
    pub unsafe_database: bool,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}

/// Where events are kept.
#[derive(Debug, Clone)]
pub enum Backend {
    /// SQLite in the data folder.
    Embedded,
    /// Postgres, and Redis if given.
    Postgres {
        /// The database.
        url: SecretString,
        /// The notifier.
        redis: Option<SecretString>,
    },
}

/// Settings that cannot be, or contradict each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// Redis alone does nothing.
    #[error("--redis-url needs --database-url: one server with the embedded store has nobody to wake")]
    RedisWithoutPostgres,
    /// Another kind of database, or no URL. It is not repeated, since it may hold a password.
    #[error("{0} is not the URL of a Postgres; write for example postgres://user:password@host/database")]
    NotPostgres(&'static str),
    /// Nothing is encrypted yet.
    #[error(
        "--listen {0} is not loopback, and nothing is encrypted: passwords, keys and events could be read on the way; \
         use 127.0.0.1, or say --insecure if the network protects it"
    )]
    NotLoopback(SocketAddr),
    /// A time beyond reason.
    #[error("no time may be longer than ten years")]
    TooLong,
    /// A time of nothing.
    #[error("{0} must be more than 0")]
    Zero(&'static str),
}

impl ServeSettings {
    /// Checks what one flag alone cannot know.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.store.backend()?;
        if !self.insecure && !self.listen.ip().is_loopback() {
            return Err(SettingsError::NotLoopback(self.listen));
        }
        /// A time beyond which clocks overflow.
        const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
        let longest = [
            self.stream_max_age,
            self.drain_timeout,
            self.token_ttl,
            self.queue_timeout,
            self.retention_interval,
            self.pack_after,
        ];
        if longest.into_iter().chain(self.poll_interval).any(|time| time > LONGEST) {
            return Err(SettingsError::TooLong);
        }
        let zeros = [
            ("--ring-bytes", self.ring_bytes == 0),
            ("--ring-bytes-total", self.ring_bytes_total == 0),
            ("--queue-bytes", self.queue_bytes == 0),
            ("--queue-bytes-total", self.queue_bytes_total == 0),
            ("--publish-stream-requests", self.publish_stream_requests == 0),
            ("--publish-stream-bytes", self.publish_stream_bytes == 0),
            ("--max-connections", self.max_connections == 0),
            ("--max-streams", self.max_streams == 0),
            ("--max-streams-per-principal", self.max_streams_per_principal == 0),
            ("--stream-max-age", self.stream_max_age.is_zero()),
            ("--drain-timeout", self.drain_timeout.is_zero()),
            ("--token-ttl", self.token_ttl.is_zero()),
            ("--pack-rate", self.pack_rate == 0),
            ("--retention-interval", self.retention_interval.is_zero()),
            ("--poll-interval", self.poll_interval.is_some_and(|interval| interval.is_zero())),
        ];
        match zeros.into_iter().find(|(_, zero)| *zero) {
            Some((flag, _)) => Err(SettingsError::Zero(flag)),
            None => Ok(()),
        }
    }
}

impl StoreSettings {
    /// Where events are kept.
    pub fn backend(&self) -> Result<Backend, SettingsError> {
        let urls = [("--database-url", &self.database_url), ("--migrate-database-url", &self.migrate_database_url)];
        for (flag, url) in urls {
            let known =
                |url: &SecretString| DATABASE_SCHEMES.iter().any(|scheme| url.expose_secret().starts_with(scheme));
            if url.as_ref().is_some_and(|url| !known(url)) {
                return Err(SettingsError::NotPostgres(flag));
            }
        }
        match (&self.database_url, &self.redis_url) {
            (None, None) => Ok(Backend::Embedded),
            (None, Some(_)) => Err(SettingsError::RedisWithoutPostgres),
            (Some(url), redis) => Ok(Backend::Postgres { url: url.clone(), redis: redis.clone() }),
        }
    }
}

/// A duration, or 0 for `off`.
fn duration_or_off(text: &str) -> Result<Duration, String> {
    match text {
        "off" | "0" => Ok(Duration::ZERO),
        time => duration(time).map_err(|error| format!("{error}, or off")),
    }
}

/// A duration such as `250ms`, `15s`, `60m`, `24h` or `30d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write for example 250ms, 15s, 60m, 24h or 30d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::{ServeSettings, SettingsError, duration, duration_or_off};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: ServeSettings,
    }

    fn check(args: &[&str]) -> Result<(), SettingsError> {
        Program::parse_from(std::iter::once(&"serve").chain(args)).settings.check()
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["--redis-url", "redis://localhost"]), Err(SettingsError::RedisWithoutPostgres));
        let open = "0.0.0.0:50051";
        assert!(matches!(check(&["--listen", open]), Err(SettingsError::NotLoopback(_))));
        assert_eq!(check(&["--listen", open, "--insecure"]), Ok(()));
        for capacity in ["--pack-rate", "--ring-bytes", "--publish-stream-requests", "--publish-stream-bytes"] {
            assert_eq!(check(&[capacity, "0"]), Err(SettingsError::Zero(capacity)));
            assert_eq!(check(&[capacity, "1"]), Ok(()));
        }
        for good in ["postgres://ada@db/x", "postgresql://db/x"] {
            assert_eq!(check(&["--database-url", good]), Ok(()));
        }
        for bad in ["mysql://ada@db/x", "db/x", ""] {
            assert_eq!(check(&["--database-url", bad]), Err(SettingsError::NotPostgres("--database-url")), "{bad:?}");
        }
    }

    #[test]
    fn what_may_be_off_is_off_by_name_or_number() {
        for off in ["off", "0", "0s"] {
            assert_eq!(duration_or_off(off), Ok(Duration::ZERO), "{off}");
        }
        assert_eq!(duration_or_off("10m"), Ok(Duration::from_secs(600)));
        assert!(duration_or_off("never").is_err());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "5", "s", "-1s", "1.5s", "5 s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad:?} was taken for a time");
        }
    }
}
