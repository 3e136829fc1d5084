/* render.h - an answer in JSON as a table for people.
 *
 * Model:    an array of objects is a table whose columns are the members of the first, except moments for programs
 *           (names that end in "_ms"), which stand in a table in words beside; an object is a list of names and
 *           values, inner objects flattened with dots; strings are lines. Control characters are shown as '?', because
 *           names of mailboxes and peers come from strangers. Pure.
 */
#ifndef CONTROL_RENDER_H
#define CONTROL_RENDER_H

#include "base/buf.h"
#include "base/json.h"

void render_value(struct buf *out, const json_t *v);

#endif
