//! The variables of OpenTelemetry that the SDK leaves to the program.

/// The value of a variable of the process. None if it is empty: OpenTelemetry treats that like one that is not set.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the environment says to send no traces, whatever the settings say.
pub(super) fn switches_traces_off(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name, word: &str| variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word));
    is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none")
}

/// The variable that asks for gRPC, and its value. There is only http.
pub(super) fn asks_for_grpc(variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    // The first one is stronger.
    let name = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]
        .into_iter()
        .find(|name| variable(name).is_some())?;
    variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("grpc")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| variables.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_environment_can_switch_traces_off() {
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert!(switches_traces_off(environment(&[off])), "{off:?}");
        }
        for on in [("OTEL_SDK_DISABLED", "false"), ("OTEL_SDK_DISABLED", "1"), ("OTEL_TRACES_EXPORTER", "otlp")] {
            assert!(!switches_traces_off(environment(&[on])), "{on:?}");
        }
    }

    #[test]
    fn grpc_is_noticed_and_the_variable_of_traces_is_stronger() {
        let (all, traces) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
        assert_eq!(asks_for_grpc(environment(&[(all, "grpc")])), Some(all));
        assert_eq!(asks_for_grpc(environment(&[(traces, "grpc")])), Some(traces));
        assert_eq!(asks_for_grpc(environment(&[(all, "grpc"), (traces, "http/protobuf")])), None);
        assert_eq!(asks_for_grpc(environment(&[(all, "http/json")])), None);
        assert_eq!(asks_for_grpc(environment(&[])), None);
    }
}
