/* Signals, fork(2), dlopen(3): boundary LIBRARY URI. Loads the library by itself, as a plugin's host does. */
#include <dlfcn.h>
#include <errno.h>
#include <nvme_tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *library;

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);         \
            _exit(1);                                                               \
        }                                                                           \
    } while (0)

static void *named(const char *name)
{
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    return found;
}

/* ISO C has no cast from void * to a function. */
#define LOAD(name)                        \
    do {                                  \
        void *found = named(#name);       \
        memcpy(&name##_, &found, sizeof found); \
    } while (0)

static int (*nvme_tcp_options_new_)(nvme_tcp_options **);
static int (*nvme_tcp_options_set_uri_)(nvme_tcp_options *, const char *, uint32_t *);
static int (*nvme_tcp_options_set_hostnqn_)(nvme_tcp_options *, const char *);
static int (*nvme_tcp_options_set_owned_queues_)(nvme_tcp_options *, uint16_t);
static void (*nvme_tcp_options_free_)(nvme_tcp_options *);
static int (*nvme_tcp_connect_)(const nvme_tcp_options *, nvme_tcp_controller **);
static void (*nvme_tcp_controller_free_)(nvme_tcp_controller *);
static int (*nvme_tcp_namespace_open_)(const nvme_tcp_controller *, uint32_t, nvme_tcp_namespace **);
static void (*nvme_tcp_namespace_free_)(nvme_tcp_namespace *);
static int (*nvme_tcp_pread_)(const nvme_tcp_namespace *, void *, size_t, uint64_t);
static int (*nvme_tcp_queue_open_)(const nvme_tcp_controller *, nvme_tcp_queue **);
static int (*nvme_tcp_queue_read_)(nvme_tcp_queue *, const nvme_tcp_namespace *, void *, size_t, uint64_t, uint64_t);
static int (*nvme_tcp_queue_complete_)(nvme_tcp_queue *, nvme_tcp_completion *, size_t, int, int, int);
static int (*nvme_tcp_queue_notify_)(nvme_tcp_queue *);
static void (*nvme_tcp_queue_free_)(nvme_tcp_queue *);

static void load(const char *path)
{
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    LOAD(nvme_tcp_options_new);
    LOAD(nvme_tcp_options_set_uri);
    LOAD(nvme_tcp_options_set_hostnqn);
    LOAD(nvme_tcp_options_set_owned_queues);
    LOAD(nvme_tcp_options_free);
    LOAD(nvme_tcp_connect);
    LOAD(nvme_tcp_controller_free);
    LOAD(nvme_tcp_namespace_open);
    LOAD(nvme_tcp_namespace_free);
    LOAD(nvme_tcp_pread);
    LOAD(nvme_tcp_queue_open);
    LOAD(nvme_tcp_queue_read);
    LOAD(nvme_tcp_queue_complete);
    LOAD(nvme_tcp_queue_notify);
    LOAD(nvme_tcp_queue_free);
}

int main(int argc, char **argv)
{
    nvme_tcp_options *options = NULL;
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_namespace *namespace = NULL;
    nvme_tcp_queue *queue = NULL;
    nvme_tcp_completion done;
    unsigned char block[4096];
    struct sigaction action;
    sigset_t mask;
    int status;
    pid_t child;

    CHECK(argc == 3);
    /* The default: a SIGPIPE would end this program. */
    load(argv[1]);
    CHECK(nvme_tcp_options_new_(&options) == 0 && nvme_tcp_options_set_uri_(options, argv[2], NULL) == 0);
    CHECK(nvme_tcp_options_set_hostnqn_(options, "nqn.2024-01.lab.test:c-host") == 0);
    CHECK(nvme_tcp_options_set_owned_queues_(options, 1) == 0);
    CHECK(nvme_tcp_connect_(options, &controller) == 0);
    CHECK(nvme_tcp_namespace_open_(controller, 1, &namespace) == 0);
    CHECK(nvme_tcp_queue_open_(controller, &queue) == 0);
    CHECK(nvme_tcp_queue_read_(queue, namespace, block, sizeof block, 0, 5) == 0);
    CHECK(nvme_tcp_queue_notify_(queue) == 0);

    /* A child uses nothing of it, and disturbs nothing. */
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        nvme_tcp_controller *another = NULL;
        nvme_tcp_options *own = NULL;
        CHECK(nvme_tcp_pread_(namespace, block, sizeof block, 0) == -ECHILD);
        CHECK(nvme_tcp_queue_complete_(queue, &done, sizeof done, 1, 1, -1) == -ECHILD);
        CHECK(nvme_tcp_connect_(options, &another) == -ECHILD);
        nvme_tcp_queue_free_(queue);
        nvme_tcp_namespace_free_(namespace);
        nvme_tcp_controller_free_(controller);
        nvme_tcp_options_free_(options);
        /* What it makes itself it can use. */
        CHECK(nvme_tcp_options_new_(&own) == 0 && nvme_tcp_options_set_uri_(own, argv[2], NULL) == 0);
        CHECK(nvme_tcp_options_set_hostnqn_(own, "nqn.2024-01.lab.test:c-child") == 0);
        CHECK(nvme_tcp_connect_(own, &another) == 0);
        nvme_tcp_controller_free_(another);
        nvme_tcp_options_free_(own);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(nvme_tcp_queue_complete_(queue, &done, sizeof done, 1, 1, -1) == 1 && done.cookie == 5 && done.result == 0);
    CHECK(nvme_tcp_pread_(namespace, block, sizeof block, 0) == 0);

    /* Unloaded with a controller alive, whose thread goes on; loaded again. */
    CHECK(dlclose(library) == 0);
    load(argv[1]);
    CHECK(nvme_tcp_pread_(namespace, block, sizeof block, 0) == 0);
    /* Neither signal actions nor masks are touched. */
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && sigismember(&mask, SIGPIPE) == 0);

    /* The target goes: this waits for its word, then finds the connections dead. */
    puts("ready");
    fflush(stdout);
    CHECK(getchar() != EOF);
    CHECK(nvme_tcp_pread_(namespace, block, sizeof block, 0) < 0);
    CHECK(nvme_tcp_pread_(namespace, block, sizeof block, 0) < 0);
    if (nvme_tcp_queue_read_(queue, namespace, block, sizeof block, 0, 6) == 0)
        CHECK(nvme_tcp_queue_complete_(queue, &done, sizeof done, 1, 1, -1) == 1 && done.result < 0);
    nvme_tcp_queue_free_(queue);
    nvme_tcp_namespace_free_(namespace);
    nvme_tcp_controller_free_(controller);
    nvme_tcp_options_free_(options);
    puts("good");
    return 0;
}
