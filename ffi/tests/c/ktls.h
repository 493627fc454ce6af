/* Pairs of connected sockets with TLS on them. */
#ifndef KTLS_H
#define KTLS_H

#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static inline void pair(int fds[2])
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

static inline nvme_tcp_ktls_psk psk(const char *identity)
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

static inline void *serve(void *argument)
{
    struct server *server = argument;
    nvme_tcp_ktls_psk keys[2];
    keys[0] = psk("another client");
    keys[1] = psk("client");
    server->result = nvme_tcp_ktls_accept(server->fd, keys, 2, NVME_TCP_LAYER_AUTO, 60000, &server->connection);
    return NULL;
}

static inline void *ask(void *argument)
{
    struct server *client = argument;
    nvme_tcp_ktls_psk key = psk("client");
    client->result = nvme_tcp_ktls_connect(client->fd, &key, NVME_TCP_LAYER_AUTO, 60000, &client->connection);
    return NULL;
}

/* Both ends of a handshake; gives the client's result. */
static inline int handshake(const char *identity, nvme_tcp_ktls *ends[2], int *server_result)
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

static inline nvme_tcp_ktls_key raw(const void *key, const void *secret)
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

/* A connection with keys that were given, both ends. */
static inline void pair_of(nvme_tcp_ktls *ends[2], nvme_tcp_ktls_key *there, nvme_tcp_ktls_key *back)
{
    int fds[2];
    pair(fds);
    GIVES(0, nvme_tcp_ktls_wrap(fds[0], there, back, NVME_TCP_LAYER_AUTO, &ends[0]));
    GIVES(0, nvme_tcp_ktls_wrap(fds[1], back, there, NVME_TCP_LAYER_PROCESS, &ends[1]));
}

#endif
