/* An MQTT 3.1.1 subscriber that does nothing but note when each message came.

   arrivals PORT LAST TIMEOUT_S TOPIC

   Says `ready` when the broker has granted the subscription (QoS 0: nothing of ours delays the broker). Ends when the number
   LAST has come, or TIMEOUT_S after the newest message; then prints `cpu <seconds>` and, in the order of their coming, `<number> <ns of
   CLOCK_MONOTONIC>` for each. The number is the whole payload, or what follows `"value":` in it; a message without one is passed over. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct arrival {
    long number;
    long long ns;
};

static unsigned char held[1 << 20];
static size_t held_size;
static struct arrival *arrivals;
static long arrived, room, last, newest;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void note(const unsigned char *body, size_t size, long long ns) {
    static const char mark[] = "\"value\":";
    const unsigned char *found = memmem(body, size, mark, sizeof mark - 1);
    const unsigned char *at = found ? found + sizeof mark - 1 : body, *end = body + size;
    if (at >= end || *at < '0' || *at > '9') return;
    long number = 0;
    while (at < end && *at >= '0' && *at <= '9') number = number * 10 + (*at++ - '0');
    newest = number;
    if (arrived < room) arrivals[arrived++] = (struct arrival){number, ns};
}

/* Takes the whole packets out of what is held. */
static void take(long long ns) {
    size_t at = 0;
    while (held_size - at >= 2) {
        size_t length = 0, body = at + 1;
        int shift = 0;
        do {
            if (body >= held_size) goto rest;
            length |= (size_t)(held[body] & 0x7f) << shift;
            shift += 7;
        } while (held[body++] & 0x80);
        if (body + length > held_size) break;
        if (held[at] >> 4 == 9) {
            puts("ready");
            fflush(stdout);
        } else if (held[at] >> 4 == 3) {
            size_t topic = 2 + (held[body] << 8 | held[body + 1]);
            note(held + body + topic, length - topic, ns);
        }
        at = body + length;
    }
rest:
    memmove(held, held + at, held_size - at);
    held_size -= at;
}

static int dial(int port) {
    int broker = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(broker, (struct sockaddr *)&address, sizeof address)) fail("connect");
    return broker;
}

static void subscribe(int broker, const char *topic) {
    static const unsigned char hello[] = "\x10\x14\0\4MQTT\4\2\0\0\0\10arrivals"; /* clean session, no keep-alive */
    size_t size = strlen(topic);
    unsigned char wish[256] = {0x82, (unsigned char)(5 + size), 0, 1, 0, (unsigned char)size};
    memcpy(wish + 6, topic, size);
    if (size > 120 || write(broker, hello, sizeof hello - 1) < 0 || write(broker, wish, 7 + size) < 0) fail("subscribe");
}

int main(int count, char **words) {
    if (count != 5) return 2;
    int timeout_ms = atoi(words[3]) * 1000, broker = dial(atoi(words[1]));
    last = atol(words[2]);
    room = 2 * last; /* doubles are noted too, and told */
    arrivals = calloc(room, sizeof *arrivals);
    subscribe(broker, words[4]);
    struct pollfd readable = {.fd = broker, .events = POLLIN};
    while (newest != last && poll(&readable, 1, timeout_ms) > 0) {
        ssize_t size = read(broker, held + held_size, sizeof held - held_size);
        if (size <= 0) break;
        held_size += size;
        take(now_ns(CLOCK_MONOTONIC));
    }
    printf("cpu %.6f\n", now_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9);
    for (long i = 0; i < arrived; i++) printf("%ld %lld\n", arrivals[i].number, arrivals[i].ns);
    return 0;
}
