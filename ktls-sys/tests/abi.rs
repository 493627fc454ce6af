//! Every structure, field and number of this crate against the system's own headers, through a C program
//! compiled here, and against the `libc` crate where it has them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use ktls_sys::nvme_ioctl::*;
use ktls_sys::tls::*;

/// What C is asked, what Rust says, and how C can tell whether its header has it at all.
struct Row {
    expression: String,
    ours: u64,
    known: Known,
}

enum Known {
    /// A macro: `#ifdef` can tell.
    Macro(&'static str),
    /// An enumerator, a structure or a field: only compiling it can tell.
    Compile,
}

/// Numbers that headers older than Linux 7.2's lack, as that one and the kernel's own headers have them. The
/// kernel keeps what it has published.
const PUBLISHED: [(&str, u64); 4] = [
    ("TLS_TX_MAX_PAYLOAD_LEN", 5),
    ("TLS_INFO_TX_MAX_PAYLOAD_LEN", 7),
    ("TLS_INFO_MAX", 7),
    ("SOL_TLS", 282),
];

fn size_of_field<S, F>(_: fn(&S) -> &F) -> u64 {
    size_of::<F>() as u64
}

macro_rules! macros {
    ($($name:ident)*) => {
        vec![$(Row {
            expression: stringify!($name).to_owned(),
            ours: $name as u64,
            known: Known::Macro(stringify!($name)),
        }),*]
    };
}

macro_rules! enumerators {
    ($($name:ident)*) => {
        vec![$(Row {
            expression: stringify!($name).to_owned(),
            ours: u64::from($name),
            known: Known::Compile,
        }),*]
    };
}

macro_rules! structure {
    ($name:ident: $($field:ident)*) => {{
        let name = stringify!($name);
        let mut rows = vec![compiled(format!("sizeof(struct {name})"), size_of::<$name>() as u64)];
        $(
            let field = stringify!($field);
            rows.push(compiled(
                format!("__builtin_offsetof(struct {name}, {field})"),
                std::mem::offset_of!($name, $field) as u64,
            ));
            rows.push(compiled(
                format!("sizeof(((struct {name} *)0)->{field})"),
                size_of_field(|s: &$name| &s.$field),
            ));
        )*
        rows
    }};
}

fn compiled(expression: String, ours: u64) -> Row {
    Row { expression, ours, known: Known::Compile }
}

fn tls_rows() -> Vec<Row> {
    let mut rows = macros! {
        SOL_TLS TCP_ULP
        TLS_TX TLS_RX TLS_TX_ZEROCOPY_RO TLS_RX_EXPECT_NO_PAD TLS_TX_MAX_PAYLOAD_LEN
        TLS_SET_RECORD_TYPE TLS_GET_RECORD_TYPE
        TLS_1_2_VERSION_MAJOR TLS_1_2_VERSION_MINOR TLS_1_2_VERSION
        TLS_1_3_VERSION_MAJOR TLS_1_3_VERSION_MINOR TLS_1_3_VERSION
        TLS_CIPHER_AES_GCM_128 TLS_CIPHER_AES_GCM_128_IV_SIZE TLS_CIPHER_AES_GCM_128_KEY_SIZE
        TLS_CIPHER_AES_GCM_128_SALT_SIZE TLS_CIPHER_AES_GCM_128_TAG_SIZE TLS_CIPHER_AES_GCM_128_REC_SEQ_SIZE
        TLS_CIPHER_AES_GCM_256 TLS_CIPHER_AES_GCM_256_IV_SIZE TLS_CIPHER_AES_GCM_256_KEY_SIZE
        TLS_CIPHER_AES_GCM_256_SALT_SIZE TLS_CIPHER_AES_GCM_256_TAG_SIZE TLS_CIPHER_AES_GCM_256_REC_SEQ_SIZE
        TLS_CIPHER_AES_CCM_128 TLS_CIPHER_AES_CCM_128_IV_SIZE TLS_CIPHER_AES_CCM_128_KEY_SIZE
        TLS_CIPHER_AES_CCM_128_SALT_SIZE TLS_CIPHER_AES_CCM_128_TAG_SIZE TLS_CIPHER_AES_CCM_128_REC_SEQ_SIZE
        TLS_CIPHER_CHACHA20_POLY1305 TLS_CIPHER_CHACHA20_POLY1305_IV_SIZE
        TLS_CIPHER_CHACHA20_POLY1305_KEY_SIZE TLS_CIPHER_CHACHA20_POLY1305_SALT_SIZE
        TLS_CIPHER_CHACHA20_POLY1305_TAG_SIZE TLS_CIPHER_CHACHA20_POLY1305_REC_SEQ_SIZE
        TLS_CIPHER_SM4_GCM TLS_CIPHER_SM4_GCM_IV_SIZE TLS_CIPHER_SM4_GCM_KEY_SIZE
        TLS_CIPHER_SM4_GCM_SALT_SIZE TLS_CIPHER_SM4_GCM_TAG_SIZE TLS_CIPHER_SM4_GCM_REC_SEQ_SIZE
        TLS_CIPHER_SM4_CCM TLS_CIPHER_SM4_CCM_IV_SIZE TLS_CIPHER_SM4_CCM_KEY_SIZE
        TLS_CIPHER_SM4_CCM_SALT_SIZE TLS_CIPHER_SM4_CCM_TAG_SIZE TLS_CIPHER_SM4_CCM_REC_SEQ_SIZE
        TLS_CIPHER_ARIA_GCM_128 TLS_CIPHER_ARIA_GCM_128_IV_SIZE TLS_CIPHER_ARIA_GCM_128_KEY_SIZE
        TLS_CIPHER_ARIA_GCM_128_SALT_SIZE TLS_CIPHER_ARIA_GCM_128_TAG_SIZE TLS_CIPHER_ARIA_GCM_128_REC_SEQ_SIZE
        TLS_CIPHER_ARIA_GCM_256 TLS_CIPHER_ARIA_GCM_256_IV_SIZE TLS_CIPHER_ARIA_GCM_256_KEY_SIZE
        TLS_CIPHER_ARIA_GCM_256_SALT_SIZE TLS_CIPHER_ARIA_GCM_256_TAG_SIZE TLS_CIPHER_ARIA_GCM_256_REC_SEQ_SIZE
        TLS_CONF_BASE TLS_CONF_SW TLS_CONF_HW TLS_CONF_HW_RECORD
    };
    rows.extend(enumerators! {
        TLS_INFO_UNSPEC TLS_INFO_VERSION TLS_INFO_CIPHER TLS_INFO_TXCONF TLS_INFO_RXCONF
        TLS_INFO_ZC_RO_TX TLS_INFO_RX_NO_PAD TLS_INFO_TX_MAX_PAYLOAD_LEN TLS_INFO_MAX
    });
    rows.extend(structure!(tls_crypto_info: version cipher_type));
    rows.extend(structure!(tls12_crypto_info_aes_gcm_128: info iv key salt rec_seq));
    rows.extend(structure!(tls12_crypto_info_aes_gcm_256: info iv key salt rec_seq));
    rows.extend(structure!(tls12_crypto_info_aes_ccm_128: info iv key salt rec_seq));
    rows.extend(structure!(tls12_crypto_info_chacha20_poly1305: info iv key salt rec_seq));
    rows.extend(structure!(tls12_crypto_info_sm4_gcm: info iv key salt rec_seq));
    rows.extend(structure!(tls12_crypto_info_sm4_ccm: info iv key salt rec_seq));
    rows.extend(structure!(tls12_crypto_info_aria_gcm_128: info iv key salt rec_seq));
    rows.extend(structure!(tls12_crypto_info_aria_gcm_256: info iv key salt rec_seq));
    rows
}

fn nvme_rows() -> Vec<Row> {
    let mut rows = macros! {
        NVME_IOCTL_ID NVME_IOCTL_ADMIN_CMD NVME_IOCTL_SUBMIT_IO NVME_IOCTL_IO_CMD NVME_IOCTL_RESET
        NVME_IOCTL_SUBSYS_RESET NVME_IOCTL_RESCAN NVME_IOCTL_ADMIN64_CMD NVME_IOCTL_IO64_CMD
        NVME_IOCTL_IO64_CMD_VEC
        NVME_URING_CMD_IO NVME_URING_CMD_IO_VEC NVME_URING_CMD_ADMIN NVME_URING_CMD_ADMIN_VEC
    };
    rows.extend(structure!(nvme_user_io:
        opcode flags control nblocks rsvd metadata addr slba dsmgmt reftag apptag appmask));
    rows.extend(structure!(nvme_passthru_cmd:
        opcode flags rsvd1 nsid cdw2 cdw3 metadata addr metadata_len data_len
        cdw10 cdw11 cdw12 cdw13 cdw14 cdw15 timeout_ms result));
    rows.extend(structure!(nvme_admin_cmd: opcode result));
    rows.extend(structure!(nvme_passthru_cmd64:
        opcode flags rsvd1 nsid cdw2 cdw3 metadata addr metadata_len data_len
        cdw10 cdw11 cdw12 cdw13 cdw14 cdw15 timeout_ms rsvd2 result));
    rows.push(compiled(
        "__builtin_offsetof(struct nvme_passthru_cmd64, vec_cnt)".to_owned(),
        std::mem::offset_of!(nvme_passthru_cmd64, data_len) as u64,
    ));
    rows.extend(structure!(nvme_uring_cmd:
        opcode flags rsvd1 nsid cdw2 cdw3 metadata addr metadata_len data_len
        cdw10 cdw11 cdw12 cdw13 cdw14 cdw15 timeout_ms rsvd2));
    rows
}

const INCLUDES: &str = "#include <stdio.h>\n#include <sys/socket.h>\n#include <linux/tcp.h>\n\
                        #include <linux/tls.h>\n#include <sys/ioctl.h>\n#include <linux/nvme_ioctl.h>\n";

/// The lines of a C function that print "index value" of what the header has.
fn c_body<'a>(rows: impl Iterator<Item = (usize, &'a Row)>) -> String {
    let mut c = String::new();
    for (index, row) in rows {
        let print =
            format!("    printf(\"%d %llu\\n\", {index}, (unsigned long long)({}));\n", row.expression);
        match row.known {
            Known::Macro(name) => write!(c, "#ifdef {name}\n{print}#endif\n").unwrap(),
            Known::Compile => c.push_str(&print),
        }
    }
    c
}

fn program(body: &str) -> String {
    format!("{INCLUDES}int main(void)\n{{\n{body}    return 0;\n}}\n")
}

/// Feeds a program to the C compiler; `Ok(false)` when it does not compile.
fn compile(program: &str, arguments: &[&str]) -> std::io::Result<bool> {
    let mut child = Command::new("gcc")
        .args(["-x", "c", "-std=gnu11"])
        .args(arguments)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let fed = child.stdin.take().expect("stdin is piped").write_all(program.as_bytes());
    let status = child.wait()?;
    fed?;
    Ok(status.success())
}

/// Leaves the rows that the headers know. An older header lacks only a few, so halving finds them quickly.
fn known_to_c<'a>(rows: &[(usize, &'a Row)]) -> Vec<(usize, &'a Row)> {
    if compile(&program(&c_body(rows.iter().copied())), &["-fsyntax-only"]).unwrap() {
        return rows.to_vec();
    }
    if rows.len() <= 1 {
        return Vec::new();
    }
    let (first, second) = rows.split_at(rows.len() / 2);
    [known_to_c(first), known_to_c(second)].concat()
}

/// Asks the headers; rows that they do not have are absent from the answer.
fn ask_c(rows: &[Row], folder: &Path) -> BTreeMap<usize, u64> {
    let have = known_to_c(&rows.iter().enumerate().collect::<Vec<_>>());
    let binary = folder.join("abi");
    let source = program(&c_body(have.into_iter()));
    assert!(compile(&source, &["-o", binary.to_str().unwrap()]).unwrap(), "gcc refused:\n{source}");
    let output = Command::new(&binary).output().unwrap();
    assert!(output.status.success(), "the C program ended with {}", output.status);
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (index, value) = line.split_once(' ').unwrap();
            (index.parse().unwrap(), value.parse().unwrap())
        })
        .collect()
}

/// Says that a test could not run, to the reader and to `cargo xtask test`.
fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    if let Some(list) = std::env::var_os("NVME_TCP_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().create(true).append(true).open(list).unwrap();
        list.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

#[test]
fn the_systems_headers_agree() {
    let test = "the_systems_headers_agree";
    match compile(&program(""), &["-fsyntax-only"]) {
        Ok(true) => {}
        Ok(false) => return skipped(test, "no linux/tls.h or linux/nvme_ioctl.h (package linux-libc-dev)"),
        Err(error) => return skipped(test, &format!("no gcc (packages gcc, libc6-dev): {error}")),
    }
    let rows: Vec<Row> = tls_rows().into_iter().chain(nvme_rows()).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut answers = ask_c(&rows, folder.path());

    // TLS_INFO_MAX grows with the header: an older one's is another number, not another truth.
    let index_of = |name: &str| rows.iter().position(|row| row.expression == name).unwrap();
    if !answers.contains_key(&index_of("TLS_INFO_TX_MAX_PAYLOAD_LEN")) {
        answers.remove(&index_of("TLS_INFO_MAX"));
    }

    let mut wrong = Vec::new();
    let mut unknown = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let published = PUBLISHED.iter().find(|(name, _)| *name == row.expression).map(|&(_, value)| value);
        match (answers.get(&index).copied(), published) {
            (Some(c), _) if c == row.ours => {}
            (Some(c), _) => wrong.push(format!("{}: C has {c}, Rust has {}", row.expression, row.ours)),
            (None, Some(published)) if published == row.ours => {
                println!("not in the system's header, as published: {} = {published}", row.expression);
            }
            (None, Some(published)) => {
                wrong.push(format!("{}: published as {published}, Rust has {}", row.expression, row.ours));
            }
            (None, None) => unknown.push(row.expression.as_str()),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    if !unknown.is_empty() {
        skipped(test, &format!("the system's headers are too old for {}", unknown.join(", ")));
    }
    println!("{} of {} numbers compared with the system's headers", answers.len(), rows.len());
}

#[test]
fn the_libc_crate_agrees() {
    macro_rules! same {
        ($($name:ident)*) => { $(assert_eq!($name as u64, libc::$name as u64, stringify!($name));)* };
    }
    macro_rules! same_layout {
        ($($name:ident)*) => { $(
            assert_eq!(size_of::<$name>(), size_of::<libc::$name>(), stringify!($name));
            assert_eq!(align_of::<$name>(), align_of::<libc::$name>(), stringify!($name));
            assert_eq!(std::mem::offset_of!($name, iv), std::mem::offset_of!(libc::$name, iv));
            assert_eq!(std::mem::offset_of!($name, key), std::mem::offset_of!(libc::$name, key));
            assert_eq!(std::mem::offset_of!($name, salt), std::mem::offset_of!(libc::$name, salt));
            assert_eq!(std::mem::offset_of!($name, rec_seq), std::mem::offset_of!(libc::$name, rec_seq));
        )* };
    }
    same! {
        SOL_TLS TCP_ULP TLS_TX TLS_RX TLS_TX_ZEROCOPY_RO TLS_RX_EXPECT_NO_PAD
        TLS_SET_RECORD_TYPE TLS_GET_RECORD_TYPE TLS_1_2_VERSION TLS_1_3_VERSION
        TLS_CIPHER_AES_GCM_128 TLS_CIPHER_AES_GCM_256 TLS_CIPHER_AES_CCM_128 TLS_CIPHER_CHACHA20_POLY1305
        TLS_CIPHER_SM4_GCM TLS_CIPHER_SM4_CCM TLS_CIPHER_ARIA_GCM_128 TLS_CIPHER_ARIA_GCM_256
        TLS_CONF_BASE TLS_CONF_SW TLS_CONF_HW TLS_CONF_HW_RECORD
        TLS_INFO_VERSION TLS_INFO_CIPHER TLS_INFO_TXCONF TLS_INFO_RXCONF TLS_INFO_ZC_RO_TX TLS_INFO_RX_NO_PAD
        TLS_INFO_TX_MAX_PAYLOAD_LEN
    }
    same_layout! {
        tls12_crypto_info_aes_gcm_128 tls12_crypto_info_aes_gcm_256 tls12_crypto_info_aes_ccm_128
        tls12_crypto_info_chacha20_poly1305 tls12_crypto_info_sm4_gcm tls12_crypto_info_sm4_ccm
        tls12_crypto_info_aria_gcm_128 tls12_crypto_info_aria_gcm_256
    }
    assert_eq!(size_of::<tls_crypto_info>(), size_of::<libc::tls_crypto_info>());
}

#[test]
fn the_libc_crates_ioctl_arithmetic_agrees() {
    const N: u32 = b'N' as u32;
    assert_eq!(u64::from(NVME_IOCTL_ID), libc::_IO(N, 0x40) as u64);
    assert_eq!(u64::from(NVME_IOCTL_SUBMIT_IO), libc::_IOW::<nvme_user_io>(N, 0x42) as u64);
    assert_eq!(u64::from(NVME_IOCTL_ADMIN_CMD), libc::_IOWR::<nvme_admin_cmd>(N, 0x41) as u64);
    assert_eq!(u64::from(NVME_URING_CMD_IO), libc::_IOWR::<nvme_uring_cmd>(N, 0x80) as u64);
}

/// Numbers that no header for programs has: TLS's own (RFC 8446, B.1; RFC 6520; RFC 9146; RFC 9147).
#[test]
fn record_types_are_those_of_the_registry() {
    let types = [
        TLS_RECORD_TYPE_CHANGE_CIPHER_SPEC,
        TLS_RECORD_TYPE_ALERT,
        TLS_RECORD_TYPE_HANDSHAKE,
        TLS_RECORD_TYPE_DATA,
        TLS_RECORD_TYPE_HEARTBEAT,
        TLS_RECORD_TYPE_TLS12_CID,
        TLS_RECORD_TYPE_ACK,
    ];
    assert_eq!(types, [20, 21, 22, 23, 24, 25, 26]);
}
