// The floor: a server that does nothing but hold requests, and answer all of them with the body of a POST.
//
// usage: bare_server; prints its port. GET /parked says how many are held, any other GET is held.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 20000, EVENTS = 512, BUFFER = 8192 };

static int held[MOST], held_count;

static void tell(int fd, const char *body, int length) {
    char answer[BUFFER];
    int head = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", length);
    memcpy(answer + head, body, length);
    if (send(fd, answer, head + length, MSG_NOSIGNAL) < 0) close(fd);
}

static void publish(const char *body, int length) {
    char answer[BUFFER];
    int head = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", length);
    memcpy(answer + head, body, length);
    for (int i = 0; i < held_count; i++)
        if (send(held[i], answer, head + length, MSG_NOSIGNAL) < 0) close(held[i]);
    held_count = 0;
}

// One request a segment: its client is ours.
static void serve(int fd) {
    char request[BUFFER + 1], count[16];
    ssize_t got = recv(fd, request, BUFFER, 0);
    if (got <= 0) {
        close(fd);
        return;
    }
    request[got] = 0;
    if (!strncmp(request, "POST", 4)) {
        char *body = strstr(request, "\r\n\r\n") + 4;
        publish(body, request + got - body);
        tell(fd, "", 0);
    } else if (!strncmp(request, "GET /parked", 11)) {
        tell(fd, count, snprintf(count, sizeof count, "%d", held_count));
    } else {
        held[held_count++] = fd;
    }
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0), one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, events[EVENTS];
    bind(listening, (struct sockaddr *)&address, sizeof address);
    listen(listening, 4096);
    getsockname(listening, (struct sockaddr *)&address, &size);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listening) {
                serve(events[i].data.fd);
                continue;
            }
            int fd = accept(listening, NULL, NULL);
            if (fd < 0) return perror("accept"), 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            event.data.fd = fd;
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
