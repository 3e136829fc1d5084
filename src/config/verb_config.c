#include "config/verb_config.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/load.h"
#include "config/tables.h"
#include "config/write.h"
#include "control/verb_rpc.h"

static void path_of(const struct verb_call *call, struct buf *out)
{
    if (call->operand_count > 0 && strcmp(call->verb->sub, "check") == 0)
        buf_put_str(out, call->operands[0]);
    else
        buf_printf(out, "%s/" CONFIG_FILE, call->dir);
}

/* --- check -------------------------------------------------------------------------------------------------------- */

static void problem_keep(void *arg, const char *pointer, const char *message)
{
    json_t *o = json_object();

    json_object_set_new(o, "pointer", json_from_slice(slice_str(pointer)));
    json_object_set_new(o, "message", json_from_slice(slice_str(message)));
    json_array_append_new(arg, o);
}

static void check_print(const char *path, const json_t *problems, const struct conf_set *set)
{
    for (size_t i = 0; i < json_array_size(problems); i++) {
        slice pointer = json_get_str(json_array_get(problems, i), "pointer");

        printf("%s: %.*s%s%.*s\n", path, SLICE_ARG(pointer), pointer.len != 0 ? ": " : "",
               SLICE_ARG(json_get_str(json_array_get(problems, i), "message")));
    }
    if (set == NULL)
        printf("%s: %zu problem%s\n", path, json_array_size(problems), json_array_size(problems) == 1 ? "" : "s");
    else
        printf("%s: good\n", path);
}

int config_verb_check(const struct verb_call *call)
{
    struct buf path = BUF_INIT;
    json_t *problems = json_array(), *o;
    struct conf_set *set = NULL;
    unsigned count;

    path_of(call, &path);
    set = config_load(buf_str(&path), 1, problem_keep, problems, &count);
    if (call->json) {
        o = json_pack("{s:o, s:b, s:O}", "file", json_from_slice(buf_slice(&path)), "valid", set != NULL, "problems",
                      problems);
        verb_print(call, o);
        json_decref(o);
    } else {
        check_print(buf_str(&path), problems, set);
    }
    json_decref(problems);
    buf_free(&path);
    if (set == NULL)
        return EX_CONFIG;
    snap_unref(&set->snap);
    return EX_OK;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The file must be there: what these verbs say is about it. */
static int set_open(const struct verb_call *call, struct conf_set **out)
{
    struct buf path = BUF_INIT;
    struct err err = ERR_INIT;
    int code = EX_OK;

    path_of(call, &path);
    if (access(buf_str(&path), F_OK) < 0) {
        err_set(&err, ERR_NOTFOUND, "there is no %s", buf_str(&path));
        code = verb_fail(call, &err, "name the data directory with --dir DIR; 'posthouse init' makes one");
    } else if (config_load_err(buf_str(&path), 1, out, &err) < 0) {
        verb_fail(call, &err, "'posthouse config check' shows everything that is wrong");
        code = EX_CONFIG;
    }
    buf_free(&path);
    return code;
}

static void json_show(const json_t *v)
{
    struct buf text = BUF_INIT;

    json_print(&text, v, true);
    puts(buf_str(&text));
    buf_free(&text);
}

int config_verb_show(const struct verb_call *call)
{
    struct conf_set *set = NULL;
    json_t *o;
    int code;

    if (verb_option(call, "--running") != NULL) {
        code = verb_method(call, "config.show", NULL, &o);
        if (code == EX_OK)
            json_show(o);
        json_decref(o);
        return code;
    }
    if ((code = set_open(call, &set)) != EX_OK || set == NULL)
        return code;
    o = verb_option(call, "--effective") != NULL ? config_effective(set) : json_incref(set->document);
    json_show(o);
    json_decref(o);
    snap_unref(&set->snap);
    return EX_OK;
}

static int key_unknown(const struct verb_call *call, const struct err *err)
{
    return verb_fail(call, err, "'posthouse config describe' lists the sections, 'posthouse config describe SECTION' "
                                "its keys");
}

/* Of the effective document; NULL when there is no such item. */
static json_t *value_in(const json_t *all, const struct config_key *key)
{
    json_t *v = json_object_get(all, key->section->name);

    if (key->item.len != 0)
        v = json_object_getn(v, (const char *)key->item.ptr, key->item.len);
    return json_incref(key->row != NULL ? json_object_get(v, key->row->name) : v);
}

int config_verb_get(const struct verb_call *call)
{
    struct conf_set *set = NULL;
    struct err err = ERR_INIT;
    struct config_key key;
    json_t *v, *all;
    int code;

    if (config_key_find(slice_str(call->operands[0]), &key, &err) < 0)
        return key_unknown(call, &err);
    if ((code = set_open(call, &set)) != EX_OK || set == NULL)
        return code;
    all = config_effective(set);
    v = value_in(all, &key);
    json_decref(all);
    if (call->json || json_is_object(v) || json_is_array(v))
        json_show(v != NULL ? v : json_null());
    else
        verb_print(call, v);
    json_decref(v);
    snap_unref(&set->snap);
    return EX_OK;
}

/* --- describe ----------------------------------------------------------------------------------------------------- */

static const char *type_name(enum key_type t)
{
    static const char *const names[] = {
        [KEY_BOOL] = "true or false", [KEY_U32] = "number",           [KEY_U64] = "number", [KEY_STR] = "string",
        [KEY_ENUM] = "one word",      [KEY_STRS] = "array of strings", [KEY_JSON] = "object",
    };

    return names[t];
}

static const struct key_table *table_of(const struct config_section *s)
{
    return s->table != NULL ? s->table : s->items;
}

/* "smtp.max_recipients", "channels.*.port" */
static void key_name(const struct config_section *s, const struct key_row *row, struct buf *out)
{
    buf_printf(out, "%s.%s%s", s->name, s->table == NULL ? "*." : "", row->name);
}

static json_t *row_default(const struct key_table *table, const struct key_row *row)
{
    struct arena mem;
    void *conf = mem_alloc(table->struct_bytes);
    json_t *v;

    arena_init(&mem, 1024);
    keys_default(table, conf, &mem);
    v = keys_value(row, conf);
    arena_free(&mem);
    mem_free(conf);
    return v;
}

static json_t *row_object(const struct config_section *s, const struct key_row *row)
{
    static const char *const when[] = {
        [RELOAD_SESSION] = "after a reload, for new sessions",
        [RELOAD_LISTENER] = "after a reload, listeners are opened and closed",
        [RELOAD_RESTART] = "at the next start",
    };
    json_t *o = json_object();
    bool has_range = row->type == KEY_U32 || row->type == KEY_U64;
    struct buf text = BUF_INIT;

    key_name(s, row, &text);
    json_object_set_new(o, "key", json_from_slice(buf_slice(&text)));
    json_object_set_new(o, "meaning", json_string(row->text));
    json_object_set_new(o, "type", json_string(type_name(row->type)));
    if (row->type == KEY_ENUM) {
        buf_reset(&text);
        for (const char *w = row->words; *w != '\0'; w++)
            buf_put_str(&text, *w == '|' ? ", " : (char[]){ *w, '\0' });
        json_object_set_new(o, "words", json_from_slice(buf_slice(&text)));
    }
    json_object_set_new(o, "default", row_default(table_of(s), row));
    if (has_range) {
        json_object_set_new(o, "least", json_integer((json_int_t)row->min));
        json_object_set_new(o, "most", json_integer((json_int_t)row->max));
    }
    if (key_unit_name(row->unit)[0] != '\0')
        json_object_set_new(o, "unit", json_string(key_unit_name(row->unit)));
    json_object_set_new(o, "takes effect", json_string(when[row->reload]));
    if (row->legacy != NULL)
        json_object_set_new(o, "replaces", json_string(row->legacy));
    buf_free(&text);
    return o;
}

static json_t *sections_array(void)
{
    json_t *array = json_array();

    for (size_t i = 0; i < config_section_count; i++)
        json_array_append_new(array, json_pack("{s:s, s:s}", "section", config_sections[i].name, "meaning",
                                               config_sections[i].table != NULL ? config_sections[i].table->text
                                                                                : config_sections[i].text));
    return array;
}

static json_t *keys_array(const struct config_section *s)
{
    const struct key_table *table = table_of(s);
    json_t *array = json_array();

    for (size_t i = 0; table != NULL && i < table->count; i++) {
        const struct key_row *row = &table->rows[i];
        struct buf key = BUF_INIT;

        key_name(s, row, &key);
        json_array_append_new(array, json_pack("{s:s, s:o, s:s}", "key", buf_str(&key), "default",
                                               row_default(table, row), "meaning", row->text));
        buf_free(&key);
    }
    if (table == NULL)
        json_array_append_new(array, json_pack("{s:s, s:s}", "section", s->name, "meaning", s->text));
    return array;
}

int config_verb_describe(const struct verb_call *call)
{
    struct err err = ERR_INIT;
    struct config_key key;
    json_t *o;

    if (call->operand_count == 0) {
        o = sections_array();
    } else if (config_key_find(slice_str(call->operands[0]), &key, &err) < 0) {
        return key_unknown(call, &err);
    } else {
        o = key.row != NULL ? row_object(key.section, key.row) : keys_array(key.section);
    }
    verb_print(call, o);
    json_decref(o);
    return EX_OK;
}

int config_verb_schema(const struct verb_call *call UNUSED)
{
    json_t *o = config_schema();

    json_show(o);
    json_decref(o);
    return EX_OK;
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

/* A word of the command line as the row wants it: what is no JSON value of the right kind is taken as text, and the
 * check of the whole document says what is wrong with it. */
static json_t *value_of(const struct key_row *row, const char *text)
{
    struct err err = ERR_INIT;
    bool is_text = row != NULL && (row->type == KEY_STR || row->type == KEY_ENUM);
    json_t *v = is_text ? NULL : json_parse(slice_str(text), &err);
    slice rest = slice_str(text);

    if (v != NULL)
        return v;
    if (row == NULL || row->type != KEY_STRS)
        return json_from_slice(rest);
    v = json_array();
    while (rest.len != 0)
        json_array_append_new(v, json_from_slice(slice_trim(slice_cut(&rest, ',', NULL))));
    return v;
}

/* The member `name` of o, made if it is missing. */
static json_t *member_make(json_t *o, const char *name)
{
    if (!json_is_object(json_object_get(o, name)))
        json_object_set_new(o, name, json_object());
    return json_object_get(o, name);
}

/* Change the document; value NULL: take the key away, and what is empty without it. */
static void document_set(json_t *document, const struct config_key *key, TAKES json_t *value)
{
    const char *section = key->section->name, *name;
    char *item = key->item.len != 0 ? mem_slice_str(key->item) : NULL;
    json_t *outer = document, *o = document;

    if (item != NULL)
        o = outer = member_make(document, section);
    if (key->row != NULL)
        o = member_make(outer, item != NULL ? item : section);
    name = key->row != NULL ? key->row->name : item != NULL ? item : section;
    if (value != NULL)
        json_object_set_new(o, name, value);
    else
        json_object_del(o, name);
    if (item != NULL && json_object_size(json_object_get(outer, item)) == 0)
        json_object_del(outer, item);
    if (json_is_object(json_object_get(document, section)) &&
        json_object_size(json_object_get(document, section)) == 0)
        json_object_del(document, section);
    mem_free(item);
}

static int document_store(const struct verb_call *call, const char *path, const json_t *document)
{
    struct buf text = BUF_INIT, problems = BUF_INIT;
    struct err err = ERR_INIT;
    struct conf_set *set = NULL;
    unsigned count;
    int code = EX_OK;

    json_print(&text, document, false);
    set = config_parse(buf_slice(&text), 1, config_report_line, &problems, &count);
    if (set == NULL) {
        slice rest = buf_slice(&problems), first = slice_cut(&rest, '\n', NULL);

        err_set(&err, ERR_SYNTAX, "%.*s", SLICE_ARG(slice_sub(first, 0, 200)));
        verb_fail(call, &err, "nothing was changed; 'posthouse config describe %s' says what is expected",
                  call->operands[0]);
        code = EX_CONFIG;
    } else {
        if (config_write(path, document, &err) < 0)
            code = verb_fail(call, &err, "nothing was changed");
        snap_unref(&set->snap);
    }
    buf_free(&problems);
    buf_free(&text);
    return code;
}

static void changed_print(const struct verb_call *call, const struct key_row *row)
{
    struct client_conn conn;
    struct err err = ERR_INIT;
    bool runs = client_open(&conn, call->dir, &err) == 0;
    json_t *o = json_pack("{s:s, s:b}", "changed", call->operands[0], "reload_needed", runs);

    if (runs)
        client_close(&conn);
    if (call->json)
        verb_print(call, o);
    else if (runs && row != NULL && row->reload == RELOAD_RESTART)
        printf("%s is changed; it takes effect when the daemon is started the next time\n", call->operands[0]);
    else if (runs)
        printf("%s is changed; 'posthouse reload' makes the daemon take it over\n", call->operands[0]);
    else
        printf("%s is changed\n", call->operands[0]);
    json_decref(o);
}

static int change(const struct verb_call *call, const char *value)
{
    struct buf path = BUF_INIT;
    struct err err = ERR_INIT;
    struct config_key key;
    json_t *document;
    int code;

    if (config_key_find(slice_str(call->operands[0]), &key, &err) < 0)
        return key_unknown(call, &err);
    path_of(call, &path);
    document = json_parse_file(buf_str(&path), &err);
    if (document == NULL || !json_is_object(document)) {
        if (document != NULL)
            err_set(&err, ERR_SYNTAX, "%s is no object", buf_str(&path));
        verb_fail(call, &err, "mend it by hand first, or make one with 'posthouse init'");
        code = err.kind == ERR_NOTFOUND ? EX_NOINPUT : EX_CONFIG;
    } else {
        document_set(document, &key, value != NULL ? value_of(key.row, value) : NULL);
        if ((code = document_store(call, buf_str(&path), document)) == EX_OK)
            changed_print(call, key.row);
    }
    json_decref(document);
    buf_free(&path);
    return code;
}

int config_verb_set(const struct verb_call *call)
{
    return change(call, call->operands[1]);
}

int config_verb_unset(const struct verb_call *call)
{
    return change(call, NULL);
}
