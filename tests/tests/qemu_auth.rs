//! DH-HMAC-CHAP between our initiator, on this machine and in the guest, and the Linux kernel's target in the QEMU lab.

use system_tests::qemu::{Export, Lab, Port, secret};
use system_tests::{KeyFile, Run, Tool, image, on_both_sides};

const GROUPS: [&str; 6] = ["null", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"];

/// A subsystem for one host that has to authenticate itself.
struct Guarded<'a> {
    lab: &'a Lab,
    export: Export<'a>,
    host: String,
    secret: KeyFile,
    controller: KeyFile,
}

impl<'a> Guarded<'a> {
    fn new(lab: &'a Lab, name: &str, hmac: &str) -> Self {
        let export = lab.export(name, &[4096]);
        let host = format!("nqn.2024-01.org.example:host-{name}");
        let files = [0, 1].map(|_| KeyFile::with(&format!("{}\n", secret(hmac))));
        let [secret, controller] = files;
        lab.ask(&format!(
            "allow {} {host}; printf %s {} >$NVMET/hosts/{host}/dhchap_key",
            export.nqn,
            secret.text()
        ));
        Self { lab, export, host, secret, controller }
    }

    /// What the target asks for from now on.
    fn asks(&self, hash: &str, group: &str) {
        let host = &self.host;
        self.lab.ask(&format!(
            "cd $NVMET/hosts/{host}; echo 'hmac({hash})' >dhchap_hash; echo {group} >dhchap_dhgroup"
        ));
    }

    /// The target proves that it knows the controller's secret, too.
    fn proves_itself(&self) {
        let text = self.controller.text();
        self.lab.ask(&format!("printf %s {text} >$NVMET/hosts/{}/dhchap_ctrl_key", self.host));
    }

    fn list(&self, port: Port, flags: &[&str]) -> Run {
        let list = Tool::new(["list", &self.export.uri(port, None), "--json", "--hostnqn", &self.host]);
        self.lab.run(list.args(flags))
    }

    fn one_way(&self) -> [&str; 2] {
        ["--dhchap-keyfile", self.secret.path()]
    }

    fn both_ways(&self) -> [&str; 4] {
        ["--dhchap-keyfile", self.secret.path(), "--dhchap-ctrl-keyfile", self.controller.path()]
    }
}

/// With all groups one way. Both ways differ in the responses only, which the group has its part in: one of each kind.
fn every_group(lab: &Lab, name: &str, hash: &str, both: bool) {
    let guarded = Guarded::new(lab, name, "1");
    if both {
        guarded.proves_itself();
    }
    let groups: &[&str] = if both { &["null", "ffdhe2048", "ffdhe8192"] } else { &GROUPS };
    for group in groups {
        guarded.asks(hash, group);
        let flags: &[&str] = if both { &guarded.both_ways() } else { &guarded.one_way() };
        let run = guarded.list(Port::Plain, flags);
        assert_eq!(run.code, Some(0), "{hash} {group}: {}", run.stderr);
    }
}

on_both_sides!(nvmet_chap_one_way_sha256, "DH-HMAC-CHAP one way, SHA-256, every group", None, |lab| {
    every_group(lab, "chap256", "sha256", false);
});

on_both_sides!(nvmet_chap_one_way_sha384, "DH-HMAC-CHAP one way, SHA-384, every group", None, |lab| {
    every_group(lab, "chap384", "sha384", false);
});

on_both_sides!(nvmet_chap_one_way_sha512, "DH-HMAC-CHAP one way, SHA-512, every group", None, |lab| {
    every_group(lab, "chap512", "sha512", false);
});

on_both_sides!(nvmet_chap_both_ways_sha256, "DH-HMAC-CHAP both ways, SHA-256", None, |lab| {
    every_group(lab, "mutual256", "sha256", true);
});

on_both_sides!(nvmet_chap_both_ways_sha384, "DH-HMAC-CHAP both ways, SHA-384", None, |lab| {
    every_group(lab, "mutual384", "sha384", true);
});

on_both_sides!(nvmet_chap_both_ways_sha512, "DH-HMAC-CHAP both ways, SHA-512", None, |lab| {
    every_group(lab, "mutual512", "sha512", true);
});

on_both_sides!(
    /// The secret's own transformation, by the number in its text.
    nvmet_chap_every_form_of_secret, "DH-HMAC-CHAP, secrets DHHC-1:00 to :03", None, |lab| {
    for hmac in ["0", "1", "2", "3"] {
        let guarded = Guarded::new(lab, &format!("form{hmac}"), hmac);
        guarded.proves_itself();
        guarded.asks("sha256", "ffdhe2048");
        let run = guarded.list(Port::Plain, &guarded.both_ways());
        assert_eq!(run.code, Some(0), "{hmac}: {}", run.stderr);
    }
});

on_both_sides!(nvmet_chap_copies, "DH-HMAC-CHAP, a copy over all queues", None, |lab| {
    let guarded = Guarded::new(lab, "chapcopy", "1");
    guarded.asks("sha256", "ffdhe2048");
    let copy =
        Tool::new(["copy", "-", &guarded.export.uri(Port::Plain, 1), "--verify", "--hostnqn", &guarded.host]);
    drop(lab.run(copy.args(guarded.one_way()).input(image(3, 2 << 20))).succeeded());
});

on_both_sides!(nvmet_chap_wrong_secret, "DH-HMAC-CHAP, a wrong secret", None, |lab| {
    let guarded = Guarded::new(lab, "chapwrong", "1");
    let other = KeyFile::with(&format!("{}\n", secret("1")));
    let log = lab.logged(|| {
        let run = guarded.list(Port::Plain, &["--dhchap-keyfile", other.path()]);
        // Linux 6.12's says so, and closes the connection, which may be there first.
        let closed = "closed the connection during authentication";
        let (cause, hint) = match lab.is_debian_13() && run.stderr.contains(closed) {
            true => (closed, "may have found the secret wrong"),
            false => ("authentication failed", "the secret is not the one"),
        };
        run.failed(4, cause, hint);
    });
    lab.said(&log, "nvmet-wrong-secret");
    // The kernel's target proves itself with another secret than we know.
    guarded.proves_itself();
    let run = guarded.list(
        Port::Plain,
        &["--dhchap-keyfile", guarded.secret.path(), "--dhchap-ctrl-keyfile", other.path()],
    );
    run.failed(4, "the controller's response does not come from its secret", "the controller's secret");
});

on_both_sides!(nvmet_chap_no_secret, "DH-HMAC-CHAP wanted, none given", None, |lab| {
    let guarded = Guarded::new(lab, "chapnone", "1");
    let run = guarded.list(Port::Plain, &[]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert!(run.stderr.contains("--dhchap"), "{}", run.stderr);
});

const NO_CONCAT: &str = "Linux 6.12 knows no secure channel concatenation";

/// The kernel's own initiator asks for no proof of the target when it concatenates, so this is what it is used with.
fn concatenated(lab: &Lab, name: &str, hash: &str) {
    let guarded = Guarded::new(lab, name, "1");
    for group in ["ffdhe2048", "ffdhe4096"] {
        guarded.asks(hash, group);
        let copy =
            Tool::new(["copy", "-", &guarded.export.uri(Port::Both, 1), "--verify", "--json", "--concat"]);
        let copy = copy.args(["--hostnqn", &guarded.host]).args(guarded.one_way());
        let report = lab.run(copy.input(image(4, 1 << 20))).succeeded().json();
        assert!(report["tls"].is_object(), "{report}");
    }
}

on_both_sides!(nvmet_concat_sha256, "secure channel concatenation, SHA-256", Some(NO_CONCAT), |lab| {
    concatenated(lab, "concat256", "sha256");
});

on_both_sides!(nvmet_concat_sha384, "secure channel concatenation, SHA-384", Some(NO_CONCAT), |lab| {
    concatenated(lab, "concat384", "sha384");
});

on_both_sides!(
    /// Linux 7.2's target drops C2 before it makes the key of it where both ends authenticate ("failed to generate
    /// PSK, error -22"), and then knows no identity. Nothing may go in plain then.
    nvmet_concat_both_ways,
    "secure channel concatenation, both ways: works, or fails at the handshake (Linux 7.2: no key)",
    Some(NO_CONCAT),
    |lab| {
        let guarded = Guarded::new(lab, "concatboth", "1");
        guarded.proves_itself();
        guarded.asks("sha256", "ffdhe2048");
        let run = guarded.list(Port::Both, &[&guarded.both_ways()[..], &["--concat"]].concat());
        match run.code {
            Some(0) => {}
            _ => run.failed(4, "closed the connection during the TLS handshake", "authentication went well"),
        }
    },
);

on_both_sides!(
    nvmet_concat_on_a_port_without_tls,
    "secure channel concatenation on a port without TLS",
    Some(NO_CONCAT),
    |lab| {
        let guarded = Guarded::new(lab, "concatplain", "1");
        guarded.asks("sha256", "ffdhe2048");
        let run = guarded.list(Port::Plain, &[&guarded.one_way()[..], &["--concat"]].concat());
        assert_eq!(run.code, Some(4), "{}", run.stderr);
    },
);
