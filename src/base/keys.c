#include "base/keys.h"

#include <string.h>

#define FOUND_OCTETS_MAX 60 /* of a value quoted in a message */
#define NEAR_MAX 3

/* Everything one keys_read hands down. */
struct reading {
    const struct key_table *table;
    const char *pointer;
    struct arena *mem;
    keys_report_fn *report;
    void *arg;
    unsigned errors;
};

/* Iterate over "a|b|c". */
static bool next_word(slice *words, slice *word)
{
    if (words->len == 0)
        return false;
    *word = slice_cut(words, '|', NULL);
    return true;
}

static size_t count_words(slice words)
{
    size_t n = 0;
    slice word;

    while (next_word(&words, &word))
        n++;
    return n;
}

/* The number of `word` among the row's words, or -1. */
static int find_word(const struct key_row *row, slice word)
{
    slice words = slice_str(row->words), have;

    for (int i = 0; next_word(&words, &have); i++)
        if (slice_eq(have, word))
            return i;
    return -1;
}

static void *field_of(const struct key_row *row, void *conf)
{
    return (char *)conf + row->offset;
}

static struct key_strs split_strs(const char *text, struct arena *mem)
{
    slice words = slice_str(text), word;
    size_t n = count_words(words), i = 0;
    slice *items;

    if (n == 0)
        return (struct key_strs){ NULL, 0 };
    items = arena_alloc_array(mem, n, sizeof(*items));
    while (next_word(&words, &word))
        items[i++] = word; /* static text: needs no copy */
    return (struct key_strs){ items, n };
}

static void set_default(const struct key_row *row, void *conf, struct arena *mem)
{
    void *field = field_of(row, conf);

    switch (row->type) {
    case KEY_BOOL:
        *(bool *)field = row->def != 0;
        break;
    case KEY_U32:
    case KEY_ENUM:
        *(uint32_t *)field = (uint32_t)row->def;
        break;
    case KEY_U64:
        *(uint64_t *)field = row->def;
        break;
    case KEY_STR:
        *(slice *)field = slice_str(row->def_text == NULL ? "" : row->def_text);
        break;
    case KEY_STRS:
        *(struct key_strs *)field = split_strs(row->def_text, mem);
        break;
    case KEY_JSON:
        *(json_t **)field = NULL;
        break;
    }
}

void keys_default(const struct key_table *t, void *out, struct arena *mem)
{
    memset(out, 0, t->struct_bytes);
    for (size_t i = 0; i < t->count; i++)
        set_default(&t->rows[i], out, mem);
}

/* Append a reference token, RFC 6901 3: '~' is written "~0" and '/' "~1". */
static void put_token(struct buf *b, slice name)
{
    buf_put_byte(b, '/');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '~')
            buf_put_str(b, "~0");
        else if (name.ptr[i] == '/')
            buf_put_str(b, "~1");
        else
            buf_put_byte(b, name.ptr[i]);
    }
}

/* Report one error at the member `name` (SLICE_NONE: the object itself), at element `index` if that is not negative. */
static void report_at(struct reading *r, slice name, ssize_t index, struct buf *message)
{
    struct buf pointer = BUF_INIT;

    r->errors++;
    if (r->report != NULL) {
        buf_put_str(&pointer, r->pointer == NULL ? "" : r->pointer);
        if (name.ptr != NULL) /* "" is a name as well */
            put_token(&pointer, name);
        if (index >= 0)
            buf_printf(&pointer, "/%zd", index);
        r->report(r->arg, buf_str(&pointer), buf_str(message));
    }
    buf_free(&pointer);
    buf_free(message);
}

static void put_quoted(struct buf *b, slice s)
{
    json_t *v = json_from_slice(slice_sub(s, 0, FOUND_OCTETS_MAX));

    json_print(b, v, false);
    json_decref(v);
    if (s.len > FOUND_OCTETS_MAX)
        buf_put_str(b, "...");
}

/* The kind of value only: what was meant to be a password may stand where a number belongs. */
static const char *kind_of(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

static const char *expectation(enum key_type type)
{
    switch (type) {
    case KEY_BOOL:
        return "true or false";
    case KEY_U32:
    case KEY_U64:
        return "a whole number";
    case KEY_STR:
    case KEY_ENUM:
        return "a string";
    case KEY_STRS:
        return "an array of strings";
    case KEY_JSON:
        return "any value";
    }
    return "";
}

static void report_kind(struct reading *r, const struct key_row *row, const json_t *v)
{
    struct buf message = BUF_INIT;

    buf_printf(&message, "expected %s, found %s", expectation(row->type), kind_of(v));
    report_at(r, slice_str(row->name), -1, &message);
}

/* The limits of a number; a row without an upper one still has that of its type. */
static void limits_of(const struct key_row *row, uint64_t *min, uint64_t *max)
{
    uint64_t type_max = row->type == KEY_U32 ? UINT32_MAX : UINT64_MAX;

    *min = row->min;
    *max = row->max != 0 && row->max < type_max ? row->max : type_max;
}

static void read_number(struct reading *r, const struct key_row *row, const json_t *v, void *field)
{
    struct buf message = BUF_INIT;
    uint64_t min, max;
    json_int_t n;

    if (!json_is_integer(v)) {
        report_kind(r, row, v);
        return;
    }
    n = json_integer_value(v);
    limits_of(row, &min, &max);
    if (n < 0 || (uint64_t)n < min || (uint64_t)n > max) {
        const char *unit = key_unit_name(row->unit);

        buf_put_str(&message, "expected a whole number ");
        if (max == UINT64_MAX)
            buf_printf(&message, "of at least %llu", (unsigned long long)min);
        else
            buf_printf(&message, "from %llu to %llu", (unsigned long long)min, (unsigned long long)max);
        buf_printf(&message, "%s%s, found %lld", *unit == '\0' ? "" : " ", unit, (long long)n);
        report_at(r, slice_str(row->name), -1, &message);
        return;
    }
    if (row->type == KEY_U32)
        *(uint32_t *)field = (uint32_t)n;
    else
        *(uint64_t *)field = (uint64_t)n;
}

static void read_enum(struct reading *r, const struct key_row *row, const json_t *v, void *field)
{
    struct buf message = BUF_INIT;
    slice words = slice_str(row->words), word, nearest = SLICE_NONE;
    unsigned best = NEAR_MAX + 1;
    int index;

    if (!json_is_string(v)) {
        report_kind(r, row, v);
        return;
    }
    index = find_word(row, json_str(v));
    if (index >= 0) {
        *(uint32_t *)field = (uint32_t)index;
        return;
    }
    buf_put_str(&message, "expected one of");
    while (next_word(&words, &word)) {
        unsigned d = edit_distance(word, json_str(v), NEAR_MAX);

        buf_printf(&message, " \"%.*s\"%s", SLICE_ARG(word), words.len > 0 ? "," : "");
        if (d < best && d <= (word.len + 1) / 2) {
            best = d;
            nearest = word;
        }
    }
    buf_put_str(&message, "; found ");
    put_quoted(&message, json_str(v));
    if (nearest.len > 0)
        buf_printf(&message, "; did you mean \"%.*s\"?", SLICE_ARG(nearest));
    report_at(r, slice_str(row->name), -1, &message);
}

/* Check one string against the row. True if it is good. NUL is refused because most strings end in a system call. */
static bool check_string(struct reading *r, const struct key_row *row, const json_t *v, ssize_t index)
{
    struct buf message = BUF_INIT;
    slice s = json_str(v);

    if (slice_find_byte(s, '\0') >= 0) {
        buf_put_str(&message, "expected a string without NUL, found one with it");
    } else if (s.len < row->min && row->max == 0) {
        buf_printf(&message, "expected a string of at least %llu octets, found one of %zu",
                   (unsigned long long)row->min, s.len);
    } else if (s.len < row->min || (row->max != 0 && s.len > row->max)) {
        buf_printf(&message, "expected a string of %llu to %llu octets, found one of %zu",
                   (unsigned long long)row->min, (unsigned long long)row->max, s.len);
    } else {
        return true;
    }
    report_at(r, slice_str(row->name), index, &message);
    return false;
}

static slice copy_str(struct reading *r, const json_t *v)
{
    slice s = json_str(v);

    return s.len == 0 ? SLICE("") : slice_dup(r->mem, s);
}

static void read_strs(struct reading *r, const struct key_row *row, const json_t *v, void *field)
{
    unsigned before = r->errors;
    slice *items = NULL;
    size_t n;

    if (!json_is_array(v)) {
        report_kind(r, row, v);
        return;
    }
    n = json_array_size(v);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        struct buf message = BUF_INIT;

        if (json_is_string(item)) {
            check_string(r, row, item, (ssize_t)i);
        } else {
            buf_printf(&message, "expected a string, found %s", kind_of(item));
            report_at(r, slice_str(row->name), (ssize_t)i, &message);
        }
    }
    if (r->errors > before)
        return;
    if (n > 0)
        items = arena_alloc_array(r->mem, n, sizeof(*items));
    for (size_t i = 0; i < n; i++)
        items[i] = copy_str(r, json_array_get(v, i));
    *(struct key_strs *)field = (struct key_strs){ items, n };
}

static void read_value(struct reading *r, const struct key_row *row, json_t *v, void *field)
{
    switch (row->type) {
    case KEY_BOOL:
        if (json_is_boolean(v))
            *(bool *)field = json_is_true(v);
        else
            report_kind(r, row, v);
        break;
    case KEY_U32:
    case KEY_U64:
        read_number(r, row, v, field);
        break;
    case KEY_STR:
        if (!json_is_string(v))
            report_kind(r, row, v);
        else if (check_string(r, row, v, -1))
            *(slice *)field = copy_str(r, v);
        break;
    case KEY_ENUM:
        read_enum(r, row, v, field);
        break;
    case KEY_STRS:
        read_strs(r, row, v, field);
        break;
    case KEY_JSON:
        *(json_t **)field = v;
        break;
    }
}

static void report_unknown(struct reading *r, slice name)
{
    const struct key_row *near = keys_nearest(r->table, name);
    struct buf message = BUF_INIT;

    buf_put_str(&message, "unknown key ");
    put_quoted(&message, name);
    if (near != NULL)
        buf_printf(&message, "; did you mean \"%s\"?", near->name);
    report_at(r, name, -1, &message);
}

unsigned keys_read(const struct key_table *t, const json_t *obj, const char *pointer, void *out, struct arena *mem,
                   keys_report_fn *report, void *arg)
{
    struct reading r = { .table = t, .pointer = pointer, .mem = mem, .report = report, .arg = arg };
    struct buf message = BUF_INIT;
    json_t *members = (json_t *)(uintptr_t)obj; /* jansson's iterators take no const; nothing is changed */
    const char *name;
    json_t *v;

    if (!json_is_object(obj)) {
        buf_printf(&message, "expected an object, found %s", obj == NULL ? "nothing" : kind_of(obj));
        report_at(&r, SLICE_NONE, -1, &message);
        return r.errors;
    }
    json_object_foreach(members, name, v) {
        const struct key_row *row = keys_find(t, slice_str(name));

        if (row == NULL)
            report_unknown(&r, slice_str(name));
        else
            read_value(&r, row, v, field_of(row, out));
    }
    return r.errors;
}

const struct key_row *keys_find(const struct key_table *t, slice name)
{
    for (size_t i = 0; i < t->count; i++)
        if (slice_eq(slice_str(t->rows[i].name), name))
            return &t->rows[i];
    return NULL;
}

const struct key_row *keys_nearest(const struct key_table *t, slice name)
{
    const struct key_row *nearest = NULL;
    unsigned best = NEAR_MAX + 1;

    for (size_t i = 0; i < t->count; i++) {
        const struct key_row *row = &t->rows[i];
        slice have = slice_str(row->name);
        unsigned d;

        if (row->legacy != NULL && slice_eq_nocase(slice_str(row->legacy), name))
            return row;
        d = edit_distance(have, name, NEAR_MAX);
        if (d < best && d <= (have.len + 1) / 2) {
            best = d;
            nearest = row;
        }
    }
    return nearest;
}
