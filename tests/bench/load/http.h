// What both HTTP clients need: connections on loopback, whole answers, and the clocks.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *format, ...) {
    va_list words;
    va_start(words, format);
    printf("fault: ");
    vprintf(format, words);
    printf("\n");
    va_end(words);
    fflush(stdout);
    _exit(1);
}

static long long now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// A connection that is reset at the end, so that thousands of them leave no TIME_WAIT behind. `receive_bytes` is the kernel's buffer
// for what we do not read, 0 for as much as it likes.
static int dial(int port, int receive_bytes) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct linger reset = {1, 0};
    if (fd < 0) fail("socket: %s", strerror(errno));
    if (receive_bytes) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    return fd;
}

static void send_all(int fd, const char *data, size_t length) {
    if (send(fd, data, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send: %s", strerror(errno));
}

struct answer {
    int status;
    const char *body;
    size_t body_length;
};

// Whether `length` bytes are a whole answer (a 304 has no body; any other says its length); fails where they cannot become one.
static int is_whole(const char *data, size_t length, struct answer *found) {
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (memcmp(data, "HTTP/1.1 ", 9)) fail("no answer: %.*s", (int)(end - data), data);
    found->status = atoi(data + 9);
    found->body = end + 4;
    found->body_length = 0;
    if (found->status != 304) {
        const char *line = data;
        while (strncasecmp(line, "content-length:", 15)) {
            line = (const char *)memchr(line, '\n', end + 2 - line) + 1;
            if (line >= end) fail("an answer without Content-Length: %.*s", (int)(end - data), data);
        }
        found->body_length = strtoul(line + 15, NULL, 10);
    }
    size_t whole = (size_t)(found->body - data) + found->body_length;
    if (length > whole) fail("%zu bytes where %zu are the answer", length, whole);
    return length == whole;
}
