/* Loads a server as a front end does that opens a connection for each request: so many at a time, one thread.
 * raw_load PORT CONNECTIONS SECONDS [BYTES] <REQUEST prints the requests that were answered, and those that were not. With
 * BYTES, the size of an answer, connections are kept, and each asks again when it has that. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char request[65536];
static size_t length;
static struct sockaddr_in to;
static int ep;
/* Bytes of the answer so far, by descriptor; -1: the request is not sent yet. */
static int got[65536];

static void open_one(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)) {
        perror("connect");
        exit(1);
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
    got[fd] = -1;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: raw_load PORT CONNECTIONS SECONDS [BYTES] <REQUEST\n");
        return 1;
    }
    int whole = argc > 4 ? atoi(argv[4]) : 0;
    length = fread(request, 1, sizeof request, stdin);
    to.sin_family = AF_INET;
    to.sin_port = htons(atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ep = epoll_create1(0);
    for (int i = atoi(argv[2]); i > 0; i--) open_one();
    long answered = 0, failed = 0;
    time_t until = time(NULL) + atoi(argv[3]);
    struct epoll_event events[256];
    char buffer[65536];
    while (time(NULL) < until) {
        int n = epoll_wait(ep, events, 256, 100);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (got[fd] < 0 && events[i].events & EPOLLOUT) {
                if (send(fd, request, length, MSG_NOSIGNAL) == (ssize_t)length) {
                    struct epoll_event in = {.events = EPOLLIN, .data.fd = fd};
                    got[fd] = 0;
                    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &in);
                    continue;
                }
            }
            int more = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (more > 0) {
                got[fd] += more;
                if (whole && got[fd] >= whole) {
                    answered++;
                    got[fd] = 0;
                    if (send(fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) got[fd] = -1;
                }
                continue;
            }
            if (more < 0 && errno == EAGAIN) continue;
            if (got[fd] > 12 && !whole) answered++; else failed++;
            close(fd);
            open_one();
        }
    }
    printf("%ld answered, %ld not\n", answered, failed);
    return 0;
}
