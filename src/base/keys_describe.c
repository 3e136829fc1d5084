/* The other half of keys.h: rows and values as text and JSON, for `config show`, the schema and the manual. */
#include "base/keys.h"

#include <string.h>

#include "base/err.h"

#define DISTANCE_OCTETS_MAX 255

static json_t *need(json_t *v)
{
    if (v == NULL)
        panic("out of memory (JSON value)");
    return v;
}

static void set(json_t *obj, const char *name, TAKES json_t *v)
{
    if (json_object_set_new(obj, name, need(v)) < 0)
        panic("JSON member %s cannot be set", name);
}

static void append(json_t *array, TAKES json_t *v)
{
    if (json_array_append_new(array, need(v)) < 0)
        panic("JSON element cannot be added");
}

/* jansson's integers are signed; the few larger numbers ("no limit") lose digits rather than their sign. */
static json_t *number(uint64_t v)
{
    return need(v <= INT64_MAX ? json_integer((json_int_t)v) : json_real((double)v));
}

static slice word_at(const char *words, uint64_t index)
{
    slice rest = slice_str(words);

    for (; index > 0; index--)
        slice_cut(&rest, '|', NULL);
    return slice_cut(&rest, '|', NULL);
}

static json_t *words_array(const char *words)
{
    json_t *array = need(json_array());
    slice rest = slice_str(words);

    while (rest.len > 0)
        append(array, json_from_slice(slice_cut(&rest, '|', NULL)));
    return array;
}

static json_t *strs_array(const struct key_strs *strs)
{
    json_t *array = need(json_array());

    for (size_t i = 0; i < strs->count; i++)
        append(array, json_from_slice(strs->items[i]));
    return array;
}

json_t *keys_value(const struct key_row *row, const void *conf)
{
    const void *field = (const char *)conf + row->offset;
    json_t *v;

    switch (row->type) {
    case KEY_BOOL:
        return json_boolean(*(const bool *)field);
    case KEY_U32:
        return number(*(const uint32_t *)field);
    case KEY_U64:
        return number(*(const uint64_t *)field);
    case KEY_STR:
        return json_from_slice(*(const slice *)field);
    case KEY_ENUM:
        return json_from_slice(word_at(row->words, *(const uint32_t *)field));
    case KEY_STRS:
        return strs_array(field);
    case KEY_JSON:
        v = *(json_t *const *)field;
        return v == NULL ? json_null() : json_incref(v);
    }
    panic("key %s has an unknown type", row->name);
}

static json_t *default_value(const struct key_row *row)
{
    switch (row->type) {
    case KEY_BOOL:
        return json_boolean(row->def != 0);
    case KEY_U32:
    case KEY_U64:
        return number(row->def);
    case KEY_STR:
        return json_from_slice(slice_str(row->def_text));
    case KEY_ENUM:
        return json_from_slice(word_at(row->words, row->def));
    case KEY_STRS:
        return words_array(row->def_text);
    case KEY_JSON:
        break;
    }
    return NULL; /* the room knows */
}

static void put_string_limits(json_t *schema, const struct key_row *row)
{
    if (row->min != 0)
        set(schema, "minLength", number(row->min));
    if (row->max != 0)
        set(schema, "maxLength", number(row->max));
}

static void put_number_limits(json_t *schema, const struct key_row *row)
{
    uint64_t max = row->type == KEY_U32 ? UINT32_MAX : UINT64_MAX;

    if (row->max != 0 && row->max < max)
        max = row->max;
    set(schema, "type", json_string("integer"));
    set(schema, "minimum", number(row->min));
    if (max <= INT64_MAX) /* larger ones cannot be written in a document anyway */
        set(schema, "maximum", number(max));
}

static void put_type(json_t *schema, const struct key_row *row)
{
    json_t *items;

    switch (row->type) {
    case KEY_BOOL:
        set(schema, "type", json_string("boolean"));
        break;
    case KEY_U32:
    case KEY_U64:
        put_number_limits(schema, row);
        break;
    case KEY_STR:
        set(schema, "type", json_string("string"));
        put_string_limits(schema, row);
        break;
    case KEY_ENUM:
        set(schema, "type", json_string("string"));
        set(schema, "enum", words_array(row->words));
        break;
    case KEY_STRS:
        items = need(json_object());
        set(items, "type", json_string("string"));
        put_string_limits(items, row);
        set(schema, "type", json_string("array"));
        set(schema, "items", items);
        break;
    case KEY_JSON:
        break; /* any value */
    }
}

json_t *keys_schema(const struct key_row *row)
{
    json_t *schema = need(json_object());
    json_t *def = default_value(row);
    const char *unit = key_unit_name(row->unit);

    put_type(schema, row);
    if (def != NULL)
        set(schema, "default", def);
    if (row->text != NULL)
        set(schema, "description", json_string(row->text));
    if (*unit != '\0')
        set(schema, "x-unit", json_string(unit));
    set(schema, "x-reload", json_string(key_reload_name(row->reload)));
    if (row->legacy != NULL)
        set(schema, "x-legacy", json_string(row->legacy));
    return schema;
}

const char *key_unit_name(enum key_unit u)
{
    static const char *const names[] = {
        [UNIT_NONE] = "",     [UNIT_COUNT] = "", [UNIT_BYTES] = "bytes",     [UNIT_SECONDS] = "seconds",
        [UNIT_MS] = "milliseconds", [UNIT_DAYS] = "days", [UNIT_PERCENT] = "percent", [UNIT_PATH] = "path",
        [UNIT_PORT] = "port",
    };

    return (size_t)u < ARRAY_LEN(names) ? names[u] : "";
}

const char *key_reload_name(enum key_reload r)
{
    static const char *const names[] = {
        [RELOAD_SESSION] = "session", [RELOAD_LISTENER] = "listener", [RELOAD_RESTART] = "restart",
    };

    return (size_t)r < ARRAY_LEN(names) ? names[r] : "";
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Row by row (optimal string alignment); three rows are kept because a swap looks two back. */
unsigned edit_distance(slice a, slice b, unsigned limit)
{
    unsigned rows[3][DISTANCE_OCTETS_MAX + 1];

    if (slice_eq(a, b))
        return 0;
    if (a.len > DISTANCE_OCTETS_MAX || b.len > DISTANCE_OCTETS_MAX)
        return limit + 1;
    for (unsigned j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        unsigned best = row[0] = i;

        for (unsigned j = 1; j <= b.len; j++) {
            unsigned char x = a.ptr[i - 1], y = b.ptr[j - 1];

            row[j] = min3(up[j] + 1, row[j - 1] + 1, up[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == b.ptr[j - 2] && y == a.ptr[i - 2] && up2[j - 2] + 1 < row[j])
                row[j] = up2[j - 2] + 1;
            best = row[j] < best ? row[j] : best;
        }
        /* A swap can step over one row but costs 1 as well: beyond this row nothing gets cheaper than best. */
        if (best > limit + 1)
            return limit + 1;
    }
    return rows[a.len % 3][b.len] <= limit ? rows[a.len % 3][b.len] : limit + 1;
}
