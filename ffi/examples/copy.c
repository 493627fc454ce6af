/*
 * A file into a namespace: copy FILE nvme+tcp://HOST:PORT/SUBNQN/NSID [KEYFILE]
 *
 * cc copy.c $(pkg-config --cflags --libs nvme-tcp)
 */
#include <nvme_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK (4u << 20)

static int complain(const char *what)
{
    const char *hint = nvme_tcp_error_hint();
    fprintf(stderr, "%s: %s\n", what, nvme_tcp_error_message());
    if (hint)
        fprintf(stderr, "hint: %s\n", hint);
    return 1;
}

/* Copies, flushes, and tells how many bytes that were; -1 after a complaint. */
static long long copy(FILE *file, nvme_tcp_namespace *namespace)
{
    const size_t block = nvme_tcp_namespace_block_size(namespace);
    unsigned char *buffer = malloc(CHUNK);
    unsigned long long offset = 0, bytes = 0;
    size_t got = 0;

    while (buffer && (got = fread(buffer, 1, CHUNK, file)) > 0) {
        /* The last block is filled up with zeros. */
        size_t len = (got + block - 1) / block * block;
        memset(buffer + got, 0, len - got);
        if (nvme_tcp_pwrite(namespace, buffer, len, offset) < 0) {
            complain("write");
            free(buffer);
            return -1;
        }
        offset += len;
        bytes += got;
    }
    if (!buffer || ferror(file)) {
        perror("read");
        free(buffer);
        return -1;
    }
    free(buffer);
    if (nvme_tcp_flush(namespace) < 0) {
        complain("flush");
        return -1;
    }
    return (long long)bytes;
}

int main(int argc, char **argv)
{
    nvme_tcp_options *options = NULL;
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_namespace *namespace = NULL;
    nvme_tcp_tls_info tls = {.size = sizeof tls};
    nvme_tcp_key *key = NULL;
    FILE *file = NULL;
    uint32_t nsid = 0;
    long long bytes = -1;

    if (argc < 3) {
        fprintf(stderr, "usage: copy FILE URI [KEYFILE]\n");
        return 2;
    }
    file = fopen(argv[1], "rb");
    if (!file) {
        perror(argv[1]);
        return 1;
    }
    if (nvme_tcp_options_new(&options) < 0 || nvme_tcp_options_set_uri(options, argv[2], &nsid) < 0)
        complain(argv[2]);
    else if (argc > 3 && (nvme_tcp_key_load(argv[3], &key) < 0 || nvme_tcp_options_add_key(options, key) < 0))
        complain(argv[3]);
    else if (nvme_tcp_connect(options, &controller) < 0)
        complain(argv[2]);
    else if (nvme_tcp_namespace_open(controller, nsid, &namespace) < 0)
        complain("namespace");
    else
        bytes = copy(file, namespace);
    if (bytes >= 0) {
        printf("%lld bytes\n", bytes);
        if (nvme_tcp_controller_get_tls(controller, &tls) == 0)
            printf("%s, sealed by %s\n", tls.suite, tls.sent_why);
    }
    nvme_tcp_namespace_free(namespace);
    nvme_tcp_controller_free(controller);
    nvme_tcp_key_free(key);
    nvme_tcp_options_free(options);
    fclose(file);
    return bytes < 0;
}
