/* index_internal.h - what index.c (transactions, tables) and index_open.c (opening, trust) share; for these two only.
 * */
#ifndef JOURNAL_INDEX_INTERNAL_H
#define JOURNAL_INDEX_INTERNAL_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "journal/index.h"
#include "journal/index_state.h"

#define INDEX_FILE "index.lmdb"
#define INDEX_LOCK_FILE "index.lmdb-lock" /* the name that LMDB gives it */
#define INDEX_STATE_FILE "index.state"

struct index {
    MDB_env *env;
    MDB_dbi tables[JOURNAL_TABLES_MAX + 1]; /* by table number; 0: no such table */
    MDB_dbi meta;
    char *dir;
    int dir_fd;
    bool read_only;
    uint32_t page_bytes;
    uint64_t map_bytes;
    uint64_t ahead_bytes;
    unsigned readers_max;

    /* owner: the writer */
    int state_fd;             /* -1: nothing vouches for the index */
    struct index_state state;
    unsigned commits;         /* up to INDEX_PROVEN_COMMITS */
    uint64_t file_bytes;      /* the file is at least so long */
    bool no_allocate;         /* the file system cannot */
    unsigned char *scratch;   /* key and value of a put, see journal_put */
    size_t scratch_bytes;

    /* any thread */
    _Atomic uint64_t allocated; /* octets from the start that are known to have blocks */
    atomic_uint readers;
    atomic_bool writing;
    atomic_bool broken;       /* damage was seen: no further transactions */
    atomic_bool distrusted;   /* the state file is gone and stays gone */
    atomic_bool told;         /* the present trouble was logged */

    pthread_mutex_t lock;     /* lock rank 60: idle read transactions */
    MDB_txn **idle;           /* reset transactions that keep their reader slot */
    unsigned idle_count;
};

/* Log the first failure, and draw the conclusions from damage. what: "put", "commit", ... */
void index_note(struct index *ix, int code, const char *what);
/* The same as a struct err. Returns -1. */
int index_error(int code, const char *what, struct err *err);
/* The index outlived its first commits: it is not suspected any more. */
void index_state_proven(struct index *ix);

#endif
