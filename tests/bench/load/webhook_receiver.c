/* Many receivers of webhooks in one thread, so fast that they are not what is measured.
 *
 * Usage: webhook_receiver RECEIVERS DELIVERIES SAMPLE_EVERY FOLDER
 *
 * Listens on RECEIVERS free ports of 127.0.0.1 and prints them in one line. Prints "waiting" when every receiver has a request that it has
 * not answered; the line "go" on its input starts the clock and the answering. When each receiver has DELIVERIES it prints
 * "done ELAPSED_S CPU_S" (its own) and goes on answering until its input ends. FOLDER gets `seqs` (for each receiver DELIVERIES
 * 64-bit numbers, in the order of arrival) and `samples` (each a 64-bit length and a raw request; one in SAMPLE_EVERY of each receiver).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_RECEIVERS 64
#define MAX_REQUEST 65536
#define MAX_CONNECTIONS 1024

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nServer: receiver\r\nDate: Mon, 23 Nov 2026 16:00:00 GMT\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nOK";

struct connection {
    int socket, receiver, is_waiting;
    size_t filled;
    char *bytes;
};

static int receivers, is_going, input_ended, epoll_fd;
static long deliveries, sample_every, counts[MAX_RECEIVERS], done;
static int64_t *seqs[MAX_RECEIVERS];
static int listening[MAX_RECEIVERS];
static struct connection connections[MAX_CONNECTIONS];
static FILE *samples;
static double begun_s, begun_cpu_s;
static const char *folder;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void watch(int fd, uint64_t token) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = token};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void listen_all(void) {
    for (int i = 0; i < receivers; i++) {
        struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof where;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (void *)&where, length) < 0 || listen(fd, 64) < 0) fail("listen");
        if (getsockname(fd, (void *)&where, &length) < 0) fail("getsockname");
        listening[i] = fd;
        watch(fd, (uint64_t)i + 1);
        printf("%d ", ntohs(where.sin_port));
        if (!(seqs[i] = calloc((size_t)deliveries, sizeof(int64_t)))) fail("calloc");
    }
    printf("\n");
    fflush(stdout);
}

static void drop(struct connection *one) {
    close(one->socket);
    free(one->bytes);
    memset(one, 0, sizeof *one);
    one->socket = -1;
}

static void answer(struct connection *one) {
    one->is_waiting = 0;
    if (write(one->socket, ANSWER, sizeof ANSWER - 1) != sizeof ANSWER - 1) drop(one);
}

static void keep_seqs(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/seqs", folder);
    FILE *file = fopen(path, "wb");
    if (!file) fail(path);
    for (int i = 0; i < receivers; i++) fwrite(seqs[i], sizeof(int64_t), (size_t)deliveries, file);
    if (fclose(file) || fclose(samples)) fail("writing");
}

static void finish(void) {
    double elapsed_s = now_s() - begun_s, used_s = cpu_s() - begun_cpu_s;
    keep_seqs();
    printf("done %.6f %.6f\n", elapsed_s, used_s);
    fflush(stdout);
}

/* The length of the whole request at the beginning of the buffer; 0 while it is not all there. */
static size_t request_length(struct connection *one, char **body) {
    char *end = memmem(one->bytes, one->filled, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    char *told = strcasestr(one->bytes, "\r\ncontent-length:");
    size_t length = told ? strtoul(told + 17, NULL, 10) : 0;
    *end = '\r';
    *body = end + 4;
    size_t whole = (size_t)(*body - one->bytes) + length;
    return whole <= one->filled ? whole : 0;
}

static void take(struct connection *one, const char *body, size_t length) {
    int receiver = one->receiver;
    long n = counts[receiver];
    char *found = memmem(body, length - (size_t)(body - one->bytes), "\"seq\":", 6);
    if (n < deliveries) {
        seqs[receiver][n] = found ? strtoll(found + 6, NULL, 10) : -1;
        if (n % sample_every == 0) {
            uint64_t told = length;
            fwrite(&told, sizeof told, 1, samples);
            fwrite(one->bytes, 1, length, samples);
        }
    }
    counts[receiver]++;
    if (counts[receiver] == deliveries) done++;
}

static void hold(struct connection *one) {
    int waiting = 0;
    one->is_waiting = 1;
    for (int i = 0; i < MAX_CONNECTIONS; i++) waiting += connections[i].is_waiting;
    if (waiting == receivers) {
        printf("waiting\n");
        fflush(stdout);
    }
}

static void on_bytes(struct connection *one) {
    ssize_t got = read(one->socket, one->bytes + one->filled, MAX_REQUEST - 1 - one->filled);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        drop(one);
        return;
    }
    one->filled += (size_t)got;
    one->bytes[one->filled] = 0;
    char *body;
    size_t length = request_length(one, &body);
    if (!length) {
        if (one->filled == MAX_REQUEST - 1) drop(one);
        return;
    }
    long was_done = done;
    take(one, body, length);
    one->filled -= length;
    memmove(one->bytes, one->bytes + length, one->filled);
    if (!is_going) {
        hold(one);
        return;
    }
    answer(one);
    if (done == receivers && was_done != done) finish();
}

static void on_caller(int receiver) {
    int fd = accept4(listening[receiver], NULL, NULL, SOCK_NONBLOCK), on = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (int i = 0; i < MAX_CONNECTIONS; i++) {
        struct connection *one = &connections[i];
        if (one->bytes) continue;
        *one = (struct connection){.socket = fd, .receiver = receiver, .bytes = malloc(MAX_REQUEST)};
        if (!one->bytes) fail("malloc");
        watch(fd, (uint64_t)(MAX_RECEIVERS + 1 + i));
        return;
    }
    close(fd);
}

static void on_input(void) {
    char line[64];
    ssize_t got = read(0, line, sizeof line);
    if (got <= 0) {
        input_ended = 1;
        return;
    }
    is_going = 1;
    begun_s = now_s();
    begun_cpu_s = cpu_s();
    for (int i = 0; i < MAX_CONNECTIONS; i++)
        if (connections[i].is_waiting) answer(&connections[i]);
}

int main(int count, char **words) {
    if (count != 5) {
        fprintf(stderr, "usage: %s RECEIVERS DELIVERIES SAMPLE_EVERY FOLDER\n", words[0]);
        return 2;
    }
    receivers = atoi(words[1]);
    deliveries = atol(words[2]);
    sample_every = atol(words[3]);
    folder = words[4];
    if (receivers < 1 || receivers > MAX_RECEIVERS || deliveries < 1 || sample_every < 1) return 2;
    char path[4096];
    snprintf(path, sizeof path, "%s/samples", folder);
    if (!(samples = fopen(path, "wb"))) fail(path);
    if ((epoll_fd = epoll_create1(0)) < 0) fail("epoll_create1");
    watch(0, 0);
    listen_all();
    while (!input_ended) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll_fd, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            uint64_t token = events[i].data.u64;
            if (token == 0) on_input();
            else if (token <= MAX_RECEIVERS) on_caller((int)token - 1);
            else if (connections[token - MAX_RECEIVERS - 1].bytes) on_bytes(&connections[token - MAX_RECEIVERS - 1]);
        }
    }
    return 0;
}
