//! What the linker is told of the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // cargo-c gives the name itself.
    if std::env::var_os("CARGO_C_CAPI").is_none() {
        let major = std::env::var("CARGO_PKG_VERSION_MAJOR").unwrap_or_default();
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnvme_tcp.so.{major}");
    }
    // A controller's thread and the destructors of thread-local memory outlive dlclose(3), so the code has to.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
