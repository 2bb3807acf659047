//! Makes cargo notice new migrations: `sqlx::migrate!` embeds the folder, and cargo sees only files that it knows.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
