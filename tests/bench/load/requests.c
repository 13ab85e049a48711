// Keep-alive connections that ask the same again and again: how many whole, right answers come in how long.
//
// usage: requests PORT CONNECTIONS SECONDS STATUS BODY_BYTES < REQUEST; prints: answers, nanoseconds, CPU nanoseconds of ours
#define _GNU_SOURCE
#include "http.h"

enum { MOST = 256, BUFFER = 65536 };

static struct connection {
    int fd;
    size_t have;
    char data[BUFFER];
} connections[MOST];

static char request[8192];

// Reads what there is; whether that made an answer whole.
static int take(struct connection *one, int status, size_t body_bytes) {
    struct answer found;
    ssize_t got = recv(one->fd, one->data + one->have, BUFFER - one->have, 0);
    if (got <= 0) fail("recv: %s", got ? strerror(errno) : "closed");
    one->have += got;
    if (!is_whole(one->data, one->have, &found)) return 0;
    if (found.status != status || found.body_length != body_bytes)
        fail("%d with %zu bytes, where %d with %zu is right", found.status, found.body_length, status, body_bytes);
    one->have = 0;
    return 1;
}

int main(int count, char **words) {
    if (count != 6) fail("usage: requests PORT CONNECTIONS SECONDS STATUS BODY_BYTES");
    int port = atoi(words[1]), width = atoi(words[2]), status = atoi(words[4]);
    size_t body_bytes = strtoul(words[5], NULL, 10), length = fread(request, 1, sizeof request, stdin);
    if (width > MOST) fail("at most %d connections", MOST);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < width; i++) {
        connections[i].fd = dial(port, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
    }
    long long begun = now_ns(CLOCK_MONOTONIC), until = begun + (long long)(atof(words[3]) * 1e9), now = begun;
    long long cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), answers = 0;
    for (int i = 0; i < width; i++) send_all(connections[i].fd, request, length);
    while (now < until) {
        struct epoll_event events[MOST];
        int ready = epoll_wait(epoll, events, MOST, 5000);
        if (ready <= 0) fail("no answer within 5 s");
        for (int i = 0; i < ready; i++) {
            struct connection *one = events[i].data.ptr;
            if (!take(one, status, body_bytes)) continue;
            answers++;
            send_all(one->fd, request, length);
        }
        now = now_ns(CLOCK_MONOTONIC);
    }
    printf("%lld %lld %lld\n", answers, now - begun, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
