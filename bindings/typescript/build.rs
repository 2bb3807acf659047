//! Sets the options of the linker for a module of Node.

fn main() {
    napi_build::setup();
}
