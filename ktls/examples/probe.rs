//! What would kernel TLS do here?
//!
//! `cargo run -p linux-ktls --example probe`

use ktls::cipher::RecordCipher;

fn main() {
    for sentence in ktls::probe().explain() {
        println!("{sentence}");
    }
    println!("\nEvery version and cipher of linux/tls.h:");
    for cipher in RecordCipher::all() {
        println!("{}", ktls::probe_cipher(cipher));
    }
}
