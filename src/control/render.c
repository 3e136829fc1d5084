#include "control/render.h"

#include <stddef.h>

#define COLUMNS_MAX 16
#define GAP 2

/* Characters, not octets: continuation octets of UTF-8 take no column. */
static size_t width_of(slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += (s.ptr[i] & 0xc0) != 0x80;
    return n;
}

static void clean_put(struct buf *out, slice s, bool keep_lines)
{
    for (size_t i = 0; i < s.len; i++)
        buf_put_byte(out, (s.ptr[i] < ' ' && !(keep_lines && s.ptr[i] == '\n')) || s.ptr[i] == 0x7f ? '?' : s.ptr[i]);
}

static void cell_put(struct buf *out, const json_t *v)
{
    switch (v == NULL ? JSON_NULL : json_typeof(v)) {
    case JSON_STRING:
        clean_put(out, json_str(v), false);
        break;
    case JSON_TRUE:
        buf_put_str(out, "yes");
        break;
    case JSON_FALSE:
        buf_put_str(out, "no");
        break;
    case JSON_NULL:
        break;
    case JSON_ARRAY:
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i != 0)
                buf_put_str(out, ", ");
            cell_put(out, json_array_get(v, i));
        }
        break;
    case JSON_INTEGER:
    case JSON_REAL:
    case JSON_OBJECT:
        json_print(out, v, false);
        break;
    }
}

static size_t cell_width(const json_t *v)
{
    struct buf text = BUF_INIT;
    size_t n;

    cell_put(&text, v);
    n = width_of(buf_slice(&text));
    buf_free(&text);
    return n;
}

static void spaces_put(struct buf *out, size_t n)
{
    while (n-- > 0)
        buf_put_byte(out, ' ');
}

/* row NULL: the head, whose names stand where the values of the first row stand: numbers to the right. */
static void table_row(struct buf *out, const char *const *names, const size_t *widths, size_t columns,
                      const json_t *first, const json_t *row)
{
    for (size_t c = 0; c < columns; c++) {
        const json_t *v = json_object_get(row, names[c]);
        size_t width = row != NULL ? cell_width(v) : slice_str(names[c]).len;
        bool right = json_is_number(row != NULL ? v : json_object_get(first, names[c]));

        if (right)
            spaces_put(out, widths[c] - width);
        if (row != NULL)
            cell_put(out, v);
        else
            buf_put_str(out, names[c]);
        if (c + 1 < columns)
            spaces_put(out, (right ? 0 : widths[c] - width) + GAP);
    }
    buf_put_byte(out, '\n');
}

static void table_put(struct buf *out, const json_t *rows)
{
    const char *names[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX], columns = 0;
    const char *name;
    json_t *value;

    json_object_foreach(json_array_get(rows, 0), name, value) {
        if (columns == COLUMNS_MAX)
            break;
        if (slice_ends(slice_str(name), SLICE("_ms")))
            continue;
        names[columns] = name;
        widths[columns++] = slice_str(name).len;
    }
    for (size_t i = 0; i < json_array_size(rows); i++)
        for (size_t c = 0; c < columns; c++) {
            size_t width = cell_width(json_object_get(json_array_get(rows, i), names[c]));

            if (width > widths[c])
                widths[c] = width;
        }
    table_row(out, names, widths, columns, json_array_get(rows, 0), NULL);
    for (size_t i = 0; i < json_array_size(rows); i++)
        table_row(out, names, widths, columns, json_array_get(rows, 0), json_array_get(rows, i));
}

static bool is_table(const json_t *v)
{
    return json_is_array(v) && json_is_object(json_array_get(v, 0));
}

static size_t names_width(const json_t *o, size_t prefix)
{
    size_t width = 0;
    const char *name;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        size_t n = prefix + slice_str(name).len;

        if (prefix == 0 && is_table(v))
            continue;
        if (json_is_object(v))
            n = names_width(v, n + 1);
        if (n > width)
            width = n;
    }
    return width;
}

static void members_put(struct buf *out, const json_t *o, slice prefix, size_t width)
{
    const char *name;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        struct buf full = BUF_INIT;

        if (prefix.len == 0 && is_table(v))
            continue; /* tables stand below the list */
        buf_put_slice(&full, prefix);
        buf_put_str(&full, name);
        if (json_is_object(v)) {
            buf_put_byte(&full, '.');
            members_put(out, v, buf_slice(&full), width);
        } else {
            clean_put(out, buf_slice(&full), false);
            spaces_put(out, width - full.len + GAP);
            cell_put(out, v);
            buf_put_byte(out, '\n');
        }
        buf_free(&full);
    }
}

static void object_put(struct buf *out, const json_t *o)
{
    const char *name;
    json_t *v;

    members_put(out, o, SLICE_NONE, names_width(o, 0));
    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        if (!is_table(v))
            continue;
        buf_put_byte(out, '\n');
        clean_put(out, slice_str(name), false);
        buf_put_str(out, ":\n");
        table_put(out, v);
    }
}

void render_value(struct buf *out, const json_t *v)
{
    if (is_table(v)) {
        table_put(out, v);
    } else if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            cell_put(out, json_array_get(v, i));
            buf_put_byte(out, '\n');
        }
    } else if (json_is_object(v)) {
        object_put(out, v);
    } else if (json_is_string(v)) {
        clean_put(out, json_str(v), true);
        if (json_str(v).len == 0 || json_str(v).ptr[json_str(v).len - 1] != '\n')
            buf_put_byte(out, '\n');
    } else {
        cell_put(out, v);
        buf_put_byte(out, '\n');
    }
}
