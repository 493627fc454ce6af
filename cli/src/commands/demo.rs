//! `demo`: the whole way of an image in one process.

use std::path::PathBuf;

use clap::Args;

use crate::output::OutputArgs;
use crate::size;

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Take this file as the image
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    pub file: Option<PathBuf>,
    /// Size of the image that the demo makes itself
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "256M")]
    pub size: u64,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Demo {
        #[command(flatten)]
        args: DemoArgs,
    }

    #[test]
    fn an_image_of_its_own_or_a_file() {
        assert_eq!(Demo::try_parse_from(["demo"]).unwrap().args.size, 256 << 20);
        let args = Demo::try_parse_from(["demo", "--file", "f", "--json"]).unwrap().args;
        assert_eq!(args.file, Some("f".into()));
        assert!(Demo::try_parse_from(["demo", "--file", "f", "--size", "1M"]).is_err());
        assert!(Demo::try_parse_from(["demo", "--size", "1.5M"]).is_err());
    }
}
