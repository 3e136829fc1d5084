#include "segment_site.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "segment_build.h"

static void check(bool ok, const char *what)
{
    if (!ok)
        panic("segment site: %s", what);
}

void site_init(struct segment_site *s)
{
    const char *tmp = getenv("TMPDIR");

    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < 2; i++) {
        snprintf(s->root[i], sizeof(s->root[i]), "%s/segments-XXXXXX", tmp != NULL ? tmp : "/tmp");
        check(mkdtemp(s->root[i]) != NULL, "mkdtemp");
        s->roots[i] = s->root[i];
    }
    clock_init_fake(&s->clock, 0, 1700000000000);
    s->conf = (struct segment_dir_conf){
        .roots = s->roots,
        .root_count = 2,
        .segment_bytes = SITE_SEGMENT_BYTES,
        .clock = &s->clock,
    };
}

void site_open(struct segment_site *s)
{
    struct err err = ERR_INIT;

    if (segment_dir_open(&s->dir, &s->conf, &err) < 0)
        panic("segment site: %s", err.text);
}

void site_close(struct segment_site *s)
{
    segment_dir_close(&s->dir);
}

void site_reopen(struct segment_site *s)
{
    site_close(s);
    site_open(s);
}

char *site_path(struct segment_site *s, unsigned root, const char *name)
{
    char *text;

    if (asprintf(&text, "%s/%s", s->root[root], name) < 0)
        panic("out of memory");
    return text;
}

bool site_exists(struct segment_site *s, unsigned root, const char *name)
{
    char *path = site_path(s, root, name);
    bool exists = access(path, F_OK) == 0;

    free(path);
    return exists;
}

void site_put(struct segment_site *s, unsigned root, const char *name, slice octets)
{
    char *path = site_path(s, root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    check(fd >= 0 && write(fd, octets.ptr, octets.len) == (ssize_t)octets.len && close(fd) == 0, path);
    free(path);
}

void site_get(struct segment_site *s, unsigned root, const char *name, struct buf *out)
{
    char *path = site_path(s, root, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    check(fd >= 0 && fstat(fd, &st) == 0, path);
    buf_reset(out);
    check(read(fd, buf_extend(out, (size_t)st.st_size), (size_t)st.st_size) == st.st_size && close(fd) == 0, path);
    free(path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void site_names(struct segment_site *s, unsigned root, struct buf *out)
{
    DIR *dir = opendir(s->root[root]);
    char *names[2000];
    struct dirent *e;
    size_t count = 0;

    check(dir != NULL, "opendir");
    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        check(count < ARRAY_LEN(names), "too many names");
        names[count++] = mem_strdup(e->d_name);
    }
    closedir(dir);
    qsort(names, count, sizeof(names[0]), by_name);
    buf_reset(out);
    for (size_t i = 0; i < count; i++) {
        buf_put_str(out, names[i]);
        buf_put_byte(out, ' ');
        mem_free(names[i]);
    }
}

void site_free(struct segment_site *s)
{
    site_close(s);
    for (unsigned i = 0; i < 2; i++) {
        struct buf names = BUF_INIT;
        slice rest;

        site_names(s, i, &names);
        rest = buf_slice(&names);
        while (rest.len > 0) {
            char *name = mem_slice_str(slice_cut(&rest, ' ', NULL)), *path = site_path(s, i, name);

            check(remove(path) == 0, path);
            free(path);
            mem_free(name);
        }
        check(rmdir(s->root[i]) == 0, "rmdir");
        buf_free(&names);
    }
}

void site_append(struct segment_writer *w, slice octets)
{
    struct iovec iov = { (void *)octets.ptr, octets.len };
    struct err err = ERR_INIT;

    if (segment_writer_write(w, &iov, 1, &err) < 0)
        panic("segment site: %s", err.text);
    w->at += octets.len;
}

void site_log(struct segment_site *s, struct segment_writer *w, uint64_t first_seq, unsigned count, uint32_t length)
{
    struct segment_header h = { .first_seq = first_seq };
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    if (segment_writer_open(w, s->dir, &h, false, &err) < 0)
        panic("segment site: %s", err.text);
    for (unsigned i = 0; i < count; i++)
        build_simple(&b, h.salt, first_seq + i, 0, length);
    site_append(w, buf_slice(&b));
    if (segment_writer_sync(w, &err) < 0)
        panic("segment site: %s", err.text);
    buf_free(&b);
}

uint64_t site_sealed(struct segment_site *s, uint64_t first_seq, unsigned count, uint32_t length)
{
    struct err err = ERR_INIT;
    struct segment_writer w;

    site_log(s, &w, first_seq, count, length);
    segment_writer_close(&w);
    if (segment_seal(s->dir, w.header.number, w.at, &err) < 0)
        panic("segment site: %s", err.text);
    return w.header.number;
}

unsigned site_descriptors(struct segment_site *s)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    struct dirent *e;

    check(dir != NULL, "opendir /proc/self/fd");
    while ((e = readdir(dir)) != NULL) {
        char path[300], target[300];
        ssize_t len;

        snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
        len = readlink(path, target, sizeof(target) - 1);
        if (len < 0)
            continue;
        target[len] = '\0';
        for (unsigned i = 0; i < 2; i++) {
            if (strncmp(target, s->root[i], strlen(s->root[i])) != 0)
                continue;
            check((fcntl((int)strtol(e->d_name, NULL, 10), F_GETFD) & FD_CLOEXEC) != 0, "not close-on-exec");
            count++;
        }
    }
    closedir(dir);
    return count;
}
