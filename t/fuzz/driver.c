/* driver.c - runs a fuzz target over its corpus without a fuzzer.
 *
 * usage: TARGET [CORPUS-DIRECTORY-OR-FILE ...]
 *
 * Replays every file, then a fixed sequence of mutations of each (flipped bits, changed octets, cuts, repeats, splices
 * with another file). The sequence depends on nothing but the corpus, so a failure comes back on the next run. The
 * whole run is bounded to FUZZ_REPLAY_MS (1,500) milliseconds of mutations. An input that crashes, or that runs for
 * more than ten seconds, is written to FUZZ_CRASH_DIR (or the current directory); give that file as the only argument
 * to see the failure again.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MAX_OCTETS ((size_t)64 * 1024)
#define MUTATIONS_MAX 40000
#define HANG_TICKS 10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

struct input { uint8_t *data; size_t size; char *name; };

static struct input *inputs;
static size_t input_count;

/* What is running now, for the handlers below */
static const uint8_t *volatile now_data;
static volatile size_t now_size;
static volatile unsigned long now_number;
static char crash_path[4096];

static void save_current(void)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0)
        return;
    ssize_t n = write(fd, (const void *)now_data, now_size);
    (void)n;
    close(fd);
    static const char text[] = "fuzz: the input that failed is in ";
    n = write(1, text, sizeof(text) - 1);
    n = write(1, crash_path, strlen(crash_path));
    n = write(1, "\n", 1);
}

static void on_crash(int sig)
{
    save_current();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void on_tick(int sig)
{
    static unsigned long last;
    static int same;
    (void)sig;
    same = now_number == last ? same + 1 : 0;
    last = now_number;
    if (same >= HANG_TICKS) {
        static const char text[] = "fuzz: one input runs for more than ten seconds\n";
        ssize_t n = write(1, text, sizeof(text) - 1);
        (void)n;
        save_current();
        _exit(1);
    }
}

/* A copy of exactly the right size, so that reading past the end is noticed */
static void run_one(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    now_data = copy;
    now_size = size;
    now_number++;
    LLVMFuzzerTestOneInput(copy, size);
    now_data = NULL;
    now_size = 0;
    free(copy);
}

static void add_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    struct input in = { malloc(INPUT_MAX_OCTETS), 0, strdup(path) };
    if (!in.data || !in.name)
        abort();
    in.size = fread(in.data, 1, INPUT_MAX_OCTETS, f);
    fclose(f);
    inputs = realloc(inputs, (input_count + 1) * sizeof(*inputs));
    if (!inputs)
        abort();
    inputs[input_count++] = in;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

static void add_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return;                             /* a target may have no corpus yet */
    if (!S_ISDIR(st.st_mode)) {
        add_file(path);
        return;
    }
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char name[4096];
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && stat(name, &st) == 0 && S_ISREG(st.st_mode))
            add_file(name);
    }
    if (dir)
        closedir(dir);
}

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static size_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit ? (size_t)(random_state % limit) : 0;
}

static const uint8_t telling[] = { 0, 1, 9, 10, 13, ' ', '"', '$', '%', '(', ')', '*', ',', '.', '/', '0', ':', ';',
                                   '<', '=', '>', '@', '[', '\\', ']', '{', '}', '|', '~', 0x7f, 0x80, 0xc2, 0xff };

/* Insert n octets of from at position at; buf has room for INPUT_MAX_OCTETS. Returns the new size. */
static size_t insert(uint8_t *buf, size_t size, size_t at, const uint8_t *from, size_t n)
{
    if (n > INPUT_MAX_OCTETS - size)
        n = INPUT_MAX_OCTETS - size;
    memmove(buf + at + n, buf + at, size - at);
    memmove(buf + at, from, n);
    return size + n;
}

static size_t mutate_once(uint8_t *buf, size_t size)
{
    static uint8_t piece[INPUT_MAX_OCTETS];
    size_t at = random_below(size), n;

    switch (size ? random_below(8) : 4) {
    case 0:                                 /* flip a bit */
        buf[at] ^= (uint8_t)(1u << random_below(8));
        break;
    case 1:                                 /* an octet that means something to parsers */
        buf[at] = telling[random_below(sizeof(telling))];
        break;
    case 2:                                 /* cut the end */
        size = at;
        break;
    case 3:                                 /* cut a piece out */
        n = 1 + random_below(size - at < 64 ? size - at : 64);
        if (n > size - at)
            n = size - at;
        memmove(buf + at, buf + at + n, size - at - n);
        size -= n;
        break;
    case 4:                                 /* insert an octet, or many of it */
        piece[0] = telling[random_below(sizeof(telling))];
        n = random_below(4) ? 1 : 1 + random_below(300);
        memset(piece, piece[0], n);
        size = insert(buf, size, at, piece, n);
        break;
    case 5:                                 /* repeat a piece */
        n = 1 + random_below(size - at < 128 ? size - at : 128);
        if (n > size - at)
            n = size - at;
        memcpy(piece, buf + at, n);
        for (size_t times = 1 + random_below(8); times > 0; times--)
            size = insert(buf, size, at, piece, n);
        break;
    case 6: {                               /* the tail of another input */
        const struct input *other = &inputs[random_below(input_count)];
        size_t from = random_below(other->size);
        size = insert(buf, at, at, other->data + from, other->size - from);
        break;
    }
    default: {                              /* a piece of another input in the middle */
        const struct input *other = &inputs[random_below(input_count)];
        size_t from = random_below(other->size);
        n = random_below(other->size - from < 256 ? other->size - from + 1 : 256);
        size = insert(buf, size, at, other->data + from, n);
    }
    }
    return size;
}

static double seconds_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void set_handlers(const char *program)
{
    static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    const char *dir = getenv("FUZZ_CRASH_DIR");
    const char *base = strrchr(program, '/');

    snprintf(crash_path, sizeof(crash_path), "%s/fuzz-crash-%s", dir ? dir : ".", base ? base + 1 : program);
    signal(SIGABRT, on_crash);              /* assert() and abort(); sanitizers leave it to us */
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(save_current);
    } else {
        for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
            signal(fatal[i], on_crash);
    }
    struct sigaction tick = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
    sigaction(SIGALRM, &tick, NULL);
    struct itimerval every_second = { { 1, 0 }, { 1, 0 } };
    setitimer(ITIMER_REAL, &every_second, NULL);
}

int main(int argc, char **argv)
{
    const char *budget = getenv("FUZZ_REPLAY_MS");
    double budget_s = budget ? strtod(budget, NULL) / 1000 : 1.5;

    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    set_handlers(argv[0]);
    for (int i = 1; i < argc; i++)
        add_path(argv[i]);
    if (argc == 2 && input_count == 1 && strcmp(inputs[0].name, argv[1]) == 0) {
        run_one(inputs[0].data, inputs[0].size);
        printf("fuzz: 1 input, no failure\n");
        return 0;
    }
    if (input_count > 1)
        qsort(inputs, input_count, sizeof(*inputs), by_name);
    for (size_t i = 0; i < input_count; i++)
        run_one(inputs[i].data, inputs[i].size);
    size_t files = input_count;
    if (files == 0) {
        inputs = calloc(1, sizeof(*inputs));
        if (!inputs)
            abort();
        inputs[0] = (struct input){ calloc(1, 1), 0, strdup("empty") };
        input_count = 1;
        run_one(inputs[0].data, 0);
    }

    static uint8_t buf[INPUT_MAX_OCTETS];
    double end = seconds_now() + budget_s;
    size_t done = 0;
    for (; done < MUTATIONS_MAX && seconds_now() < end; done++) {
        const struct input *in = &inputs[done % input_count];
        size_t size = in->size;
        random_state = 0x9e3779b97f4a7c15u * (done + 1);
        memcpy(buf, in->data, size);
        for (size_t steps = 1 + random_below(6); steps > 0; steps--)
            size = mutate_once(buf, size);
        run_one(buf, size);
    }
    printf("fuzz: %zu corpus files and %zu mutations, no failure\n", files, done);
    for (size_t i = 0; i < input_count; i++) {
        free(inputs[i].data);
        free(inputs[i].name);
    }
    free(inputs);
    return 0;
}
