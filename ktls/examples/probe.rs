//! What would kernel TLS do here?
//!
//! `cargo run -p linux-ktls --example probe`

fn main() {
    for sentence in ktls::probe().explain() {
        println!("{sentence}");
    }
    println!("\nEvery version and cipher of linux/tls.h:");
    for probe in ktls::probe_ciphers() {
        println!("{probe}");
    }
}
