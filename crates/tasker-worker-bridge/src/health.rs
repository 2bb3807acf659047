//! The health check of a worker that another process runs.

use tasker_runtime::probe;
use tokio::runtime::Builder;

use crate::error::Error;
use crate::options::Options;

/// Asks the worker on this machine that was started with these options whether it is healthy. It blocks for at most
/// three seconds. Only the options that name the status API matter. Use it for the health check of a container.
///
/// # Errors
/// [`Error::Unhealthy`], and those of wrong options and settings.
pub fn check_health(options: &Options) -> Result<(), Error> {
    let address = options.settings()?.worker.address();
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Threads)?;
    Ok(runtime.block_on(probe::healthy(address))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_run_is_unhealthy() {
        // Nothing listens on this port: it is for another protocol, and needs root.
        let options = Options { port: Some(1), ..Options::default() };
        let error = check_health(&options).unwrap_err();
        assert!(matches!(error, Error::Unhealthy(_)), "{error}");
        assert!(error.to_string().contains("http://127.0.0.1:1/health"), "{error}");
    }
}
