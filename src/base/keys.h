/* keys.h - configuration keys as rows: one definition parses, checks, documents and describes them.
 *
 * Model:    a room lists its keys with an X-macro (STYLE R36) that makes the struct, and a `struct key_row` table from
 *           it that says where in the struct each value lies. keys_default fills a struct with the defaults, keys_read
 *           overwrites from a JSON object; a value in error leaves what was there. Values of type KEY_STR and KEY_STRS
 *           are copied into the arena given.
 * Threads:  reading functions are pure on their arguments.
 * Errors:   keys_read collects all errors of an object through `report`, each with JSON pointer, what was found, what
 *           was expected, and the nearest valid key; it returns the number of errors. `report` may be NULL.
 */
#ifndef BASE_KEYS_H
#define BASE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/json.h"

enum key_type {
    KEY_BOOL, /* bool */
    KEY_U32,  /* uint32_t */
    KEY_U64,  /* uint64_t */
    KEY_STR,  /* slice; never NULL: empty when unset */
    KEY_ENUM, /* uint32_t index into `words` ("a|b|c") */
    KEY_STRS, /* struct key_strs */
    KEY_JSON, /* json_t *, borrowed from the document: the room reads it itself */
};
enum key_unit {
    UNIT_NONE,
    UNIT_COUNT,
    UNIT_BYTES,
    UNIT_SECONDS,
    UNIT_MS,
    UNIT_DAYS,
    UNIT_PERCENT,
    UNIT_PATH,
    UNIT_PORT,
};
enum key_reload { RELOAD_SESSION, RELOAD_LISTENER, RELOAD_RESTART }; /* when a changed value takes effect */

struct key_strs {
    const slice *items;
    size_t count;
};

struct key_row {
    const char *name;      /* "max_recipients" */
    enum key_type type;
    size_t offset;         /* in the room's struct */
    uint64_t def;          /* default of numbers, bool, enum index */
    const char *def_text;  /* default of KEY_STR (NULL = empty); KEY_STRS: '|'-separated or NULL */
    uint64_t min, max;     /* of numbers; of the length in octets of each string; max 0 = none */
    enum key_unit unit;
    enum key_reload reload;
    const char *words;     /* KEY_ENUM: "off|opportunistic|required" */
    const char *legacy;    /* the option of a legacy configuration it replaces, or NULL */
    const char *text;      /* one or two sentences for the manual */
};

/* A room lists its keys in one X-macro, K(type, field, default, min, max, unit, reload, legacy, text), from which both
 * the struct and the rows are made:
 *
 *     struct smtp_conf { SMTP_KEYS(KEY_FIELD) };
 *     #define KEY_CONF struct smtp_conf
 *     static const struct key_row rows[] = { SMTP_KEYS(KEY_ROW) };
 *
 * Types are BOOL U32 U64 STR STRS ENUM. The default of STR and STRS is text; ENUM has its words in the place of min. */
#define KEY_FIELD(type, field, ...) KEY_FIELD_##type field;
#define KEY_FIELD_BOOL bool
#define KEY_FIELD_U32 uint32_t
#define KEY_FIELD_U64 uint64_t
#define KEY_FIELD_STR slice
#define KEY_FIELD_STRS struct key_strs
#define KEY_FIELD_ENUM uint32_t

#define KEY_ROW(type, field, ...) KEY_ROW_##type(field, __VA_ARGS__),
#define KEY_ROW_OF(t, f, u, r, old, about)                                                                             \
    .name = #f, .type = t, .offset = offsetof(KEY_CONF, f), .unit = UNIT_##u, .reload = RELOAD_##r, .legacy = old,     \
    .text = about
#define KEY_ROW_NUMBER(t, f, d, lo, hi, u, r, old, about)                                                              \
    { KEY_ROW_OF(t, f, u, r, old, about), .def = d, .min = lo, .max = hi }
#define KEY_ROW_TEXT(t, f, d, lo, hi, u, r, old, about)                                                                \
    { KEY_ROW_OF(t, f, u, r, old, about), .def_text = d, .min = lo, .max = hi }
#define KEY_ROW_BOOL(f, ...) KEY_ROW_NUMBER(KEY_BOOL, f, __VA_ARGS__)
#define KEY_ROW_U32(f, ...) KEY_ROW_NUMBER(KEY_U32, f, __VA_ARGS__)
#define KEY_ROW_U64(f, ...) KEY_ROW_NUMBER(KEY_U64, f, __VA_ARGS__)
#define KEY_ROW_STR(f, ...) KEY_ROW_TEXT(KEY_STR, f, __VA_ARGS__)
#define KEY_ROW_STRS(f, ...) KEY_ROW_TEXT(KEY_STRS, f, __VA_ARGS__)
#define KEY_ROW_ENUM(f, d, choice, hi, u, r, old, about)                                                               \
    { KEY_ROW_OF(KEY_ENUM, f, u, r, old, about), .def = d, .words = choice }

struct key_table {
    /* JSON pointer of the object without leading '/': "smtp", "listeners/" and '*' for any member or element. */
    const char *section;
    const struct key_row *rows;
    size_t count;
    size_t struct_bytes;
    const char *text;      /* one sentence: what the section is for */
};

typedef void keys_report_fn(void *arg, const char *pointer, const char *message);

void keys_default(const struct key_table *t, void *out, struct arena *mem);
unsigned keys_read(const struct key_table *t, const json_t *obj, const char *pointer, void *out, struct arena *mem,
                   keys_report_fn *report, void *arg);
const struct key_row *keys_find(const struct key_table *t, slice name);
/* The row that names `name` as its legacy option, else the nearest by edit distance (at most 3, and at most half of the
 * word, rounded up, so that short words do not all look alike); NULL if none is near. */
const struct key_row *keys_nearest(const struct key_table *t, slice name);
/* One value of a filled struct as JSON / the schema of one row. */
OWNED json_t *keys_value(const struct key_row *row, const void *conf);
OWNED json_t *keys_schema(const struct key_row *row);

/* "" (UNIT_NONE, UNIT_COUNT), "bytes", "seconds", "milliseconds", "days", "percent", "path", "port" */
const char *key_unit_name(enum key_unit u);
const char *key_reload_name(enum key_reload r); /* "session", "listener", "restart" */

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b; limit + 1 when there are more. Words
 * over 255 octets are only equal (0) or not (limit + 1). */
unsigned edit_distance(slice a, slice b, unsigned limit);

#endif
