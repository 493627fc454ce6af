/*
 * An echo over TLS 1.3 with a pre-shared key, whose records the kernel seals where it can, and its client:
 *
 *     ktls_echo serve PORT SECRET        serves one connection; port 0 is any, and is printed
 *     ktls_echo connect PORT SECRET TEXT
 *
 * cc ktls_echo.c $(pkg-config --cflags --libs nvme-tcp)
 */
#include <arpa/inet.h>
#include <nvme_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int complain(const char *what)
{
    const char *hint = nvme_tcp_error_hint();
    fprintf(stderr, "%s: %s\n", what, nvme_tcp_error_message());
    if (hint)
        fprintf(stderr, "hint: %s\n", hint);
    return 1;
}

static int send_all(nvme_tcp_ktls *connection, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = nvme_tcp_ktls_send(connection, data, len, 0);
        if (sent < 0)
            return complain("send");
        data += sent;
        len -= (size_t)sent;
    }
    return 0;
}

static int echo(nvme_tcp_ktls *connection)
{
    char buffer[4096];
    ssize_t got;
    while ((got = nvme_tcp_ktls_recv(connection, buffer, sizeof buffer, 0)) > 0)
        if (send_all(connection, buffer, (size_t)got))
            return 1;
    if (got < 0)
        return complain("receive");
    return nvme_tcp_ktls_close_notify(connection, 0) < 0 ? complain("close") : 0;
}

static int ask(nvme_tcp_ktls *connection, const char *text)
{
    char buffer[4096];
    ssize_t got;
    if (send_all(connection, text, strlen(text)))
        return 1;
    if (nvme_tcp_ktls_close_notify(connection, 0) < 0)
        return complain("close");
    while ((got = nvme_tcp_ktls_recv(connection, buffer, sizeof buffer, 0)) > 0)
        fwrite(buffer, 1, (size_t)got, stdout);
    putchar('\n');
    return got < 0 ? complain("receive") : 0;
}

static int open_socket(int serve, unsigned short port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!serve)
        return connect(fd, (struct sockaddr *)&address, len) < 0 ? -1 : fd;
    if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return -1;
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    client = accept(fd, NULL, NULL);
    close(fd);
    return client;
}

int main(int argc, char **argv)
{
    nvme_tcp_ktls_psk key = {.size = sizeof key, .identity = "ktls_echo", .hash = NVME_TCP_HASH_SHA256};
    nvme_tcp_tls_info info = {.size = sizeof info};
    nvme_tcp_ktls *connection = NULL;
    int serve = argc == 4 && strcmp(argv[1], "serve") == 0, fd, result;

    if (!serve && !(argc == 5 && strcmp(argv[1], "connect") == 0)) {
        fprintf(stderr, "usage: ktls_echo serve PORT SECRET | connect PORT SECRET TEXT\n");
        return 2;
    }
    key.identity_len = strlen("ktls_echo");
    key.secret = argv[3];
    key.secret_len = strlen(argv[3]);
    fd = open_socket(serve, (unsigned short)atoi(argv[2]));
    if (fd < 0) {
        perror("socket");
        return 1;
    }
    /* From here on the descriptor is the library's. */
    result = serve ? nvme_tcp_ktls_accept(fd, &key, 1, NVME_TCP_LAYER_AUTO, 10000, &connection)
                   : nvme_tcp_ktls_connect(fd, &key, NVME_TCP_LAYER_AUTO, 10000, &connection);
    if (result < 0)
        return complain("handshake");
    if (nvme_tcp_ktls_get_info(connection, &info) == 0)
        fprintf(stderr, "%s, sent records sealed by %s\n", info.suite, info.sent_why);
    result = serve ? echo(connection) : ask(connection, argv[4]);
    nvme_tcp_ktls_free(connection);
    return result;
}
