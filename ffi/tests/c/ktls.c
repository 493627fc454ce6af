/* Every call of kernel TLS, on sockets over loopback: ktls FOLDER */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static void pair(int fds[2])
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fds[0], (struct sockaddr *)&address, len) == 0);
    fds[1] = accept(listener, NULL, NULL);
    CHECK(fds[1] >= 0);
    close(listener);
}

static nvme_tcp_ktls_psk psk(const char *identity)
{
    nvme_tcp_ktls_psk psk;
    memset(&psk, 0, sizeof psk);
    psk.size = sizeof psk;
    psk.identity = identity;
    psk.identity_len = strlen(identity);
    psk.secret = SECRET;
    psk.secret_len = 32;
    psk.hash = NVME_TCP_HASH_SHA256;
    return psk;
}

struct server {
    int fd, result;
    nvme_tcp_ktls *connection;
};

static void *serve(void *argument)
{
    struct server *server = argument;
    nvme_tcp_ktls_psk keys[2];
    keys[0] = psk("another client");
    keys[1] = psk("client");
    server->result = nvme_tcp_ktls_accept(server->fd, keys, 2, NVME_TCP_LAYER_AUTO, 60000, &server->connection);
    return NULL;
}

static void *ask(void *argument)
{
    struct server *client = argument;
    nvme_tcp_ktls_psk key = psk("client");
    client->result = nvme_tcp_ktls_connect(client->fd, &key, NVME_TCP_LAYER_AUTO, 60000, &client->connection);
    return NULL;
}

/* Both ends of a handshake; gives the client's result. */
static int handshake(const char *identity, nvme_tcp_ktls *ends[2], int *server_result)
{
    struct server server = {-1, 0, NULL};
    nvme_tcp_ktls_psk key = psk(identity);
    pthread_t thread;
    int fds[2], result;
    pair(fds);
    server.fd = fds[1];
    CHECK(pthread_create(&thread, NULL, serve, &server) == 0);
    result = nvme_tcp_ktls_connect(fds[0], &key, NVME_TCP_LAYER_AUTO, 60000, &ends[0]);
    CHECK(pthread_join(thread, NULL) == 0);
    ends[1] = server.connection;
    *server_result = server.result;
    return result;
}

static void talk(nvme_tcp_ktls *a, nvme_tcp_ktls *b, const char *folder)
{
    static const char large[20000];
    char text[64], path[512];
    struct pollfd fd;
    int file;
    GIVES(-EAGAIN, nvme_tcp_ktls_recv(b, text, sizeof text, NVME_TCP_NOWAIT));
    CHECK(nvme_tcp_error_is_retryable() && !nvme_tcp_ktls_has_buffered(b));
    GIVES(5, nvme_tcp_ktls_send(a, "hello", 5, 0));
    fd.fd = nvme_tcp_ktls_get_fd(b);
    fd.events = POLLIN;
    CHECK(poll(&fd, 1, -1) == 1);
    GIVES(5, nvme_tcp_ktls_recv(b, text, sizeof text, 0));
    CHECK(memcmp(text, "hello", 5) == 0);
    GIVES(3, nvme_tcp_ktls_send_record(a, NVME_TCP_RECORD_DATA, "one", 3, 0));
    GIVES(2, nvme_tcp_ktls_recv(b, text, 2, 0));
    GIVES(1, nvme_tcp_ktls_recv(b, text, sizeof text, 0));
    GIVES(-EINVAL, nvme_tcp_ktls_send_record(a, 20, "one", 3, 0));
    GIVES(-EINVAL, nvme_tcp_ktls_send_record(a, NVME_TCP_RECORD_ALERT, "", 0, 0));
    GIVES(-EMSGSIZE, nvme_tcp_ktls_send_record(a, NVME_TCP_RECORD_DATA, large, sizeof large, 0));
    GIVES(-EINVAL, nvme_tcp_ktls_send(a, "x", 1, 2));
    GIVES(-EINVAL, nvme_tcp_ktls_send(a, NULL, 1, 0));
    GIVES(0, nvme_tcp_ktls_flush(a, 0));
    snprintf(path, sizeof path, "%s/file", folder);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && write(file, "0123456789", 10) == 10);
    GIVES(6, nvme_tcp_ktls_sendfile(a, file, 4, 100, 0));
    GIVES(0, nvme_tcp_ktls_sendfile(a, file, 10, 100, 0));
    GIVES(6, nvme_tcp_ktls_recv(b, text, sizeof text, 0));
    CHECK(memcmp(text, "456789", 6) == 0);
    close(file);
    GIVES(-EBADF, nvme_tcp_ktls_sendfile(a, -1, 0, 1, 0));
    GIVES(-EBADF, nvme_tcp_ktls_sendfile(a, file, 0, 1, 0));
}

static void established(const char *folder)
{
    nvme_tcp_ktls *ends[2];
    nvme_tcp_ktls_probe_result probe;
    nvme_tcp_tls_info info;
    char text[64];
    int server_result, result;

    GIVES(0, handshake("client", ends, &server_result));
    GIVES(0, server_result);
    info.size = sizeof info;
    GIVES(0, nvme_tcp_ktls_get_info(ends[0], &info));
    CHECK(info.version == 0x0304 && info.cipher == 51 && info.identity_version == -1);
    CHECK(strcmp(info.identity, "client") == 0 && info.sent_why[0]);
    GIVES(-EINVAL, nvme_tcp_ktls_get_info(ends[0], NULL));
    talk(ends[0], ends[1], folder);
    talk(ends[1], ends[0], folder);
    probe.size = sizeof probe;
    GIVES(0, nvme_tcp_ktls_probe(&probe));
    if (info.sent_by == NVME_TCP_SEALED_BY_KERNEL && !probe.rekey)
        GIVES(-EOPNOTSUPP, nvme_tcp_ktls_update_key(ends[0], false, 0));
    else
        GIVES(0, nvme_tcp_ktls_update_key(ends[0], false, 0));
    talk(ends[0], ends[1], folder);
    GIVES(0, nvme_tcp_ktls_close_notify(ends[0], 0));
    GIVES(-EPIPE, nvme_tcp_ktls_send(ends[0], "x", 1, 0));
    GIVES(0, nvme_tcp_ktls_recv(ends[1], text, sizeof text, 0));
    /* The peer goes: no SIGPIPE, whose default would end this program. */
    nvme_tcp_ktls_free(ends[0]);
    while ((result = (int)nvme_tcp_ktls_send(ends[1], text, sizeof text, 0)) > 0)
        ;
    CHECK(result == -EPIPE || result == -ECONNRESET);
    nvme_tcp_ktls_free(ends[1]);

    /* Cut off, without close_notify. */
    GIVES(0, handshake("client", ends, &server_result));
    nvme_tcp_ktls_free(ends[0]);
    GIVES(-ECONNRESET, nvme_tcp_ktls_recv(ends[1], text, sizeof text, 0));
    nvme_tcp_ktls_free(ends[1]);
    nvme_tcp_ktls_free(NULL);

    GIVES(-EKEYREJECTED, handshake("nobody", ends, &server_result));
    GIVES(-EKEYREJECTED, server_result);
    provoked("nvme_tcp_ktls_accept", server_result);
}

static nvme_tcp_ktls_key raw(const void *key, const void *secret)
{
    nvme_tcp_ktls_key raw;
    memset(&raw, 0, sizeof raw);
    raw.size = sizeof raw;
    raw.version = 0x0304;
    raw.cipher = 51;
    raw.traffic_secret = secret;
    raw.traffic_secret_len = secret ? 32 : 0;
    raw.key = key;
    raw.key_len = 16;
    raw.iv = "abcdefghijkl";
    raw.iv_len = 12;
    return raw;
}

static void wrapped(const char *folder)
{
    nvme_tcp_ktls *ends[2], *none = NULL;
    int with_secret, fds[2];
    for (with_secret = 0; with_secret < 2; with_secret++) {
        nvme_tcp_ktls_key there = raw("0123456789abcdef", with_secret ? SECRET : NULL);
        nvme_tcp_ktls_key back = raw("fedcba9876543210", with_secret ? SECRET : NULL);
        pair(fds);
        GIVES(0, nvme_tcp_ktls_wrap(fds[0], &there, &back, NVME_TCP_LAYER_AUTO, &ends[0]));
        GIVES(0, nvme_tcp_ktls_wrap(fds[1], &back, &there, NVME_TCP_LAYER_PROCESS, &ends[1]));
        talk(ends[0], ends[1], folder);
        if (with_secret == 0) {
            GIVES(-EKEYEXPIRED, nvme_tcp_ktls_update_key(ends[1], true, 0));
        } else {
            GIVES(0, nvme_tcp_ktls_update_key(ends[1], false, 0));
        }
        nvme_tcp_ktls_free(ends[0]);
        nvme_tcp_ktls_free(ends[1]);
        /* What does not fit is refused, and the descriptors are closed. */
        pair(fds);
        there.cipher = 99;
        GIVES(-EINVAL, nvme_tcp_ktls_wrap(fds[0], &there, &back, NVME_TCP_LAYER_AUTO, &none));
        there.cipher = 51;
        there.key_len = there.traffic_secret_len = 15;
        GIVES(-EINVAL, nvme_tcp_ktls_wrap(fds[1], &there, &back, NVME_TCP_LAYER_AUTO, &none));
        CHECK(fcntl(fds[0], F_GETFD) == -1 && fcntl(fds[1], F_GETFD) == -1 && none == NULL);
    }
}

/* A connection with keys that were given, both ends. */
static void pair_of(nvme_tcp_ktls *ends[2], nvme_tcp_ktls_key *there, nvme_tcp_ktls_key *back)
{
    int fds[2];
    pair(fds);
    GIVES(0, nvme_tcp_ktls_wrap(fds[0], there, back, NVME_TCP_LAYER_AUTO, &ends[0]));
    GIVES(0, nvme_tcp_ktls_wrap(fds[1], back, there, NVME_TCP_LAYER_PROCESS, &ends[1]));
}

/* What sends, by its name: without waiting, or with. */
static void sends(const char *name, long long expected, nvme_tcp_ktls *connection, int flags)
{
    static const char large[1 << 20];
    long long gave = -1;
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK(file >= 0);
    if (strcmp(name, "nvme_tcp_ktls_send") == 0)
        gave = nvme_tcp_ktls_send(connection, large, sizeof large, flags);
    else if (strcmp(name, "nvme_tcp_ktls_send_record") == 0)
        gave = nvme_tcp_ktls_send_record(connection, NVME_TCP_RECORD_DATA, large, 16000, flags);
    else if (strcmp(name, "nvme_tcp_ktls_sendfile") == 0)
        gave = nvme_tcp_ktls_sendfile(connection, file, 0, 16000, flags);
    else if (strcmp(name, "nvme_tcp_ktls_update_key") == 0)
        gave = nvme_tcp_ktls_update_key(connection, false, flags);
    else if (strcmp(name, "nvme_tcp_ktls_flush") == 0)
        gave = nvme_tcp_ktls_flush(connection, flags);
    else if (strcmp(name, "nvme_tcp_ktls_close_notify") == 0)
        gave = nvme_tcp_ktls_close_notify(connection, flags);
    close(file);
    if (gave != expected) {
        fprintf(stderr, "%s gave %lld, expected %lld (%s)\n", name, gave, expected, nvme_tcp_error_message());
        exit(1);
    }
    provoked(name, gave);
}

/* The first four say whatever ends a connection, the last two what can keep them from sending. */
static const char *const senders[] = {"nvme_tcp_ktls_send",       "nvme_tcp_ktls_send_record",
                                      "nvme_tcp_ktls_sendfile",   "nvme_tcp_ktls_update_key",
                                      "nvme_tcp_ktls_flush",      "nvme_tcp_ktls_close_notify"};

/* Each call that sends, on connections of whose end or limit it has to tell. */
static void every_sender(void)
{
    nvme_tcp_ktls_key there = raw("0123456789abcdef", SECRET), back = raw("fedcba9876543210", SECRET), spent;
    struct linger at_once = {1, 0};
    nvme_tcp_ktls *ends[2];
    static const char large[1 << 20];
    char text[64];
    int fds[2], index;

#define PAIR(key)                                                                            \
    pair(fds);                                                                               \
    GIVES(0, nvme_tcp_ktls_wrap(fds[0], &(key), &back, NVME_TCP_LAYER_PROCESS, &ends[0]));   \
    GIVES(0, nvme_tcp_ktls_wrap(fds[1], &back, &(key), NVME_TCP_LAYER_PROCESS, &ends[1]))

    /* No room: each says so. Then the peer resets. */
    PAIR(there);
    while (nvme_tcp_ktls_send(ends[0], large, sizeof large, NVME_TCP_NOWAIT) > 0)
        ;
    for (index = 0; index < 6; index++)
        sends(senders[index], -EAGAIN, ends[0], NVME_TCP_NOWAIT);
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);
    PAIR(there);
    while (nvme_tcp_ktls_send(ends[0], large, sizeof large, NVME_TCP_NOWAIT) > 0)
        ;
    CHECK(setsockopt(nvme_tcp_ktls_get_fd(ends[1]), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    nvme_tcp_ktls_free(ends[1]);
    for (index = 0; index < 6; index++)
        sends(senders[index], -ECONNRESET, ends[0], 0);
    nvme_tcp_ktls_free(ends[0]);
    /* After close_notify. */
    PAIR(there);
    GIVES(0, nvme_tcp_ktls_close_notify(ends[0], 0));
    for (index = 0; index < 4; index++)
        sends(senders[index], -EPIPE, ends[0], 0);
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);
    /* After the peer's alert. */
    PAIR(there);
    GIVES(2, nvme_tcp_ktls_send_record(ends[1], NVME_TCP_RECORD_ALERT, "\2\50", 2, 0));
    GIVES(-ECONNABORTED, nvme_tcp_ktls_recv(ends[0], text, sizeof text, 0));
    for (index = 0; index < 4; index++)
        sends(senders[index], -ECONNABORTED, ends[0], 0);
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);
    /* A key that has sealed all it may. */
    spent = raw("0123456789abcdef", NULL);
    spent.sequence = 23726566;
    PAIR(spent);
    for (index = 0; index < 4; index++)
        sends(senders[index], -EKEYEXPIRED, ends[0], 0);
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);
    /* What read(2) says. */
    PAIR(there);
    index = open("/", O_RDONLY);
    GIVES(-EISDIR, nvme_tcp_ktls_sendfile(ends[0], index, 0, 1, 0));
    close(index);
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);
#undef PAIR
}

/* How a connection ends that does not end well. */
static void broken(void)
{
    nvme_tcp_ktls_key there = raw("0123456789abcdef", NULL), back = raw("fedcba9876543210", NULL), other;
    nvme_tcp_ktls *ends[2];
    static char large[1 << 20];
    char text[64];
    ssize_t result;
    int fds[2], state;
    struct linger at_once = {1, 0};
    pid_t child;

    /* An alert ends it for who gets it: the other's fault, said so. */
    pair_of(ends, &there, &back);
    GIVES(2, nvme_tcp_ktls_send_record(ends[1], NVME_TCP_RECORD_ALERT, "\2\50", 2, 0));
    GIVES(-ECONNABORTED, nvme_tcp_ktls_recv(ends[0], text, sizeof text, 0));
    GIVES(-ECONNABORTED, nvme_tcp_ktls_send(ends[0], "x", 1, 0));
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);

    /* Another key: nothing is authentic. */
    other = raw("an entirely other", NULL);
    pair(fds);
    GIVES(0, nvme_tcp_ktls_wrap(fds[0], &there, &back, NVME_TCP_LAYER_AUTO, &ends[0]));
    GIVES(0, nvme_tcp_ktls_wrap(fds[1], &other, &there, NVME_TCP_LAYER_PROCESS, &ends[1]));
    GIVES(1, nvme_tcp_ktls_send(ends[1], "x", 1, 0));
    GIVES(-EBADMSG, nvme_tcp_ktls_recv(ends[0], text, sizeof text, 0));
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);

    /* The key was used for as many records as it may be: 2^24.5. */
    other = there;
    other.sequence = 23726566;
    pair_of(ends, &other, &back);
    GIVES(-EKEYEXPIRED, nvme_tcp_ktls_send(ends[0], "x", 1, 0));
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);

    /* Nobody takes it: all there is room for, and no more; then the peer is gone, with a reset. */
    pair_of(ends, &there, &back);
    while ((result = nvme_tcp_ktls_send(ends[0], large, sizeof large, NVME_TCP_NOWAIT)) > 0)
        ;
    CHECK(result == -EAGAIN);
    GIVES(-EAGAIN, nvme_tcp_ktls_send(ends[0], large, sizeof large, NVME_TCP_NOWAIT));
    CHECK(nvme_tcp_error_is_retryable());
    CHECK(setsockopt(nvme_tcp_ktls_get_fd(ends[1]), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    nvme_tcp_ktls_free(ends[1]);
    GIVES(-ECONNRESET, nvme_tcp_ktls_send(ends[0], large, sizeof large, 0));
    nvme_tcp_ktls_free(ends[0]);

    /* A child of fork(2) has no part in it. */
    pair_of(ends, &there, &back);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        nvme_tcp_tls_info info;
        nvme_tcp_ktls_socket observed;
        info.size = sizeof info;
        observed.size = sizeof observed;
        GIVES(-ECHILD, nvme_tcp_ktls_get_fd(ends[0]));
        GIVES(-ECHILD, nvme_tcp_ktls_send(ends[0], "x", 1, 0));
        GIVES(-ECHILD, nvme_tcp_ktls_send_record(ends[0], NVME_TCP_RECORD_DATA, "x", 1, 0));
        GIVES(-ECHILD, nvme_tcp_ktls_sendfile(ends[0], 0, 0, 1, 0));
        GIVES(-ECHILD, nvme_tcp_ktls_flush(ends[0], 0));
        GIVES(-ECHILD, nvme_tcp_ktls_recv(ends[0], text, 1, 0));
        GIVES(-ECHILD, nvme_tcp_ktls_update_key(ends[0], false, 0));
        GIVES(-ECHILD, nvme_tcp_ktls_close_notify(ends[0], 0));
        GIVES(-ECHILD, nvme_tcp_ktls_get_info(ends[0], &info));
        GIVES(-ECHILD, nvme_tcp_ktls_observe(ends[0], &observed));
        CHECK(!nvme_tcp_ktls_has_buffered(ends[0]));
        nvme_tcp_ktls_free(ends[0]);
        _exit(0);
    }
    CHECK(waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0);
    GIVES(1, nvme_tcp_ktls_send(ends[0], "x", 1, 0));
    GIVES(1, nvme_tcp_ktls_recv(ends[1], text, sizeof text, 0));
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);
}

/* What the kernel says of a connection, where it has a part in it. */
static void observed(void)
{
    nvme_tcp_ktls_key there = raw("0123456789abcdef", NULL), back = raw("fedcba9876543210", NULL);
    nvme_tcp_ktls *ends[2];
    nvme_tcp_tls_info info;
    nvme_tcp_ktls_socket found;
    int result;
    pair_of(ends, &there, &back);
    info.size = sizeof info;
    found.size = sizeof found;
    GIVES(-ENODATA, nvme_tcp_ktls_observe(ends[1], &found));
    GIVES(-EINVAL, nvme_tcp_ktls_observe(ends[0], NULL));
    GIVES(0, nvme_tcp_ktls_get_info(ends[0], &info));
    result = nvme_tcp_ktls_observe(ends[0], &found);
    if (info.sent_by == NVME_TCP_SEALED_BY_KERNEL && result == 0)
        CHECK(found.version == 0x0304 && found.cipher == 51 && found.sent_by == NVME_TCP_SEALED_BY_KERNEL);
    else
        CHECK(result < 0);
    nvme_tcp_ktls_free(ends[0]);
    nvme_tcp_ktls_free(ends[1]);
}

static void arguments(void)
{
    nvme_tcp_ktls_probe_result probe;
    nvme_tcp_ktls_psk key = psk("client");
    nvme_tcp_ktls *none = NULL;
    uint64_t count = 0;
    struct linger at_once = {1, 0};
    int fds[2], result;
    probe.size = sizeof probe;
    GIVES(0, nvme_tcp_ktls_probe(&probe));
    CHECK(probe.text[0] && probe.available == probe.sends);
    result = nvme_tcp_ktls_counter("TlsTxSw", &count);
    CHECK(result == 0 || result == -ENOENT);
    GIVES(-ENOENT, nvme_tcp_ktls_counter("Nothing", &count));
    GIVES(-EINVAL, nvme_tcp_ktls_counter(NULL, &count));
    GIVES(-EBADF, nvme_tcp_ktls_connect(-1, &key, 0, 1000, &none));
    pair(fds);
    key.hash = 9;
    GIVES(-EINVAL, nvme_tcp_ktls_connect(fds[0], &key, 0, 1000, &none));
    GIVES(-EINVAL, nvme_tcp_ktls_accept(fds[1], NULL, 1, 0, 1000, &none));
    pair(fds);
    key = psk("client");
    GIVES(-EINVAL, nvme_tcp_ktls_connect(fds[0], &key, 9, 1000, &none));
    close(fds[1]);
    /* Nobody answers. */
    pair(fds);
    GIVES(-ETIMEDOUT, nvme_tcp_ktls_connect(fds[0], &key, 0, 50, &none));
    close(fds[1]);
    pair(fds);
    GIVES(-ETIMEDOUT, nvme_tcp_ktls_accept(fds[1], &key, 1, 0, 50, &none));
    close(fds[0]);
    /* The peer talks of something else, or has gone. */
    pair(fds);
    CHECK(send(fds[1], "HTTP/1.1 400 Bad Request\r\n\r\n", 28, 0) == 28);
    GIVES(-EPROTO, nvme_tcp_ktls_connect(fds[0], &key, 0, 60000, &none));
    close(fds[1]);
    pair(fds);
    CHECK(send(fds[0], "GET / HTTP/1.1\r\n\r\n", 18, 0) == 18);
    GIVES(-EPROTO, nvme_tcp_ktls_accept(fds[1], &key, 1, 0, 60000, &none));
    close(fds[0]);
    pair(fds);
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(fds[1]);
    GIVES(-EKEYREJECTED, nvme_tcp_ktls_connect(fds[0], &key, 0, 60000, &none));
    {
        nvme_tcp_ktls_key raw_key = raw("0123456789abcdef", NULL);
        GIVES(-EBADF, nvme_tcp_ktls_wrap(-1, &raw_key, &raw_key, 0, &none));
        GIVES(-EBADF, nvme_tcp_ktls_accept(-1, &key, 1, 0, 1000, &none));
    }
    GIVES(-EINVAL, nvme_tcp_ktls_probe(NULL));
    if (!probe.available) {
        struct server server = {-1, 0, NULL};
        pthread_t thread;
        pair(fds);
        server.fd = fds[1];
        CHECK(pthread_create(&thread, NULL, serve, &server) == 0);
        GIVES(-EOPNOTSUPP, nvme_tcp_ktls_connect(fds[0], &key, NVME_TCP_LAYER_KERNEL, 60000, &none));
        CHECK(pthread_join(thread, NULL) == 0);
        nvme_tcp_ktls_free(server.connection);
        /* The same at the other end. */
        pair(fds);
        server.fd = fds[0];
        server.connection = NULL;
        CHECK(pthread_create(&thread, NULL, ask, &server) == 0);
        GIVES(-EOPNOTSUPP, nvme_tcp_ktls_accept(fds[1], &key, 1, NVME_TCP_LAYER_KERNEL, 60000, &none));
        CHECK(pthread_join(thread, NULL) == 0);
        nvme_tcp_ktls_free(server.connection);
    }
    if (!probe.available) {
        nvme_tcp_ktls_key raw_key = raw("0123456789abcdef", NULL);
        pair(fds);
        GIVES(-EOPNOTSUPP, nvme_tcp_ktls_wrap(fds[0], &raw_key, &raw_key, NVME_TCP_LAYER_KERNEL, &none));
        GIVES(NVME_TCP_BLAME_KERNEL, nvme_tcp_error_blame());
        close(fds[1]);
    }
    GIVES(-EINVAL, nvme_tcp_ktls_send(NULL, "x", 1, 0));
    GIVES(-EINVAL, nvme_tcp_ktls_get_fd(NULL));
    GIVES(-EINVAL, nvme_tcp_ktls_close_notify(NULL, 0));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    arguments();
    established(argv[1]);
    wrapped(argv[1]);
    broken();
    every_sender();
    observed();
    puts("good");
    return 0;
}
