/* Every call of a queue, driven by poll(2) and by itself: queue URI [KEYFILE] [digests] [uring] */
#include "check.h"

#include <dirent.h>
#include <poll.h>
#include <sys/uio.h>

#define DEPTH 16
#define PIECE 65536

static nvme_tcp_queue *queue;
static nvme_tcp_namespace *namespace;

/* Waits as an event loop does, then fetches one completion. */
static nvme_tcp_completion next(void)
{
    nvme_tcp_completion done;
    for (;;) {
        int count = nvme_tcp_queue_complete(queue, &done, sizeof done, 0, 1, 0);
        struct pollfd fd;
        CHECK(count >= 0);
        if (count == 1)
            return done;
        fd.fd = nvme_tcp_queue_get_fd(queue);
        fd.events = (short)nvme_tcp_queue_wants(queue);
        CHECK(fd.fd >= 0 && fd.events != 0);
        CHECK(poll(&fd, 1, nvme_tcp_queue_timeout(queue)) >= 0);
        GIVES(0, nvme_tcp_queue_notify(queue));
    }
}

static void expect(uint64_t cookie)
{
    nvme_tcp_completion done = next();
    CHECK(done.cookie == cookie && done.result == 0 && done.status_type == -1 && done.scope == 0);
}

static void many(unsigned char *to, unsigned char *from)
{
    nvme_tcp_completion done[DEPTH];
    int seen = 0, count, index;
    for (index = 0; index < DEPTH; index++)
        GIVES(0, nvme_tcp_queue_write(queue, namespace, to + index * PIECE, PIECE, (uint64_t)index * PIECE, index));
    CHECK(nvme_tcp_queue_outstanding(queue) == DEPTH);
    while (seen < DEPTH) {
        count = nvme_tcp_queue_complete(queue, done, sizeof *done, DEPTH - seen, DEPTH, -1);
        CHECK(count > 0);
        for (index = 0; index < count; index++)
            CHECK(done[index].result == 0);
        seen += count;
    }
    for (index = 0; index < DEPTH; index++)
        GIVES(0, nvme_tcp_queue_read(queue, namespace, from + index * PIECE, PIECE, (uint64_t)index * PIECE, index));
    for (seen = 0; seen < DEPTH; seen++)
        CHECK(next().result == 0);
    CHECK(memcmp(to, from, (size_t)DEPTH * PIECE) == 0 && nvme_tcp_queue_outstanding(queue) == 0);
}

/* Pieces of all sizes, also without bytes, cut across blocks and PDUs. */
static void vectored(unsigned char *to, unsigned char *from)
{
    static const size_t sizes[] = {1, 0, 511, 4096, 20000, 3, 8192, 30001, 2732};
    struct iovec list[9];
    size_t at = 0, index;
    memset(from, 0, PIECE);
    for (index = 0; index < 9; index++) {
        list[index].iov_base = to + at;
        list[index].iov_len = sizes[index];
        at += sizes[index];
    }
    CHECK(at == PIECE);
    GIVES(0, nvme_tcp_queue_writev(queue, namespace, list, 9, PIECE, 1));
    expect(1);
    GIVES(0, nvme_tcp_queue_read(queue, namespace, from, PIECE, PIECE, 2));
    expect(2);
    CHECK(memcmp(to, from, PIECE) == 0);
    memset(from, 0, PIECE);
    for (index = 0, at = 0; index < 9; at += sizes[index++])
        list[index].iov_base = from + at;
    GIVES(0, nvme_tcp_queue_readv(queue, namespace, list, 9, PIECE, 3));
    expect(3);
    CHECK(memcmp(to, from, PIECE) == 0);
    /* Two large pieces, in the wrong order. */
    list[0].iov_base = from + PIECE / 2;
    list[1].iov_base = from;
    list[0].iov_len = list[1].iov_len = PIECE / 2;
    GIVES(0, nvme_tcp_queue_readv(queue, namespace, list, 2, PIECE, 4));
    expect(4);
    CHECK(memcmp(to, from + PIECE / 2, PIECE / 2) == 0 && memcmp(to + PIECE / 2, from, PIECE / 2) == 0);
    list[1].iov_base = from + PIECE / 2 + 1;
    GIVES(-EINVAL, nvme_tcp_queue_readv(queue, namespace, list, 2, PIECE, 5));
    CHECK(strstr(nvme_tcp_error_message(), "overlap"));
    GIVES(-EINVAL, nvme_tcp_queue_readv(queue, namespace, NULL, 2, 0, 5));
    GIVES(-EINVAL, nvme_tcp_queue_writev(queue, namespace, list, 0, 0, 5));
    list[0].iov_base = NULL;
    GIVES(-EINVAL, nvme_tcp_queue_writev(queue, namespace, list, 2, 0, 5));
}

/* A buffer is the caller's as soon as its read is cancelled, before and after bytes have come. */
static void cancelled(unsigned char *to)
{
    nvme_tcp_completion done;
    struct iovec list;
    int sent;
    for (sent = 0; sent < 2; sent++) {
        unsigned char *buffer = malloc(PIECE);
        CHECK(buffer);
        GIVES(0, nvme_tcp_queue_read(queue, namespace, buffer, PIECE, 0, 77));
        if (sent)
            GIVES(0, nvme_tcp_queue_notify(queue));
        if (nvme_tcp_queue_cancel(queue, 77) == 0) {
            free(buffer);
            done = next();
            CHECK(done.cookie == 77 && done.result == -ECANCELED && done.scope == NVME_TCP_SCOPE_COMMAND);
            provoked("completion:nvme_tcp_queue_read", done.result);
        } else {
            /* It was faster. */
            CHECK(sent && next().cookie == 77);
            free(buffer);
        }
    }
    list.iov_base = to;
    list.iov_len = PIECE;
    GIVES(0, nvme_tcp_queue_readv(queue, namespace, &list, 1, 0, 78));
    GIVES(0, nvme_tcp_queue_cancel(queue, 78));
    done = next();
    CHECK(done.cookie == 78 && done.result == -ECANCELED);
    provoked("completion:nvme_tcp_queue_readv", done.result);
    GIVES(-ENOENT, nvme_tcp_queue_cancel(queue, 77));
    /* A write cannot be. */
    GIVES(0, nvme_tcp_queue_write(queue, namespace, to, PIECE, 0, 78));
    GIVES(-ENOENT, nvme_tcp_queue_cancel(queue, 78));
    expect(78);
    /* The cancelled reads are answered by now, or soon; the queue goes on. */
    GIVES(0, nvme_tcp_queue_read(queue, namespace, to, PIECE, 0, 79));
    expect(79);
}

static void others(unsigned char *to)
{
    nvme_tcp_completion done;
    GIVES(0, nvme_tcp_queue_zero(queue, namespace, 0, 4096, 10));
    expect(10);
    GIVES(0, nvme_tcp_queue_discard(queue, namespace, 4096, 4096, 11));
    expect(11);
    GIVES(0, nvme_tcp_queue_flush(queue, namespace, 12));
    expect(12);
    GIVES(0, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
    GIVES(0, nvme_tcp_queue_complete(queue, NULL, sizeof done, 0, 0, 0));
    GIVES(-EINVAL, nvme_tcp_queue_complete(queue, NULL, sizeof done, 0, 1, 0));
    GIVES(-EINVAL, nvme_tcp_queue_complete(queue, &done, 8, 0, 1, 0));
    GIVES(-EINVAL, nvme_tcp_queue_complete(queue, &done, sizeof done, 2, 1, 0));
    GIVES(-EINVAL, nvme_tcp_queue_complete(queue, &done, sizeof done, -1, 1, 0));
    GIVES(-EINVAL, nvme_tcp_queue_read(queue, namespace, to, 100, 0, 1));
    GIVES(-EINVAL, nvme_tcp_queue_read(queue, namespace, NULL, 512, 0, 1));
    GIVES(-EINVAL, nvme_tcp_queue_write(queue, namespace, to, 512, UINT64_MAX / 512 * 512, 1));
    GIVES(-EINVAL, nvme_tcp_queue_write(queue, NULL, to, 512, 0, 1));
    GIVES(-EINVAL, nvme_tcp_queue_zero(queue, namespace, 0, 0, 1));
    GIVES(-EINVAL, nvme_tcp_queue_discard(queue, namespace, 0, 1, 1));
    GIVES(-EINVAL, nvme_tcp_queue_flush(NULL, namespace, 1));
    GIVES(-EINVAL, nvme_tcp_queue_cancel(NULL, 1));
    CHECK(!nvme_tcp_queue_uses_io_uring(NULL));
    GIVES(-EINVAL, nvme_tcp_queue_notify(NULL));
    GIVES(-EINVAL, nvme_tcp_queue_get_fd(NULL));
    CHECK(nvme_tcp_queue_room(NULL) == 0 && nvme_tcp_queue_outstanding(NULL) == 0);
    CHECK(nvme_tcp_queue_wants(NULL) == 0 && nvme_tcp_queue_timeout(NULL) == -1);
    GIVES(-1, nvme_tcp_queue_timeout(queue));
    /* Full, and then not. */
    while (nvme_tcp_queue_room(queue) > 0)
        GIVES(0, nvme_tcp_queue_flush(queue, namespace, 20));
    GIVES(-EAGAIN, nvme_tcp_queue_flush(queue, namespace, 20));
    GIVES(-EAGAIN, nvme_tcp_queue_read(queue, namespace, to, 512, 0, 20));
    CHECK(nvme_tcp_queue_timeout(queue) > 0);
    while (nvme_tcp_queue_outstanding(queue) > 0)
        expect(20);
}

/* How many threads this process has. */
static int threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    CHECK(tasks);
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

int main(int argc, char **argv)
{
    int before, argument;
    bool digests = false, uring = false;
    const char *key_file = NULL;
    nvme_tcp_options *options;
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_queue *second = NULL;
    unsigned char *to = malloc((size_t)DEPTH * PIECE), *from = malloc((size_t)DEPTH * PIECE);
    size_t at;
    CHECK(to && from && argc > 1);
    for (argument = 2; argument < argc; argument++) {
        if (strcmp(argv[argument], "digests") == 0)
            digests = true;
        else if (strcmp(argv[argument], "uring") == 0)
            uring = true;
        else
            key_file = argv[argument];
    }
    options = options_for(argv[1], key_file);
    for (at = 0; at < (size_t)DEPTH * PIECE; at++)
        to[at] = (unsigned char)(at * 13 + at / 255);
    GIVES(0, nvme_tcp_options_set_owned_queues(options, 1));
    GIVES(0, nvme_tcp_options_set_digests(options, false, digests));
    GIVES(0, nvme_tcp_options_set_io_uring(options, uring));
    GIVES(0, nvme_tcp_connect(options, &controller));
    GIVES(0, nvme_tcp_namespace_open(controller, 1, &namespace));
    GIVES(-EINVAL, nvme_tcp_queue_open(controller, NULL));
    before = threads();
    GIVES(0, nvme_tcp_queue_open(controller, &queue));
    GIVES(-EINVAL, nvme_tcp_queue_open(controller, &second));
    CHECK(nvme_tcp_queue_room(queue) >= DEPTH && nvme_tcp_queue_wants(queue) == 0);
    if (nvme_tcp_queue_uses_io_uring(queue) != uring) {
        CHECK(uring);
        fprintf(stderr, "SKIPPED queue::io_uring: this kernel, or a sandbox, gives no ring\n");
    }
    many(to, from);
    vectored(to, from);
    cancelled(to);
    others(to);
    /* The controller has its thread; a queue has none. */
    CHECK(threads() == before);
    /* The next association takes over between two commands. */
    GIVES(0, nvme_tcp_controller_reconnect(controller));
    many(to, from);
    /* What is outstanding is given up, and its memory is free. */
    GIVES(0, nvme_tcp_queue_read(queue, namespace, from, PIECE, 0, 1));
    GIVES(0, nvme_tcp_queue_notify(queue));
    nvme_tcp_queue_free(queue);
    free(from);
    nvme_tcp_queue_free(NULL);
    free(to);
    nvme_tcp_namespace_free(namespace);
    nvme_tcp_controller_free(controller);
    nvme_tcp_options_free(options);
    puts("good");
    return 0;
}
