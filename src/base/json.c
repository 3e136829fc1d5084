#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"

#define JSON_DEPTH_MAX 64
#define JSON_FILE_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define JSON_PRETTY_INDENT 2

struct position {
    unsigned line, column; /* 1-based; the column counts octets */
};

/* jansson's own depth limit is far higher and recurses: look before it does. Brackets inside strings do not count. */
static bool is_too_deep(slice text, struct position *pos)
{
    unsigned depth = 0, line = 1;
    size_t line_start = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.ptr[i];

        if (c == '\n') {
            line++;
            line_start = i + 1;
        } else if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX) {
                *pos = (struct position){ line, (unsigned)(i - line_start) + 1 };
                return true;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

json_t *json_parse(slice text, struct err *err)
{
    struct position pos;
    json_error_t bad;
    json_t *v;

    if (is_too_deep(text, &pos)) {
        err_set(err, ERR_LIMIT, "line %u, column %u: nested deeper than %d levels", pos.line, pos.column,
                JSON_DEPTH_MAX);
        return NULL;
    }
    v = json_loadb(text.len == 0 ? "" : (const char *)text.ptr, text.len,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &bad);
    if (v == NULL)
        err_set(err, ERR_SYNTAX, "line %d, column %d: %s", bad.line, bad.column, bad.text);
    return v;
}

/* Reads until the end, because the size of a pipe or of a file being written is not known in advance. */
static int read_all(int fd, struct buf *out, const char *path, struct err *err)
{
    for (;;) {
        ssize_t n;

        if (out->len > JSON_FILE_MAX_BYTES)
            return err_set(err, ERR_LIMIT, "%s: larger than %zu MiB", path, JSON_FILE_MAX_BYTES >> 20);
        buf_reserve(out, MEM_SMALL_BYTES);
        n = read(fd, out->ptr + out->len, MEM_SMALL_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "%s", path);
        if (n == 0)
            return 0;
        out->len += (size_t)n;
    }
}

json_t *json_parse_file(const char *path, struct err *err)
{
    struct buf text = BUF_INIT;
    json_t *v = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        err_sys(err, errno, "%s", path);
        return NULL;
    }
    if (read_all(fd, &text, path, err) < 0)
        goto out;
    v = json_parse(buf_slice(&text), err);
    if (v == NULL)
        err_prefix(err, "%s", path);
out:
    buf_free(&text);
    close(fd);
    return v;
}

static int put_piece(const char *text, size_t len, void *arg)
{
    buf_put(arg, text, len);
    return 0;
}

void json_print(struct buf *out, const json_t *v, bool pretty)
{
    size_t flags = JSON_ENCODE_ANY | (pretty ? JSON_INDENT(JSON_PRETTY_INDENT) : JSON_COMPACT);

    if (json_dump_callback(v, put_piece, out, flags) < 0)
        panic("JSON value cannot be printed");
}

slice json_str(const json_t *v)
{
    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE_NONE;
}

slice json_get_str(const json_t *obj, const char *key)
{
    return json_str(json_object_get(obj, key));
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t fallback)
{
    const json_t *v = json_object_get(obj, key);

    return json_is_integer(v) ? (int64_t)json_integer_value(v) : fallback;
}

bool json_get_bool(const json_t *obj, const char *key, bool fallback)
{
    const json_t *v = json_object_get(obj, key);

    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

json_t *json_from_slice(slice s)
{
    struct buf text = BUF_INIT;
    json_t *v;

    if (utf8_valid(s)) {
        v = json_stringn(s.len == 0 ? "" : (const char *)s.ptr, s.len);
    } else {
        while (s.len > 0) {
            slice rest = s;
            uint32_t cp;

            if (utf8_next(&rest, &cp)) {
                buf_put(&text, s.ptr, s.len - rest.len);
                s = rest;
            } else {
                utf8_put(&text, 0xFFFD);
                s = slice_from(s, 1);
            }
        }
        v = json_stringn((const char *)text.ptr, text.len);
        buf_free(&text);
    }
    if (v == NULL)
        panic("out of memory (JSON string)");
    return v;
}
