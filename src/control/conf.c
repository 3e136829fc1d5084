#include "control/conf.h"

#include <stddef.h>

#define KEY_CONF struct control_conf
static const struct key_row rows[] = { CONTROL_KEYS(KEY_ROW) };

const struct key_table control_keys = {
    .section = "control",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct control_conf),
    .text = "The status socket, over which the command steers the daemon.",
};
