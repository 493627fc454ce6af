//! The fuzzer's bodies over their corpus, as ordinary tests. The fuzzer itself: fuzz/README.md.

mod bodies;

use std::path::Path;

use bodies::{ALL, Body};
use proptest::prelude::*;

/// The bodies that can be run: the others call ring's assembler, which Miri cannot.
fn bodies() -> impl Iterator<Item = (&'static str, Body)> {
    ALL.into_iter().filter(|(name, _)| !cfg!(miri) || ["cmsg", "netlink"].contains(name))
}

/// How many bytes of a file are changed: Miri takes a thousand times as long.
const CHANGED: usize = if cfg!(miri) { 8 } else { 600 };

#[test]
fn the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, body) in bodies() {
        let mut files = 0;
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            let bytes = std::fs::read(&path).unwrap();
            body(&bytes);
            // Cut anywhere, and with each byte changed in turn, as far as that is quick.
            for at in 0..bytes.len().min(CHANGED) {
                body(&bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                body(&changed);
            }
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
}

proptest! {
    #[test]
    fn bytes_made_up_hold(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (_, body) in bodies() {
            body(&bytes);
        }
    }
}
