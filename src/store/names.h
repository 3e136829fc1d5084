/* names.h - names of mailboxes, for the files of the store. Pure functions; slices point into what was given. */
#ifndef STORE_NAMES_H
#define STORE_NAMES_H

#include "store/store.h"

uint8_t name_special_use(slice name); /* index into store_special_names, 0: none */
slice name_fold(struct arena *mem, slice name); /* INBOX in capitals; copied into mem */
bool name_is_inbox(slice name); /* of a folded name */
bool name_is_below(slice name, slice parent); /* on any level */
slice name_parent(slice name); /* empty for a name of the first level */

#endif
