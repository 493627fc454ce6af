/* Keys and options, what each does with wrong arguments, and how connecting fails: setup PLAIN-URI TLS-URI FOLDER */
#include "check.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEY "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"

static void keys(const char *folder)
{
    nvme_tcp_key *key = NULL, *same = NULL;
    char text[NVME_TCP_KEY_TEXT_SIZE], again[NVME_TCP_KEY_TEXT_SIZE];
    char identity[NVME_TCP_IDENTITY_SIZE], path[512];
    unsigned char psk[48];
    size_t len = 0;

    GIVES(-EINVAL, nvme_tcp_key_generate(7, &key));
    GIVES(-EINVAL, nvme_tcp_key_generate(NVME_TCP_HASH_SHA256, NULL));
    CHECK(key == NULL);
    GIVES(0, nvme_tcp_key_generate(NVME_TCP_HASH_SHA384, &key));
    GIVES(NVME_TCP_HASH_SHA384, nvme_tcp_key_hash(key));
    GIVES(-1, nvme_tcp_key_hash(NULL));
    GIVES(-ENOSPC, nvme_tcp_key_text(key, text, 10));
    GIVES(-EINVAL, nvme_tcp_key_text(key, NULL, 10));
    GIVES(0, nvme_tcp_key_text(key, text, sizeof text));
    snprintf(path, sizeof path, "%s/saved.key", folder);
    GIVES(0, nvme_tcp_key_save(key, path));
    GIVES(-EEXIST, nvme_tcp_key_save(key, path));
    CHECK(nvme_tcp_error_hint() != NULL);
    GIVES(0, nvme_tcp_key_load(path, &same));
    GIVES(0, nvme_tcp_key_text(same, again, sizeof again));
    CHECK(strcmp(text, again) == 0);
    nvme_tcp_key_free(same);
    CHECK(chmod(path, 0644) == 0);
    GIVES(-EACCES, nvme_tcp_key_load(path, &same));
    CHECK(chmod(path, 0600) == 0 && truncate(path, 10) == 0);
    GIVES(-EINVAL, nvme_tcp_key_load(path, &same));
    nvme_tcp_key_free(key);
    nvme_tcp_key_free(NULL);
    GIVES(-ENOENT, nvme_tcp_key_load("/nowhere/at/all", &key));
    GIVES(-EINVAL, nvme_tcp_key_load(NULL, &key));
    GIVES(-EINVAL, nvme_tcp_key_load("\xff", &key));
    CHECK(strstr(nvme_tcp_error_message(), "UTF-8"));

    GIVES(-EINVAL, nvme_tcp_key_parse("NVMeTLSkey-1:01:AAAA:", &key));
    CHECK(nvme_tcp_error_hint() != NULL && strlen(nvme_tcp_error_message()) > 10);
    GIVES(NVME_TCP_SCOPE_CONFIGURATION, nvme_tcp_error_scope());
    GIVES(NVME_TCP_BLAME_CALLER, nvme_tcp_error_blame());
    GIVES(-1, nvme_tcp_error_status_type());
    GIVES(-1, nvme_tcp_error_status_code());
    CHECK(!nvme_tcp_error_is_retryable());
    GIVES(0, nvme_tcp_key_parse(KEY, &key));
    GIVES(0, nvme_tcp_key_identity(key, HOST, SUBSYSTEM, 0, NVME_TCP_DERIVATION_RFC8446, identity, sizeof identity));
    CHECK(strcmp(identity, "NVMe0R01 " HOST " " SUBSYSTEM) == 0);
    GIVES(0, nvme_tcp_key_identity(key, HOST, SUBSYSTEM, 1, NVME_TCP_DERIVATION_COMPAT, identity, sizeof identity));
    CHECK(strncmp(identity, "NVMe1R01 ", 9) == 0);
    GIVES(-EINVAL, nvme_tcp_key_identity(key, HOST, SUBSYSTEM, 2, 0, identity, sizeof identity));
    GIVES(-EINVAL, nvme_tcp_key_identity(key, HOST, SUBSYSTEM, 1, 2, identity, sizeof identity));
    GIVES(-EINVAL, nvme_tcp_key_identity(key, "a b", SUBSYSTEM, 1, 0, identity, sizeof identity));
    GIVES(-EINVAL, nvme_tcp_key_identity(NULL, HOST, SUBSYSTEM, 1, 0, identity, sizeof identity));
    GIVES(-ENOSPC, nvme_tcp_key_identity(key, HOST, SUBSYSTEM, 1, 0, identity, 20));
    GIVES(-EINVAL, nvme_tcp_key_derive(key, HOST, SUBSYSTEM, 2, 0, psk, sizeof psk, &len));
    GIVES(-ENOSPC, nvme_tcp_key_derive(key, HOST, SUBSYSTEM, 1, 0, psk, 16, &len));
    GIVES(0, nvme_tcp_key_derive(key, HOST, SUBSYSTEM, 1, 0, psk, sizeof psk, &len));
    CHECK(len == 32);
    nvme_tcp_key_free(key);
}

/* Linux's key retention service: SYS_keyctl's KEYCTL_REVOKE is 3, its KEYCTL_SETPERM 5, -2 this
 * process's keyring. */
static void keyring(const char *uri)
{
    nvme_tcp_options *options = options_for(uri, NULL);
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_key *key = NULL;
    char name[64], text[NVME_TCP_KEY_TEXT_SIZE];
    long id;
    snprintf(name, sizeof name, "nvme-tcp-c-test:%d", (int)getpid());
    GIVES(-EINVAL, nvme_tcp_key_load_keyring(NULL, &key));
    GIVES(-EINVAL, nvme_tcp_options_set_keyring(options, NULL));
    id = syscall(SYS_add_key, "user", name, KEY "\n", sizeof KEY, -2);
    if (id < 0) {
        fprintf(stderr, "SKIPPED sync::keyring: no key retention service (errno %d)\n", errno);
        nvme_tcp_options_free(options);
        return;
    }
    GIVES(0, nvme_tcp_key_load_keyring(name, &key));
    GIVES(0, nvme_tcp_key_text(key, text, sizeof text));
    CHECK(strcmp(text, KEY) == 0);
    GIVES(-ENOKEY, nvme_tcp_key_load_keyring("nvme-tcp-c-test:none", &key));
    /* The key is not the target's: that it is rejected shows that it was tried. */
    GIVES(0, nvme_tcp_options_set_keyring(options, name));
    GIVES(-EKEYREJECTED, nvme_tcp_connect(options, &controller));
    /* One source or the other. */
    GIVES(0, nvme_tcp_options_add_key(options, key));
    GIVES(-EINVAL, nvme_tcp_connect(options, &controller));
    nvme_tcp_key_free(key);
    nvme_tcp_options_free(options);
    CHECK(syscall(SYS_add_key, "user", name, "nonsense", 8, -2) == id);
    GIVES(-EINVAL, nvme_tcp_key_load_keyring(name, &key));
    CHECK(syscall(SYS_keyctl, 3, id) == 0);
    CHECK(nvme_tcp_key_load_keyring(name, &key) < 0);
    /* One that nobody may find. */
    id = syscall(SYS_add_key, "user", name, KEY, sizeof KEY - 1, -2);
    CHECK(id > 0 && syscall(SYS_keyctl, 5, id, 0) == 0);
    GIVES(-ENOKEY, nvme_tcp_key_load_keyring(name, &key));
}

static void wrong_options(const char *uri)
{
    nvme_tcp_options *options = NULL;
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_key *key = NULL;
    uint32_t nsid = 7;

    GIVES(-EINVAL, nvme_tcp_options_new(NULL));
    GIVES(0, nvme_tcp_options_new(&options));
    GIVES(-EINVAL, nvme_tcp_connect(options, &controller));
    CHECK(strstr(nvme_tcp_error_message(), "NQN"));
    GIVES(-EINVAL, nvme_tcp_options_set_uri(options, "http://x", &nsid));
    CHECK(nsid == 7);
    GIVES(-EINVAL, nvme_tcp_options_set_uri(NULL, uri, &nsid));
    CHECK(strstr(nvme_tcp_error_message(), "NULL"));
    GIVES(0, nvme_tcp_options_set_uri(options, uri, NULL));
    GIVES(0, nvme_tcp_options_set_uri(options, uri, &nsid));
    CHECK(nsid == 1);
    GIVES(-EINVAL, nvme_tcp_options_set_address(options, "a:b:c"));
    GIVES(0, nvme_tcp_options_set_address(options, "[::1]:4420"));
    GIVES(-EINVAL, nvme_tcp_options_set_subsysnqn(options, ""));
    GIVES(0, nvme_tcp_options_set_subsysnqn(options, SUBSYSTEM));
    GIVES(-EINVAL, nvme_tcp_options_set_hostnqn(options, NULL));
    GIVES(0, nvme_tcp_options_set_hostnqn(options, HOST));
    GIVES(-EINVAL, nvme_tcp_options_set_hostid(options, "12"));
    GIVES(0, nvme_tcp_options_set_hostid(options, "68c26332-bf50-4b17-8bd2-dfb7fa068c2f"));
    GIVES(-EINVAL, nvme_tcp_options_set_dhchap_secret(options, "DHHC-1:00:AAAA:"));
    GIVES(-EINVAL, nvme_tcp_options_set_dhchap_ctrl_secret(options, "x"));
    GIVES(-EINVAL, nvme_tcp_options_set_identity_version(options, 2));
    GIVES(0, nvme_tcp_options_set_identity_version(options, 1));
    GIVES(0, nvme_tcp_options_set_identity_version(options, -1));
    GIVES(-EINVAL, nvme_tcp_options_set_layer(options, 3));
    GIVES(0, nvme_tcp_options_set_layer(options, NVME_TCP_LAYER_PROCESS));
    GIVES(-EINVAL, nvme_tcp_options_set_tls(options, 3));
    GIVES(0, nvme_tcp_options_set_tls(options, NVME_TCP_TLS_CONCAT));
    GIVES(-EINVAL, nvme_tcp_connect(options, &controller));
    GIVES(0, nvme_tcp_options_set_tls(options, NVME_TCP_TLS_REQUIRED));
    GIVES(-EINVAL, nvme_tcp_connect(options, &controller));
    GIVES(0, nvme_tcp_options_set_tls(options, NVME_TCP_TLS_OFF));
    GIVES(0, nvme_tcp_key_parse(KEY, &key));
    GIVES(-EINVAL, nvme_tcp_options_add_key(options, NULL));
    GIVES(0, nvme_tcp_options_add_key(options, key));
    GIVES(-EINVAL, nvme_tcp_connect(options, &controller));
    nvme_tcp_key_free(key);
    nvme_tcp_options_free(options);

    options = options_for(uri, NULL);
    GIVES(-EINVAL, nvme_tcp_options_set_io_queues(NULL, 1));
    GIVES(-EINVAL, nvme_tcp_options_set_owned_queues(NULL, 1));
    GIVES(-EINVAL, nvme_tcp_options_set_queue_size(NULL, 2));
    GIVES(-EINVAL, nvme_tcp_options_set_digests(NULL, true, true));
    GIVES(-EINVAL, nvme_tcp_options_set_keep_alive(NULL, 1));
    GIVES(-EINVAL, nvme_tcp_options_set_timeout(NULL, 1));
    GIVES(-EINVAL, nvme_tcp_options_set_connect_timeout(NULL, 1));
    GIVES(-EINVAL, nvme_tcp_options_set_busy_poll(NULL, 1));
    GIVES(-EINVAL, nvme_tcp_options_set_private_memory(NULL, true));
    GIVES(-EINVAL, nvme_tcp_options_set_congestion_control(NULL, "reno"));
    GIVES(-EINVAL, nvme_tcp_options_set_congestion_control(options, NULL));
    GIVES(-EINVAL, nvme_tcp_options_set_io_uring(NULL, true));
    GIVES(0, nvme_tcp_options_set_queue_size(options, 1));
    GIVES(-EINVAL, nvme_tcp_connect(options, &controller));
    GIVES(-EINVAL, nvme_tcp_connect(NULL, &controller));
    GIVES(-EINVAL, nvme_tcp_connect(options, NULL));
    nvme_tcp_options_free(options);
    nvme_tcp_options_free(NULL);
}

static void refusals(const char *plain, const char *tls)
{
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_discovery *log = NULL;
    nvme_tcp_options *options = options_for(plain, NULL);
    nvme_tcp_key *key = NULL;

    /* Nobody is there. */
    GIVES(0, nvme_tcp_options_set_address(options, "127.0.0.1:1"));
    GIVES(-ECONNREFUSED, nvme_tcp_discover(options, &log));
    GIVES(-ECONNREFUSED, nvme_tcp_connect(options, &controller));
    GIVES(NVME_TCP_SCOPE_CONTROLLER, nvme_tcp_error_scope());
    GIVES(NVME_TCP_BLAME_NETWORK, nvme_tcp_error_blame());
    CHECK(nvme_tcp_error_is_retryable() && nvme_tcp_error_hint() != NULL);
    /* No such subsystem. */
    GIVES(0, nvme_tcp_options_set_uri(options, plain, NULL));
    GIVES(0, nvme_tcp_options_set_subsysnqn(options, SUBSYSTEM ":none"));
    GIVES(-ECONNREFUSED, nvme_tcp_connect(options, &controller));
    GIVES(1, nvme_tcp_error_status_type());
    CHECK(nvme_tcp_error_status_code() >= 0x80);
    nvme_tcp_options_free(options);
    /* Plain, where TLS is required: it is not answered. */
    options = options_for(tls, NULL);
    GIVES(0, nvme_tcp_options_set_connect_timeout(options, 20000));
    GIVES(0, nvme_tcp_options_set_busy_poll(options, 100));
    GIVES(0, nvme_tcp_options_set_private_memory(options, true));
    GIVES(0, nvme_tcp_options_set_congestion_control(options, "reno"));
    CHECK(nvme_tcp_connect(options, &controller) < 0);
    GIVES(0, nvme_tcp_options_set_congestion_control(options, "nvme-none"));
    GIVES(-ENOENT, nvme_tcp_connect(options, &controller));
    nvme_tcp_options_free(options);
    /* Another key than the target's. */
    options = options_for(tls, NULL);
    GIVES(0, nvme_tcp_key_parse(KEY, &key));
    GIVES(0, nvme_tcp_options_add_key(options, key));
    GIVES(-EKEYREJECTED, nvme_tcp_connect(options, &controller));
    GIVES(-EKEYREJECTED, nvme_tcp_discover(options, &log));
    nvme_tcp_key_free(key);
    nvme_tcp_options_free(options);
    CHECK(controller == NULL && log == NULL);
}

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    keys(argv[3]);
    wrong_options(argv[1]);
    refusals(argv[1], argv[2]);
    keyring(argv[2]);
    puts("good");
    return 0;
}
