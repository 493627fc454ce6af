/* Every call of kernel TLS, on sockets over loopback: ktls FOLDER */
#include "ktls.h"

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
    observed();
    puts("good");
    return 0;
}
