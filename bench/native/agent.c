/* An ACP agent that costs next to nothing: a prompt is answered with a number of text chunks.
 *
 * Each chunk's text is "e=NNNNNNNN;t=TTTTTTTTTTTTTTTTTT;" and filler: the event's number in this turn and the monotonic
 * clock in nanoseconds when it was written, so that viewers can check the order and measure the delay.
 *
 * The prompt text says what to do: "burst COUNT SIZE" or "paced COUNT SIZE RATE", which may be followed by when the first event
 * is due, on the same clock. Everything else is one event.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HEAD "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{\"sessionId\":\"s1\",\"update\":" \
             "{\"sessionUpdate\":\"agent_message_chunk\",\"content\":{\"type\":\"text\",\"text\":\""
#define TAIL "\"}}}}\n"
#define FILLER 65536

static char filler[2 * FILLER];

static uint64_t monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put(const char *data, size_t size) {
    while (size) {
        ssize_t written = write(1, data, size);
        if (written <= 0) _exit(0);
        data += written;
        size -= (size_t)written;
    }
}

/* Source-like text, so that nothing downstream profits from repetition more than it would with real output. */
static void make_filler(void) {
    static const char *words[] = {"the ", "return ", "def ", "self.", "value ", "import ", "path/", "test ", "(x) ", "{} "};
    uint32_t state = 1;
    size_t used = 0;
    while (used < sizeof filler - 16) {
        state = state * 1664525u + 1013904223u;
        const char *word = words[(state >> 16) % 10];
        size_t length = strlen(word);
        memcpy(filler + used, word, length);
        used += length;
    }
}

static void run_turn(long count, long size, long rate, uint64_t due_first) {
    static char line[1 << 20];
    long padding = size - (long)(sizeof HEAD + sizeof TAIL + 30);
    if (padding < 0) padding = 0;
    if (padding > FILLER) padding = FILLER;
    uint64_t begun = monotonic();
    if (due_first > begun) begun = due_first;
    for (long number = 0; number < count; number++) {
        if (rate) {
            uint64_t due = begun + (uint64_t)number * 1000000000u / (uint64_t)rate;
            struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        }
        int used = sprintf(line, HEAD "e=%08ld;t=%018" PRIu64 ";", number, monotonic());
        memcpy(line + used, filler + (number * 7919) % FILLER, (size_t)padding);
        memcpy(line + used + padding, TAIL, sizeof TAIL - 1);
        put(line, (size_t)(used + padding) + sizeof TAIL - 1);
    }
}

/* The request's id as it was written, quotes and all; nothing for a notification. */
static void read_id(const char *message, char *id, size_t capacity) {
    const char *found = strstr(message, "\"id\":");
    size_t used = 0;
    id[0] = 0;
    if (!found) return;
    for (found += 5; *found == ' '; found++) {}
    int quoted = *found == '"';
    do id[used++] = *found++;
    while (used < capacity - 2 && *found && (quoted ? *found != '"' : *found != ',' && *found != '}'));
    if (quoted) id[used++] = '"';
    id[used] = 0;
}

int main(void) {
    char *message = NULL, id[128], answer[512];
    size_t capacity = 0;
    make_filler();
    while (getline(&message, &capacity, stdin) > 0) {
        const char *result = "{}";
        read_id(message, id, sizeof id);
        if (!id[0] || !strstr(message, "\"method\"")) continue;
        if (strstr(message, "\"initialize\"")) {
            result = "{\"protocolVersion\":1,\"agentCapabilities\":{\"loadSession\":false},\"authMethods\":[]}";
        } else if (strstr(message, "\"session/new\"")) {
            result = "{\"sessionId\":\"s1\"}";
        } else if (strstr(message, "\"session/prompt\"")) {
            long count = 1, size = 200, rate = 0;
            uint64_t due_first = 0;
            char *wish = strstr(message, "burst ");
            if (wish) sscanf(wish, "burst %ld %ld", &count, &size);
            else if ((wish = strstr(message, "paced "))) sscanf(wish, "paced %ld %ld %ld %" SCNu64, &count, &size, &rate, &due_first);
            run_turn(count, size, rate, due_first);
            result = "{\"stopReason\":\"end_turn\"}";
        }
        int length = snprintf(answer, sizeof answer, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n", id, result);
        put(answer, (size_t)length);
    }
    return 0;
}
