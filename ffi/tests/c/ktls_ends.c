/* How connections of kernel TLS end that do not end well, and what each call says of it. */
#include "ktls.h"

/* What sends, by its name: without waiting, or with. */
static long long sending(const char *name, nvme_tcp_ktls *connection, int flags)
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
    return gave;
}

static void sends(const char *name, long long expected, nvme_tcp_ktls *connection, int flags)
{
    long long gave = sending(name, connection, flags);
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

/* Sends until there is no room, which is told as that. */
static void fill(nvme_tcp_ktls *connection)
{
    static const char large[1 << 20];
    ssize_t gave;
    while ((gave = nvme_tcp_ktls_send(connection, large, sizeof large, NVME_TCP_NOWAIT)) > 0)
        ;
    CHECK(gave == -EAGAIN && nvme_tcp_error_is_retryable());
}

/* Each call that sends, on connections of whose end or limit it has to tell. */
static void every_sender(void)
{
    nvme_tcp_ktls_key there = raw("0123456789abcdef", SECRET), back = raw("fedcba9876543210", SECRET), spent;
    struct linger at_once = {1, 0};
    nvme_tcp_ktls *ends[2];
    char text[64];
    int fds[2], index;

#define PAIR(key)                                                                            \
    pair(fds);                                                                               \
    GIVES(0, nvme_tcp_ktls_wrap(fds[0], &(key), &back, NVME_TCP_LAYER_PROCESS, &ends[0]));   \
    GIVES(0, nvme_tcp_ktls_wrap(fds[1], &back, &(key), NVME_TCP_LAYER_PROCESS, &ends[1]))

    /* No room: each says so, on a connection of its own. Where a piece still under way made room, once more. */
    for (index = 0; index < 6; index++) {
        /* A new key is held back, as what it is for. */
        long long expected = strcmp(senders[index], "nvme_tcp_ktls_update_key") == 0 ? 0 : -EAGAIN;
        long long gave;
        int tries = 0;
        do {
            PAIR(there);
            fill(ends[0]);
            gave = sending(senders[index], ends[0], NVME_TCP_NOWAIT);
            nvme_tcp_ktls_free(ends[0]);
            nvme_tcp_ktls_free(ends[1]);
        } while (gave >= 0 && gave != expected && ++tries < 100);
        CHECK(gave == expected);
        provoked(senders[index], gave);
    }
    /* The peer resets. */
    PAIR(there);
    fill(ends[0]);
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
    fill(ends[0]);
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

int main(void)
{
    broken();
    every_sender();
    puts("good");
    return 0;
}
