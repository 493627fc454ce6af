/* Every error of a command, from every call that runs one: commands PLAIN-URI. The target does wrong what fault.h
 * says. */
#include "fault.h"

#include <sys/uio.h>

static nvme_tcp_controller *controller;
static nvme_tcp_namespace *namespace;
static nvme_tcp_queue *queue;
static unsigned char block[4096];
static struct iovec piece = {block, sizeof block};
static nvme_tcp_command flush = {.size = sizeof flush, .nsid = 1};
static nvme_tcp_command identify = {.size = sizeof identify, .opcode = 6, .cdw10 = {1}};

/* A call by its name: what it does, and whether that writes. */
struct call {
    const char *name;
    int (*run)(void);
    bool writes;
};

#define CALL(function, arguments)            \
    static int run_##function(void)          \
    {                                        \
        return nvme_tcp_##function arguments; \
    }

CALL(pread, (namespace, block, sizeof block, 0))
CALL(pwrite, (namespace, block, sizeof block, 0))
CALL(compare, (namespace, block, sizeof block, 0))
CALL(flush, (namespace))
CALL(zero, (namespace, 0, sizeof block))
CALL(discard, (namespace, 0, sizeof block))
CALL(controller_io_passthrough, (controller, &flush, NULL, 0, NULL))
CALL(controller_admin_passthrough, (controller, &identify, block, sizeof block, NULL))
CALL(controller_identify, (controller, 1, 0, block))
CALL(controller_get_log_page, (controller, 2, 0, block, 512))
CALL(queue_read, (queue, namespace, block, sizeof block, 0, 1))
CALL(queue_write, (queue, namespace, block, sizeof block, 0, 1))
CALL(queue_readv, (queue, namespace, &piece, 1, 0, 1))
CALL(queue_writev, (queue, namespace, &piece, 1, 0, 1))
CALL(queue_flush, (queue, namespace, 1))
CALL(queue_zero, (queue, namespace, 0, sizeof block, 1))
CALL(queue_discard, (queue, namespace, 0, sizeof block, 1))

static int run_controller_list_namespaces(void)
{
    uint32_t nsids[4];
    size_t count;
    return nvme_tcp_controller_list_namespaces(controller, nsids, 4, &count);
}

static int run_namespace_open(void)
{
    nvme_tcp_namespace *none = NULL;
    int result = nvme_tcp_namespace_open(controller, 1, &none);
    CHECK(result < 0 || none != NULL);
    nvme_tcp_namespace_free(none);
    return result;
}

#define NAMED(function, writes) {"nvme_tcp_" #function, run_##function, writes}
#define COUNT(list) (sizeof(list) / sizeof(*list))

/* Those on the queues that synchronous calls share. */
static const struct call shared[] = {
    NAMED(pread, false), NAMED(pwrite, true),   NAMED(compare, false),
    NAMED(flush, false), NAMED(zero, true), NAMED(discard, true), NAMED(controller_io_passthrough, false),
};

static const struct call admin[] = {
    NAMED(controller_admin_passthrough, false), NAMED(controller_identify, false),
    NAMED(controller_get_log_page, false),      NAMED(controller_list_namespaces, false),
    NAMED(namespace_open, false),
};

static const struct call queued[] = {
    NAMED(queue_read, false), NAMED(queue_write, true), NAMED(queue_readv, false),  NAMED(queue_writev, true),
    NAMED(queue_flush, false), NAMED(queue_zero, true), NAMED(queue_discard, true),
};

static const struct {
    int status, result;
    bool of_writes;
} statuses[] = {
    {0x006, -EIO, false},        {0x281, -ENODATA, false}, {0x001, -EOPNOTSUPP, false},
    {0x286, -EACCES, false},     {0x081, -ENOSPC, true},   {0x020, -EROFS, true},
};

static void fails(const struct call *call, int expected)
{
    int gave = call->run();
    if (gave != expected) {
        fprintf(stderr, "%s gave %d, expected %d (%s)\n", call->name, gave, expected, nvme_tcp_error_message());
        exit(1);
    }
    provoked(call->name, gave);
}

/* So many commands of a queue end with this result: what was submitted before, in any order. */
static void complete(const struct call *calls, size_t count, int expected)
{
    nvme_tcp_completion done[8];
    char name[64];
    size_t index, seen = 0;
    while (seen < count) {
        int got = nvme_tcp_queue_complete(queue, done + seen, sizeof *done, (int)(count - seen), (int)(count - seen), -1);
        CHECK(got > 0);
        seen += (size_t)got;
    }
    for (index = 0; index < count; index++) {
        CHECK(done[index].result == expected);
        CHECK((done[index].scope != 0) == (expected < 0) && (done[index].blame != 0) == (expected < 0));
        snprintf(name, sizeof name, "completion:%s", calls[index].name);
        provoked(name, done[index].result);
    }
}

/* A queue that takes no more, and then does again. */
static void full(void)
{
    size_t index, count = 0;
    nvme_tcp_completion done;
    while (nvme_tcp_queue_room(queue) > 0) {
        GIVES(0, nvme_tcp_queue_flush(queue, namespace, 1));
        count++;
    }
    for (index = 0; index < COUNT(queued); index++)
        fails(&queued[index], -EAGAIN);
    for (; count > 0; count--)
        GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
}

/* By the NVMe status: what follows works. */
static void refused(const char *where, const struct call *calls, size_t count)
{
    size_t at, index;
    for (index = 0; index < count; index++) {
        for (at = 0; at < COUNT(statuses); at++) {
            if (statuses[at].of_writes && !calls[index].writes)
                continue;
            status(where, statuses[at].status);
            if (calls == queued) {
                fails(&calls[index], 0);
                complete(&calls[index], 1, statuses[at].result);
            } else {
                fails(&calls[index], statuses[at].result);
                GIVES(statuses[at].status >> 8, nvme_tcp_error_status_type());
                GIVES(statuses[at].status & 0xff, nvme_tcp_error_status_code());
            }
        }
        fault("nothing");
        fails(&calls[index], 0);
        if (calls == queued)
            complete(&calls[index], 1, 0);
    }
}

/* On a busy machine the time that is too short for a command can be so for those of connecting too. */
static void connect_to(const nvme_tcp_options *options)
{
    while (nvme_tcp_connect(options, &controller) < 0)
        CHECK(nvme_tcp_error_is_retryable());
    while (nvme_tcp_namespace_open(controller, 1, &namespace) < 0 || nvme_tcp_queue_open(controller, &queue) < 0) {
        CHECK(nvme_tcp_error_is_retryable());
        nvme_tcp_namespace_free(namespace);
        namespace = NULL;
        while (nvme_tcp_controller_reconnect(controller) < 0)
            CHECK(nvme_tcp_error_is_retryable());
    }
}

static void disconnect(void)
{
    nvme_tcp_queue_free(queue);
    nvme_tcp_namespace_free(namespace);
    nvme_tcp_controller_free(controller);
    queue = NULL;
    namespace = NULL;
    controller = NULL;
}

/* Where a connection is lost, all that goes on with it fails in the same way, and what follows says why. */
static void lost(const nvme_tcp_options *options, const char *what, int expected)
{
    char text[32];
    nvme_tcp_completion done;
    size_t index;

    connect_to(options);
    snprintf(text, sizeof text, "io %s", what);
    fault(text);
    for (index = 0; index < COUNT(queued); index++)
        fails(&queued[index], 0);
    complete(queued, COUNT(queued), expected);
    fault("nothing");
    GIVES(expected, nvme_tcp_queue_complete(queue, &done, sizeof done, 0, 1, 0));
    GIVES(expected, nvme_tcp_queue_notify(queue));
    fault(text);
    for (index = 0; index < COUNT(shared); index++)
        fails(&shared[index], expected);
    fault("nothing");
    GIVES(expected, nvme_tcp_controller_check(controller));
    for (index = 0; index < COUNT(queued); index++)
        fails(&queued[index], expected);
    disconnect();

    connect_to(options);
    snprintf(text, sizeof text, "admin %s", what);
    fault(text);
    for (index = 0; index < COUNT(admin); index++)
        fails(&admin[index], expected);
    fault("nothing");
    disconnect();
}

/* A new connection that does not come up: that of the next association, or of a queue. */
static void no_other(const nvme_tcp_options *options, const char *what, int expected)
{
    nvme_tcp_queue *none = NULL;
    connect_to(options);
    nvme_tcp_queue_free(queue);
    queue = NULL;
    fault(what);
    GIVES(expected, nvme_tcp_controller_reconnect(controller));
    fault(what);
    GIVES(expected, nvme_tcp_queue_open(controller, &none));
    CHECK(none == NULL);
    fault("nothing");
    disconnect();
}

int main(int argc, char **argv)
{
    nvme_tcp_options *options, *hurried;
    nvme_tcp_discovery *log = NULL;
    size_t index;

    CHECK(argc == 2);
    options = options_for(argv[1], NULL);
    GIVES(0, nvme_tcp_options_set_keep_alive(options, 0));
    GIVES(0, nvme_tcp_options_set_owned_queues(options, 1));
    hurried = options_for(argv[1], NULL);
    GIVES(0, nvme_tcp_options_set_keep_alive(hurried, 0));
    GIVES(0, nvme_tcp_options_set_owned_queues(hurried, 1));
    GIVES(0, nvme_tcp_options_set_timeout(hurried, 500));
    GIVES(0, nvme_tcp_options_set_connect_timeout(hurried, 500));

    connect_to(options);
    refused("io", shared, COUNT(shared));
    refused("admin", admin, COUNT(admin));
    refused("io", queued, COUNT(queued));
    full();
    /* What came from a controller outlives it, and says so. */
    nvme_tcp_controller_free(controller);
    controller = NULL;
    for (index = 0; index < COUNT(shared) - 1; index++)
        fails(&shared[index], -ESHUTDOWN);
    disconnect();

    lost(options, "cut", -ECONNRESET);
    lost(options, "foreign", -EPROTO);
    lost(hurried, "stall", -ETIMEDOUT);

    no_other(options, "any status 386", -ECONNREFUSED);
    no_other(options, "any status 388", -EACCES);
    no_other(options, "hello cut", -ECONNRESET);
    no_other(options, "hello foreign", -EPROTO);
    no_other(hurried, "hello stall", -ETIMEDOUT);
    fault("any status 388");
    GIVES(-EACCES, nvme_tcp_discover(options, &log));
    fault("nothing");
    nvme_tcp_options_free(options);
    nvme_tcp_options_free(hurried);
    puts("good");
    return 0;
}
