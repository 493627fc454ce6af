/*
 * What a target has: discover HOST[:PORT] [KEYFILE]
 *
 * cc discover.c $(pkg-config --cflags --libs nvme-tcp)
 */
#include <nvme_tcp.h>
#include <stdio.h>

static int complain(const char *what)
{
    const char *hint = nvme_tcp_error_hint();
    fprintf(stderr, "%s: %s\n", what, nvme_tcp_error_message());
    if (hint)
        fprintf(stderr, "hint: %s\n", hint);
    return 1;
}

int main(int argc, char **argv)
{
    nvme_tcp_options *options = NULL;
    nvme_tcp_discovery *log = NULL;
    nvme_tcp_discovery_entry entry = {.size = sizeof entry};
    nvme_tcp_key *key = NULL;
    size_t index;
    int result = 1;

    if (argc < 2) {
        fprintf(stderr, "usage: discover HOST[:PORT] [KEYFILE]\n");
        return 2;
    }
    if (nvme_tcp_options_new(&options) < 0 || nvme_tcp_options_set_address(options, argv[1]) < 0) {
        complain(argv[1]);
        goto out;
    }
    if (argc > 2 && (nvme_tcp_key_load(argv[2], &key) < 0 || nvme_tcp_options_add_key(options, key) < 0)) {
        complain(argv[2]);
        goto out;
    }
    if (nvme_tcp_discover(options, &log) < 0) {
        complain(argv[1]);
        goto out;
    }
    for (index = 0; index < nvme_tcp_discovery_count(log); index++) {
        static const char *const tls[] = {"off", "possible", "required"};
        if (nvme_tcp_discovery_get(log, index, &entry) < 0) {
            complain("entry");
            goto out;
        }
        printf("%-24s %s (TLS %s)\n", entry.address, entry.subsysnqn,
               entry.tls >= 0 && entry.tls <= 2 ? tls[entry.tls] : "?");
    }
    result = 0;
out:
    nvme_tcp_discovery_free(log);
    nvme_tcp_key_free(key);
    nvme_tcp_options_free(options);
    return result;
}
