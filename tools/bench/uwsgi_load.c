/* Loads a uwsgi socket as nginx does: a connection for each request, so many of them at a time, one thread.
 * uwsgi_load PORT CONNECTIONS SECONDS prints the requests that were answered, and those that were not. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char packet[4096];
static int length = 4;
static struct sockaddr_in to;
static int ep;
/* Bytes of the answer so far, by descriptor; -1: the request is not sent yet. */
static int got[65536];

static void add(const char *name, const char *value) {
    const char *parts[2] = {name, value};
    for (int i = 0; i < 2; i++) {
        int n = strlen(parts[i]);
        packet[length++] = n & 255;
        packet[length++] = n >> 8;
        memcpy(packet + length, parts[i], n);
        length += n;
    }
}

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
    if (argc != 4) {
        fprintf(stderr, "usage: uwsgi_load PORT CONNECTIONS SECONDS\n");
        return 1;
    }
    to.sin_family = AF_INET;
    to.sin_port = htons(atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* What nginx's uwsgi_params sends. */
    add("QUERY_STRING", "");
    add("REQUEST_METHOD", "GET");
    add("CONTENT_TYPE", "");
    add("CONTENT_LENGTH", "");
    add("REQUEST_URI", "/");
    add("PATH_INFO", "/");
    add("DOCUMENT_ROOT", "/usr/share/nginx/html");
    add("SERVER_PROTOCOL", "HTTP/1.1");
    add("REQUEST_SCHEME", "http");
    add("REMOTE_ADDR", "127.0.0.1");
    add("REMOTE_PORT", "40000");
    add("SERVER_PORT", "80");
    add("SERVER_NAME", "localhost");
    add("HTTP_HOST", "localhost");
    add("HTTP_USER_AGENT", "uwsgi_load");
    add("HTTP_ACCEPT", "*/*");
    packet[1] = (length - 4) & 255;
    packet[2] = (length - 4) >> 8;
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
                if (send(fd, packet, length, MSG_NOSIGNAL) == length) {
                    struct epoll_event in = {.events = EPOLLIN, .data.fd = fd};
                    got[fd] = 0;
                    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &in);
                    continue;
                }
            }
            int more = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (more > 0) {
                got[fd] += more;
                continue;
            }
            if (more < 0 && errno == EAGAIN) continue;
            if (got[fd] > 12) answered++; else failed++;
            close(fd);
            open_one();
        }
    }
    printf("%ld answered, %ld not\n", answered, failed);
    return 0;
}
