// Thousands of connections that each wait for one answer: when the first byte came, and when the last answer was whole.
//
// usage: waiters PORT MOST [RECEIVE_BYTES]; then commands on stdin, a line each, each answered by a line
//   open COUNT LENGTH  and LENGTH bytes: so many more connections, each sending these bytes -> "open TOTAL"
//   send LENGTH        and LENGTH bytes: sent on every connection -> "sent TOTAL"
//   wait               every connection gets a whole answer, all with the same body
//                      -> "answered FIRST_NS LAST_NS CPU_NS STATUS LENGTH" (CLOCK_MONOTONIC; our own CPU time) and the body
#define _GNU_SOURCE
#include "http.h"

enum { BUFFER = 2048, EVENTS = 512 };

struct connection {
    int fd;
    size_t have;
    char data[BUFFER];
};

static struct connection *connections;
static int total, most, port, receive_bytes, epoll;
static char request[8192];

static size_t read_request(size_t length) {
    if (length > sizeof request || fread(request, 1, length, stdin) != length) fail("no request of %zu bytes", length);
    return length;
}

static void open_more(int count, size_t length) {
    if (total + count > most) fail("at most %d connections", most);
    for (int end = total + count; total < end; total++) {
        connections[total].fd = dial(port, receive_bytes);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[total]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[total].fd, &event)) fail("epoll: %s", strerror(errno));
        send_all(connections[total].fd, request, length);
    }
}

// Reads what there is; whether that made the answer whole. The first whole one is the model of all others.
static int take(struct connection *one, struct answer *model) {
    struct answer found;
    ssize_t got = recv(one->fd, one->data + one->have, BUFFER - one->have, 0);
    if (got <= 0) fail("recv: %s", got ? strerror(errno) : one->have < BUFFER ? "closed" : "an answer that is too long");
    one->have += got;
    if (!is_whole(one->data, one->have, &found)) return 0;
    if (!model->body)
        *model = found;
    else if (found.status != model->status || found.body_length != model->body_length ||
             memcmp(found.body, model->body, found.body_length))
        fail("answers differ: %.*s", (int)found.body_length, found.body);
    return 1;
}

static void wait_all(void) {
    struct answer model = {0};
    long long cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), first = 0;
    for (int left = total; left;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 30000);
        if (ready <= 0) fail("%d of %d had no answer within 30 s", left, total);
        if (!first) first = now_ns(CLOCK_MONOTONIC);
        for (int i = 0; i < ready; i++) left -= take(events[i].data.ptr, &model);
    }
    long long last = now_ns(CLOCK_MONOTONIC);
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("answered %lld %lld %lld %d %zu\n", first, last, cpu, model.status, model.body_length);
    fwrite(model.body, 1, model.body_length, stdout);
    for (int i = 0; i < total; i++) connections[i].have = 0;
}

int main(int count, char **words) {
    if (count < 3 || count > 4) fail("usage: waiters PORT MOST [RECEIVE_BYTES]");
    port = atoi(words[1]), most = atoi(words[2]), receive_bytes = count > 3 ? atoi(words[3]) : 0;
    connections = malloc(sizeof *connections * most);
    memset(connections, 0, sizeof *connections * most);  // touched now, not while the clock runs
    epoll = epoll_create1(EPOLL_CLOEXEC);
    char line[128];
    int more;
    size_t length;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "open %d %zu", &more, &length) == 2) {
            open_more(more, read_request(length));
            printf("open %d\n", total);
        } else if (sscanf(line, "send %zu", &length) == 1) {
            read_request(length);
            for (int i = 0; i < total; i++) send_all(connections[i].fd, request, length);
            printf("sent %d\n", total);
        } else if (!strcmp(line, "wait\n")) {
            wait_all();
        } else {
            fail("what is %s", line);
        }
        fflush(stdout);
    }
    return 0;
}
