/* Viewers that cost little: WebSocket connections that look for the marks of agent.c in whatever they receive.
 *
 * usage: viewers PORT PATH COUNT EVENTS SECONDS
 * VIEWERS_HEADERS   further header lines of the handshake, each with its line end
 * VIEWERS_HELLO     a text message that every viewer sends once it is connected; of several lines each takes the next
 * VIEWERS_PROMPTS   how many lines of standard input are sent, 1 unless told
 * VIEWERS_STALLED   how many of them, the last ones, never read what they are sent; none unless told
 *
 * Prints "ready" when all are connected, then sends lines of its standard input, the first through the first viewer and so
 * on, waits until every viewer that reads has EVENTS events, prints one JSON object, and stays connected until its standard
 * input ends. `disordered` counts events whose number was not the one after the last; `wall_s` runs from the first event's
 * writing to the last one's arrival; `unread` is how many bytes wait for those that do not read. `together_s` is how long all
 * viewers' events were written at once, from the latest first one to the earliest last one, and `together_p99_us` the delay then.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MARK 31 /* e=NNNNNNNN;t=TTTTTTTTTTTTTTTTTT; */
#define DELAYS 4000000

struct viewer {
    int socket;
    unsigned char *data;
    size_t used, capacity;
    long events;
    uint64_t first_written, last_written;
};

static double *delays;
static uint64_t *written_at;
static size_t delay_count;
static long disordered, messages;
static uint64_t bytes, first_written, last_arrived;

static uint64_t monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t digits(const unsigned char *text, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') return UINT64_MAX;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    return value;
}

static void look_for_marks(struct viewer *viewer, const unsigned char *text, size_t size) {
    const unsigned char *end = text + size;
    uint64_t now = monotonic();
    while ((text = memmem(text, (size_t)(end - text), "e=", 2)) && end - text >= MARK) {
        uint64_t number = digits(text + 2, 8), written = digits(text + 13, 18);
        if (text[10] != ';' || memcmp(text + 11, "t=", 2) || number == UINT64_MAX || written == UINT64_MAX) {
            text += 2;
            continue;
        }
        if (number != (uint64_t)viewer->events) disordered++;
        viewer->events++;
        if (!viewer->first_written) viewer->first_written = written;
        viewer->last_written = written;
        if (!first_written) first_written = written;
        last_arrived = now;
        if (delay_count < DELAYS) {
            written_at[delay_count] = written;
            delays[delay_count++] = (double)(now - written) / 1e3;
        }
        text += MARK;
    }
}

static void fail(const char *reason) {
    fprintf(stderr, "viewers: %s\n", reason);
    exit(2);
}

static void send_text(int to, const char *text) {
    unsigned char frame[65536 + 14];
    size_t size = strlen(text), used = 0;
    if (size > 60000) fail("the message is too long");
    frame[used++] = 0x81;
    if (size < 126) {
        frame[used++] = (unsigned char)(0x80 | size);
    } else {
        frame[used++] = 0x80 | 126;
        frame[used++] = (unsigned char)(size >> 8);
        frame[used++] = (unsigned char)size;
    }
    memset(frame + used, 0, 4); /* a mask of zeros leaves the text as it is */
    used += 4;
    memcpy(frame + used, text, size);
    if (write(to, frame, used + size) != (ssize_t)(used + size)) fail("cannot send");
}

static void dial(struct viewer *viewer, int port, const char *path) {
    const char *headers = getenv("VIEWERS_HEADERS");
    char request[4096], answer[8192];
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    viewer->socket = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(viewer->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(viewer->socket, (struct sockaddr *)&address, sizeof address)) fail("cannot connect");
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                        path, port, headers ? headers : "");
    if (write(viewer->socket, request, (size_t)size) != size) fail("cannot send");
    size_t used = 0;
    do {
        if (used == sizeof answer - 1 || read(viewer->socket, answer + used, 1) != 1) fail("the handshake was cut off");
        answer[++used] = 0;
    } while (used < 4 || memcmp(answer + used - 4, "\r\n\r\n", 4));
    if (!strstr(answer, " 101 ")) fail(answer);
    viewer->data = malloc(viewer->capacity = 1 << 18);
}

static int receive(struct viewer *viewer) {
    if (viewer->capacity - viewer->used < 1 << 16) viewer->data = realloc(viewer->data, viewer->capacity *= 2);
    ssize_t got = recv(viewer->socket, viewer->data + viewer->used, viewer->capacity - viewer->used, 0);
    if (got <= 0) return 0;
    viewer->used += (size_t)got;
    size_t done = 0;
    while (viewer->used - done >= 2) {
        unsigned char *frame = viewer->data + done;
        size_t head = 2, available = viewer->used - done;
        uint64_t size = frame[1] & 127;
        if (size == 126) {
            head = 4;
            if (available < head) break;
            size = (uint64_t)frame[2] << 8 | frame[3];
        } else if (size == 127) {
            head = 10;
            if (available < head) break;
            size = 0;
            for (int i = 2; i < 10; i++) size = size << 8 | frame[i];
        }
        if (available < head + size) break;
        if ((frame[0] & 15) == 1) {
            messages++;
            bytes += size;
            look_for_marks(viewer, frame + head, size);
        }
        if ((frame[0] & 15) == 9 && size < 126) {
            unsigned char pong[131] = {0x8a, (unsigned char)(0x80 | size)};
            memcpy(pong + 6, frame + head, size);
            if (write(viewer->socket, pong, 6 + size) < 0) return 0;
        }
        done += head + size;
    }
    memmove(viewer->data, viewer->data + done, viewer->used - done);
    viewer->used -= done;
    return 1;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile(double *values, size_t count, double share) {
    qsort(values, count, sizeof *values, by_size);
    return count ? values[(size_t)((double)(count - 1) * share)] : 0;
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    int count = atoi(argv[3]);
    long expected = atol(argv[4]);
    const char *hello = getenv("VIEWERS_HELLO"), *prompts = getenv("VIEWERS_PROMPTS"), *next = hello;
    int readers = count - (getenv("VIEWERS_STALLED") ? atoi(getenv("VIEWERS_STALLED")) : 0);
    struct viewer *all = calloc((size_t)count, sizeof *all);
    struct pollfd *polled = calloc((size_t)count, sizeof *polled);
    delays = malloc(DELAYS * sizeof *delays);
    written_at = malloc(DELAYS * sizeof *written_at);
    for (int i = 0; i < count; i++) {
        dial(&all[i], atoi(argv[1]), argv[2]);
        if (hello) {
            char *text = strndup(next, strcspn(next, "\n"));
            send_text(all[i].socket, text);
            free(text);
            next += strcspn(next, "\n");
            next = *next ? next + 1 : hello;
        }
        polled[i] = (struct pollfd){all[i].socket, POLLIN, 0};
    }
    puts("ready");
    fflush(stdout);
    char *line = NULL;
    size_t capacity = 0;
    for (int i = 0; i < (prompts ? atoi(prompts) : 1); i++) {
        ssize_t size = getline(&line, &capacity, stdin);
        if (size <= 0) return 2;
        line[size - 1] = 0;
        send_text(all[i % count].socket, line);
    }
    uint64_t deadline = monotonic() + (uint64_t)(atof(argv[5]) * 1e9);
    int complete = 0, gone = 0;
    while (complete + gone < readers && monotonic() < deadline) {
        if (poll(polled, (nfds_t)readers, 200) < 0) continue;
        for (int i = 0; i < readers; i++) {
            if (!polled[i].revents) continue;
            long before = all[i].events;
            if (!receive(&all[i])) {
                polled[i].fd = -1;
                gone++;
            } else if (before < expected && all[i].events >= expected) {
                complete++;
            }
        }
    }
    long events = 0;
    for (int i = 0; i < count; i++) events += all[i].events;
    long unread = 0;
    for (int i = readers; i < count; i++) {
        int waiting = 0;
        if (!ioctl(all[i].socket, FIONREAD, &waiting)) unread += waiting;
    }
    uint64_t from = 0, until = UINT64_MAX;
    for (int i = 0; i < readers; i++) {
        if (all[i].first_written > from) from = all[i].first_written;
        if (all[i].last_written < until) until = all[i].last_written;
    }
    double *together = malloc((delay_count + 1) * sizeof *together);
    size_t together_count = 0;
    for (size_t i = 0; i < delay_count; i++) {
        if (written_at[i] >= from && written_at[i] <= until) together[together_count++] = delays[i];
    }
    printf("{\"complete\":%d,\"events\":%ld,\"disordered\":%ld,\"messages\":%ld,\"bytes\":%llu,\"wall_s\":%.6f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"unread\":%ld,"
           "\"together_s\":%.3f,\"together_p50_us\":%.1f,\"together_p99_us\":%.1f}\n",
           complete, events, disordered, messages, (unsigned long long)bytes,
           first_written ? (double)(last_arrived - first_written) / 1e9 : 0, quantile(delays, delay_count, .5),
           quantile(delays, delay_count, .99), unread, until > from ? (double)(until - from) / 1e9 : 0,
           quantile(together, together_count, .5), quantile(together, together_count, .99));
    fflush(stdout);
    while (getline(&line, &capacity, stdin) > 0) {}
    return complete == readers && !disordered ? 0 : 1;
}
