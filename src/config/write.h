/* write.h - posthouse.json on disk: replaced as a whole, or not at all. */
#ifndef CONFIG_WRITE_H
#define CONFIG_WRITE_H

#include "base/err.h"
#include "base/json.h"

/* Written beside it, synced, renamed over it; an existing file keeps its mode, a new one gets 0640. */
int config_write(const char *path, const json_t *document, struct err *err);

#endif
