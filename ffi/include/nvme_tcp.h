/*
 * libnvme_tcp: an NVMe/TCP initiator with TLS 1.3, and kernel TLS. MIT OR Apache-2.0.
 * Made by cbindgen from ffi/src: do not edit.
 */

#ifndef NVME_TCP_H
#define NVME_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Conventions
 *
 * Results: 0, or -errno (from <errno.h>); where a count is given back, that is 0 or more. After a failure
 * nvme_tcp_error_message() and its neighbours tell this thread why. What is given through pointers comes last
 * and is written on success only.
 *
 * Errors of a command: -EIO, -ENODATA, -EOPNOTSUPP, -EACCES and others by the NVMe status, which
 * nvme_tcp_error_status_type() and nvme_tcp_error_status_code() tell; -ETIMEDOUT, -ECONNRESET, -EPROTO and
 * others where the connection is lost.
 *
 * Everything here is there since version 0.1, unless its text names a later one.
 *
 * Handles are opaque, and free functions take NULL. A handle that was made before fork(2) is of no use in the
 * child: every call with it fails with -ECHILD there, free functions do nothing, and the parent goes on
 * undisturbed. Descriptors are closed by exec(2).
 *
 * Structs that are filled in by the library begin with their size, which the caller sets to sizeof of the
 * struct: a later library with more members fills in those that the caller knows. Structs that the library
 * reads begin with it too.
 *
 * Numbers that name something are open: a later library may give others than are listed here.
 *
 * Strings are UTF-8 and end with a zero byte. What a function takes is copied before it returns. What is
 * given back belongs to the library, for as long as the function says. A buffer that is given to a call that
 * waits is the caller's again when it returns; queues say themselves when.
 *
 * Threads: each function says what other calls on the same handle may run at the same time. Calls on different
 * handles always may, also where one handle came from the other. The library starts one thread for each
 * controller (keep-alives, and the next association when a key's record budget runs low), which takes on the
 * signal mask of the thread that connects; the queue calls start none and use none. No call raises SIGPIPE.
 * dlclose(3) leaves the library in memory, since that thread may be running in it.
 */

/**
 * The library's version that this header is of: it changes with the ABI.
 */
#define NVME_TCP_VERSION_MAJOR 0

/**
 * The second part of the version.
 */
#define NVME_TCP_VERSION_MINOR 1

/**
 * The third part of the version.
 */
#define NVME_TCP_VERSION_PATCH 0

/**
 * Scope of an error: one command failed, the rest goes on.
 */
#define NVME_TCP_SCOPE_COMMAND 1

/**
 * Scope of an error: a queue or connection is lost, and with it the association.
 */
#define NVME_TCP_SCOPE_QUEUE 2

/**
 * Scope of an error: the controller, or the way to it.
 */
#define NVME_TCP_SCOPE_CONTROLLER 3

/**
 * Scope of an error: what the caller asked for, before anything was sent.
 */
#define NVME_TCP_SCOPE_CONFIGURATION 4

/**
 * Who can mend an error: the caller, by another argument, key or address.
 */
#define NVME_TCP_BLAME_CALLER 1

/**
 * Who can mend an error: the controller at the other end, or who runs it.
 */
#define NVME_TCP_BLAME_PEER 2

/**
 * Who can mend an error: the network between.
 */
#define NVME_TCP_BLAME_NETWORK 3

/**
 * Who can mend an error: this machine's kernel.
 */
#define NVME_TCP_BLAME_KERNEL 4

/**
 * TLS is off.
 */
#define NVME_TCP_TLS_OFF 0

/**
 * TLS 1.3 by pre-shared key is required on every connection. Nothing falls back from it.
 */
#define NVME_TCP_TLS_REQUIRED 1

/**
 * TLS 1.3 with a key that DH-HMAC-CHAP agrees on (secure channel concatenation).
 */
#define NVME_TCP_TLS_CONCAT 2

/**
 * Records are sealed by the kernel where it can, else by this process, each direction by itself.
 */
#define NVME_TCP_LAYER_AUTO 0

/**
 * Records are sealed by this process.
 */
#define NVME_TCP_LAYER_PROCESS 1

/**
 * Records are sealed by the kernel, or the connection fails with -EOPNOTSUPP.
 */
#define NVME_TCP_LAYER_KERNEL 2

/**
 * The controller reports something by itself: `report` says what.
 */
#define NVME_TCP_EVENT_REPORTED 1

/**
 * An association was brought up, and new commands go there.
 */
#define NVME_TCP_EVENT_ASSOCIATION_UP 2

/**
 * The association that commands went to is lost: `error` says why.
 */
#define NVME_TCP_EVENT_ASSOCIATION_LOST 3

/**
 * A lost association is about to be brought up again: attempt `number`, in `delay` milliseconds.
 */
#define NVME_TCP_EVENT_RECONNECTING 4

/**
 * An association that worked gave its place to the next: `reason` says why.
 */
#define NVME_TCP_EVENT_REPLACED 5

/**
 * A key's record budget runs low: the next association is brought up.
 */
#define NVME_TCP_EVENT_RECORD_BUDGET_LOW 6

/**
 * The next association did not come up, `error` says why; the present one is used on.
 */
#define NVME_TCP_EVENT_NOT_REPLACED 7

/**
 * There is no association any more, and no attempt at another is made: `error` says why.
 */
#define NVME_TCP_EVENT_GONE 8

/**
 * Nobody came in time for `number` events before the next one: they are lost.
 */
#define NVME_TCP_EVENT_MISSED 9

/**
 * Namespaces were changed, added or removed: those in `nsids`, or any.
 */
#define NVME_TCP_REPORT_NAMESPACES 1

/**
 * The state of an ANA group changed: log page 0Ch says more.
 */
#define NVME_TCP_REPORT_ANA 2

/**
 * A firmware image is about to be activated; commands may take longer meanwhile.
 */
#define NVME_TCP_REPORT_FIRMWARE 3

/**
 * The discovery log changed.
 */
#define NVME_TCP_REPORT_DISCOVERY 4

/**
 * The health of the subsystem: `information` is the code, log page 02h says more.
 */
#define NVME_TCP_REPORT_HEALTH 5

/**
 * An error that concerns no single command: `information` is the code, log page 01h says more.
 */
#define NVME_TCP_REPORT_ERROR 6

/**
 * Something else: `information` is the code.
 */
#define NVME_TCP_REPORT_OTHER 7

/**
 * An association was replaced since the caller asked for it.
 */
#define NVME_TCP_REASON_ASKED 1

/**
 * An association was replaced since a key's record budget ran low.
 */
#define NVME_TCP_REASON_RECORD_BUDGET 2

/**
 * An association was replaced since the source of the keys has others.
 */
#define NVME_TCP_REASON_KEYS_CHANGED 3

/**
 * An association was replaced since it was lost.
 */
#define NVME_TCP_REASON_LOST 4

/**
 * An entry leads to another discovery controller.
 */
#define NVME_TCP_ENTRY_REFERRAL 1

/**
 * An entry leads to a subsystem with namespaces.
 */
#define NVME_TCP_ENTRY_SUBSYSTEM 2

/**
 * An entry is the discovery controller itself.
 */
#define NVME_TCP_ENTRY_THIS 3

/**
 * A listener has no TLS.
 */
#define NVME_TCP_TLS_NEED_OFF 0

/**
 * A listener can do TLS.
 */
#define NVME_TCP_TLS_NEED_POSSIBLE 1

/**
 * A listener insists on TLS.
 */
#define NVME_TCP_TLS_NEED_REQUIRED 2

/**
 * The key is used as it is.
 */
#define NVME_TCP_HASH_NONE 0

/**
 * SHA-256, with keys of 32 bytes: what every target understands.
 */
#define NVME_TCP_HASH_SHA256 1

/**
 * SHA-384, with keys of 48 bytes.
 */
#define NVME_TCP_HASH_SHA384 2

/**
 * The derivation of RFC 8446, as libnvme has it from 1.15 on.
 */
#define NVME_TCP_DERIVATION_RFC8446 0

/**
 * The derivation of libnvme before 1.15.
 */
#define NVME_TCP_DERIVATION_COMPAT 1

/**
 * Room for every key's text with its zero byte, in bytes.
 */
#define NVME_TCP_KEY_TEXT_SIZE 96

/**
 * Room for every PSK identity with its zero byte, in bytes.
 */
#define NVME_TCP_IDENTITY_SIZE 544

/**
 * The descriptor is wanted for reading: the number of POLLIN and EPOLLIN.
 */
#define NVME_TCP_WANT_READ 1

/**
 * The descriptor is wanted for writing: the number of POLLOUT and EPOLLOUT.
 */
#define NVME_TCP_WANT_WRITE 4

/**
 * Records are sealed or opened by the kernel, on the processor.
 */
#define NVME_TCP_SEALED_BY_KERNEL 1

/**
 * Records are sealed or opened by the network card.
 */
#define NVME_TCP_SEALED_BY_NIC 2

/**
 * Records are sealed or opened by this process.
 */
#define NVME_TCP_SEALED_BY_PROCESS 3

/**
 * The call does not wait: what cannot be done at once fails with -EAGAIN.
 */
#define NVME_TCP_NOWAIT 1

/**
 * A record of type alert (RFC 8446, section 5.1).
 */
#define NVME_TCP_RECORD_ALERT 21

/**
 * A record of type handshake.
 */
#define NVME_TCP_RECORD_HANDSHAKE 22

/**
 * A record of type application_data.
 */
#define NVME_TCP_RECORD_DATA 23

/**
 * A connected controller, with one thread of its own.
 */
typedef struct nvme_tcp_controller nvme_tcp_controller;

/**
 * The entries of a discovery log, as they were when it was read.
 */
typedef struct nvme_tcp_discovery nvme_tcp_discovery;

/**
 * Receives a controller's events.
 */
typedef struct nvme_tcp_events nvme_tcp_events;

/**
 * A pre-shared key, as "NVMeTLSkey-1:hh:...:" has it. It is wiped when it is freed.
 */
typedef struct nvme_tcp_key nvme_tcp_key;

/**
 * A TCP connection with TLS on it.
 */
typedef struct nvme_tcp_ktls nvme_tcp_ktls;

/**
 * A namespace of a controller.
 */
typedef struct nvme_tcp_namespace nvme_tcp_namespace;

/**
 * How to connect, and to what: made once, used for any number of connections.
 */
typedef struct nvme_tcp_options nvme_tcp_options;

/**
 * A queue with a connection of its own.
 */
typedef struct nvme_tcp_queue nvme_tcp_queue;

/**
 * What a controller and the connections to it turned out to be.
 */
typedef struct nvme_tcp_controller_info {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * CNTLID.
     */
    uint16_t cntlid;
    /**
     * I/O queues granted, those of nvme_tcp_queue_open() among them.
     */
    uint16_t io_queues;
    /**
     * Entries in each I/O queue.
     */
    uint32_t queue_size;
    /**
     * VS: major in bits 31:16, minor in 15:8.
     */
    uint32_t nvme_version;
    /**
     * Data that goes along with a write in its capsule, in bytes.
     */
    uint32_t in_capsule;
    /**
     * MDTS in bytes, 0 for no limit.
     */
    uint64_t max_transfer;
    /**
     * How many associations there were before this one.
     */
    uint64_t generation;
    /**
     * The highest namespace ID.
     */
    uint32_t max_nsid;
    /**
     * ONCS: optional NVM commands.
     */
    uint16_t optional_commands;
    /**
     * Whether header digests are in force.
     */
    bool header_digest;
    /**
     * Whether data digests are in force.
     */
    bool data_digest;
    /**
     * Whether the connections are TLS: nvme_tcp_controller_get_tls() tells more.
     */
    bool tls;
    /**
     * Whether DH-HMAC-CHAP took place.
     */
    bool authenticated;
    /**
     * Whether there is a volatile write cache, so that a flush means something.
     */
    bool volatile_write_cache;
    /**
     * Zero.
     */
    uint8_t reserved[5];
    /**
     * SN.
     */
    char serial_number[24];
    /**
     * MN.
     */
    char model_number[48];
    /**
     * FR.
     */
    char firmware_revision[16];
    /**
     * SUBNQN as the controller gives it.
     */
    char subsysnqn[256];
} nvme_tcp_controller_info;

/**
 * What TLS is on a connection.
 */
typedef struct nvme_tcp_tls_info {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * 0x0304 is TLS 1.3.
     */
    uint16_t version;
    /**
     * TLS_CIPHER_* of linux/tls.h.
     */
    uint16_t cipher;
    /**
     * The group of the key agreement in IANA's registry; 0 where the keys were given.
     */
    uint16_t group;
    /**
     * Zero.
     */
    uint16_t reserved;
    /**
     * Who seals what this end sends: one of NVME_TCP_SEALED_BY_*.
     */
    int sent_by;
    /**
     * Who opens what the peer sends: one of NVME_TCP_SEALED_BY_*.
     */
    int received_by;
    /**
     * The version of the NVMe PSK identity, 0 or 1; -1 where it is none.
     */
    int identity_version;
    /**
     * One of NVME_TCP_DERIVATION_*; -1 where there was none.
     */
    int derivation;
    /**
     * The suite's name.
     */
    char suite[64];
    /**
     * The PSK identity, cut where it is longer.
     */
    char identity[544];
    /**
     * Who seals what this end sends, and why, in words.
     */
    char sent_why[256];
    /**
     * Who opens what the peer sends, and why, in words.
     */
    char received_why[256];
} nvme_tcp_tls_info;

/**
 * A command as it goes to the controller. Identifier, flags and data pointer are the library's to fill in.
 */
typedef struct nvme_tcp_command {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * OPC. Its bits 1:0 say which way the data goes: 0 none, 1 to the controller, 2 from it.
     */
    uint8_t opcode;
    /**
     * Zero.
     */
    uint8_t reserved[3];
    /**
     * NSID.
     */
    uint32_t nsid;
    /**
     * CDW2.
     */
    uint32_t cdw2;
    /**
     * CDW3.
     */
    uint32_t cdw3;
    /**
     * CDW10 to CDW15.
     */
    uint32_t cdw10[6];
    /**
     * How long it may take in milliseconds; 0 for what nvme_tcp_options_set_timeout() said. A queue with a command
     * that took too long is given up, and the association with it.
     */
    uint32_t timeout;
} nvme_tcp_command;

/**
 * How a command was completed.
 */
typedef struct nvme_tcp_command_result {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * DW0 in the lower half, DW1 in the upper.
     */
    uint64_t value;
    /**
     * How many bytes came, in order from the first; 0 where the command failed.
     */
    size_t received;
    /**
     * The status code type, 0 to 7.
     */
    uint8_t status_type;
    /**
     * The status code; 0 of type 0 is success.
     */
    uint8_t status_code;
    /**
     * DNR: trying the same command again gives the same.
     */
    bool do_not_retry;
    /**
     * Zero.
     */
    uint8_t reserved[5];
} nvme_tcp_command_result;

/**
 * What went through a controller's namespaces and queues. A synchronous call counts once, also where it is split
 * into several commands; commands of the controller itself, such as Identify, are not counted.
 */
typedef struct nvme_tcp_statistics {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * Reads that were called for, or submitted to a queue.
     */
    uint64_t reads;
    /**
     * How many bytes they asked for.
     */
    uint64_t bytes_read;
    /**
     * Writes that were called for, or submitted to a queue.
     */
    uint64_t writes;
    /**
     * How many bytes they brought.
     */
    uint64_t bytes_written;
    /**
     * Flushes, zeroings, discards and comparisons.
     */
    uint64_t others;
    /**
     * How many of all these have failed so far.
     */
    uint64_t failures;
    /**
     * How many associations there were, the present one among them.
     */
    uint64_t associations;
} nvme_tcp_statistics;

/**
 * Something that happened to a controller. Members that its kind does not name are 0.
 */
typedef struct nvme_tcp_event {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * One of NVME_TCP_EVENT_*.
     */
    int kind;
    /**
     * One of NVME_TCP_REPORT_*.
     */
    int report;
    /**
     * One of NVME_TCP_REASON_*.
     */
    int reason;
    /**
     * -errno: why the association was lost, or the next did not come up.
     */
    int error;
    /**
     * How many associations there were before the one that this is about.
     */
    uint64_t generation;
    /**
     * A count, as its kind says.
     */
    uint64_t number;
    /**
     * A time in milliseconds.
     */
    uint32_t delay;
    /**
     * The code of a report.
     */
    uint8_t information;
    /**
     * Zero.
     */
    uint8_t reserved[3];
    /**
     * How many IDs nsids has; 0 where any namespace may have changed.
     */
    uint32_t nsid_count;
    /**
     * The IDs of changed namespaces.
     */
    uint32_t nsids[63];
    /**
     * Why, in words: the message of `error`.
     */
    char text[256];
} nvme_tcp_event;

/**
 * One entry of a discovery log.
 */
typedef struct nvme_tcp_discovery_entry {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * One of NVME_TCP_ENTRY_*, or another number of the standard's SUBTYPE.
     */
    int kind;
    /**
     * One of NVME_TCP_TLS_NEED_*.
     */
    int tls;
    /**
     * PORTID.
     */
    uint16_t port_id;
    /**
     * Zero.
     */
    uint8_t reserved[6];
    /**
     * The subsystem's NQN, valid until nvme_tcp_discovery_free().
     */
    const char *subsysnqn;
    /**
     * Host and port, as nvme_tcp_options_set_address() takes them; valid as long.
     */
    const char *address;
} nvme_tcp_discovery_entry;

/**
 * A command that is done.
 */
typedef struct nvme_tcp_completion {
    /**
     * What the caller gave along with the command.
     */
    uint64_t cookie;
    /**
     * 0, or -errno: that of a command; -EBADMSG for a read with a wrong data digest; -ENOSPC, -EROFS and others for
     * what writes; -ECANCELED for a read that was cancelled.
     */
    int result;
    /**
     * The status code type of the NVMe status, -1 where there is none.
     */
    int16_t status_type;
    /**
     * The status code of the NVMe status, -1 where there is none.
     */
    int16_t status_code;
    /**
     * One of NVME_TCP_SCOPE_*, 0 after success.
     */
    int scope;
    /**
     * One of NVME_TCP_BLAME_*, 0 after success.
     */
    int blame;
    /**
     * Zero.
     */
    uint64_t reserved[1];
} nvme_tcp_completion;

/**
 * What this kernel's TLS can do.
 */
typedef struct nvme_tcp_ktls_probe_result {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * Whether the kernel has TLS.
     */
    bool available;
    /**
     * Whether it seals what TLS 1.3 with AES-128-GCM sends.
     */
    bool sends;
    /**
     * Whether it opens what TLS 1.3 with AES-128-GCM receives.
     */
    bool receives;
    /**
     * Whether it tells how many records a key was used for, without which this library does not use it
     * (Linux 6.0).
     */
    bool counts_records;
    /**
     * Whether a key can be replaced (Linux 6.14).
     */
    bool rekey;
    /**
     * Whether records can be opened straight into the caller's memory (Linux 6.0).
     */
    bool no_pad;
    /**
     * Zero.
     */
    uint8_t reserved[2];
    /**
     * What was found, one sentence a line, with the mend where there is one.
     */
    char text[1024];
} nvme_tcp_ktls_probe_result;

/**
 * What the kernel says of one connection (sock_diag(7), TLS_INFO_* of linux/tls.h).
 */
typedef struct nvme_tcp_ktls_socket {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * 0x0304 is TLS 1.3; 0 where the kernel does not say.
     */
    uint16_t version;
    /**
     * TLS_CIPHER_* of linux/tls.h; 0 where the kernel does not say.
     */
    uint16_t cipher;
    /**
     * Who seals what this end sends: one of NVME_TCP_SEALED_BY_*.
     */
    int sent_by;
    /**
     * Who opens what the peer sends: one of NVME_TCP_SEALED_BY_*.
     */
    int received_by;
    /**
     * The most bytes that go into one record; 0 where the kernel does not say.
     */
    uint16_t max_payload;
    /**
     * Whether a network card takes a file's pages from where they lie.
     */
    bool zerocopy;
    /**
     * Whether records are opened straight into the caller's memory.
     */
    bool no_pad;
    /**
     * Zero.
     */
    uint8_t reserved[8];
} nvme_tcp_ktls_socket;

/**
 * A pre-shared key for a TLS 1.3 handshake.
 */
typedef struct nvme_tcp_ktls_psk {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * Its name, which goes over the wire in the clear.
     */
    const void *identity;
    /**
     * The length of the name in bytes, 1 to 16384.
     */
    size_t identity_len;
    /**
     * The secret.
     */
    const void *secret;
    /**
     * The length of the secret in bytes, 1 to 64.
     */
    size_t secret_len;
    /**
     * NVME_TCP_HASH_SHA256 or NVME_TCP_HASH_SHA384: names the suite too.
     */
    int hash;
} nvme_tcp_ktls_psk;

/**
 * The key of one direction, as another TLS stack has agreed on it.
 */
typedef struct nvme_tcp_ktls_key {
    /**
     * sizeof of this struct, set by the caller.
     */
    size_t size;
    /**
     * 0x0304 for TLS 1.3, 0x0303 for TLS 1.2.
     */
    uint16_t version;
    /**
     * TLS_CIPHER_* of linux/tls.h.
     */
    uint16_t cipher;
    /**
     * Zero.
     */
    uint32_t reserved;
    /**
     * The number of the next record.
     */
    uint64_t sequence;
    /**
     * TLS 1.3's application traffic secret, from which key, IV and the keys after them are made; or NULL.
     */
    const void *traffic_secret;
    /**
     * The length of the traffic secret in bytes.
     */
    size_t traffic_secret_len;
    /**
     * The key, where no traffic secret is given.
     */
    const void *key;
    /**
     * The length of the key in bytes.
     */
    size_t key_len;
    /**
     * The IV, 12 bytes: TLS 1.3's write IV; in TLS 1.2 with AES-GCM the 4 bytes of the salt, then the
     * explicit nonce of the next record.
     */
    const void *iv;
    /**
     * The length of the IV in bytes.
     */
    size_t iv_len;
} nvme_tcp_ktls_key;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is loaded, as "0.1.0". It is valid for ever.
 *
 * Threads: any, at any time.
 */
const char *nvme_tcp_version(void);

/**
 * The same as a number: the major part in bits 31:16, the minor in 15:8, the patch in 7:0.
 *
 * Threads: any, at any time.
 */
uint32_t nvme_tcp_version_number(void);

/**
 * What went wrong in the last call of this thread that failed: one sentence, without a line's end, "" if
 * none has failed yet. A call that succeeds leaves it as it is. It is valid until the thread's next call
 * that fails, or its end.
 *
 * Threads: any; each has its own.
 */
const char *nvme_tcp_error_message(void);

/**
 * What an operator or the caller can do about it, or NULL where nobody can say. It is valid as long as the
 * message.
 *
 * Threads: any; each has its own.
 */
const char *nvme_tcp_error_hint(void);

/**
 * How far it reaches: one of NVME_TCP_SCOPE_*, 0 if nothing has failed yet.
 *
 * Threads: any; each has its own.
 */
int nvme_tcp_error_scope(void);

/**
 * Who can mend it: one of NVME_TCP_BLAME_*, 0 if nothing has failed yet.
 *
 * Threads: any; each has its own.
 */
int nvme_tcp_error_blame(void);

/**
 * The status code type (SCT) of the NVMe status behind it, -1 where there is none.
 *
 * Threads: any; each has its own.
 */
int nvme_tcp_error_status_type(void);

/**
 * The status code (SC) of the NVMe status behind it, -1 where there is none.
 *
 * Threads: any; each has its own.
 */
int nvme_tcp_error_status_code(void);

/**
 * Whether the same call may succeed later with nothing changed by the caller.
 *
 * Threads: any; each has its own.
 */
bool nvme_tcp_error_is_retryable(void);

/**
 * Makes an options object: plain NVMe/TCP as this host (/etc/nvme/hostnqn and hostid, else made from
 * /etc/machine-id) with one I/O queue of 128 entries, commands that may take 30 s, and keep-alives of 10 s.
 *
 * Errors: -EINVAL. Threads: any.
 */
int nvme_tcp_options_new(struct nvme_tcp_options **out);

/**
 * Frees an options object, and wipes the keys in it. What was connected with it stays.
 *
 * Threads: no other call on it may run or follow.
 */
void nvme_tcp_options_free(struct nvme_tcp_options *options);

/**
 * Sets where the target listens: "host", "host:port", "[v6]:port". The port is 4420 by default.
 *
 * Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_address(struct nvme_tcp_options *options, const char *address);

/**
 * Sets address and subsystem from "nvme+tcp://HOST[:PORT][/SUBNQN[/NSID]]". Where the URI names a namespace,
 * its ID is put to nsid, else 0 is; nsid may be NULL.
 *
 * Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_uri(struct nvme_tcp_options *options, const char *uri, uint32_t *nsid);

/**
 * Sets the NQN of the subsystem to connect to. Discovery needs none.
 *
 * Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_subsysnqn(struct nvme_tcp_options *options, const char *nqn);

/**
 * Sets the NQN of this host, in place of the system's. Its ID is then made from it, unless that is set too.
 *
 * Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_hostnqn(struct nvme_tcp_options *options, const char *nqn);

/**
 * Sets the ID of this host, a UUID in its text form.
 *
 * Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_hostid(struct nvme_tcp_options *options, const char *uuid);

/**
 * Sets how many I/O queues, each a connection, the synchronous calls share: 1 by default, 0 for none. The
 * controller may grant fewer.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_io_queues(struct nvme_tcp_options *options, uint16_t queues);

/**
 * Sets how many I/O queues are kept for nvme_tcp_queue_open(): none by default.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_owned_queues(struct nvme_tcp_options *options, uint16_t queues);

/**
 * Sets the entries of each I/O queue, 2 to 4096; one less can be outstanding. The controller may grant
 * fewer.
 *
 * Errors: -EINVAL; another number is refused by the connecting call. Threads: no other call on the same
 * object at the same time.
 */
int nvme_tcp_options_set_queue_size(struct nvme_tcp_options *options, uint32_t entries);

/**
 * Asks for CRC-32C over headers and over data. A controller that declines is not connected to.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_digests(struct nvme_tcp_options *options, bool header, bool data);

/**
 * Sets the keep-alive timeout (KATO) in milliseconds, 0 for none.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_keep_alive(struct nvme_tcp_options *options, uint32_t milliseconds);

/**
 * Sets how long a command may take, in milliseconds. After that its connection is given up.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_timeout(struct nvme_tcp_options *options, uint32_t milliseconds);

/**
 * Sets how long a connection may take to come up, handshake included, in milliseconds: 10000 by default.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_connect_timeout(struct nvme_tcp_options *options, uint32_t milliseconds);

/**
 * Sets for how long a call that waits for an answer asks the socket again and again before it sleeps, in
 * microseconds: 0, which sleeps at once, by default. What that costs in CPU time it spares in waking up, which is most
 * of a single command's time on a local network; a little more than a command takes is right, and only where the other
 * end has a CPU of its own. Where nothing comes in that time, ever fewer waits begin so. An event loop of the caller's
 * own sees no difference.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_busy_poll(struct nvme_tcp_options *options,
                                   uint32_t microseconds);

/**
 * Says that only this process can reach the buffers that are read into, and that no two reads that are outstanding
 * have a byte of them in common. Off by default: then buffers may lie in memory that a guest, another process or a
 * device can change meanwhile, but not take away. With it, reads of nvme_tcp_queue_read() and nvme_tcp_queue_readv() of
 * 4 to 32 KiB may be received where they belong before their header is here, and what comes by TLS is received, and
 * opened where this process does that, in the buffer itself: a copy less. Then whoever else can write there could put
 * words into the controller's mouth, and the buffer of a read that fails may hold what another one has read.
 *
 * This is about reads. What is written has to stay as it is until that is done: with data digests some controllers end a
 * connection whose data is not what its digest was taken of.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_private_memory(struct nvme_tcp_options *options,
                                        bool private_memory);

/**
 * Sets how TCP reacts to the network on these connections (TCP_CONGESTION), by the kernel's name for it, such as
 * "dctcp" in a storage network whose switches mark packets; the system's own by default. Without CAP_NET_ADMIN only
 * those that /proc/sys/net/ipv4/tcp_allowed_congestion_control lists may be chosen: the connecting call gives -EPERM
 * for another one, and -ENOENT for one that the kernel does not have.
 *
 * Errors: -EINVAL for what is no text. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_congestion_control(struct nvme_tcp_options *options,
                                            const char *name);

/**
 * Lets each queue of nvme_tcp_queue_open() send and wait in one system call, by io_uring(7), where the kernel allows
 * it (Linux 5.11 or later, and no sandbox that refuses); elsewhere, and where the kernel has the keys of a TLS
 * connection, it goes on with sendmsg(2) and recvmsg(2). Off by default: it saves one system call of two where
 * nvme_tcp_queue_complete() waits for a single command, and less the more commands are in flight. An event loop of
 * the caller's own sees no difference.
 *
 * Errors: -EINVAL. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_io_uring(struct nvme_tcp_options *options,
                                  bool io_uring);

/**
 * Adds a pre-shared key, a copy of this one. TLS is then required, unless another mode is set; of several
 * keys the first is tried first.
 *
 * Errors: -EINVAL. Threads: no other call on the options at the same time; any on the key.
 */
int nvme_tcp_options_add_key(struct nvme_tcp_options *options, const struct nvme_tcp_key *key);

/**
 * Has the pre-shared keys read from the kernel's key retention service each time that an association is brought
 * up, so that they can change while the controller is used: all texts, one a line, of the key that
 * nvme_tcp_key_load_keyring() names. TLS is then required, unless another mode is set.
 *
 * Errors: -EINVAL; whether there is such a key is found by the connecting call. Threads: no other call on the same
 * object at the same time.
 */
int nvme_tcp_options_set_keyring(struct nvme_tcp_options *options,
                                 const char *description);

/**
 * Sets whether the connections are TLS: one of NVME_TCP_TLS_*.
 *
 * Errors: -EINVAL for another number. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_tls(struct nvme_tcp_options *options, int mode);

/**
 * Sets who seals and opens TLS records: one of NVME_TCP_LAYER_*.
 *
 * Errors: -EINVAL for another number. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_layer(struct nvme_tcp_options *options, int layer);

/**
 * Sets which PSK identities may be tried: 0 or 1 for that version only, -1 for both, which is the default.
 *
 * Errors: -EINVAL for another number. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_identity_version(struct nvme_tcp_options *options, int version);

/**
 * Sets the DH-HMAC-CHAP secret of this host, "DHHC-1:...". It is used where the controller asks for it.
 *
 * Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_dhchap_secret(struct nvme_tcp_options *options, const char *secret);

/**
 * Sets the DH-HMAC-CHAP secret of the controller: it must then show that it has it.
 *
 * Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
 */
int nvme_tcp_options_set_dhchap_ctrl_secret(struct nvme_tcp_options *options, const char *secret);

/**
 * Connects, and brings up a controller with its I/O queues. It waits, at most as long as the options say for
 * each connection. One thread is started, which sends keep-alives; it takes on this thread's signal mask.
 *
 * Errors: -EINVAL for options that make no sense; -ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT and others of
 * connect(2); -ECONNREFUSED where the controller refuses Connect; -EACCES where it refuses this
 * host, or authentication failed; -EKEYREJECTED where the TLS handshake failed with every identity;
 * -EPROTONOSUPPORT where it answers in TLS and TLS is off; -ECONNRESET where it closes the connection;
 * -EOPNOTSUPP where TLS by the kernel was asked for and cannot be had; -EPROTO. Threads: any.
 */
int nvme_tcp_connect(const struct nvme_tcp_options *options, struct nvme_tcp_controller **out);

/**
 * Shuts a controller down in good order, closes its connections, ends its thread and frees it. Namespaces and
 * queues that came from it are still to be freed; their commands fail from here on.
 *
 * Threads: no other call on it may run or follow; any on its namespaces and queues.
 */
void nvme_tcp_controller_free(struct nvme_tcp_controller *controller);

/**
 * Tells what the controller and the connections to it turned out to be.
 *
 * Errors: -EINVAL. Threads: any.
 */
int nvme_tcp_controller_get_info(const struct nvme_tcp_controller *controller,
                                 struct nvme_tcp_controller_info *info);

/**
 * Tells what TLS is on the connections: suite, identity, and who seals and opens the records, and why.
 *
 * Errors: -ENOENT where the connections are plain; -EINVAL. Threads: any.
 */
int nvme_tcp_controller_get_tls(const struct nvme_tcp_controller *controller, struct nvme_tcp_tls_info *info);

/**
 * Lists the IDs of the namespaces that this host may use, in ascending order: the first `capacity` of them to
 * `nsids`, and how many there are to `count`.
 *
 * Errors: those of a command; -EINVAL. Threads: any.
 */
int nvme_tcp_controller_list_namespaces(const struct nvme_tcp_controller *controller,
                                        uint32_t *nsids,
                                        size_t capacity,
                                        size_t *count);

/**
 * Reads an Identify data structure, 4096 bytes as the controller sends it.
 *
 * Errors: those of a command; -EINVAL. Threads: any.
 */
int nvme_tcp_controller_identify(const struct nvme_tcp_controller *controller,
                                 uint8_t cns,
                                 uint32_t nsid,
                                 void *data);

/**
 * Reads `len` bytes (a multiple of 4) of log page `lid` from `offset` on.
 *
 * Errors: those of a command; -EINVAL. Threads: any.
 */
int nvme_tcp_controller_get_log_page(const struct nvme_tcp_controller *controller,
                                     uint8_t lid,
                                     uint64_t offset,
                                     void *data,
                                     size_t len);

/**
 * Brings up a new association with new TLS keys, sends new commands there, and shuts the old one down when its
 * last command is done. A lost association is replaced in the same way.
 *
 * Errors: -ECONNREFUSED, -EACCES, -ETIMEDOUT, -ECONNRESET, -EPROTO and others of nvme_tcp_connect(); the old
 * association is then still used. -EINVAL. Threads: any.
 */
int nvme_tcp_controller_reconnect(const struct nvme_tcp_controller *controller);

/**
 * Authenticates once more by DH-HMAC-CHAP, with the secrets of the options, while the queues are in use.
 *
 * Errors: -EACCES where it failed: the association is over; -EINVAL where no secret was set. Threads: any.
 */
int nvme_tcp_controller_reauthenticate(const struct nvme_tcp_controller *controller);

/**
 * Says whether the controller is there, as far as is known, without asking it or waiting: its keep-alives
 * are answered, and no connection of the synchronous calls is lost.
 *
 * Errors: why it was lost: -ETIMEDOUT, -ECONNRESET, -EPROTO and others; -EINVAL. Threads: any.
 */
int nvme_tcp_controller_check(const struct nvme_tcp_controller *controller);

/**
 * Runs an admin command with `len` bytes of data, 0 for none, in the direction that its opcode says. It waits.
 * Where the controller completes it, result, which may be NULL, is filled in whatever the status says.
 *
 * Errors: -EINVAL for a fabrics command, Keep Alive and Asynchronous Event Request, which are the library's own
 * to send, and for data that does not go the way of the opcode; -ENOENT where there is no such
 * namespace; those of a command. Threads: any.
 */
int nvme_tcp_controller_admin_passthrough(const struct nvme_tcp_controller *controller,
                                          const struct nvme_tcp_command *command,
                                          void *data,
                                          size_t len,
                                          struct nvme_tcp_command_result *result);

/**
 * Runs an I/O command on one of the queues that the synchronous calls share; else as
 * nvme_tcp_controller_admin_passthrough(). Nothing is known of what the command does, so it is not sent again where
 * the association is lost.
 *
 * Errors: -EINVAL as with admin commands, and where the options said 0 I/O queues; those of a command.
 * Threads: any.
 */
int nvme_tcp_controller_io_passthrough(const struct nvme_tcp_controller *controller,
                                       const struct nvme_tcp_command *command,
                                       void *data,
                                       size_t len,
                                       struct nvme_tcp_command_result *result);

/**
 * Tells what went through a controller's namespaces and queues since nvme_tcp_connect().
 *
 * Errors: -EINVAL. Threads: any.
 */
int nvme_tcp_controller_get_statistics(const struct nvme_tcp_controller *controller,
                                       struct nvme_tcp_statistics *statistics);

/**
 * Receives what happens to a controller from now on: what it reports by itself, and what becomes of the
 * association with it. Each receiver gets every event, and holds 256 that nobody came for, the latest.
 *
 * Errors: -EINVAL, also where this process has no descriptor left. Threads: any.
 */
int nvme_tcp_events_open(const struct nvme_tcp_controller *controller, struct nvme_tcp_events **out);

/**
 * The descriptor to wait for: it is readable while there is an event, and for ever after
 * nvme_tcp_controller_free(). It belongs to the receiver, and is not to be read from.
 *
 * Errors: -EINVAL, -ECHILD. Threads: any.
 */
int nvme_tcp_events_get_fd(const struct nvme_tcp_events *events);

/**
 * Takes the next event. It waits for it, at most for `timeout` milliseconds: 0 for not at all, -1 for no limit.
 *
 * Errors: -EAGAIN where there is none yet; -ESHUTDOWN where there will be none any more, after
 * nvme_tcp_controller_free(); -EINVAL. Threads: any; each event is given to one of them.
 */
int nvme_tcp_events_next(const struct nvme_tcp_events *events,
                         int timeout,
                         struct nvme_tcp_event *event);

/**
 * Frees a receiver, with the events that nobody came for.
 *
 * Threads: no other call on it may run or follow.
 */
void nvme_tcp_events_free(struct nvme_tcp_events *events);

/**
 * Opens a namespace.
 *
 * Errors: -ENOENT where there is none of this ID; -EOPNOTSUPP where it has metadata or protection
 * information; those of a command. Threads: any.
 */
int nvme_tcp_namespace_open(const struct nvme_tcp_controller *controller,
                            uint32_t nsid,
                            struct nvme_tcp_namespace **out);

/**
 * Frees a namespace. Commands on it that a queue has outstanding go on.
 *
 * Threads: no other call on it may run or follow.
 */
void nvme_tcp_namespace_free(struct nvme_tcp_namespace *namespace_);

/**
 * NSID; 0 for NULL.
 *
 * Threads: any.
 */
uint32_t nvme_tcp_namespace_id(const struct nvme_tcp_namespace *namespace_);

/**
 * The size in bytes; 0 for NULL.
 *
 * Threads: any.
 */
uint64_t nvme_tcp_namespace_size(const struct nvme_tcp_namespace *namespace_);

/**
 * The size of a block in bytes, a power of two from 512 to 65536; 0 for NULL. Offsets and lengths are
 * multiples of it.
 *
 * Threads: any.
 */
uint32_t nvme_tcp_namespace_block_size(const struct nvme_tcp_namespace *namespace_);

/**
 * The most that one command of a queue moves, in bytes; 0 for NULL. The synchronous calls split what is
 * longer.
 *
 * Threads: any.
 */
size_t nvme_tcp_namespace_max_transfer(const struct nvme_tcp_namespace *namespace_);

/**
 * Whether it is write protected; false for NULL.
 *
 * Threads: any.
 */
bool nvme_tcp_namespace_is_read_only(const struct nvme_tcp_namespace *namespace_);

/**
 * Reads `len` bytes at `offset`, all of them or none. It waits; the buffer is the caller's again when it
 * returns.
 *
 * Errors: -EINVAL for what is not whole blocks inside the namespace; those of a command; -EBADMSG for a wrong
 * data digest; -ESHUTDOWN after nvme_tcp_controller_free(). What the buffer holds then is not defined.
 * Threads: any.
 */
int nvme_tcp_pread(const struct nvme_tcp_namespace *namespace_, void *buffer, size_t len, uint64_t offset);

/**
 * Writes `len` bytes to `offset`. It waits; the data is on stable media after nvme_tcp_flush().
 *
 * Errors: -EINVAL for what is not whole blocks inside the namespace; -EROFS where that is write protected;
 * -ENOSPC; those of a command; -ESHUTDOWN after nvme_tcp_controller_free(). What stands in the range then is
 * not defined, block by block the old or the new. Threads: any.
 */
int nvme_tcp_pwrite(const struct nvme_tcp_namespace *namespace_,
                    const void *buffer,
                    size_t len,
                    uint64_t offset);

/**
 * Compares `len` bytes with what stands at `offset`, at the controller: 0 where they are the same. It waits.
 *
 * Errors: -EILSEQ where they differ; -EOPNOTSUPP where the controller has no such command; -EINVAL for what is
 * not whole blocks inside the namespace; those of a command; -ESHUTDOWN after nvme_tcp_controller_free().
 * Threads: any.
 */
int nvme_tcp_compare(const struct nvme_tcp_namespace *namespace_,
                     const void *buffer,
                     size_t len,
                     uint64_t offset);

/**
 * Makes everything that was written before durable. It waits.
 *
 * Errors: those of a command; -EINVAL; -ESHUTDOWN after nvme_tcp_controller_free(). Threads: any.
 */
int nvme_tcp_flush(const struct nvme_tcp_namespace *namespace_);

/**
 * Makes `len` bytes at `offset` read as zeros. It waits.
 *
 * Errors: those of nvme_tcp_pwrite(). Threads: any.
 */
int nvme_tcp_zero(const struct nvme_tcp_namespace *namespace_, uint64_t offset, uint64_t len);

/**
 * Tells the controller that `len` bytes at `offset` are not needed any more. It waits. What they read as
 * then is the controller's to choose; it does nothing where the controller has no such command.
 *
 * Errors: those of nvme_tcp_pwrite(). Threads: any.
 */
int nvme_tcp_discard(const struct nvme_tcp_namespace *namespace_, uint64_t offset, uint64_t len);

/**
 * Asks the discovery controller at the options' address, whatever subsystem they name. It connects, reads
 * the log, and closes the connection again. No thread is left.
 *
 * Errors: as nvme_tcp_connect(). Threads: any.
 */
int nvme_tcp_discover(const struct nvme_tcp_options *options, struct nvme_tcp_discovery **out);

/**
 * How many entries there are; 0 for NULL.
 *
 * Threads: any.
 */
size_t nvme_tcp_discovery_count(const struct nvme_tcp_discovery *discovery);

/**
 * Tells of the entry `index`, from 0.
 *
 * Errors: -ENOENT where there is none; -EINVAL. Threads: any.
 */
int nvme_tcp_discovery_get(const struct nvme_tcp_discovery *discovery,
                           size_t index,
                           struct nvme_tcp_discovery_entry *entry);

/**
 * Frees a discovery log with its strings.
 *
 * Threads: no other call on it may run or follow.
 */
void nvme_tcp_discovery_free(struct nvme_tcp_discovery *discovery);

/**
 * Makes a new random key for one of NVME_TCP_HASH_*.
 *
 * Errors: -EINVAL for another hash; -EIO where the system gives no random bytes. Threads: any.
 */
int nvme_tcp_key_generate(int hash, struct nvme_tcp_key **out);

/**
 * Takes a key from its text, "NVMeTLSkey-1:hh:...:", and so checks it.
 *
 * Errors: -EINVAL; the message says what is wrong, and holds no byte of the key. Threads: any.
 */
int nvme_tcp_key_parse(const char *text, struct nvme_tcp_key **out);

/**
 * Reads a key from a file that holds its text.
 *
 * Errors: -EACCES where group or others may read the file; -ENOENT and others of open(2) and read(2);
 * -EINVAL where it holds no key. Threads: any.
 */
int nvme_tcp_key_load(const char *path, struct nvme_tcp_key **out);

/**
 * Reads a key from the kernel's key retention service: the first text of a key of type "user" with this
 * description (`keyctl padd user DESCRIPTION @u`), which is looked for in the keyrings of the thread, the process
 * and the session.
 *
 * Errors: -ENOKEY where there is none that this process may use; others of request_key(2) and keyctl(2);
 * -EINVAL where it holds no key text. Threads: any.
 */
int nvme_tcp_key_load_keyring(const char *description,
                              struct nvme_tcp_key **out);

/**
 * Writes a key's text to a new file of mode 0600.
 *
 * Errors: -EEXIST where there is such a file, which stays as it is; others of open(2) and write(2). Threads:
 * any.
 */
int nvme_tcp_key_save(const struct nvme_tcp_key *key, const char *path);

/**
 * Copies a key's text to a buffer, for which NVME_TCP_KEY_TEXT_SIZE bytes always do. It is the key: wipe it.
 *
 * Errors: -ENOSPC where it does not fit; -EINVAL. Threads: any.
 */
int nvme_tcp_key_text(const struct nvme_tcp_key *key, char *text, size_t text_size);

/**
 * A key's hash, one of NVME_TCP_HASH_*; -1 for NULL.
 *
 * Threads: any.
 */
int nvme_tcp_key_hash(const struct nvme_tcp_key *key);

/**
 * Copies the PSK identity that a key has between a host and a subsystem to a buffer, for which
 * NVME_TCP_IDENTITY_SIZE bytes always do. It is no secret. version is 0 or 1, derivation one of
 * NVME_TCP_DERIVATION_*.
 *
 * Errors: -EINVAL for names and numbers that are none; -ENOSPC where it does not fit. Threads: any.
 */
int nvme_tcp_key_identity(const struct nvme_tcp_key *key,
                          const char *hostnqn,
                          const char *subsysnqn,
                          int version,
                          int derivation,
                          char *identity,
                          size_t identity_size);

/**
 * Copies the TLS PSK that a key gives between a host and a subsystem to a buffer of 32 (SHA-256) or 48 bytes
 * (SHA-384), and its length to psk_len: the secret for another TLS stack, with the identity of
 * nvme_tcp_key_identity(). Wipe it.
 *
 * Errors: as nvme_tcp_key_identity(). Threads: any.
 */
int nvme_tcp_key_derive(const struct nvme_tcp_key *key,
                        const char *hostnqn,
                        const char *subsysnqn,
                        int version,
                        int derivation,
                        void *psk,
                        size_t psk_size,
                        size_t *psk_len);

/**
 * Frees a key and wipes it.
 *
 * Threads: no other call on it may run or follow.
 */
void nvme_tcp_key_free(struct nvme_tcp_key *key);

/**
 * Opens one of the I/O queues that nvme_tcp_options_set_owned_queues() reserved. It waits for the
 * connection; the queue has no thread.
 *
 * Errors: -EINVAL where all of them are in use; -ECONNREFUSED, -EACCES, -ETIMEDOUT, -ECONNRESET, -EPROTO and others of
 * nvme_tcp_connect(). Threads: any.
 */
int nvme_tcp_queue_open(const struct nvme_tcp_controller *controller,
                        struct nvme_tcp_queue **out);

/**
 * Closes a queue and frees it. What is outstanding is given up without a completion: the fate of such a
 * write is not known. All buffers are the caller's again when it returns.
 *
 * Threads: no other call on it may run or follow.
 */
void nvme_tcp_queue_free(struct nvme_tcp_queue *queue);

/**
 * Whether it sends and waits by io_uring(7): where nvme_tcp_options_set_io_uring() asked for that, and the kernel
 * lets it; false for NULL.
 *
 * Threads: as nvme_tcp_queue_read().
 */
bool nvme_tcp_queue_uses_io_uring(const struct nvme_tcp_queue *queue);

/**
 * How many commands can be submitted now; 0 for NULL.
 *
 * Threads: as nvme_tcp_queue_read().
 */
size_t nvme_tcp_queue_room(const struct nvme_tcp_queue *queue);

/**
 * How many commands are not completed yet, or completed and not fetched; 0 for NULL.
 *
 * Threads: as nvme_tcp_queue_read().
 */
size_t nvme_tcp_queue_outstanding(const struct nvme_tcp_queue *queue);

/**
 * The descriptor to wait for, in the direction of nvme_tcp_queue_wants(). It belongs to the queue, and may
 * be another one after a submission: when the controller's next association takes over.
 *
 * Errors: -EINVAL, -ECHILD. Threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_get_fd(const struct nvme_tcp_queue *queue);

/**
 * In which direction the descriptor is wanted: NVME_TCP_WANT_READ, NVME_TCP_WANT_WRITE, both or 0. Ask again
 * after each other call on the queue, and call nvme_tcp_queue_notify() when the descriptor is ready.
 *
 * Threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_wants(const struct nvme_tcp_queue *queue);

/**
 * For how many milliseconds an event loop may wait before it calls nvme_tcp_queue_notify() even so, since a
 * command will have taken too long: what poll(2) and epoll_wait(2) take. -1 for no limit.
 *
 * Threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_timeout(const struct nvme_tcp_queue *queue);

/**
 * Sends and receives what can be now, without waiting. What is done is kept for nvme_tcp_queue_complete().
 *
 * Errors: -ETIMEDOUT, -ECONNRESET, -EPROTO and others where the connection is lost: every outstanding command
 * completes with the same error; -EINVAL. Threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_notify(struct nvme_tcp_queue *queue);

/**
 * Fetches completions: at least `min` and at most `max` of them into the list, whose elements have
 * `completion_size` bytes each, sizeof of the struct; gives back how many. It sends and receives, and waits
 * until there are `min`, nothing is outstanding any more, or `timeout` milliseconds have passed, -1 for no
 * limit: so it may give back fewer, also 0. With a `min` of 0 it does not wait. Signals do not end the wait.
 *
 * Each failed command has its own result; the thread's last error is that of the last failed one.
 *
 * Errors: -EINVAL; -ETIMEDOUT, -ECONNRESET, -EPROTO and others where the connection is lost and nothing is
 * outstanding.
 * Threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_complete(struct nvme_tcp_queue *queue,
                            struct nvme_tcp_completion *completions,
                            size_t completion_size,
                            int min,
                            int max,
                            int timeout);

/**
 * Submits a read of `len` bytes (whole blocks, at most nvme_tcp_namespace_max_transfer()) at `offset`.
 * Nothing is sent before the next nvme_tcp_queue_notify() or nvme_tcp_queue_complete().
 *
 * The buffer belongs to the queue until the completion with this cookie was fetched, or
 * nvme_tcp_queue_cancel() or nvme_tcp_queue_free() returned: until then it must neither be read, written nor
 * freed. After a failed submission it is the caller's at once.
 *
 * Errors: -EAGAIN where the queue is full; -EINVAL; -ECONNRESET and others where the connection is lost.
 * Threads: no other call on the same queue at the same time; any thread may be the next to call.
 */
int nvme_tcp_queue_read(struct nvme_tcp_queue *queue,
                        const struct nvme_tcp_namespace *namespace_,
                        void *buffer,
                        size_t len,
                        uint64_t offset,
                        uint64_t cookie);

/**
 * Submits a write of `len` bytes (whole blocks, at most nvme_tcp_namespace_max_transfer()) to `offset`.
 * Nothing is sent before the next nvme_tcp_queue_notify() or nvme_tcp_queue_complete().
 *
 * The buffer belongs to the queue until the completion with this cookie was fetched, or
 * nvme_tcp_queue_free() returned: until then it must neither be written nor freed. After a failed submission
 * it is the caller's at once.
 *
 * Errors and threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_write(struct nvme_tcp_queue *queue,
                         const struct nvme_tcp_namespace *namespace_,
                         const void *buffer,
                         size_t len,
                         uint64_t offset,
                         uint64_t cookie);

/**
 * Submits one read into `count` buffers, one after the other; their lengths need be whole blocks only
 * together. The list itself is copied.
 *
 * The buffers belong to the queue until the completion with this cookie was fetched, or
 * nvme_tcp_queue_cancel() or nvme_tcp_queue_free() returned: until then they must neither be read, written
 * nor freed, and no two of them may overlap. After a failed submission they are the caller's at once.
 *
 * Errors and threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_readv(struct nvme_tcp_queue *queue,
                         const struct nvme_tcp_namespace *namespace_,
                         const struct iovec *buffers,
                         size_t count,
                         uint64_t offset,
                         uint64_t cookie);

/**
 * Submits one write of `count` buffers, one after the other; their lengths need be whole blocks only
 * together. The list itself is copied.
 *
 * The buffers belong to the queue until the completion with this cookie was fetched, or
 * nvme_tcp_queue_free() returned: until then they must neither be written nor freed. After a failed
 * submission they are the caller's at once.
 *
 * Errors and threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_writev(struct nvme_tcp_queue *queue,
                          const struct nvme_tcp_namespace *namespace_,
                          const struct iovec *buffers,
                          size_t count,
                          uint64_t offset,
                          uint64_t cookie);

/**
 * Submits a flush.
 *
 * Errors and threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_flush(struct nvme_tcp_queue *queue,
                         const struct nvme_tcp_namespace *namespace_,
                         uint64_t cookie);

/**
 * Submits Write Zeroes for `len` bytes at `offset`, at most 65536 blocks. A controller that has no such
 * command answers with -EOPNOTSUPP.
 *
 * Errors and threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_zero(struct nvme_tcp_queue *queue,
                        const struct nvme_tcp_namespace *namespace_,
                        uint64_t offset,
                        uint64_t len,
                        uint64_t cookie);

/**
 * Submits Dataset Management, deallocate, for `len` bytes at `offset`. A controller that has no such command
 * answers with -EOPNOTSUPP.
 *
 * Errors and threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_discard(struct nvme_tcp_queue *queue,
                           const struct nvme_tcp_namespace *namespace_,
                           uint64_t offset,
                           uint64_t len,
                           uint64_t cookie);

/**
 * Gives up a read: its buffers are the caller's again at once, and it completes with -ECANCELED. Its place
 * in the queue stays taken until the controller has answered.
 *
 * Errors: -ENOENT where no read of this cookie is outstanding, be it done or a write: a write cannot be
 * given up, since its fate is not known before it completes. Threads: as nvme_tcp_queue_read().
 */
int nvme_tcp_queue_cancel(struct nvme_tcp_queue *queue, uint64_t cookie);

/**
 * Tries out what this kernel's TLS can do, on a connection of its own on loopback. That it has TLS is
 * remembered.
 *
 * Errors: -EINVAL. Threads: any.
 */
int nvme_tcp_ktls_probe(struct nvme_tcp_ktls_probe_result *result);

/**
 * Reads one of the kernel's TLS counters of this network namespace (/proc/net/tls_stat), such as "TlsTxSw".
 *
 * Errors: -ENOENT where the kernel has no such counter, or no TLS; -EINVAL. Threads: any.
 */
int nvme_tcp_ktls_counter(const char *name, uint64_t *value);

/**
 * Asks the kernel what its TLS is on a connection.
 *
 * Errors: -ENODATA where the kernel has no part in it, or tells only privileged users; those of netlink(7);
 * -EINVAL. Threads: any.
 */
int nvme_tcp_ktls_observe(const struct nvme_tcp_ktls *connection, struct nvme_tcp_ktls_socket *observed);

/**
 * Does a client's TLS 1.3 handshake with a pre-shared key over a connected TCP socket. layer is one of
 * NVME_TCP_LAYER_*. It waits, at most for `timeout` milliseconds, -1 for no limit.
 *
 * The descriptor belongs to the library from here on: it is closed by nvme_tcp_ktls_free(), or when this
 * call fails (but for -EBADF). It is made blocking.
 *
 * Errors: -EKEYREJECTED where the peer gave up or closed the connection, as with a key or identity it does not
 * know; -ETIMEDOUT; -EPROTO for a peer that breaks TLS; -EOPNOTSUPP where the kernel's layer was asked for and
 * cannot be had; -EINVAL, -EBADF. Threads: any.
 */
int nvme_tcp_ktls_connect(int fd,
                          const struct nvme_tcp_ktls_psk *key,
                          int layer,
                          int timeout,
                          struct nvme_tcp_ktls **out);

/**
 * Does a server's TLS 1.3 handshake over a connected TCP socket, with whichever of `count` pre-shared keys
 * the client names; else as nvme_tcp_ktls_connect(). The size of the first key is that of all of them.
 *
 * Errors: as nvme_tcp_ktls_connect(). Threads: any.
 */
int nvme_tcp_ktls_accept(int fd,
                         const struct nvme_tcp_ktls_psk *keys,
                         size_t count,
                         int layer,
                         int timeout,
                         struct nvme_tcp_ktls **out);

/**
 * Takes over after a handshake of another TLS stack, with its keys: the next byte from and to the wire must
 * be the first of a record with the sequence number that its key says. The descriptor as in
 * nvme_tcp_ktls_connect().
 *
 * Errors: -EINVAL for keys that do not fit; -EOPNOTSUPP where the cipher, or the layer that was asked for,
 * cannot be had; -EBADF. Threads: any.
 */
int nvme_tcp_ktls_wrap(int fd,
                       const struct nvme_tcp_ktls_key *send_key,
                       const struct nvme_tcp_ktls_key *receive_key,
                       int layer,
                       struct nvme_tcp_ktls **out);

/**
 * The descriptor, to wait for and to ask for addresses. It belongs to the library; reading from it or
 * writing to it breaks the connection. Before waiting for it to become readable,
 * nvme_tcp_ktls_has_buffered() must say no.
 *
 * Errors: -EINVAL, -ECHILD. Threads: any.
 */
int nvme_tcp_ktls_get_fd(const struct nvme_tcp_ktls *connection);

/**
 * Whether nvme_tcp_ktls_recv() has something that the descriptor does not show.
 *
 * Threads: as nvme_tcp_ktls_recv().
 */
bool nvme_tcp_ktls_has_buffered(const struct nvme_tcp_ktls *connection);

/**
 * Sends application data. Gives back how many bytes were taken, which may be fewer than all; what was taken
 * with NVME_TCP_NOWAIT may still be held back, and goes with nvme_tcp_ktls_flush().
 *
 * Errors: -EAGAIN where nothing could be taken; -EKEYEXPIRED where the key has sealed as many records as it
 * may; -ECONNRESET, -EPIPE, -ECONNABORTED where the connection is over. Threads: calls that send wait for
 * one another, calls that receive go on beside them.
 */
ssize_t nvme_tcp_ktls_send(const struct nvme_tcp_ktls *connection, const void *data, size_t len, int flags);

/**
 * Sends what is held back. Gives back 0 when all of it has gone.
 *
 * Errors: -EAGAIN while not all has gone; -ECONNRESET and others where the connection is over.
 * Threads: as nvme_tcp_ktls_send().
 */
int nvme_tcp_ktls_flush(const struct nvme_tcp_ktls *connection, int flags);

/**
 * Sends `data`, which is not empty, as one record of its own type, one of NVME_TCP_RECORD_*. Gives back how
 * many bytes were taken. What a handshake or alert record does is the caller's own business.
 *
 * Errors: -EMSGSIZE where it is longer than the peer takes in a record; else as nvme_tcp_ktls_send().
 * Threads: the same.
 */
ssize_t nvme_tcp_ktls_send_record(const struct nvme_tcp_ktls *connection,
                                  int record_type,
                                  const void *data,
                                  size_t len,
                                  int flags);

/**
 * Sends `len` bytes of a file from `offset` on, without a copy in this process where the kernel seals and
 * the call may wait. Gives back how many bytes were taken, 0 at the end of the file.
 *
 * Errors: as nvme_tcp_ktls_send(); -EBADF, -EISDIR and others of read(2). Threads: the same.
 */
ssize_t nvme_tcp_ktls_sendfile(const struct nvme_tcp_ktls *connection,
                               int file,
                               uint64_t offset,
                               size_t len,
                               int flags);

/**
 * Receives application data. Gives back how many bytes came, 0 only after the peer's close_notify. Alerts
 * and handshake records are acted upon and not given out. They may be received, and records opened, in the buffer, also
 * behind that length: it must not be memory that a guest or another process can change meanwhile.
 *
 * Errors: -EAGAIN with NVME_TCP_NOWAIT where nothing has come; -ECONNRESET where the connection ended
 * without close_notify, so that data may be missing; -EBADMSG for a record that is not authentic;
 * -ECONNABORTED for an alert. Threads: calls that receive wait for one another, calls that send go on beside
 * them.
 */
ssize_t nvme_tcp_ktls_recv(const struct nvme_tcp_ktls *connection,
                           void *data,
                           size_t len,
                           int flags);

/**
 * Changes the key of what this end sends (KeyUpdate), and tells the peer; with `request` it asks the peer
 * for the same. Linux NVMe peers end the connection at a KeyUpdate. With NVME_TCP_NOWAIT it may be held back, and
 * goes with nvme_tcp_ktls_flush().
 *
 * Errors: -EOPNOTSUPP where the kernel seals and cannot change a key; -EKEYEXPIRED where there is no next
 * key: TLS 1.2, or a key without its traffic secret; -ECONNRESET, -EPIPE, -ECONNABORTED and others of
 * nvme_tcp_ktls_send(). Threads: as nvme_tcp_ktls_send().
 */
int nvme_tcp_ktls_update_key(const struct nvme_tcp_ktls *connection,
                             bool request,
                             int flags);

/**
 * Tells what TLS is on the connection, and who seals and opens its records, and why.
 *
 * Errors: -EINVAL. Threads: any.
 */
int nvme_tcp_ktls_get_info(const struct nvme_tcp_ktls *connection, struct nvme_tcp_tls_info *info);

/**
 * Sends close_notify after all that was taken before: the peer then knows that nothing is missing. Nothing
 * more can be sent; receiving goes on. With NVME_TCP_NOWAIT it is called again while it gives back -EAGAIN.
 *
 * Errors: as nvme_tcp_ktls_flush(). Threads: as nvme_tcp_ktls_send().
 */
int nvme_tcp_ktls_close_notify(const struct nvme_tcp_ktls *connection, int flags);

/**
 * Closes a connection, without close_notify, and frees it.
 *
 * Threads: no other call on it may run or follow.
 */
void nvme_tcp_ktls_free(struct nvme_tcp_ktls *connection);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NVME_TCP_H */
