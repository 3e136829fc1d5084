/* rpc_dir.h - the user that a call's parameter "address" names, for methods of other files. */
#ifndef CONTROL_RPC_DIR_H
#define CONTROL_RPC_DIR_H

#include "control/rpc.h"

/* A local part alone means the default domain. Values lie in mem. ERR_NOTFOUND with a hint. */
int rpc_user_find(struct rpc_call *call, struct arena *mem, struct dir_user *user, struct err *err);

#endif
