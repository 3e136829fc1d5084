/* json.h - helpers around jansson: parsing with positions, duplicate keys as errors, and short accessors.
 *
 * Model:    json_t is jansson's; ownership follows its rules (borrowed from get, stolen by *_new).
 * Errors:   parse errors carry line and column in err->text.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* Parse one document, which may be any value. Duplicate keys, trailing text and depth over 64 are errors; a NUL inside
 * a string value (\u0000) is not, so read strings with json_str. NULL on failure. */
OWNED json_t *json_parse(slice text, struct err *err);
OWNED json_t *json_parse_file(const char *path, struct err *err); /* at most 64 MiB */

void json_print(struct buf *out, const json_t *v, bool pretty); /* keys keep their order; no final newline */

slice json_str(const json_t *v);                        /* empty when v is no string */
slice json_get_str(const json_t *obj, const char *key); /* empty when absent or no string */
int64_t json_get_int(const json_t *obj, const char *key, int64_t fallback);
bool json_get_bool(const json_t *obj, const char *key, bool fallback);
OWNED json_t *json_from_slice(slice s);                 /* each octet that is no UTF-8 becomes U+FFFD */

#endif
