/* Reads 4096 bytes so many times over a queue of its own, one after the other: load URI COUNT */
#include "check.h"

int main(int argc, char **argv)
{
    nvme_tcp_options *options = options_for(argv[1], NULL);
    nvme_tcp_controller *controller = NULL;
    nvme_tcp_namespace *namespace = NULL;
    nvme_tcp_queue *queue = NULL;
    nvme_tcp_completion done;
    unsigned char *buffer = malloc(4096);
    long count;
    CHECK(argc == 3 && buffer);
    GIVES(0, nvme_tcp_options_set_owned_queues(options, 1));
    GIVES(0, nvme_tcp_options_set_keep_alive(options, 0));
    /* As it is in Rust. */
    GIVES(0, nvme_tcp_options_set_private_memory(options, true));
    GIVES(0, nvme_tcp_connect(options, &controller));
    GIVES(0, nvme_tcp_namespace_open(controller, 1, &namespace));
    GIVES(0, nvme_tcp_queue_open(controller, &queue));
    for (count = atol(argv[2]); count > 0; count--) {
        GIVES(0, nvme_tcp_queue_read(queue, namespace, buffer, 4096, 0, 1));
        GIVES(1, nvme_tcp_queue_complete(queue, &done, sizeof done, 1, 1, -1));
        CHECK(done.result == 0);
    }
    nvme_tcp_queue_free(queue);
    nvme_tcp_namespace_free(namespace);
    nvme_tcp_controller_free(controller);
    nvme_tcp_options_free(options);
    free(buffer);
    return 0;
}
