/* What the test programs share. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <nvme_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Who connects to what. */
#define HOST "nqn.2024-01.lab.test:c-host"
#define SUBSYSTEM "nqn.2024-01.lab.test:c"

#define CHECK(condition)                                                                                 \
    do {                                                                                                 \
        if (!(condition)) {                                                                              \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, nvme_tcp_error_message()); \
            exit(1);                                                                                     \
        }                                                                                                \
    } while (0)

/* Notes that a call failed as it should, in the file that NVME_TCP_PROVOKED names: the call, and -errno. */
static inline void provoked(const char *call, long long result)
{
    /* What succeeds is looked at no further: the cost of some programs is measured. */
    const char *path = result < 0 ? getenv("NVME_TCP_PROVOKED") : NULL;
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%.*s %lld\n", (int)strcspn(call, "("), call, result);
        fclose(file);
    }
}

/* A call that must give this result, said with what it gave. */
#define GIVES(expected, call)                                                                            \
    do {                                                                                                 \
        long long gave_ = (long long)(call);                                                            \
        if (gave_ != (long long)(expected)) {                                                           \
            fprintf(stderr, "%s:%d: %s gave %lld, expected %lld (%s)\n", __FILE__, __LINE__, #call, gave_, \
                    (long long)(expected), nvme_tcp_error_message());                                   \
            exit(1);                                                                                     \
        }                                                                                                \
        provoked(#call, gave_);                                                                         \
    } while (0)

static inline nvme_tcp_options *options_for(const char *uri, const char *key_file)
{
    nvme_tcp_options *options = NULL;
    nvme_tcp_key *key = NULL;
    uint32_t nsid = 0;
    GIVES(0, nvme_tcp_options_new(&options));
    GIVES(0, nvme_tcp_options_set_uri(options, uri, &nsid));
    GIVES(0, nvme_tcp_options_set_hostnqn(options, HOST));
    if (key_file) {
        GIVES(0, nvme_tcp_key_load(key_file, &key));
        GIVES(0, nvme_tcp_options_add_key(options, key));
        nvme_tcp_key_free(key);
    }
    return options;
}

#endif
