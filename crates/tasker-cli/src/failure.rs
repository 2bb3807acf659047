//! Errors as the command line tells them: one clear line, a hint where there is one, and an exit code.

use std::fmt::Display;
use std::process::ExitCode;

use tasker_client::ClientError;
use tasker_runtime::settings::SettingsError;

use crate::output::note;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// It did not succeed: exit code 1.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string(), hint: None }
    }

    /// Wrong usage or bad input: exit code 2.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string(), hint: None }
    }

    /// Something cannot be reached: exit code 3.
    pub(crate) fn unreachable(message: impl Display) -> Self {
        Self { code: 3, message: message.to_string(), hint: None }
    }

    /// The user ended it: exit code 130, as shells have it for Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self { code: 130, message: "interrupted".to_owned(), hint: None }
    }

    /// The same with another hint.
    pub(crate) fn hint(self, hint: impl Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// The same with another hint if something cannot be reached.
    pub(crate) fn hint_if_unreachable(self, hint: impl Display) -> Self {
        if self.is_unreachable() { self.hint(hint) } else { self }
    }

    /// The same, saying what it is about.
    pub(crate) fn context(self, subject: impl Display) -> Self {
        Self { message: format!("{subject}: {}", self.message), ..self }
    }

    /// Whether something cannot be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.code == 3
    }

    /// The message without the hint.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Tells the user, and returns the exit code.
    pub(crate) fn report(&self, program: &str) -> ExitCode {
        note(format!("{program}: {}", self.message));
        if let Some(hint) = &self.hint {
            note(format!("hint: {hint}"));
        }
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Unreachable { .. } | ClientError::Timeout { .. } => Self::unreachable(error).hint(
                "is the server running? `tasker-cli dev` starts one; --url or TASKER_ORCHESTRATION_URL names another",
            ),
            ClientError::BadUrl { .. } | ClientError::BadApiKey => Self::usage(error),
            ClientError::Problem(problem) if matches!(problem.status, 401 | 403) => {
                Self::failed(error).hint("--api-key, TASKER_API_KEY, or api_key in ~/.tasker/config.toml gives the key")
            }
            ClientError::Problem(problem) if matches!(problem.status, 400 | 413 | 415 | 422) => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::usage(error)
    }
}
