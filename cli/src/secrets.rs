//! The flags for DH-HMAC-CHAP secrets. Letters are nvme-cli's.

use std::path::{Path, PathBuf};

use clap::Args;
use nvme_tcp::auth::{Authentication, DhchapSecret};

use crate::exit::Failure;
use crate::output;
use crate::tls_args::KeyText;

/// Who the two ends are.
#[derive(Clone, Debug, Args)]
pub struct AuthArgs {
    /// File with this host's DH-HMAC-CHAP secret (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub dhchap_keyfile: Option<PathBuf>,
    /// The secret itself; every user of this machine can see it: rather use --dhchap-keyfile
    #[arg(short = 'S', long, value_name = "TEXT", conflicts_with = "dhchap_keyfile")]
    pub dhchap_secret: Option<KeyText>,
    /// File with the controller's secret (mode 0600), which the target has to prove that it knows
    #[arg(long, value_name = "FILE")]
    pub dhchap_ctrl_keyfile: Option<PathBuf>,
    /// The controller's secret itself; rather use --dhchap-ctrl-keyfile
    #[arg(short = 'C', long, value_name = "TEXT", conflicts_with = "dhchap_ctrl_keyfile")]
    pub dhchap_ctrl_secret: Option<KeyText>,
    /// Require TLS with a key that is made from the secrets (secure channel concatenation): nothing but
    /// authentication is sent in plain
    #[arg(long, conflicts_with = "tls")]
    pub concat: bool,
}

impl AuthArgs {
    /// The secrets; `None` where there is none for this host.
    pub fn resolve(&self) -> Result<Option<Authentication>, Failure> {
        let host = load(self.dhchap_keyfile.as_deref(), self.dhchap_secret.as_ref())?;
        let controller = load(self.dhchap_ctrl_keyfile.as_deref(), self.dhchap_ctrl_secret.as_ref())?;
        let Some(host) = host else {
            let missing = match (self.concat, controller) {
                (true, _) => "--concat is given, but no DH-HMAC-CHAP secret of this host",
                (false, Some(_)) => "the controller's DH-HMAC-CHAP secret is given, but not this host's",
                (false, None) => return Ok(None),
            };
            return Err(Failure::usage(missing).hint("name its file by --dhchap-keyfile".to_owned()));
        };
        if self.concat && controller.is_none() {
            output::warn(
                "without the controller's secret (--dhchap-ctrl-keyfile) nothing shows that the target is the right one: \
                 --concat then keeps out who listens, and not who changes what goes over the network",
            );
        }
        let authentication = Authentication::new(host);
        Ok(Some(match controller {
            Some(secret) => authentication.controller_secret(secret),
            None => authentication,
        }))
    }
}

/// The secret in a file, or the one on the command line.
pub fn load(file: Option<&Path>, text: Option<&KeyText>) -> Result<Option<DhchapSecret>, Failure> {
    if let Some(path) = file {
        return Ok(Some(DhchapSecret::from_file(path)?));
    }
    let Some(text) = text else { return Ok(None) };
    output::warn(
        "a secret on the command line can be seen by every user of this machine and stays in the shell's history; \
         a file keeps it private",
    );
    Ok(Some(text.text().parse()?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const TEXT: &str = "DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";

    #[derive(Debug, Parser)]
    struct Auth {
        /// What `--concat` is not to be with.
        #[arg(long)]
        tls: bool,
        #[command(flatten)]
        args: AuthArgs,
    }

    fn auth(line: &str) -> Result<AuthArgs, clap::Error> {
        Ok(Auth::try_parse_from(["test"].into_iter().chain(line.split_whitespace()))?.args)
    }

    #[test]
    fn nvme_clis_letters_are_taken() {
        let args = auth(&format!("-S {TEXT} -C {TEXT} --concat")).unwrap();
        assert!(args.concat && args.resolve().unwrap().unwrap().is_mutual());
        assert!(!format!("{args:?}").contains("AAECAw"));
        let one_way = auth(&format!("--dhchap-secret {TEXT}")).unwrap();
        assert!(!one_way.resolve().unwrap().unwrap().is_mutual());
        assert!(auth("").unwrap().resolve().unwrap().is_none());
    }

    #[test]
    fn what_is_refused() {
        for line in ["-S x --dhchap-keyfile f", "-C x --dhchap-ctrl-keyfile f", "--tls --concat", "-S"] {
            assert!(auth(line).is_err(), "{line}");
        }
        for (line, hint) in [
            (format!("-C {TEXT}"), "--dhchap-keyfile"),
            ("--concat".to_owned(), "--dhchap-keyfile"),
            ("-S NVMeTLSkey-1:01:x:".to_owned(), "key generate-dhchap"),
        ] {
            let failure = auth(&line).unwrap().resolve().unwrap_err().to_string();
            assert!(failure.contains(hint), "{failure}");
        }
    }
}
