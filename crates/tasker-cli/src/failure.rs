//! Errors of the command line: a message, a hint where there is one, and an exit code.

use std::fmt::Display;
use std::process::ExitCode;

use serde::Serialize;
use tasker_api::Problem;
use tasker_client::ClientError;
use tasker_runtime::settings::SettingsError;

use crate::output::note;

/// Why a command failed. With `--json`, the failure is printed with these names.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    exit_code: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The API's response, if it refused the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Box<Problem>>,
}

impl Failure {
    /// The command failed: exit code 1.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::with_code(1, message)
    }

    /// Wrong usage or bad input: exit code 2.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::with_code(2, message)
    }

    /// Something cannot be reached: exit code 3.
    pub(crate) fn unreachable(message: impl Display) -> Self {
        Self::with_code(3, message)
    }

    /// The user interrupted the command: exit code 130, as in shells.
    pub(crate) fn interrupted() -> Self {
        Self::with_code(130, "interrupted")
    }

    /// The command failed with an exit code of its own.
    pub(crate) fn with_code(exit_code: u8, message: impl Display) -> Self {
        Self { exit_code, message: message.to_string(), hint: None, problem: None }
    }

    /// Replaces the hint.
    pub(crate) fn hint(self, hint: impl Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// Replaces the hint if something cannot be reached.
    pub(crate) fn hint_if_unreachable(self, hint: impl Display) -> Self {
        if self.is_unreachable() { self.hint(hint) } else { self }
    }

    /// Puts the subject before the message.
    pub(crate) fn context(self, subject: impl Display) -> Self {
        Self { message: format!("{subject}: {}", self.message), ..self }
    }

    /// Whether something cannot be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.exit_code == 3
    }

    /// The message without the hint.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the failure on standard error, as one line of JSON if `json`. Returns the exit code.
    pub(crate) fn report(&self, program: &str, json: bool) -> ExitCode {
        if let Some(text) = json.then(|| serde_json::to_string(self).ok()).flatten() {
            note(text);
        } else {
            note(format!("{program}: {}", self.message));
            if let Some(hint) = &self.hint {
                note(format!("hint: {hint}"));
            }
        }
        ExitCode::from(self.exit_code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { .. } | ClientError::Timeout { .. } => Self::unreachable(error).hint(
                "is the server running? `tasker-cli dev` starts one; --url or TASKER_ORCHESTRATION_URL names another",
            ),
            ClientError::BadUrl { .. } | ClientError::BadApiKey => Self::usage(error),
            ClientError::Problem(ref problem) => {
                let failure = match problem.status {
                    401 | 403 => Self::failed(&error)
                        .hint("set the key with --api-key, TASKER_API_KEY, or api_key in ~/.tasker/config.toml"),
                    400 | 413 | 415 | 422 => Self::usage(&error),
                    _ => Self::failed(&error),
                };
                Self { problem: Some(problem.clone()), ..failure }
            }
            _ => Self::failed(error),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::usage(error)
    }
}
