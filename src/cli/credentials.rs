//! Which credential the commands call with: flag, environment, login, embedded key, in this order.

use std::path::Path;

use clap::{ArgMatches, parser::ValueSource};
use secrecy::{ExposeSecret, SecretString};

use super::{args::ClientOptions, failure::Failure};

/// What the command line and the environment give.
#[derive(Debug, Clone)]
pub(super) enum Given {
    /// An API key or an access token: both are sent alike.
    Credential(SecretString),
    /// Nothing: look for a login, then for the key of an embedded server.
    Nothing,
}

impl Given {
    /// Takes what the flags say, else what the environment says.
    pub(super) fn from_matches(matches: &ArgMatches, options: &ClientOptions) -> Result<Self, Failure> {
        let candidates = [("api_key", &options.api_key), ("token", &options.token)]
            .map(|(id, value)| (matches.value_source(id), value.clone()));
        Self::choose(candidates)
    }

    fn choose(candidates: [(Option<ValueSource>, Option<SecretString>); 2]) -> Result<Self, Failure> {
        for wanted in [ValueSource::CommandLine, ValueSource::EnvVariable] {
            let mut found = candidates
                .iter()
                .filter(|(source, _)| *source == Some(wanted))
                .filter_map(|(_, value)| value.as_ref())
                .filter(|value| !value.expose_secret().is_empty());
            match (found.next(), found.next()) {
                (None, _) => {}
                (Some(value), None) => return Ok(Self::Credential(value.clone())),
                (Some(_), Some(_)) => {
                    return Err(Failure::Usage("give an API key or a token, not both".to_owned()));
                }
            }
        }
        Ok(Self::Nothing)
    }
}

/// The key that an embedded server leaves in its data folder, if it is there.
pub(super) fn embedded_key(data_dir: &Path) -> Result<Option<SecretString>, Failure> {
    let path = data_dir.join("embedded-key");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|key| !key.is_empty()).map(SecretString::from)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Local(format!("{} cannot be read: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use clap::parser::ValueSource::{CommandLine, EnvVariable};
    use secrecy::ExposeSecret;

    use super::{Failure, Given};

    fn choose(
        key: Option<(clap::parser::ValueSource, &str)>,
        token: Option<(clap::parser::ValueSource, &str)>,
    ) -> Result<String, Failure> {
        let candidate = |given: Option<(clap::parser::ValueSource, &str)>| {
            (given.map(|(source, _)| source), given.map(|(_, value)| value.to_owned().into()))
        };
        Ok(match Given::choose([candidate(key), candidate(token)])? {
            Given::Credential(value) => value.expose_secret().to_owned(),
            Given::Nothing => String::new(),
        })
    }

    #[test]
    fn a_flag_wins_over_the_environment_also_of_the_other_kind() {
        assert_eq!(choose(Some((EnvVariable, "k")), Some((CommandLine, "t"))).ok().as_deref(), Some("t"));
        assert_eq!(choose(Some((CommandLine, "k")), Some((EnvVariable, "t"))).ok().as_deref(), Some("k"));
        assert_eq!(choose(Some((EnvVariable, "k")), None).ok().as_deref(), Some("k"));
        assert_eq!(choose(None, None).ok().as_deref(), Some(""));
    }

    #[test]
    fn two_of_the_same_place_are_refused_and_empty_ones_ignored() {
        assert!(matches!(choose(Some((CommandLine, "k")), Some((CommandLine, "t"))), Err(Failure::Usage(_))));
        assert!(matches!(choose(Some((EnvVariable, "k")), Some((EnvVariable, "t"))), Err(Failure::Usage(_))));
        assert_eq!(choose(Some((EnvVariable, "")), Some((EnvVariable, "t"))).ok().as_deref(), Some("t"));
    }
}
