/*
 * Reads a whole namespace over four queues in one epoll loop, with 16 commands in flight on each, and prints a
 * checksum: event_loop nvme+tcp://HOST:PORT/SUBNQN/NSID [KEYFILE]
 *
 * cc event_loop.c $(pkg-config --cflags --libs nvme-tcp)
 */
#include <errno.h>
#include <nvme_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define QUEUES 4
#define IN_FLIGHT 16
#define PIECE 65536u

struct lane {
    nvme_tcp_queue *queue;
    int fd;
    int watched; /* the directions that epoll watches */
    unsigned char *buffers;
};

static nvme_tcp_namespace *namespace;
static uint64_t next_offset, end_offset;
static uint64_t sums[QUEUES], pieces;

static int complain(const char *what)
{
    const char *hint = nvme_tcp_error_hint();
    fprintf(stderr, "%s: %s\n", what, nvme_tcp_error_message());
    if (hint)
        fprintf(stderr, "hint: %s\n", hint);
    return -1;
}

/* Reads the next piece into a lane's buffer; the cookie names the buffer. */
static int submit(struct lane *lane, uint64_t cookie)
{
    if (next_offset >= end_offset)
        return 0;
    if (nvme_tcp_queue_read(lane->queue, namespace, lane->buffers + cookie * PIECE, PIECE, next_offset, cookie) < 0)
        return complain("submit");
    next_offset += PIECE;
    return 0;
}

/* Takes what is done and submits as much again, until there is nothing to do. */
static int work(struct lane *lane, uint64_t *sum)
{
    nvme_tcp_completion done[IN_FLIGHT];
    int count, index;
    while ((count = nvme_tcp_queue_complete(lane->queue, done, sizeof *done, 0, IN_FLIGHT, 0)) > 0) {
        for (index = 0; index < count; index++) {
            const unsigned char *data = lane->buffers + done[index].cookie * PIECE;
            size_t at;
            if (done[index].result < 0)
                return complain("read");
            for (at = 0; at < PIECE; at++)
                *sum += data[at];
            pieces++;
            if (submit(lane, done[index].cookie) < 0)
                return -1;
        }
    }
    return count < 0 ? complain("queue") : 0;
}

/* Has epoll watch what the queue wants now. */
static int watch(int epoll, struct lane *lane, uint32_t index)
{
    int wants = nvme_tcp_queue_wants(lane->queue), fd = nvme_tcp_queue_get_fd(lane->queue);
    struct epoll_event event = {.events = (uint32_t)wants, .data.u32 = index};
    if (fd == lane->fd && wants == lane->watched)
        return 0;
    if (epoll_ctl(epoll, fd == lane->fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0) {
        perror("epoll_ctl");
        return -1;
    }
    lane->fd = fd;
    lane->watched = wants;
    return 0;
}

static int loop(int epoll, struct lane *lanes)
{
    uint32_t index;
    uint64_t cookie;
    for (index = 0; index < QUEUES; index++) {
        for (cookie = 0; cookie < IN_FLIGHT; cookie++)
            if (submit(&lanes[index], cookie) < 0)
                return -1;
        if (work(&lanes[index], &sums[index]) < 0 || watch(epoll, &lanes[index], index) < 0)
            return -1;
    }
    for (;;) {
        struct epoll_event events[QUEUES];
        size_t outstanding = 0;
        int timeout = -1, count;
        for (index = 0; index < QUEUES; index++) {
            int limit = nvme_tcp_queue_timeout(lanes[index].queue);
            outstanding += nvme_tcp_queue_outstanding(lanes[index].queue);
            if (limit >= 0 && (timeout < 0 || limit < timeout))
                timeout = limit;
        }
        if (outstanding == 0)
            return 0;
        count = epoll_wait(epoll, events, QUEUES, timeout);
        if (count < 0 && errno != EINTR) {
            perror("epoll_wait");
            return -1;
        }
        /* A descriptor that is ready, or all of them where a command may have taken too long. */
        for (index = 0; index < QUEUES; index++) {
            int at, ready = count <= 0;
            for (at = 0; at < count; at++)
                ready |= events[at].data.u32 == index;
            if (ready && (work(&lanes[index], &sums[index]) < 0 || watch(epoll, &lanes[index], index) < 0))
                return -1;
        }
    }
}

int main(int argc, char **argv)
{
    struct lane lanes[QUEUES];
    nvme_tcp_options *options = NULL;
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_key *key = NULL;
    uint64_t sum = 0;
    uint32_t nsid = 0;
    int epoll = epoll_create1(EPOLL_CLOEXEC), index, result = -1;

    memset(lanes, 0, sizeof lanes);
    if (argc < 2) {
        fprintf(stderr, "usage: event_loop URI [KEYFILE]\n");
        return 2;
    }
    if (nvme_tcp_options_new(&options) < 0 || nvme_tcp_options_set_uri(options, argv[1], &nsid) < 0 ||
        nvme_tcp_options_set_owned_queues(options, QUEUES) < 0 ||
        (argc > 2 && (nvme_tcp_key_load(argv[2], &key) < 0 || nvme_tcp_options_add_key(options, key) < 0)) ||
        nvme_tcp_connect(options, &controller) < 0 || nvme_tcp_namespace_open(controller, nsid, &namespace) < 0) {
        complain(argv[1]);
        goto out;
    }
    end_offset = nvme_tcp_namespace_size(namespace) / PIECE * PIECE;
    for (index = 0; index < QUEUES; index++) {
        lanes[index].fd = -1;
        lanes[index].buffers = malloc((size_t)IN_FLIGHT * PIECE);
        if (!lanes[index].buffers || nvme_tcp_queue_open(controller, &lanes[index].queue) < 0) {
            complain("queue");
            goto out;
        }
    }
    result = loop(epoll, lanes);
    for (index = 0; index < QUEUES; index++)
        sum += sums[index];
    if (result == 0)
        printf("%llu pieces, sum %llu\n", (unsigned long long)pieces, (unsigned long long)sum);
out:
    for (index = 0; index < QUEUES; index++) {
        /* The buffers are ours again when their queue is gone. */
        nvme_tcp_queue_free(lanes[index].queue);
        free(lanes[index].buffers);
    }
    nvme_tcp_namespace_free(namespace);
    nvme_tcp_controller_free(controller);
    nvme_tcp_key_free(key);
    nvme_tcp_options_free(options);
    close(epoll);
    return result < 0;
}
