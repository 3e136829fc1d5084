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

struct config_section {
    enum conf_section number;
    const char *name;              /* member of the document */
    const struct key_table *table; /* NULL: only read */
    config_read_fn *read;          /* may be NULL */
    const char *text;              /* for sections without table */
};

extern const struct config_section config_sections[];
extern const size_t config_section_count;

const struct config_section *config_section_find(slice name);
const struct config_section *config_section_nearest(slice name); /* NULL when none is near */

/* "smtp.max_recipients" -> section and row; "smtp" -> section, row NULL. ERR_NOTFOUND with the nearest word. */
int config_key_find(slice key, const struct config_section **section, const struct key_row **row, struct err *err);

#endif
