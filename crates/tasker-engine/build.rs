//! Makes cargo rebuild the crate when a migration is added. `sqlx::migrate!` embeds the folder, but cargo tracks only
//! files.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
