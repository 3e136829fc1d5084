/* dump.h - the logical content of an index, line by line. Used by journal_dump and journal_check only. */
#ifndef JOURNAL_DUMP_H
#define JOURNAL_DUMP_H

#include "journal/internal.h"

struct dumper {
    struct journal_view *view;
    const struct journal_table *tables[JOURNAL_TABLES_MAX + 1]; /* by number; those with content that counts */
    unsigned count, at;                                         /* at == count: bodies */
    bool is_open;
    struct journal_cursor cursor;
    struct buf key; /* of the line given last */
};

void dumper_begin(struct dumper *d, const struct journal *j, struct journal_view *v);
/* Replaces *line, without line feed. False at the end (or when the index failed: view->failed). */
bool dumper_next(struct dumper *d, struct buf *line);
void dumper_end(struct dumper *d);
/* <0, 0, >0: which of two dumpers' last lines comes first. */
int dumper_cmp(const struct dumper *a, const struct dumper *b);

#endif
