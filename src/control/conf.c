#include "control/conf.h"

#include <stddef.h>

#define KEY_TYPE_U32 KEY_U32
#define K(T, field, d, lo, hi, u, r, old, words)                                                                       \
    { .name = #field,                                                                                                  \
      .type = KEY_TYPE_##T,                                                                                            \
      .offset = offsetof(struct control_conf, field),                                                                  \
      .def = d,                                                                                                        \
      .min = lo,                                                                                                       \
      .max = hi,                                                                                                       \
      .unit = UNIT_##u,                                                                                                \
      .reload = RELOAD_##r,                                                                                            \
      .legacy = old,                                                                                                   \
      .text = words },
static const struct key_row rows[] = { CONTROL_KEYS(K) };
#undef K

const struct key_table control_keys = {
    .section = "control",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct control_conf),
    .text = "The status socket, over which the command steers the daemon.",
};
