/* tables.h - every section of posthouse.json, in one list: which room's key table reads it into which part of a
 * struct conf_set.
 *
 * A new section is a row here (and a number in base/confset.h). Sections that are no plain object of keys
 * ("listeners", "routes") have rows without table and a function that reads them.
 */
#ifndef CONFIG_TABLES_H
#define CONFIG_TABLES_H

#include "base/confset.h"
#include "base/keys.h"

/* Called after all tables were read. value: the member of the document, or NULL. Returns the number of errors. */
typedef unsigned config_read_fn(struct conf_set *set, const json_t *value, keys_report_fn *report, void *arg);

/* The i-th of a section's named objects as the room holds it, a struct of `items`; NULL behind the last. */
typedef const void *config_item_fn(const struct conf_set *set, size_t i, slice *name);

struct config_section {
    enum conf_section number;
    const char *name;              /* member of the document */
    const struct key_table *table; /* NULL: only read */
    config_read_fn *read;          /* may be NULL */
    const char *text;              /* for sections without table */
    const struct key_table *items; /* the section is an object of named objects, and these are their keys; or NULL */
    config_item_fn *item;          /* NULL: the room keeps them in another form */
};

extern const struct config_section config_sections[];
extern const size_t config_section_count;

const struct config_section *config_section_find(slice name);
const struct config_section *config_section_nearest(slice name); /* NULL when none is near */

/* What a key of the command line names: "smtp.max_recipients" a row of a section, "channels.tcp_local.port" a row of
 * one of its items, "smtp" and "channels.tcp_local" all of it. The item need not be there; '*' stands for any. */
struct config_key {
    const struct config_section *section;
    slice item;                /* empty: none; points into the key */
    const struct key_row *row; /* NULL: the whole */
};
/* ERR_NOTFOUND with the nearest word. */
int config_key_find(slice key, struct config_key *out, struct err *err);

#endif
