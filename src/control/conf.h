/* conf.h - configuration of the room control: section "control". */
#ifndef CONTROL_CONF_H
#define CONTROL_CONF_H

#include "base/keys.h"

#define CONTROL_KEYS(K)                                                                                                \
    K(U32, clients_max, 32, 1, 1024, COUNT, SESSION, NULL, "Connections to the status socket at the same time.")       \
    K(U32, request_bytes, 1048576, 4096, 67108864, BYTES, SESSION, NULL, "Longest request line on the status socket.") \
    K(BOOL, metrics_public, 0, 0, 1, NONE, LISTENER, NULL,                                                             \
      "Listeners with the protocol \"metrics\" may have other addresses than loopback; what they show is for "         \
      "anybody who can reach them.")

struct control_conf {
    CONTROL_KEYS(KEY_FIELD)
};
extern const struct key_table control_keys;

#endif
