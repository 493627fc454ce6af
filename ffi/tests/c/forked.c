/* In a forked child no call touches what its parent made: forked URI KEYFILE */
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

static nvme_tcp_options *options;
static nvme_tcp_controller *controller;
static nvme_tcp_namespace *namespace;
static nvme_tcp_queue *queue;
static nvme_tcp_events *events;
static nvme_tcp_discovery *discovery;
static nvme_tcp_key *key;

static void options_and_keys(void)
{
    uint32_t nsid;
    char text[NVME_TCP_IDENTITY_SIZE];
    size_t len;
    GIVES(-ECHILD, nvme_tcp_options_set_address(options, "127.0.0.1"));
    GIVES(-ECHILD, nvme_tcp_options_set_uri(options, "nvme+tcp://127.0.0.1", &nsid));
    GIVES(-ECHILD, nvme_tcp_options_set_subsysnqn(options, "nqn.2024-01.lab.test:c"));
    GIVES(-ECHILD, nvme_tcp_options_set_hostnqn(options, "nqn.2024-01.lab.test:c"));
    GIVES(-ECHILD, nvme_tcp_options_set_hostid(options, "68c26332-bf50-4b17-8bd2-dfb7fa068c2f"));
    GIVES(-ECHILD, nvme_tcp_options_add_key(options, key));
    GIVES(-ECHILD, nvme_tcp_options_set_keyring(options, "x"));
    GIVES(-ECHILD, nvme_tcp_options_set_tls(options, 0));
    GIVES(-ECHILD, nvme_tcp_options_set_layer(options, 0));
    GIVES(-ECHILD, nvme_tcp_options_set_identity_version(options, 0));
    GIVES(-ECHILD, nvme_tcp_options_set_dhchap_secret(options, "x"));
    GIVES(-ECHILD, nvme_tcp_options_set_dhchap_ctrl_secret(options, "x"));
    GIVES(-ECHILD, nvme_tcp_options_set_io_queues(options, 1));
    GIVES(-ECHILD, nvme_tcp_options_set_owned_queues(options, 1));
    GIVES(-ECHILD, nvme_tcp_options_set_queue_size(options, 1));
    GIVES(-ECHILD, nvme_tcp_options_set_digests(options, false, false));
    GIVES(-ECHILD, nvme_tcp_options_set_keep_alive(options, 1));
    GIVES(-ECHILD, nvme_tcp_options_set_timeout(options, 1));
    GIVES(-ECHILD, nvme_tcp_options_set_connect_timeout(options, 1));
    GIVES(-ECHILD, nvme_tcp_options_set_busy_poll(options, 1));
    GIVES(-ECHILD, nvme_tcp_options_set_private_memory(options, true));
    GIVES(-ECHILD, nvme_tcp_options_set_congestion_control(options, "reno"));
    GIVES(-ECHILD, nvme_tcp_options_set_io_uring(options, true));
    GIVES(-ECHILD, nvme_tcp_key_save(key, "/nowhere"));
    GIVES(-ECHILD, nvme_tcp_key_text(key, text, sizeof text));
    GIVES(-ECHILD, nvme_tcp_key_identity(key, "nqn.2024-01.lab.test:h", "nqn.2024-01.lab.test:c", 0, 0, text,
                                         sizeof text));
    GIVES(-ECHILD, nvme_tcp_key_derive(key, "nqn.2024-01.lab.test:h", "nqn.2024-01.lab.test:c", 0, 0, text,
                                       sizeof text, &len));
    GIVES(-1, nvme_tcp_key_hash(key));
}

static void controllers(void)
{
    nvme_tcp_controller *none = NULL;
    nvme_tcp_namespace *no_namespace = NULL;
    nvme_tcp_queue *no_queue = NULL;
    nvme_tcp_events *no_events = NULL;
    nvme_tcp_discovery *no_log = NULL;
    nvme_tcp_controller_info info;
    nvme_tcp_tls_info tls;
    nvme_tcp_statistics statistics;
    nvme_tcp_discovery_entry entry;
    nvme_tcp_event event;
    nvme_tcp_command command;
    unsigned char page[4096];
    uint32_t nsids[4];
    size_t count;
    memset(&command, 0, sizeof command);
    command.size = sizeof command;
    info.size = sizeof info;
    tls.size = sizeof tls;
    statistics.size = sizeof statistics;
    entry.size = sizeof entry;
    event.size = sizeof event;
    GIVES(-ECHILD, nvme_tcp_connect(options, &none));
    GIVES(-ECHILD, nvme_tcp_discover(options, &no_log));
    GIVES(-ECHILD, nvme_tcp_discovery_get(discovery, 0, &entry));
    GIVES(0, nvme_tcp_discovery_count(discovery));
    GIVES(-ECHILD, nvme_tcp_controller_get_info(controller, &info));
    GIVES(-ECHILD, nvme_tcp_controller_get_tls(controller, &tls));
    GIVES(-ECHILD, nvme_tcp_controller_get_statistics(controller, &statistics));
    GIVES(-ECHILD, nvme_tcp_controller_list_namespaces(controller, nsids, 4, &count));
    GIVES(-ECHILD, nvme_tcp_controller_identify(controller, 1, 0, page));
    GIVES(-ECHILD, nvme_tcp_controller_get_log_page(controller, 2, 0, page, 512));
    GIVES(-ECHILD, nvme_tcp_controller_admin_passthrough(controller, &command, NULL, 0, NULL));
    GIVES(-ECHILD, nvme_tcp_controller_io_passthrough(controller, &command, NULL, 0, NULL));
    GIVES(-ECHILD, nvme_tcp_controller_reconnect(controller));
    GIVES(-ECHILD, nvme_tcp_controller_reauthenticate(controller));
    GIVES(-ECHILD, nvme_tcp_controller_check(controller));
    GIVES(-ECHILD, nvme_tcp_namespace_open(controller, 1, &no_namespace));
    GIVES(-ECHILD, nvme_tcp_queue_open(controller, &no_queue));
    GIVES(-ECHILD, nvme_tcp_events_open(controller, &no_events));
    GIVES(-ECHILD, nvme_tcp_events_get_fd(events));
    GIVES(-ECHILD, nvme_tcp_events_next(events, 0, &event));
}

static void data(void)
{
    nvme_tcp_completion done;
    unsigned char block[4096];
    struct iovec piece;
    piece.iov_base = block;
    piece.iov_len = sizeof block;
    CHECK(nvme_tcp_namespace_id(namespace) == 0 && nvme_tcp_namespace_size(namespace) == 0);
    CHECK(nvme_tcp_namespace_block_size(namespace) == 0 && nvme_tcp_namespace_max_transfer(namespace) == 0);
    CHECK(!nvme_tcp_namespace_is_read_only(namespace));
    GIVES(-ECHILD, nvme_tcp_pread(namespace, block, sizeof block, 0));
    GIVES(-ECHILD, nvme_tcp_pwrite(namespace, block, sizeof block, 0));
    GIVES(-ECHILD, nvme_tcp_compare(namespace, block, sizeof block, 0));
    GIVES(-ECHILD, nvme_tcp_flush(namespace));
    GIVES(-ECHILD, nvme_tcp_zero(namespace, 0, 4096));
    GIVES(-ECHILD, nvme_tcp_discard(namespace, 0, 4096));
    GIVES(-ECHILD, nvme_tcp_queue_read(queue, namespace, block, sizeof block, 0, 1));
    GIVES(-ECHILD, nvme_tcp_queue_write(queue, namespace, block, sizeof block, 0, 1));
    GIVES(-ECHILD, nvme_tcp_queue_readv(queue, namespace, &piece, 1, 0, 1));
    GIVES(-ECHILD, nvme_tcp_queue_writev(queue, namespace, &piece, 1, 0, 1));
    GIVES(-ECHILD, nvme_tcp_queue_flush(queue, namespace, 1));
    GIVES(-ECHILD, nvme_tcp_queue_zero(queue, namespace, 0, 4096, 1));
    GIVES(-ECHILD, nvme_tcp_queue_discard(queue, namespace, 0, 4096, 1));
    GIVES(-ECHILD, nvme_tcp_queue_cancel(queue, 1));
    GIVES(-ECHILD, nvme_tcp_queue_get_fd(queue));
    GIVES(-ECHILD, nvme_tcp_queue_notify(queue));
    GIVES(-ECHILD, nvme_tcp_queue_complete(queue, &done, sizeof done, 0, 1, 0));
    CHECK(nvme_tcp_queue_room(queue) == 0 && nvme_tcp_queue_outstanding(queue) == 0);
    CHECK(nvme_tcp_queue_wants(queue) == 0 && nvme_tcp_queue_timeout(queue) == -1);
    CHECK(!nvme_tcp_queue_uses_io_uring(queue));
}

static void freed(void)
{
    nvme_tcp_queue_free(queue);
    nvme_tcp_events_free(events);
    nvme_tcp_namespace_free(namespace);
    nvme_tcp_controller_free(controller);
    nvme_tcp_discovery_free(discovery);
    nvme_tcp_key_free(key);
    nvme_tcp_options_free(options);
}

int main(int argc, char **argv)
{
    unsigned char block[4096];
    int state;
    pid_t child;
    CHECK(argc == 3);
    options = options_for(argv[1], argv[2]);
    GIVES(0, nvme_tcp_options_set_owned_queues(options, 1));
    GIVES(0, nvme_tcp_key_generate(NVME_TCP_HASH_SHA256, &key));
    GIVES(0, nvme_tcp_connect(options, &controller));
    GIVES(0, nvme_tcp_discover(options, &discovery));
    GIVES(0, nvme_tcp_namespace_open(controller, 1, &namespace));
    GIVES(0, nvme_tcp_queue_open(controller, &queue));
    GIVES(0, nvme_tcp_events_open(controller, &events));
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        options_and_keys();
        controllers();
        data();
        freed();
        _exit(0);
    }
    CHECK(waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0);
    /* The parent's connections went on undisturbed. */
    GIVES(0, nvme_tcp_pread(namespace, block, sizeof block, 0));
    freed();
    puts("good");
    return 0;
}
