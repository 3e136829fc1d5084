/* bench.h - how many appends a second: the journal beside a raw loop of pwrite and fdatasync, in the same run.
 *
 * Model:    for 1, 10 and 50 writers, one after another: a raw loop into a file that was written with zeros before, the
 *           journal (one record and one body an append, with its index), and a raw loop into a growing file. A writer
 *           is a thread that waits for each append. The raw loops have one file, into which all writers write.
 *           One writer alone cannot be faster than the raw loop; many writers share one sync.
 * Threads:  from a tool's thread; waits.
 */
#ifndef JOURNAL_BENCH_H
#define JOURNAL_BENCH_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

struct journal_bench {
    const char *dir;   /* exists; a directory of the bench's own is made in it and removed again */
    unsigned seconds;  /* that each of the nine rows takes, 1 .. 3,600 */
    unsigned row_ms;   /* instead of it when not 0: for tests */
    unsigned bytes;    /* of an append, 1 .. 65,536; 0: 4,096 */
    bool json;         /* one array of rows instead of the table */
};

/* Prints to `out`. */
int journal_bench(const struct journal_bench *conf, FILE *out, struct err *err);

#endif
