/* How errors that a controller, a network or a medium is the cause of are told: faults PLAIN-URI TLS-URI SECRET KEYFILE.
 * The target does wrong what fault.h says; commands.c has every call. */
#include "fault.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static nvme_tcp_controller *controller;
static nvme_tcp_namespace *namespace;
static unsigned char block[4096];

static void media(void)
{
    nvme_tcp_command_result result;
    nvme_tcp_command flush;
    status("io", 0x281);
    GIVES(-ENODATA, nvme_tcp_pread(namespace, block, sizeof block, 0));
    GIVES(2, nvme_tcp_error_status_type());
    GIVES(0x81, nvme_tcp_error_status_code());
    GIVES(NVME_TCP_SCOPE_COMMAND, nvme_tcp_error_scope());
    memset(&flush, 0, sizeof flush);
    flush.size = sizeof flush;
    flush.nsid = 1;
    result.size = sizeof result;
    status("io", 0x4006);
    GIVES(-EIO, nvme_tcp_controller_io_passthrough(controller, &flush, NULL, 0, &result));
    CHECK(result.status_type == 0 && result.status_code == 6 && result.do_not_retry && result.received == 0);
    fault("nothing");
    GIVES(0, nvme_tcp_controller_io_passthrough(controller, &flush, NULL, 0, &result));
    CHECK(result.status_code == 0 && !result.do_not_retry);
}

static void again(void)
{
    fault("nothing");
    GIVES(0, nvme_tcp_controller_reconnect(controller));
    GIVES(0, nvme_tcp_pread(namespace, block, sizeof block, 0));
}

static void lost(nvme_tcp_queue *queue)
{
    nvme_tcp_completion done;
    nvme_tcp_events *events = NULL;
    nvme_tcp_event event;

    event.size = sizeof event;
    GIVES(0, nvme_tcp_events_open(controller, &events));
    fault("io cut");
    GIVES(-ECONNRESET, nvme_tcp_pread(namespace, block, sizeof block, 0));
    GIVES(NVME_TCP_SCOPE_QUEUE, nvme_tcp_error_scope());
    CHECK(nvme_tcp_error_is_retryable());
    GIVES(-ECONNRESET, nvme_tcp_controller_check(controller));
    GIVES(0, nvme_tcp_events_next(events, 60000, &event));
    CHECK(event.kind == NVME_TCP_EVENT_ASSOCIATION_LOST && event.error == -ECONNRESET && event.text[0]);
    again();
    nvme_tcp_events_free(events);
    fault("io foreign");
    GIVES(-EPROTO, nvme_tcp_pread(namespace, block, sizeof block, 0));
    GIVES(NVME_TCP_BLAME_PEER, nvme_tcp_error_blame());
    again();
    /* The same of a queue: what was outstanding is told of, and what follows finds a new connection. */
    GIVES(0, nvme_tcp_queue_read(queue, namespace, block, sizeof block, 0, 0));
    GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    fault("io cut");
    GIVES(0, nvme_tcp_queue_read(queue, namespace, block, sizeof block, 0, 1));
    GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    CHECK(done.cookie == 1 && done.result == -ECONNRESET && done.scope == NVME_TCP_SCOPE_QUEUE);
    fault("nothing");
    GIVES(0, nvme_tcp_queue_read(queue, namespace, block, sizeof block, 0, 2));
    GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    CHECK(done.cookie == 2 && done.result == 0);
    status("io", 0x281);
    GIVES(0, nvme_tcp_queue_read(queue, namespace, block, sizeof block, 0, 3));
    GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    CHECK(done.result == -ENODATA && done.status_type == 2 && done.status_code == 0x81 && done.blame != 0);
    /* The association is lost, and no other is there yet. */
    fault("io cut");
    GIVES(-ECONNRESET, nvme_tcp_pread(namespace, block, sizeof block, 0));
    fault("io cut");
    GIVES(0, nvme_tcp_queue_read(queue, namespace, block, sizeof block, 0, 4));
    GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    GIVES(-ECONNRESET, nvme_tcp_queue_read(queue, namespace, block, sizeof block, 0, 5));
    again();
}

static void digests(const char *uri)
{
    nvme_tcp_options *options = options_for(uri, NULL);
    nvme_tcp_controller *checked = NULL;
    nvme_tcp_namespace *same = NULL;
    nvme_tcp_queue *queue = NULL;
    nvme_tcp_completion done;
    struct iovec piece = {block, sizeof block};
    GIVES(0, nvme_tcp_options_set_digests(options, true, true));
    GIVES(0, nvme_tcp_options_set_owned_queues(options, 1));
    GIVES(0, nvme_tcp_connect(options, &checked));
    GIVES(0, nvme_tcp_namespace_open(checked, 1, &same));
    GIVES(0, nvme_tcp_queue_open(checked, &queue));
    fault("io digest");
    GIVES(-EBADMSG, nvme_tcp_pread(same, block, sizeof block, 0));
    CHECK(nvme_tcp_error_is_retryable());
    fault("io digest");
    GIVES(0, nvme_tcp_queue_read(queue, same, block, sizeof block, 0, 1));
    GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    CHECK(done.result == -EBADMSG && done.scope == NVME_TCP_SCOPE_COMMAND);
    provoked("completion:nvme_tcp_queue_read", done.result);
    fault("io digest");
    GIVES(0, nvme_tcp_queue_readv(queue, same, &piece, 1, 0, 1));
    GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    CHECK(done.result == -EBADMSG);
    provoked("completion:nvme_tcp_queue_readv", done.result);
    fault("nothing");
    GIVES(0, nvme_tcp_pread(same, block, sizeof block, 0));
    nvme_tcp_queue_free(queue);
    /* Metadata in each block. */
    nvme_tcp_namespace_free(same);
    GIVES(-EOPNOTSUPP, nvme_tcp_namespace_open(checked, 3, &same));
    nvme_tcp_controller_free(checked);
    nvme_tcp_options_free(options);
}

/* Where the answer of a read is late, that of the next one is not received into its buffer: others may look there. */
static void memory(const char *uri, bool is_private)
{
    nvme_tcp_options *options = options_for(uri, NULL);
    nvme_tcp_controller *sharing = NULL;
    nvme_tcp_namespace *same = NULL;
    nvme_tcp_queue *queue = NULL;
    nvme_tcp_completion done;
    unsigned char first[4096], second[4096], all[4096];
    if (is_private)
        GIVES(0, nvme_tcp_options_set_private_memory(options, true));
    GIVES(0, nvme_tcp_options_set_owned_queues(options, 1));
    GIVES(0, nvme_tcp_connect(options, &sharing));
    GIVES(0, nvme_tcp_namespace_open(sharing, 1, &same));
    GIVES(0, nvme_tcp_queue_open(sharing, &queue));
    memset(second, 2, sizeof second);
    GIVES(0, nvme_tcp_pwrite(same, second, sizeof second, 0));
    memset(first, 1, sizeof first);
    memset(second, 1, sizeof second);
    fault("io late");
    GIVES(0, nvme_tcp_queue_read(queue, same, first, sizeof first, 0, 1));
    GIVES(0, nvme_tcp_queue_read(queue, same, second, sizeof second, 0, 2));
    GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    CHECK(done.cookie == 2 && done.result == 0);
    memset(all, 2, sizeof all);
    CHECK(memcmp(second, all, sizeof all) == 0);
    memset(all, is_private ? 2 : 1, sizeof all);
    CHECK(memcmp(first, all, sizeof all) == 0);
    nvme_tcp_queue_free(queue);
    nvme_tcp_namespace_free(same);
    nvme_tcp_controller_free(sharing);
    nvme_tcp_options_free(options);
}

static void authentication(const char *uri, const char *secret)
{
    nvme_tcp_options *options = options_for(uri, NULL);
    nvme_tcp_controller *checked = NULL;
    GIVES(0, nvme_tcp_options_set_subsysnqn(options, SUBSYSTEM "-checked"));
    GIVES(0, nvme_tcp_options_set_dhchap_secret(options, secret));
    GIVES(0, nvme_tcp_connect(options, &checked));
    fault("admin data");
    GIVES(-EACCES, nvme_tcp_controller_reauthenticate(checked));
    fault("nothing");
    CHECK(nvme_tcp_controller_check(checked) < 0);
    nvme_tcp_controller_free(checked);
    nvme_tcp_options_free(options);
}

/* A listener that answers whatever comes with these bytes, and then waits, or closes. */
struct liar {
    int listener;
    const void *answer;
    size_t len;
    bool waits;
};

static void *lie(void *argument)
{
    struct liar *liar = argument;
    char buffer[1024];
    int fd = accept(liar->listener, NULL, NULL);
    CHECK(fd >= 0 && recv(fd, buffer, sizeof buffer, 0) > 0);
    if (liar->len > 0)
        CHECK(send(fd, liar->answer, liar->len, MSG_NOSIGNAL) == (ssize_t)liar->len);
    if (liar->waits)
        while (recv(fd, buffer, sizeof buffer, 0) > 0)
            ;
    close(fd);
    return NULL;
}

static void lied_to(bool discovers, int expected, const void *answer, size_t len, bool waits)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    struct liar liar;
    pthread_t thread;
    char text[64];
    nvme_tcp_options *options = options_for("nvme+tcp://127.0.0.1:1/" SUBSYSTEM, NULL);
    nvme_tcp_controller *none = NULL;
    nvme_tcp_discovery *log = NULL;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    liar.listener = socket(AF_INET, SOCK_STREAM, 0);
    liar.answer = answer;
    liar.len = len;
    liar.waits = waits;
    CHECK(bind(liar.listener, (struct sockaddr *)&address, size) == 0 && listen(liar.listener, 1) == 0);
    CHECK(getsockname(liar.listener, (struct sockaddr *)&address, &size) == 0);
    CHECK(pthread_create(&thread, NULL, lie, &liar) == 0);
    snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(address.sin_port));
    GIVES(0, nvme_tcp_options_set_address(options, text));
    GIVES(0, nvme_tcp_options_set_connect_timeout(options, expected == -ETIMEDOUT ? 200 : 60000));
    if (discovers)
        GIVES(expected, nvme_tcp_discover(options, &log));
    else
        GIVES(expected, nvme_tcp_connect(options, &none));
    CHECK(pthread_join(thread, NULL) == 0 && none == NULL && log == NULL);
    close(liar.listener);
    nvme_tcp_options_free(options);
}

static void no_connection(const char *uri, const char *key_file)
{
    static const unsigned char alert[] = {0x15, 3, 3, 0, 2, 2, 40}, garbage[128] = {0x42, 0, 128, 0, 128};
    nvme_tcp_options *options = options_for(uri, NULL);
    nvme_tcp_ktls_probe_result probe;
    nvme_tcp_controller *none = NULL;
    nvme_tcp_discovery *log = NULL;
    nvme_tcp_key *key = NULL;
    int discovers;
    for (discovers = 0; discovers < 2; discovers++) {
        lied_to(discovers, -ETIMEDOUT, NULL, 0, true);
        lied_to(discovers, -ECONNRESET, NULL, 0, false);
        lied_to(discovers, -EPROTONOSUPPORT, alert, sizeof alert, false);
        lied_to(discovers, -EPROTO, garbage, sizeof garbage, true);
    }
    /* No name has so long a part: nobody needs to be asked. */
    GIVES(0, nvme_tcp_options_set_address(
                 options, "a0123456789012345678901234567890123456789012345678901234567890123456789.test:4420"));
    GIVES(-EHOSTUNREACH, nvme_tcp_connect(options, &none));
    GIVES(-EHOSTUNREACH, nvme_tcp_discover(options, &log));
    probe.size = sizeof probe;
    GIVES(0, nvme_tcp_ktls_probe(&probe));
    if (!probe.available) {
        GIVES(0, nvme_tcp_options_set_uri(options, uri, NULL));
        GIVES(0, nvme_tcp_key_load(key_file, &key));
        GIVES(0, nvme_tcp_options_add_key(options, key));
        GIVES(0, nvme_tcp_options_set_layer(options, NVME_TCP_LAYER_KERNEL));
        GIVES(-EOPNOTSUPP, nvme_tcp_connect(options, &none));
        GIVES(-EOPNOTSUPP, nvme_tcp_discover(options, &log));
        nvme_tcp_key_free(key);
    }
    nvme_tcp_options_free(options);
}

int main(int argc, char **argv)
{
    nvme_tcp_options *options;
    nvme_tcp_queue *queue = NULL;
    CHECK(argc == 5);
    options = options_for(argv[1], NULL);
    GIVES(0, nvme_tcp_options_set_keep_alive(options, 0));
    GIVES(0, nvme_tcp_options_set_owned_queues(options, 1));
    GIVES(0, nvme_tcp_connect(options, &controller));
    GIVES(0, nvme_tcp_namespace_open(controller, 1, &namespace));
    GIVES(0, nvme_tcp_queue_open(controller, &queue));
    media();
    lost(queue);
    nvme_tcp_queue_free(queue);
    nvme_tcp_namespace_free(namespace);
    nvme_tcp_controller_free(controller);
    nvme_tcp_options_free(options);
    digests(argv[1]);
    memory(argv[1], false);
    memory(argv[1], true);
    authentication(argv[1], argv[3]);
    no_connection(argv[2], argv[4]);
    puts("good");
    return 0;
}
