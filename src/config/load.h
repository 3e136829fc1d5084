/* load.h - posthouse.json becomes an immutable struct conf_set, or a list of all that is wrong with it.
 *
 * Model:    a document is parsed (positions, duplicate keys), each section is read by its room's table, then what no
 *           table can say is checked. Every problem is reported; one is enough for there to be no set.
 * Threads:  any; nothing is shared. A set's last snap_unref frees it.
 * Lifetime: values of the set lie in its own arena and its own document.
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "base/confset.h"
#include "base/keys.h"

#define CONFIG_FILE "posthouse.json"

/* text: the document. number: of the load. NULL when there are problems; *problems says how many were reported. */
OWNED struct conf_set *config_parse(slice text, uint64_t number, keys_report_fn *report, void *arg,
                                    unsigned *problems);
/* The same of a file; one that cannot be read is one problem with an empty pointer. */
OWNED struct conf_set *config_load(const char *path, uint64_t number, keys_report_fn *report, void *arg,
                                   unsigned *problems);
/* For those who want one sentence: the first problem, and how many more there are. */
int config_load_err(const char *path, uint64_t number, struct conf_set **out, struct err *err);
/* DIR/posthouse.json; without the file the defaults. */
int config_open_dir(const char *dir, struct conf_set **out, struct err *err);

/* Everything with defaults, as a document. */
OWNED json_t *config_effective(const struct conf_set *set);
/* Keys whose value differs and takes effect only at the next start, one a call ("journal.segment_bytes"). */
typedef void config_key_fn(void *arg, const char *key);
void config_restart_keys(const struct conf_set *old, const struct conf_set *new, config_key_fn *fn, void *arg);
OWNED json_t *config_schema(void);

/* Lines of "pointer: message" in a buffer: a keys_report_fn whose arg is a struct buf. */
void config_report_line(void *buf, const char *pointer, const char *message);

#endif
