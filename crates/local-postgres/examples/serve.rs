//! Runs a private server until Ctrl-C, and prints its address. With an argument, keeps its data in that folder.
//!
//! ```sh
//! cargo run -p local-postgres --example serve
//! ```

use local_postgres::{LocalPostgres, Options, StopMode};

#[tokio::main]
async fn main() {
    if let Err(error) = serve().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn serve() -> Result<(), local_postgres::Error> {
    let data_dir = std::env::args_os().nth(1).map(Into::into);
    let server = LocalPostgres::start(Options { data_dir, ..Options::default() }).await?;
    println!("url      {}", server.url());
    println!("programs {}", server.bin_dir().display());
    println!("folder   {}", server.data_dir().display());
    // Also stop if signals cannot be received.
    let _ = tokio::signal::ctrl_c().await;
    server.stop(StopMode::Fast).await
}
