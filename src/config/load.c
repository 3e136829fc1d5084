#include "config/load.h"

#include <sys/stat.h>

#include "base/mem.h"
#include "config/tables.h"

#define MEM_FIRST_BYTES 4096

/* Members of the document that are no sections: for people and their editors. */
static bool is_remark(slice name)
{
    return slice_eq(name, SLICE("description")) || slice_eq(name, SLICE("$schema"));
}

static void set_destroy(struct snap *s)
{
    struct conf_set *set = CONTAINER_OF(s, struct conf_set, snap);

    json_decref(set->document);
    arena_free(&set->mem);
    mem_free(set);
}

/* --- problems ----------------------------------------------------------------------------------------------------- */

struct problems {
    keys_report_fn *report;
    void *arg;
    unsigned count;
};

static void problem(struct problems *p, const char *pointer, const char *message)
{
    p->count++;
    if (p->report != NULL)
        p->report(p->arg, pointer, message);
}

void config_report_line(void *buf, const char *pointer, const char *message)
{
    buf_printf(buf, "%s%s%s\n", pointer, pointer[0] != '\0' ? ": " : "", message);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void members_check(const json_t *document, struct problems *p)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)document, name, value) {
        const struct config_section *near;
        struct buf pointer = BUF_INIT, message = BUF_INIT;

        if (is_remark(slice_str(name)) || config_section_find(slice_str(name)) != NULL)
            continue;
        near = config_section_nearest(slice_str(name));
        buf_printf(&pointer, "/%s", name);
        buf_put_str(&message, "unknown section");
        if (near != NULL)
            buf_printf(&message, "; did you mean \"%s\"?", near->name);
        problem(p, buf_str(&pointer), buf_str(&message));
        buf_free(&pointer);
        buf_free(&message);
    }
}

static void table_read(struct conf_set *set, const struct config_section *s, struct problems *p)
{
    void *conf = arena_alloc(&set->mem, s->table->struct_bytes);
    const json_t *value = json_object_get(set->document, s->name);
    struct buf pointer = BUF_INIT;

    keys_default(s->table, conf, &set->mem);
    set->section[s->number] = conf;
    buf_printf(&pointer, "/%s", s->name);
    if (value != NULL)
        p->count += keys_read(s->table, value, buf_str(&pointer), conf, &set->mem, p->report, p->arg);
    buf_free(&pointer);
}

static void sections_read(struct conf_set *set, struct problems *p)
{
    for (size_t i = 0; i < config_section_count; i++)
        if (config_sections[i].table != NULL)
            table_read(set, &config_sections[i], p);
    for (size_t i = 0; i < config_section_count; i++)
        if (config_sections[i].read != NULL)
            p->count += config_sections[i].read(set, json_object_get(set->document, config_sections[i].name),
                                                p->report, p->arg);
}

/* document: NULL when it could not be parsed, for the reason in err. */
static struct conf_set *document_read(TAKES json_t *document, const struct err *err, uint64_t number,
                                      struct problems *p)
{
    struct conf_set *set = mem_alloc(sizeof *set);

    snap_init(&set->snap, set_destroy);
    set->number = number;
    set->document = document;
    arena_init(&set->mem, MEM_FIRST_BYTES);
    if (document == NULL) {
        problem(p, "", err->text);
    } else if (!json_is_object(document)) {
        problem(p, "", "expected an object of sections: { \"server\": { … }, … }");
    } else {
        members_check(document, p);
        sections_read(set, p);
    }
    if (p->count == 0)
        return set;
    snap_unref(&set->snap);
    return NULL;
}

struct conf_set *config_parse(slice text, uint64_t number, keys_report_fn *report, void *arg, unsigned *problems)
{
    struct problems p = { report, arg, 0 };
    struct err err = ERR_INIT;
    json_t *document = json_parse(text, &err);
    struct conf_set *set = document_read(document, &err, number, &p);

    *problems = p.count;
    return set;
}

struct conf_set *config_load(const char *path, uint64_t number, keys_report_fn *report, void *arg, unsigned *problems)
{
    struct problems p = { report, arg, 0 };
    struct err err = ERR_INIT;
    json_t *document = json_parse_file(path, &err);
    struct conf_set *set = document_read(document, &err, number, &p);

    *problems = p.count;
    return set;
}

/* --- one sentence ------------------------------------------------------------------------------------------------- */

struct first {
    struct buf text;
};

static void first_keep(void *arg, const char *pointer, const char *message)
{
    struct first *f = arg;

    if (f->text.len == 0)
        buf_printf(&f->text, "%s%s%s", pointer, pointer[0] != '\0' ? ": " : "", message);
}

int config_load_err(const char *path, uint64_t number, struct conf_set **out, struct err *err)
{
    struct first first = { BUF_INIT };
    unsigned problems;

    *out = config_load(path, number, first_keep, &first, &problems);
    if (*out == NULL && problems > 1)
        err_set(err, ERR_SYNTAX, "%s (and %u more; 'posthouse config check' lists all)", buf_str(&first.text),
                problems - 1);
    else if (*out == NULL)
        err_set(err, ERR_SYNTAX, "%s", buf_str(&first.text));
    buf_free(&first.text);
    return *out == NULL ? -1 : 0;
}

int config_open_dir(const char *dir, struct conf_set **out, struct err *err)
{
    struct buf path = BUF_INIT;
    struct stat st;
    unsigned problems;
    int rc = 0;

    buf_printf(&path, "%s/" CONFIG_FILE, dir);
    if (stat(buf_str(&path), &st) < 0)
        *out = config_parse(SLICE("{}"), 1, NULL, NULL, &problems);
    else
        rc = config_load_err(buf_str(&path), 1, out, err);
    buf_free(&path);
    return rc;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* Every row of a table as it stands in conf. */
static json_t *table_values(const struct key_table *t, const void *conf)
{
    json_t *o = json_object();

    for (size_t k = 0; k < t->count; k++)
        json_object_set_new(o, t->rows[k].name, keys_value(&t->rows[k], conf));
    return o;
}

static json_t *items_values(const struct config_section *s, const struct conf_set *set)
{
    json_t *all = json_object();
    const void *conf;
    slice name;

    for (size_t i = 0; (conf = s->item(set, i, &name)) != NULL; i++) {
        char *key = mem_slice_str(name);

        json_object_set_new(all, key, table_values(s->items, conf));
        mem_free(key);
    }
    return all;
}

json_t *config_effective(const struct conf_set *set)
{
    json_t *all = json_object();

    for (size_t i = 0; i < config_section_count; i++) {
        const struct config_section *s = &config_sections[i];
        json_t *o;

        if (s->table != NULL)
            json_object_set_new(all, s->name, table_values(s->table, set->section[s->number]));
        else if (s->item != NULL)
            json_object_set_new(all, s->name, items_values(s, set));
        else if ((o = json_object_get(set->document, s->name)) != NULL)
            json_object_set(all, s->name, o);
    }
    return all;
}

void config_restart_keys(const struct conf_set *old, const struct conf_set *new, config_key_fn *fn, void *arg)
{
    for (size_t i = 0; i < config_section_count; i++) {
        const struct config_section *s = &config_sections[i];

        for (size_t k = 0; s->table != NULL && k < s->table->count; k++) {
            const struct key_row *row = &s->table->rows[k];
            json_t *a = keys_value(row, old->section[s->number]), *b = keys_value(row, new->section[s->number]);
            struct buf key = BUF_INIT;

            buf_printf(&key, "%s.%s", s->name, row->name);
            if (row->reload == RELOAD_RESTART && !json_equal(a, b))
                fn(arg, buf_str(&key));
            buf_free(&key);
            json_decref(a);
            json_decref(b);
        }
    }
}

static void schema_object(json_t *o, const struct key_table *t)
{
    json_t *members = json_object();

    for (size_t k = 0; k < t->count; k++)
        json_object_set_new(members, t->rows[k].name, keys_schema(&t->rows[k]));
    json_object_set_new(o, "type", json_string("object"));
    json_object_set_new(o, "properties", members);
    json_object_set_new(o, "additionalProperties", json_false());
}

json_t *config_schema(void)
{
    json_t *properties = json_object();
    json_t *top = json_object();

    json_object_set_new(properties, "description", json_pack("{s:s}", "type", "string"));
    json_object_set_new(properties, "$schema", json_pack("{s:s}", "type", "string"));
    for (size_t i = 0; i < config_section_count; i++) {
        const struct config_section *s = &config_sections[i];
        json_t *o = json_object();

        json_object_set_new(o, "description", json_string(s->table != NULL ? s->table->text : s->text));
        if (s->table != NULL) {
            schema_object(o, s->table);
        } else if (s->items != NULL) {
            json_t *item = json_object();

            schema_object(item, s->items);
            json_object_set_new(o, "type", json_string("object"));
            json_object_set_new(o, "additionalProperties", item);
        }
        json_object_set_new(properties, s->name, o);
    }
    json_object_set_new(top, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    json_object_set_new(top, "title", json_string("posthouse.json"));
    json_object_set_new(top, "type", json_string("object"));
    json_object_set_new(top, "properties", properties);
    json_object_set_new(top, "additionalProperties", json_false());
    return top;
}
