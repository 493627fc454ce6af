/* Every synchronous call of a controller and its namespaces: sync PLAIN-URI TLS-URI KEYFILE SECRET */
#include "check.h"

#include <poll.h>

static void data(nvme_tcp_namespace *namespace)
{
    uint64_t size = nvme_tcp_namespace_size(namespace);
    uint32_t block = nvme_tcp_namespace_block_size(namespace);
    size_t len = 3 * nvme_tcp_namespace_max_transfer(namespace) / 2 / block * block, at;
    unsigned char *to = malloc(len), *from = malloc(len);
    CHECK(to && from && len > block && size >= len);
    for (at = 0; at < len; at++)
        to[at] = (unsigned char)(at * 7 + at / 251);
    GIVES(0, nvme_tcp_pwrite(namespace, to, len, block));
    GIVES(0, nvme_tcp_flush(namespace));
    GIVES(0, nvme_tcp_pread(namespace, from, len, block));
    CHECK(memcmp(to, from, len) == 0);
    GIVES(0, nvme_tcp_compare(namespace, to, len, block));
    to[len - 1] ^= 1;
    GIVES(-EILSEQ, nvme_tcp_compare(namespace, to, len, block));
    GIVES(2, nvme_tcp_error_status_type());
    GIVES(0x85, nvme_tcp_error_status_code());
    GIVES(-EINVAL, nvme_tcp_compare(namespace, to, 1, block));
    GIVES(0, nvme_tcp_zero(namespace, block, block));
    GIVES(0, nvme_tcp_pread(namespace, from, block, block));
    CHECK(from[0] == 0 && memcmp(from, from + 1, block - 1) == 0);
    GIVES(0, nvme_tcp_discard(namespace, 0, 2 * block));
    GIVES(0, nvme_tcp_pread(namespace, from, 0, 0));
    GIVES(0, nvme_tcp_pread(namespace, NULL, 0, 0));
    GIVES(-EINVAL, nvme_tcp_pread(namespace, NULL, block, 0));
    GIVES(-EINVAL, nvme_tcp_pread(namespace, from, block - 1, 0));
    GIVES(-EINVAL, nvme_tcp_pwrite(namespace, to, block, size));
    GIVES(NVME_TCP_SCOPE_CONFIGURATION, nvme_tcp_error_scope());
    GIVES(-EINVAL, nvme_tcp_zero(namespace, 1, block));
    GIVES(-EINVAL, nvme_tcp_discard(namespace, 0, 1));
    GIVES(-EINVAL, nvme_tcp_flush(NULL));
    GIVES(-EINVAL, nvme_tcp_pread(NULL, from, block, 0));
    free(to);
    free(from);
}

static void passthrough(nvme_tcp_controller *controller)
{
    nvme_tcp_command command;
    nvme_tcp_command_result result;
    unsigned char page[4096], same[4096];
    memset(&command, 0, sizeof command);
    command.size = sizeof command;
    result.size = sizeof result;
    /* Identify, controller. */
    command.opcode = 6;
    command.cdw10[0] = 1;
    command.timeout = 60000;
    GIVES(0, nvme_tcp_controller_admin_passthrough(controller, &command, page, sizeof page, &result));
    CHECK(result.status_type == 0 && result.status_code == 0 && result.received == sizeof page);
    GIVES(0, nvme_tcp_controller_identify(controller, 1, 0, same));
    CHECK(memcmp(page, same, sizeof page) == 0);
    GIVES(0, nvme_tcp_controller_admin_passthrough(controller, &command, page, sizeof page, NULL));
    /* Get Features, number of queues: a value and no data. */
    command.opcode = 0x0a;
    command.cdw10[0] = 7;
    GIVES(0, nvme_tcp_controller_admin_passthrough(controller, &command, NULL, 0, &result));
    CHECK(result.value != 0 && result.received == 0);
    /* No such opcode, no such namespace. */
    command.opcode = 0xc0;
    GIVES(-EOPNOTSUPP, nvme_tcp_controller_admin_passthrough(controller, &command, NULL, 0, &result));
    CHECK(result.status_type == 0 && result.status_code == 1);
    GIVES(1, nvme_tcp_error_status_code());
    command.opcode = 6;
    command.nsid = 0xfffffff0;
    command.cdw10[0] = 0;
    GIVES(-ENOENT, nvme_tcp_controller_admin_passthrough(controller, &command, page, sizeof page, NULL));
    /* Fabrics and Keep Alive are the library's own; data goes the way of the opcode. */
    command.opcode = 0x7f;
    GIVES(-EINVAL, nvme_tcp_controller_admin_passthrough(controller, &command, NULL, 0, &result));
    command.opcode = 0x18;
    GIVES(-EINVAL, nvme_tcp_controller_admin_passthrough(controller, &command, NULL, 0, &result));
    command.opcode = 0x0c;
    GIVES(-EINVAL, nvme_tcp_controller_admin_passthrough(controller, &command, page, 4, &result));
    GIVES(-EINVAL, nvme_tcp_controller_admin_passthrough(controller, NULL, NULL, 0, &result));
    GIVES(-EINVAL, nvme_tcp_controller_admin_passthrough(NULL, &command, NULL, 0, &result));
    /* A write and a read of one block. */
    memset(&command.cdw10, 0, sizeof command.cdw10);
    memset(page, 0x5a, 512);
    command.nsid = 1;
    command.opcode = 1;
    GIVES(0, nvme_tcp_controller_io_passthrough(controller, &command, page, 512, &result));
    command.opcode = 2;
    memset(page, 0, 512);
    GIVES(0, nvme_tcp_controller_io_passthrough(controller, &command, page, 512, &result));
    CHECK(page[0] == 0x5a && page[511] == 0x5a && result.received == 512);
    GIVES(-EINVAL, nvme_tcp_controller_io_passthrough(controller, &command, NULL, 512, &result));
    result.size = 4;
    GIVES(-EINVAL, nvme_tcp_controller_io_passthrough(controller, &command, page, 512, &result));
}

static void statistics(nvme_tcp_controller *controller, uint64_t associations)
{
    nvme_tcp_statistics found;
    found.size = sizeof found;
    GIVES(0, nvme_tcp_controller_get_statistics(controller, &found));
    CHECK(found.associations == associations && found.failures > 0 && found.failures < found.reads + found.others);
    CHECK(found.writes >= associations && found.bytes_written > 0 && found.reads >= associations);
    CHECK(found.bytes_read > 0 && found.bytes_read % 511 != 0);
    GIVES(-EINVAL, nvme_tcp_controller_get_statistics(controller, NULL));
    GIVES(-EINVAL, nvme_tcp_controller_get_statistics(NULL, &found));
}

/* What a reconnect and the end of the controller look like to who listens. */
static nvme_tcp_events *listens(nvme_tcp_controller *controller)
{
    nvme_tcp_events *events = NULL;
    nvme_tcp_event event;
    struct pollfd fd;
    event.size = sizeof event;
    GIVES(-EINVAL, nvme_tcp_events_open(controller, NULL));
    GIVES(-EINVAL, nvme_tcp_events_open(NULL, &events));
    GIVES(0, nvme_tcp_events_open(controller, &events));
    fd.fd = nvme_tcp_events_get_fd(events);
    fd.events = POLLIN;
    CHECK(fd.fd >= 0 && poll(&fd, 1, 0) == 0);
    GIVES(-EAGAIN, nvme_tcp_events_next(events, 0, &event));
    GIVES(-EAGAIN, nvme_tcp_events_next(events, 1, &event));
    GIVES(-EINVAL, nvme_tcp_events_next(events, 0, NULL));
    GIVES(-EINVAL, nvme_tcp_events_next(NULL, 0, &event));
    GIVES(-EINVAL, nvme_tcp_events_get_fd(NULL));
    return events;
}

static void heard(nvme_tcp_events *events, int first, int second)
{
    nvme_tcp_event event;
    struct pollfd fd;
    event.size = sizeof event;
    fd.fd = nvme_tcp_events_get_fd(events);
    fd.events = POLLIN;
    CHECK(poll(&fd, 1, -1) == 1);
    GIVES(0, nvme_tcp_events_next(events, -1, &event));
    CHECK(event.kind == first && event.size == sizeof event);
    GIVES(0, nvme_tcp_events_next(events, 60000, &event));
    CHECK(event.kind == second);
    CHECK(event.reason == (second == NVME_TCP_EVENT_REPLACED ? NVME_TCP_REASON_ASKED : 0) && event.error == 0);
}

static void connected(const char *uri, const char *key_file)
{
    nvme_tcp_options *options = options_for(uri, key_file);
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_namespace *namespace = NULL;
    nvme_tcp_controller_info info;
    nvme_tcp_tls_info tls;
    unsigned char page[4096];
    nvme_tcp_events *events;
    nvme_tcp_event event;
    uint32_t nsids[4];
    size_t count = 0;

    GIVES(0, nvme_tcp_options_set_io_queues(options, 2));
    GIVES(0, nvme_tcp_options_set_queue_size(options, 64));
    GIVES(0, nvme_tcp_options_set_digests(options, true, true));
    GIVES(0, nvme_tcp_options_set_keep_alive(options, 5000));
    GIVES(0, nvme_tcp_options_set_timeout(options, 60000));
    GIVES(0, nvme_tcp_options_set_connect_timeout(options, 60000));
    GIVES(0, nvme_tcp_connect(options, &controller));
    nvme_tcp_options_free(options);

    memset(&info, 0xff, sizeof info);
    info.size = 4;
    GIVES(-EINVAL, nvme_tcp_controller_get_info(controller, &info));
    CHECK(nvme_tcp_error_hint() != NULL);
    GIVES(-EINVAL, nvme_tcp_controller_get_info(controller, NULL));
    info.size = sizeof info;
    GIVES(0, nvme_tcp_controller_get_info(controller, &info));
    CHECK(info.size == sizeof info && info.io_queues == 2 && info.queue_size == 64);
    CHECK(info.header_digest && info.data_digest && info.tls == (key_file != NULL) && !info.authenticated);
    CHECK(strcmp(info.subsysnqn, SUBSYSTEM) == 0 && info.generation == 0 && info.reserved[0] == 0);

    tls.size = sizeof tls;
    if (key_file) {
        GIVES(0, nvme_tcp_controller_get_tls(controller, &tls));
        CHECK(tls.version == 0x0304 && tls.cipher == 51 && tls.group != 0 && tls.identity_version == 1);
        CHECK(strcmp(tls.suite, "TLS_AES_128_GCM_SHA256") == 0 && strstr(tls.identity, HOST));
        CHECK(tls.sent_by != 0 && tls.received_by != 0 && tls.sent_why[0] && tls.received_why[0]);
    } else {
        GIVES(-ENOENT, nvme_tcp_controller_get_tls(controller, &tls));
    }

    GIVES(-EINVAL, nvme_tcp_controller_get_tls(NULL, &tls));
    GIVES(0, nvme_tcp_controller_list_namespaces(controller, nsids, 4, &count));
    CHECK(count == 3 && nsids[0] == 1 && nsids[2] == 3);
    GIVES(0, nvme_tcp_controller_list_namespaces(controller, NULL, 0, &count));
    CHECK(count == 3);
    GIVES(-EINVAL, nvme_tcp_controller_list_namespaces(controller, nsids, 4, NULL));
    GIVES(0, nvme_tcp_controller_identify(controller, 1, 0, page));
    GIVES(-EINVAL, nvme_tcp_controller_identify(controller, 1, 0, NULL));
    CHECK(nvme_tcp_controller_identify(controller, 0xee, 0, page) < 0 && nvme_tcp_error_status_code() == 2);
    GIVES(NVME_TCP_SCOPE_COMMAND, nvme_tcp_error_scope());
    GIVES(0, nvme_tcp_controller_get_log_page(controller, 2, 0, page, 512));
    GIVES(-EINVAL, nvme_tcp_controller_get_log_page(controller, 2, 0, page, 3));
    GIVES(-EINVAL, nvme_tcp_controller_reauthenticate(controller));
    GIVES(-EINVAL, nvme_tcp_controller_reconnect(NULL));
    GIVES(0, nvme_tcp_controller_check(controller));
    GIVES(-EINVAL, nvme_tcp_controller_check(NULL));

    GIVES(-ENOENT, nvme_tcp_namespace_open(controller, 9, &namespace));
    GIVES(0, nvme_tcp_namespace_open(controller, 1, &namespace));
    CHECK(nvme_tcp_namespace_id(namespace) == 1 && nvme_tcp_namespace_id(NULL) == 0);
    CHECK(nvme_tcp_namespace_size(NULL) == 0 && nvme_tcp_namespace_block_size(NULL) == 0);
    CHECK(nvme_tcp_namespace_max_transfer(NULL) == 0 && !nvme_tcp_namespace_is_read_only(NULL));
    CHECK(!nvme_tcp_namespace_is_read_only(namespace));
    data(namespace);
    passthrough(controller);
    statistics(controller, 1);
    events = listens(controller);
    GIVES(0, nvme_tcp_controller_reconnect(controller));
    heard(events, NVME_TCP_EVENT_REPLACED, NVME_TCP_EVENT_ASSOCIATION_UP);
    GIVES(0, nvme_tcp_controller_get_info(controller, &info));
    CHECK(info.generation == 1);
    data(namespace);
    statistics(controller, 2);
    nvme_tcp_controller_free(controller);
    event.size = sizeof event;
    GIVES(-ESHUTDOWN, nvme_tcp_events_next(events, -1, &event));
    nvme_tcp_events_free(events);
    nvme_tcp_events_free(NULL);
    GIVES(-ESHUTDOWN, nvme_tcp_pread(namespace, page, sizeof page, 0));
    nvme_tcp_namespace_free(namespace);
    nvme_tcp_namespace_free(NULL);
    nvme_tcp_controller_free(NULL);
}

/* DH-HMAC-CHAP: nothing without the secret, everything with it. */
static void authenticated(const char *uri, const char *secret)
{
    nvme_tcp_options *options = options_for(uri, NULL);
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_controller_info info;
    GIVES(0, nvme_tcp_options_set_subsysnqn(options, SUBSYSTEM "-checked"));
    GIVES(-EACCES, nvme_tcp_connect(options, &controller));
    GIVES(NVME_TCP_BLAME_CALLER, nvme_tcp_error_blame());
    GIVES(0, nvme_tcp_options_set_dhchap_secret(options, secret));
    GIVES(0, nvme_tcp_connect(options, &controller));
    info.size = sizeof info;
    GIVES(0, nvme_tcp_controller_get_info(controller, &info));
    CHECK(info.authenticated && !info.tls);
    GIVES(0, nvme_tcp_controller_reauthenticate(controller));
    GIVES(0, nvme_tcp_controller_check(controller));
    nvme_tcp_controller_free(controller);
    /* A controller that cannot show its own secret is not trusted. */
    GIVES(0, nvme_tcp_options_set_dhchap_ctrl_secret(options, secret));
    GIVES(-EACCES, nvme_tcp_connect(options, &controller));
    /* Another host is not let in at all. */
    GIVES(0, nvme_tcp_options_set_hostnqn(options, HOST "-2"));
    GIVES(-EACCES, nvme_tcp_connect(options, &controller));
    nvme_tcp_options_free(options);
}

static void discovery(const char *uri)
{
    nvme_tcp_options *options = options_for(uri, NULL);
    nvme_tcp_discovery *log = NULL;
    nvme_tcp_discovery_entry entry;
    size_t index, subsystems = 0;

    GIVES(-EINVAL, nvme_tcp_discover(NULL, &log));
    GIVES(0, nvme_tcp_discover(options, &log));
    entry.size = sizeof entry;
    for (index = 0; index < nvme_tcp_discovery_count(log); index++) {
        GIVES(0, nvme_tcp_discovery_get(log, index, &entry));
        if (entry.kind == NVME_TCP_ENTRY_SUBSYSTEM) {
            CHECK(strchr(entry.address, ':') != NULL);
            subsystems += strcmp(entry.subsysnqn, SUBSYSTEM) == 0;
        }
    }
    CHECK(subsystems == 2 && nvme_tcp_discovery_count(NULL) == 0);
    GIVES(-ENOENT, nvme_tcp_discovery_get(log, index, &entry));
    GIVES(-EINVAL, nvme_tcp_discovery_get(log, 0, NULL));
    nvme_tcp_discovery_free(log);
    nvme_tcp_discovery_free(NULL);
    nvme_tcp_options_free(options);
}

int main(int argc, char **argv)
{
    CHECK(argc == 5);
    CHECK(strcmp(nvme_tcp_error_message(), "") == 0 && nvme_tcp_error_hint() == NULL);
    CHECK(nvme_tcp_error_scope() == 0 && nvme_tcp_error_blame() == 0);
    CHECK(nvme_tcp_version_number() >> 16 == NVME_TCP_VERSION_MAJOR && nvme_tcp_version()[0]);
    connected(argv[1], NULL);
    connected(argv[2], argv[3]);
    authenticated(argv[1], argv[4]);
    discovery(argv[1]);
    puts("good");
    return 0;
}
